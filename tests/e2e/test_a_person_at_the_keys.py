"""The installed `fleet-rlm-tui`, driven by keys alone in a real terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.state import RunState, fold_all
from tests.e2e.conftest import Opener, only_run
from tests.waiting import until

QUESTION = "Why was crane 4 stopped?"
CHANGED = "print('the operator was here', 6 * 7)"
HINT = "look at the night allowance too"


def recorded(path: Path) -> tuple[list[ev.AnyEvent | ev.Unknown], RunState]:
    with RunFile(path) as file:
        events = list(file.events())
    return events, fold_all(events)


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (80, 24)])
def test_watch_pause_change_hint_continue_quit_and_replay(
    tui: Opener, report: Path, home: Path, columns: int, lines: int
) -> None:
    screen = tui("--docs", str(report), "--question", QUESTION, "--paused", columns=columns, lines=lines)
    screen.wait("PAUSED before the planner")
    screen.press("s")
    screen.wait("PAUSED before code")
    screen.press("c")
    screen.wait("run this version")
    before = screen.text()
    screen.press("f7")
    until(lambda: screen.pump(0.02) and screen.text() != before, 10, "the selection of all")  # a paste overtakes a key
    screen.paste(CHANGED)
    screen.wait("the operator was here")
    screen.press("ctrl+r")
    screen.wait("PAUSED before the planner|PAUSED on an error")
    screen.press("t")
    screen.wait("enter accept|Tell the planner")
    screen.paste(HINT)
    screen.wait("night allowance too")
    screen.press("enter")
    screen.wait("planner reads")
    screen.press("space")
    screen.wait("SUBMITTED", seconds=60)
    screen.press("6")
    screen.wait("brake linings")
    screen.press("q")
    screen.wait("1 run")
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0

    path = only_run(home)
    events, state = recorded(path)
    cells = [event for event in events if isinstance(event, ev.ExecutionStarted)]
    assert cells[0].code == CHANGED
    assert cells[0].origin == "operator"
    assert "the operator was here 42" in "".join(chunk.text for chunk in state.executions[cells[0].span or ""].chunks)
    prompts = ["\n".join(content for _, content in planner.prompt) for planner in state.planners.values()]
    assert any(HINT in prompt for prompt in prompts)
    assert state.finished is not None
    assert state.finished.status == "submitted"

    replay = tui(str(path), columns=columns, lines=lines)
    replay.wait("REPLAY|SUBMITTED")
    replay.press("$", "6")
    replay.wait("brake linings")
    replay.press("0", "]", "2")
    replay.wait("the operator was here")
    replay.press("ctrl+q")
    assert replay.wait_exit() == 0


def test_an_aborted_run_ends_at_once_and_is_kept(tui: Opener, report: Path, home: Path) -> None:
    screen = tui("--docs", str(report), "--question", QUESTION, "--paused")
    screen.wait("PAUSED before the planner")
    screen.press("ctrl+c")
    screen.wait("Abort the run")
    screen.press("y")
    screen.wait("ABORTED", seconds=10)
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0
    _, state = recorded(only_run(home))
    assert state.finished is not None
    assert state.finished.status == "aborted"


def test_an_empty_machine_is_offered_the_demo(tui: Opener) -> None:
    screen = tui(columns=80, lines=24)
    screen.wait("Try the demo")
    screen.press("enter")
    screen.wait("SUBMITTED", seconds=90)
    screen.press("ctrl+q")
    assert screen.wait_exit() == 0


def test_leaving_a_live_run_asks_and_can_let_it_go_on(tui: Opener, report: Path, home: Path) -> None:
    screen = tui("--docs", str(report), "--question", QUESTION, "--paused")
    screen.wait("PAUSED before the planner")
    screen.press("ctrl+q")
    screen.wait("still going")
    screen.press("esc")
    screen.wait("still going", absent=True)
    screen.press("ctrl+q")
    screen.wait("still going")
    screen.press("g")
    assert screen.wait_exit() == 0
    path = only_run(home)
    follower = tui("--follow", str(path))
    follower.wait("SUBMITTED", seconds=60)
    follower.press("ctrl+q")
    assert follower.wait_exit() == 0
    _, state = recorded(path)
    assert state.finished is not None
    assert state.finished.status == "submitted"


def test_leaving_a_live_run_can_stop_it(tui: Opener, report: Path, home: Path) -> None:
    screen = tui("--docs", str(report), "--question", QUESTION, "--paused")
    screen.wait("PAUSED before the planner")
    screen.press("ctrl+q")
    screen.wait("still going")
    screen.press("s")
    assert screen.wait_exit() == 0
    _, state = recorded(only_run(home))
    assert state.finished is not None
    assert state.finished.status == "aborted"
