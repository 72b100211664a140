"""The clean launcher: what is forked from it knows nothing of others, and its end costs no sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_rlm.sandbox.local import clean_launcher
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher, ForkedLauncher
from fleet_rlm.sandbox.local.launcher import kernel
from fleet_rlm.sandbox.local.launcher.watcher import descendants
from waiting import until

from .harness import Sandbox, start
from .test_leftovers import TESTS, born

pytestmark = [
    pytest.mark.isolation,
    pytest.mark.skipif(not kernel.KNOWN, reason="only Linux forks into another process's children"),
]


@pytest.fixture
def clean() -> Iterator[CleanLauncher]:
    one = CleanLauncher(("json",))
    yield one
    one.close()


def forked(sandbox: Sandbox) -> bool:
    return isinstance(sandbox.process._launcher, ForkedLauncher)


def memory(pid: int) -> bytes:
    """All that a process holds in memory that it may write."""
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last = (int(number, 16) for number in line.split()[0].split("-"))
            if line.split()[1].startswith("rw"):
                file.seek(first)
                found += file.read(last - first)
    return found


def test_a_sandbox_is_forked_as_a_child_of_this_process_and_reaped(
    mode: str, parent: Path, clean: CleanLauncher
) -> None:
    sandbox = start(mode, parent, clean=clean)
    assert forked(sandbox)
    fields = Path(f"/proc/{sandbox.process.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) == os.getpid()
    assert int(fields[3]) == sandbox.process.pid, "a session of its own"
    assert "died" in sandbox.ask({"run": "import os; os._exit(7)"})
    assert sandbox.process.end() == "the driver ended by itself with exit code 7"
    sandbox.process.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(sandbox.process.pid, 0)


def test_what_is_forked_is_as_what_is_started(mode: str, parent: Path, clean: CleanLauncher) -> None:
    look = """
import os, sys
def opened(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
result = [dict(os.environ), [fd for fd in range(128) if opened(fd)], os.getcwd(), sys.argv, sys.path, os.getuid() == 0,
          [name for name in sys.modules if name.startswith("launcher")]]
"""
    seen = []
    for one in (None, clean):
        with (sandbox := start(mode, parent, clean=one)).process:
            folder = str(sandbox.process._folder.path)
            report = sandbox.process.report
            seen.append((json.dumps(sandbox.run(look)).replace(folder, ""), report))
    assert seen[0] == seen[1]


def test_its_memory_holds_nothing_of_an_earlier_sandbox(mode: str, parent: Path, clean: CleanLauncher) -> None:
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):  # closed to its own user, so to every sandbox
            memory(clean.process.pid)
        return
    with (sandbox := start(mode, parent, clean=clean)).process:
        sandbox.run("mark = 'a secret ' + 'of this run'; result = None")
        sandbox.process.put("named-input", iter([b"x"]))
        own = memory(sandbox.process.pid)
        assert sandbox.process._folder.path.name.encode() in own, "looked for in this way, it is found"
        held = memory(clean.process.pid)
    for secret in (sandbox.process._folder.path.name, "a secret of this run", "named-input"):
        assert secret.encode() not in held
    opened = list(Path(f"/proc/{clean.process.pid}/fd").iterdir())
    assert len(opened) == 4, "the null device thrice, and the way to the engine"


def sockets(pid: int) -> list[str]:
    """The sockets that a process has open."""
    opened = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return [what for what in opened if what.startswith("socket:")]


def test_no_sandbox_keeps_the_way_to_it_open(mode: str, parent: Path, clean: CleanLauncher) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root sees the descriptors of a launcher")
    with (sandbox := start(mode, parent, clean=clean)).process:
        inside = f"import os\nfound = []\nfor fd in range(3, {1 << 16}):\n"
        inside += "    try: found.append(os.fstat(fd).st_mode)\n    except OSError: pass\nresult = found"
        assert sandbox.run(inside) == [], "generated code has no descriptor but the driver's three"
        for pid in (sandbox.process.pid, *descendants(sandbox.process.pid)):
            # the watcher may close its copies of the launcher's listeners a moment after the driver has started
            until(lambda pid=pid: not sockets(pid), what="the end of all sockets")  # type: ignore[misc]
        clean._control.close()
        assert clean.process.wait(10) == 0, "nobody else holds the engine's end, so it ended"


def test_its_death_ends_no_sandbox_and_the_next_one_is_started_anew(
    mode: str, parent: Path, clean: CleanLauncher
) -> None:
    with (first := start(mode, parent, clean=clean)).process:
        os.kill(clean.process.pid, signal.SIGKILL)
        with (second := start(mode, parent, clean=clean)).process:
            assert forked(first)
            assert not forked(second)
            assert [one.run("result = 1") for one in (first, second)] == [1, 1]


def test_where_it_does_not_answer_in_time_it_is_ended_and_a_launcher_started(
    parent: Path, clean: CleanLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(clean.process.pid, signal.SIGSTOP)
    clean._control.settimeout(0.2)
    with (sandbox := start("limits", parent, clean=clean)).process:
        assert not forked(sandbox)
    assert clean.process.poll() == -signal.SIGKILL


def test_many_at_once_are_each_their_own(parent: Path, clean: CleanLauncher) -> None:
    started: list[Sandbox] = []
    threads = [threading.Thread(target=lambda: started.append(start("limits", parent, clean=clean))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert all(map(forked, started))
        assert len({sandbox.process.pid for sandbox in started}) == 8
        assert [sandbox.run(f"result = {number}") for number, sandbox in enumerate(started)] == list(range(8))
    finally:
        for sandbox in started:
            sandbox.process.close()


def test_the_first_sandbox_of_a_process_is_started_and_the_second_forked() -> None:
    own = clean_launcher._OfThisProcess()
    try:
        assert own.get(lambda: ("json",)) is None
        assert own.get(lambda: ("json",)) is own.get(lambda: ("json",)) is not None
    finally:
        own.close()


def test_a_forked_copy_of_this_process_leaves_it_alone(parent: Path, clean: CleanLauncher) -> None:
    pid = os.fork()
    if pid == 0:
        clean.disown()
        asked = clean.fork([0, 1, 2])
        clean.close()
        os._exit(0 if asked is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with (sandbox := start("limits", parent, clean=clean)).process:
        assert forked(sandbox)


ENGINE = """
import sys
from pathlib import Path
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher
from sandbox.isolation.harness import start
clean = CleanLauncher(("json",))
sandboxes = [start(sys.argv[1], Path(sys.argv[2]), clean=clean) for _ in range(2)]
print(clean.process.pid, *(sandbox.process.pid for sandbox in sandboxes), flush=True)
sys.stdin.read()
"""


def test_a_killed_engine_takes_it_and_what_was_forked_along(mode: str, parent: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, mode, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert engine.stdout
    pids = [int(word) for word in engine.stdout.readline().split()]
    assert len(pids) == 3
    assert all("launcher.main" in Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
    engine.kill()
    engine.communicate()
    until(lambda: not any(map(born, pids)), what="the clean launcher and the sandboxes to end")
