"""Whoever is killed, nothing is left: no process, no mount, no folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_rlm.sandbox.local import sweep
from fleet_rlm.sandbox.local.launcher.group import PREFIX
from fleet_rlm.sandbox.local.launcher.watcher import descendants
from waiting import until

from .harness import Sandbox, start
from .some_engine import STUBBORN

pytestmark = [
    pytest.mark.isolation,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]
TESTS = Path(__file__).parents[2]


def born(pid: int) -> str:
    """What tells a process from a later one with the same number; empty when it is gone (or only a zombie's record)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def parents(pids: list[int]) -> dict[int, int]:
    found = {}
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[pid] = int(fields[1])
    return found


@dataclass
class Family:
    """An engine and all that descends from it, with stubborn daemons among them."""

    engine: subprocess.Popen[bytes]
    launcher: int
    alive: dict[int, str]
    folder: Path
    mounts: str

    @property
    def watcher(self) -> int:
        return next(pid for pid, parent in parents(list(self.alive)).items() if parent == self.launcher)

    @property
    def driver(self) -> int:
        below = parents(list(self.alive))
        grown = [pid for pid, parent in below.items() if parent == self.watcher]
        return min(grown)

    def living(self) -> list[int]:
        return [pid for pid, when in self.alive.items() if born(pid) == when]

    def gone(self) -> bool:
        return not self.living()

    def scratch(self) -> list[Path]:
        return list(self.folder.glob(PREFIX + "*"))


@pytest.fixture
def family(mode: str, parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    folder = parent / tmp_path_factory.mktemp("family").name
    folder.mkdir()
    folder.chmod(0o777)
    before = mounts()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
    engine = subprocess.Popen(
        [sys.executable, "-m", "sandbox.isolation.some_engine", mode, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert engine.stdout
    launcher = json.loads(engine.stdout.readline())["launcher"]
    alive = {pid: when for pid in descendants(engine.pid) if (when := born(pid))}
    assert len(alive) >= 5, "launcher, watcher, driver and two daemons"
    yield Family(engine, launcher, alive, folder, before)
    engine.kill()
    engine.communicate()


def test_the_engine_is_killed(family: Family) -> None:
    family.engine.kill()
    until(family.gone, what="everything of the sandbox to end")
    until(lambda: not family.scratch(), what="the launcher to remove the folder")
    assert mounts() == family.mounts


def test_the_engine_ends_without_a_word(family: Family) -> None:
    family.engine.communicate()
    until(family.gone)
    assert not family.scratch()


def test_the_launcher_is_killed(family: Family) -> None:
    os.kill(family.launcher, signal.SIGKILL)
    until(family.gone, what="everything of the sandbox to end")
    family.engine.communicate()  # its `close` removes the folder
    assert not family.scratch()
    assert mounts() == family.mounts


def test_the_watcher_is_killed(family: Family) -> None:
    os.kill(family.watcher, signal.SIGKILL)
    until(family.gone, what="everything of the sandbox to end")
    until(lambda: not family.scratch())


def test_the_driver_is_killed(family: Family) -> None:
    os.kill(family.driver, signal.SIGKILL)
    until(family.gone, what="everything of the sandbox to end")
    until(lambda: not family.scratch())


def test_engine_and_launcher_are_killed_and_the_next_start_sweeps(family: Family) -> None:
    os.kill(family.launcher, signal.SIGSTOP)  # so that it can't clean up in between
    family.engine.kill()
    family.engine.wait()
    os.kill(family.launcher, signal.SIGKILL)
    until(family.gone, what="everything of the sandbox to end")
    assert len(family.scratch()) == 1
    assert sweep(family.folder) == 1
    assert not family.scratch()


def test_a_driver_that_ends_takes_its_daemons_along(mode: str, parent: Path) -> None:
    sandbox = start(mode, parent)
    sandbox.run(STUBBORN)
    alive = {pid: when for pid in descendants(sandbox.process.pid) if (when := born(pid))}
    assert "died" in sandbox.ask({"run": "import os; os._exit(7)"})
    assert sandbox.process.end() == "the driver ended by itself with exit code 7"
    assert not [pid for pid, when in alive.items() if born(pid) == when]
    sandbox.process.close()
    assert sandbox.process.poll() == 7


def test_kill_ends_all_at_once_and_again_is_nothing(mode: str, parent: Path) -> None:
    before = mounts()
    sandbox = start(mode, parent)
    sandbox.run(STUBBORN)
    below = [sandbox.process.pid, *descendants(sandbox.process.pid)]
    alive = {pid: when for pid in below if (when := born(pid))}
    sandbox.process.kill()
    assert not [pid for pid, when in alive.items() if born(pid) == when]
    assert os.read(sandbox.process.stdout_fd, 1) == b""
    assert mounts() == before
    sandbox.process.kill()
    sandbox.process.close()
    sandbox.process.close()


def test_an_engine_that_hardened_itself_keeps_its_environment(mode: str, parent: Path, family: Family) -> None:
    if os.geteuid() == 0:
        owner = Path(f"/proc/{family.engine.pid}/environ").stat().st_uid
        assert owner == 0
    else:
        with pytest.raises(PermissionError):
            Path(f"/proc/{family.engine.pid}/environ").read_bytes()


def test_living_sandboxes_are_not_swept(sandbox: Sandbox, parent: Path) -> None:
    sandbox.process.put("an-input", iter([b"x"]))
    assert sweep(parent) == 0
    assert sandbox.run("result = 1") == 1
