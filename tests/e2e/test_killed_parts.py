"""kill -9 of every part, at random moments: the record opens, the screen says so, nothing is left running."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify
from fleet_rlm.state import fold_all
from tests.e2e.conftest import Opener, only_run
from tests.e2e.processes import Process, alive, descendants
from tests.terminal import Terminal
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to find processes")

QUESTION = "Which depot keeps the lost parcels, and for how long?"
MOMENTS = random.Random(20261121).sample(range(2, 160), 3)
"""How many lines the record has when the part is killed: during set-up, planning, executing."""


def lines(home: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (home / "runs").rglob("*.jsonl"))


def started(tui: Opener, home: Path, moment: int) -> Terminal:
    """A screen whose run has just recorded so many lines. On a busy machine a run can be over before this process
    looks again: then another one is tried.
    """
    for _ in range(4):
        screen, before = tui("--demo"), lines(home)

        def far_enough(screen: Terminal = screen, before: int = before) -> bool:
            assert screen.pump(0.005), screen.text()
            return lines(home) - before >= moment

        until(far_enough, 60, f"{moment} recorded lines")
        if any("fleet_rlm.engine" in command for command in descendants(screen.pid).values()):
            return screen
        screen.press("ctrl+q")
        assert screen.wait_exit() == 0
        shutil.rmtree(home)
    raise AssertionError("each run was over before it could be met")


def engine_of(below: dict[Process, str]) -> int:
    return next(pid for (pid, _), command in below.items() if "fleet_rlm.engine" in command)


def opens(home: Path) -> list[ev.AnyEvent | ev.Unknown]:
    with RunFile(only_run(home)) as file:
        events = list(file.events())
        assert file.end is not None
        assert not file.damages
    assert [event.seq for event in events] == list(range(len(events)))
    return events


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_screen_leaves_no_process_and_a_run_that_was_aborted(tui: Opener, home: Path, moment: int) -> None:
    screen = started(tui, home, moment)
    below = descendants(screen.pid)
    os.kill(screen.pid, signal.SIGKILL)
    until(lambda: not alive(below), 10, f"the end of {below}")
    last = opens(home)[-1]
    assert isinstance(last, ev.RunFinished)
    assert last.status == "aborted"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_engine_leaves_no_process_and_a_screen_that_says_so(tui: Opener, home: Path, moment: int) -> None:
    screen = started(tui, home, moment)
    below = descendants(screen.pid)
    os.kill(engine_of(below), signal.SIGKILL)
    screen.wait("ENGINE GONE")
    until(lambda: not alive(below), 10, f"the end of {below}")
    events = opens(home)
    assert fold_all(events).finished is None
    screen.press("q")
    screen.wait("1 run")
    screen.press("enter")
    screen.wait("ENGINE GONE|INTERRUPTED|REPLAY|ENDS EARLY")
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_sandbox_is_said_and_another_one_can_take_its_place(tui: Opener, home: Path, moment: int) -> None:
    screen = started(tui, home, moment)
    engine = engine_of(descendants(screen.pid))
    sandbox = until(lambda: descendants(engine), 20, "a sandbox")
    for pid, _ in alive(sandbox):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    screen.wait("SUBMITTED|FAILED|EXTRACTED|❚❚ SANDBOX LOST", seconds=60)
    screen.press("R")
    screen.wait("SUBMITTED|FAILED|EXTRACTED", seconds=60)
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0
    until(lambda: not alive(sandbox), 10, f"the end of {sandbox}")
    kinds = {event.kind for event in opens(home)}
    assert "run.finished" in kinds


def test_a_lost_sandbox_is_restarted_here_and_its_record_replays(tui: Opener, report: Path, home: Path) -> None:
    screen = tui("--docs", str(report), "--question", QUESTION, "--paused")
    screen.wait("PAUSED before the planner", seconds=60)
    for place in ("before code", "before the planner", "before code"):
        screen.press("s")
        screen.wait(f"PAUSED {place}", seconds=60)
    for pid, _ in alive(descendants(engine_of(descendants(screen.pid)))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    screen.wait("local: lost", seconds=60)
    screen.press("space")
    screen.wait("❚❚ SANDBOX LOST", seconds=60)
    screen.wait("R Restart here", seconds=60)
    screen.press(":")  # a person may try
    screen.press("R")
    screen.wait("SUBMITTED", seconds=60)
    screen.wait("SANDBOX RESTARTED", seconds=60)
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0
    path = only_run(home)
    assert verify(path) is None
    state = fold_all(opens(home))
    assert state.sandbox.restarts == 1
    assert [execution.origin for execution in state.executions.values()][:3] == ["planner", "planner", "replayed"]

    replay = tui(str(path))
    replay.wait("SANDBOX RESTARTED", seconds=60)
    replay.press("E")
    replay.wait("SANDBOX LOST|SandboxLost", seconds=60)
    replay.press("ctrl+q")
    assert replay.wait_exit() == 0
