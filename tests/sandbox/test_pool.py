"""A sandbox that is leased again shows nothing of what ran in it before."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import dspy
import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox import (
    Interpreter,
    Lease,
    LocalInterpreter,
    NotReusable,
    SandboxPool,
    TransportError,
    driver,
)
from fleet_rlm.sandbox.modal.interpreter import ModalInterpreter
from tests.waiting import until

from .places import SMALL, BootTransport, Witness, processes_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hold the code, and tell what it left")

LEAVE = r"""
import builtins, ctypes, json, os, random, resource, signal, socket, sys, threading, time
secret = "of the first lease"
builtins.sum = lambda _: 42
builtins.left_behind = secret
random.random = lambda: secret
sys.modules["nothing"] = json
sys.path.insert(0, os.getcwd())
os.environ["SECRET"] = secret
os.umask(0)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = open("held.txt", "w")
sys.setrecursionlimit(5000)
for folder in (".", "/dev/shm", "/tmp", "/var/tmp"):
    try:
        with open(folder + "/left.txt", "w") as file:
            file.write(secret)
        os.mkfifo(folder + "/.pipe")
        os.symlink("/etc/passwd", folder + "/link")
        deep = folder
        for _ in range(60):
            deep += "/d"
            os.mkdir(deep)
        os.chmod(folder + "/d", 0)
        os.setxattr(folder, "user.secret", b"1")
    except OSError:
        pass
open("random.py", "w").write("raise SystemExit")
os.mkdir("work")
os.chdir("work")
threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)], daemon=True).start()
try:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0left")
    os.chmod("..", 0)
except OSError:
    pass
print("left")
"""

CHILDREN = r"""
import os, subprocess, time
subprocess.Popen(["sleep", "1000"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(1)
    os._exit(0)
print("left")
"""

LOOK = r"""
import builtins, os, random, resource, signal, socket, sys, threading
def listed(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return type(error).__name__
def holds(module):
    return any("first lease" in value for value in vars(module).values() if type(value) is str)
def opens(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
def connects():
    try:
        socket.socket(socket.AF_UNIX).connect("\0left")
        return True
    except OSError:
        return False
found = {
    "names": sorted(name for name in globals() if name != "LOOKED"),
    "builtins": sorted(vars(builtins)),
    "sum": builtins.sum([1, 2]),
    "random": type(random.random()).__name__,
    "modules": sorted(sys.modules),
    "path": sys.path,
    "environment": sorted(os.environ.items()),
    "cwd": os.getcwd(),
    "umask": os.umask(0o077),
    "handlers": [str(signal.getsignal(number)) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD)],
    "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "limits": [resource.getrlimit(kind) for kind in range(16)],
    "recursion": sys.getrecursionlimit(),
    "descriptors": [fd for fd in range(200) if opens(fd)],
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "processes": sum(name.isdigit() for name in listed("/proc")),
    "mode": oct(os.stat(".").st_mode),
    "marks": os.listxattr("."),
    "folders": {path: listed(path) for path in (".", "/dev/shm", "/tmp", "/var/tmp", "/inputs", "/run", "/home")},
    "listener": connects(),
    "in modules": [name for name, module in sys.modules.items() if name != "__main__" and holds(module)],
}
for name, value in sorted(found.items()):
    print(name, "=", value)
"""


def local(**options: object) -> Interpreter:
    return LocalInterpreter(limits=SMALL, **options)  # type: ignore[arg-type]


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(local) as one:
        yield one


def given_back(lease: Lease, pool: SandboxPool) -> None:
    lease.shutdown()
    assert pool.settled(20)


@linux
@pytest.mark.parametrize("mode", ["namespaces", "landlock"])
def test_the_next_lease_sees_what_a_fresh_sandbox_shows(mode: str) -> None:
    def make() -> Interpreter:
        return local(modes=(mode,))

    with make() as fresh:
        usual = fresh.execute(LOOK)
        assert fresh.info is not None
        if fresh.info.isolation.mode != mode:
            pytest.skip(f"this machine has no {mode}")
    with SandboxPool(make) as pool:
        first = pool.lease()
        first.execute("context", {"context": "an input of the first lease " * 10_000})
        assert first.execute(LEAVE) == "left"
        if mode == "namespaces":
            assert first.execute(CHILDREN) == "left"
        there = first.interpreter.info
        given_back(first, pool)
        assert pool.idle == 1
        second = pool.lease()
        seen = second.execute(LOOK)
        assert second.interpreter.info is not None
        assert there is not None
        assert second.interpreter.info.id == there.id
        if mode == "namespaces":
            assert seen == usual
        else:  # its own folder has another name each time
            assert _but_paths(seen) == _but_paths(usual)


@linux
def test_children_that_can_not_be_found_are_nobodys_neighbours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet_rlm.sandbox")
    with SandboxPool(lambda: local(modes=("landlock",))) as pool:
        first = pool.lease()
        assert first.execute(CHILDREN) == "left"
        given_back(first, pool)
        assert pool.idle == 0
        assert "does not end" in caplog.text


def _but_paths(text: str) -> list[str]:
    told = [line for line in text.splitlines() if not line.startswith(("cwd", "environment", "processes", "folders"))]
    folders = next(line for line in text.splitlines() if line.startswith("folders"))
    return [*told, folders.partition("'/tmp'")[0]]


@linux
def test_inputs_of_another_lease_are_hidden_unless_they_are_the_same(pool: SandboxPool) -> None:
    same, other = "the same text " * 10_000, "another text " * 10_000
    first = pool.lease()
    first.execute("print(len(a), len(b))", {"a": same, "b": other})
    given_back(first, pool)
    heard = Witness()
    second = pool.take(heard)
    look = "import os\nprint(len(os.listdir('/inputs')), len(a))"
    assert second.execute(look, {"a": "".join(list(same))}) == "1 140000"
    assert heard.of("input") == [("a", 0, "kept")]
    pool.give_back(second)
    assert pool.settled(20)
    third = pool.lease()
    assert third.execute("import os\nprint(os.listdir('/inputs'))") == "[]"


def test_leases_are_the_same_sandbox_again_and_start_in_milliseconds(pool: SandboxPool) -> None:
    began = time.perf_counter()
    with pool.lease() as first:
        assert first.execute("print(1)") == "1"
    fresh = time.perf_counter() - began
    ids, took = set(), []
    for number in range(5):
        assert pool.settled(20)
        began = time.perf_counter()
        with pool.lease() as again:
            assert again.execute("print(again if 'again' in globals() else 'new')\nagain = 1") == "new", number
            took.append(time.perf_counter() - began)
            assert again.interpreter.info is not None
            ids.add(again.interpreter.info.id)
    assert len(ids) == 1
    assert min(took) < fresh / 2


def test_a_lease_that_is_over_does_nothing_any_more(pool: SandboxPool) -> None:
    lease = pool.lease()
    lease.execute("x = 1")
    behind = lease.interpreter
    given_back(lease, pool)
    with pytest.raises(CodeInterpreterError, match="given back"):
        lease.execute("print(x)")
    with pytest.raises(CodeInterpreterError, match="given back"):
        behind.execute("print(x)")
    behind.kill()
    behind.shutdown()
    assert not behind.interrupt()
    with pool.lease() as other:
        assert other.execute("print('there')") == "there"
    lease.shutdown()


def test_host_functions_and_observers_of_a_lease_end_with_it(pool: SandboxPool) -> None:
    held, asked = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        held.wait(20)
        return "late"

    heard = Witness()
    first = pool.take(heard)
    first.tools["slow"] = slow
    first.execute("import threading\nthreading.Thread(target=slow, daemon=True).start()")
    assert asked.wait(10)
    pool.give_back(first)
    assert pool.settled(20)
    before = len(heard.heard)
    with pool.lease() as second:
        assert second.tools == {}
        assert second.execute("print('slow' in globals())") == "False"
        held.set()
        assert second.execute("print('on')") == "on"
    assert len(heard.heard) == before
    assert heard.heard[-1] == ("stopped",)


@linux
@pytest.mark.parametrize("how", ["killed", "lost", "executing"])
def test_what_is_broken_is_never_leased_again(pool: SandboxPool, how: str) -> None:
    lease = pool.lease()
    lease.execute("pass")
    below = processes_of(lease.interpreter)
    if how == "killed":
        lease.interpreter.kill()
        given_back(lease, pool)
    elif how == "lost":
        lease.tools["pid"] = lambda: below[0]
        os.kill(below[0], signal.SIGKILL)
        with pytest.raises(CodeInterpreterError):
            lease.execute("import time\ntime.sleep(20)")
        given_back(lease, pool)
    else:
        called = threading.Event()
        lease.tools["told"] = called.set

        def spin() -> None:
            with pytest.raises(CodeInterpreterError):
                lease.execute("told()\nwhile True: pass")

        thread = threading.Thread(target=spin)
        thread.start()
        assert called.wait(10)
        given_back(lease, pool)
        thread.join(10)
    assert pool.idle == 0
    with pool.lease() as other:
        assert other.execute("print(2)") == "2"


@linux
def test_one_that_dies_while_it_is_idle_is_not_leased(pool: SandboxPool) -> None:
    lease = pool.lease()
    lease.execute("pass")
    info, pids = lease.interpreter.info, processes_of(lease.interpreter)
    given_back(lease, pool)
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids[1:]), 10, "its end")
    with pool.lease() as other:
        assert other.execute("print(2)") == "2"
        assert other.interpreter.info is not None
        assert info is not None
        assert other.interpreter.info.id != info.id


def test_a_place_that_can_not_be_looked_through_is_used_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet_rlm.sandbox")
    interpreter = Interpreter(BootTransport)
    interpreter.execute("pass")
    with pytest.raises(NotReusable, match="outside of its folders"):
        interpreter.hand_on()
    assert interpreter.stopped
    with SandboxPool(lambda: Interpreter(BootTransport)) as pool:
        with pool.lease() as lease:
            lease.execute("pass")
        assert pool.settled(20)
        assert pool.idle == 0
        assert "not used again" in caplog.text


def test_size_idle_time_and_the_end_are_kept(pool: SandboxPool) -> None:
    with SandboxPool(local, size=1, warm=1, max_idle=0.05) as small:
        assert small.settled(20)
        leases = [small.lease() for _ in range(3)]
        assert [lease.execute("print(1)") for lease in leases] == ["1", "1", "1"]
        for lease in leases:
            lease.shutdown()
        assert small.settled(20)
        assert small.idle <= 1
        deadline = time.monotonic() + 10
        while small.idle and time.monotonic() < deadline:
            small.settled(0.01)
        assert small.idle == 0
        last = small.lease()
        last.execute("pass")
    assert last.interpreter.stopped
    with pytest.raises(CodeInterpreterError, match="closed"):
        small.lease()
    with pytest.raises(ValueError, match="0 or more"):
        SandboxPool(local, size=-1)
    pool.kill("enough")
    with pytest.raises(CodeInterpreterError, match="enough"):
        pool.lease()


def test_leases_from_many_threads_never_meet(pool: SandboxPool) -> None:
    errors: list[str] = []

    def work(number: int) -> None:
        for _ in range(4):
            with pool.lease() as lease:
                said = lease.execute(f"print('mine' not in globals(), {number})\nmine = {number}")
                if said != f"True {number}":
                    errors.append(said)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert pool.settled(30)
    assert pool.idle <= 4


def test_a_sandbox_that_can_not_start_says_so_and_the_pool_lives_on() -> None:
    def refuses(*_: object) -> object:
        raise TransportError("no room", "Make room.")

    class Nowhere(BootTransport):
        start = refuses  # type: ignore[assignment]

    with SandboxPool(lambda: Interpreter(Nowhere), warm=1) as pool:
        assert pool.settled(20)
        lease = pool.lease()
        with pytest.raises(CodeInterpreterError, match="no room"):
            lease.execute("pass")
        given_back(lease, pool)
        assert pool.idle == 0


def test_dspy_leases_for_each_forward(pool: SandboxPool) -> None:
    from dspy.utils.dummies import DummyLM

    answers = [{"reasoning": "r", "code": "x = globals().get('x', 0) + 1\nSUBMIT(answer=str(x))"}] * 3
    with dspy.context(lm=DummyLM(answers)):
        rlm = dspy.RLM("question -> answer", interpreter_factory=pool)
        for _ in range(3):
            assert rlm(question="?").answer == "1"
            assert pool.settled(20)
    assert "SUBMIT takes plain data" in pool.execution_instructions


def test_a_modal_sandbox_in_which_no_file_changed_is_leased_again(modal_server: object) -> None:
    with SandboxPool(ModalInterpreter) as pool:
        first = pool.lease()
        assert first.execute("x = len(context)\nprint(x)", {"context": "an input " * 20_000}) == "180000"
        there = first.interpreter.info
        given_back(first, pool)
        assert pool.idle == 1
        second = pool.lease()
        look = "import glob\nprint('x' in globals(), glob.glob('/tmp/.fleet-inputs/*'))"
        assert second.execute(look) == "False []"
        assert second.interpreter.info is not None
        assert there is not None
        assert second.interpreter.info.id == there.id
        second.execute("open('/tmp/left.txt', 'w').write('left')")
        given_back(second, pool)
        assert pool.idle == 0
        with pool.lease() as third:
            assert third.execute("import os\nprint(os.path.exists('/tmp/left.txt'))") == "False"


@linux
def test_what_others_mounted_in_a_folder_stays_when_it_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python may be installed below a temporary folder, which is then the code's own with Python mounted in it."""
    assert "proc" in driver.mounted_below("/")
    assert driver.mounted_below(str(tmp_path)) == set()
    (tmp_path / "python" / "lib").mkdir(parents=True)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "text").write_text("left")
    monkeypatch.setattr(driver, "mounted_below", lambda _: {"python"})
    with monkeypatch.context() as others:
        others.setattr(os, "getuid", lambda: 1 + tmp_path.stat().st_uid)
        assert driver.emptied(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["python", "lib"]
    assert driver.emptied(str(tmp_path)), "what is the code's own does not stay"
    assert list(tmp_path.iterdir()) == []


class Keeping(BootTransport):
    """Counts how often it was asked to make lasting what should last."""

    asked: ClassVar[list[str]] = []

    def settle(self) -> str:
        self.asked.append("kept" if self.end() is None else "too late")
        return "the last file may be lost"


def test_a_lease_that_ends_keeps_what_is_to_last_and_says_what_could_not_be_kept() -> None:
    Keeping.asked.clear()
    witness = Witness()
    with SandboxPool(lambda: Interpreter(Keeping, limits=SMALL)) as pool:
        interpreter = pool.take(witness)
        interpreter.execute("1")
        pool.give_back(interpreter)
        assert pool.settled(20)
    assert Keeping.asked == ["kept"]
    assert witness.of("unkept") == [("the last file may be lost",)]
