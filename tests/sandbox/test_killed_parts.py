"""Kill -9 of any part at any moment: a clear end, no hang, nothing left."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver
from waiting import until

from .conftest import Maker
from .places import Background, end, processes_of

BUSY = (
    "import threading\n"
    "def chat():\n"
    "    for _ in range(100_000): echo('x' * 1000)\n"
    "threads = [threading.Thread(target=chat) for _ in range(3)]\n"
    "for t in threads: t.start()\n"
    "while True: print('y' * 1000)"
)


@pytest.fixture
def linux(hostile: Interpreter) -> None:
    """Processes are found by /proc, in a sandbox whose parts die together."""


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_killed_the_caller_hears_of_it(make: Maker, linux: None, seed: int) -> None:
    chance, called = random.Random(seed), threading.Event()

    def echo(text: str) -> str:
        called.set()
        return text

    interpreter = make({"echo": echo}, observer=SandboxObserver(), grace=0.5)
    interpreter.start()
    parts = processes_of(interpreter)
    running = Background(lambda: interpreter.execute(BUSY))
    assert called.wait(20)
    parts = sorted({*parts, *processes_of(interpreter)})
    for _ in range(chance.randrange(2000)):
        chance.random()
    victim = chance.choice(parts)
    end(victim)
    with pytest.raises(CodeInterpreterError) as failed:
        running.result()
    if isinstance(failed.value, CodeFailed):  # it was the worker: the session goes on
        assert failed.value.outcome.state_lost
        assert interpreter.execute("6 * 7") == "42"
    else:
        assert "sandbox is gone" in str(failed.value)
        with pytest.raises(CodeInterpreterError, match="gone"):
            interpreter.execute("6 * 7")
    interpreter.kill()
    until(lambda: not processes_of(interpreter))


def test_a_kill_during_the_start_ends_the_start(make: Maker, linux: None) -> None:
    interpreter = make(observer=SandboxObserver())
    starting = Background(interpreter.start)
    interpreter.kill("changed my mind")
    try:
        starting.result()
    except CodeInterpreterError as error:
        assert "changed my mind" in str(error)  # noqa: PT017 - a start may have been quicker
    with pytest.raises(CodeInterpreterError, match="changed my mind"):
        interpreter.execute("1")
    until(lambda: not processes_of(interpreter))


def test_many_sandboxes_leave_no_thread_and_no_descriptor(make: Maker, linux: None) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, threads = descriptors(), threading.active_count()
    for number in range(6):
        interpreter = make({"echo": lambda text: text}, observer=SandboxObserver())
        assert interpreter.execute("echo('a')") == "'a'"
        if number % 2:
            interpreter.tools["die"] = partial(end, processes_of(interpreter)[0])
            with pytest.raises(CodeInterpreterError, match="gone"):
                interpreter.execute("import time\ndie()\ntime.sleep(20)")
        interpreter.shutdown()
    until(lambda: threading.active_count() <= threads)
    until(lambda: descriptors() <= before)


def test_the_worker_does_not_outlive_a_killed_engine(tmp_path: Path, linux: None) -> None:
    import subprocess
    import sys

    code = (
        "from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter\n"
        "i = LocalInterpreter(); i.start(); print(i._transport._process.pid, flush=True)\n"
        "i.execute('while True: pass')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        launcher = int(engine.stdout.readline())
        engine.kill()
    until(lambda: not Path(f"/proc/{launcher}").exists())
