"""What stands on stderr while a run goes on says what it is waiting for, and for how long."""

from __future__ import annotations

import io

import msgspec
import pytest

from fleet_rlm import events as ev
from fleet_rlm.cli.progress import Progress, now
from fleet_rlm.state import RunState, fold
from runs.recording import finished, middle, started


def after(*events: ev.Event) -> RunState:
    state = RunState()
    for n, event in enumerate(events):
        fold(state, msgspec.structs.replace(event, seq=n, t=float(n)))
    return state


IT = ev.IterationStarted(of=5, iteration=1, span="i1")
ASKED = ev.PlannerStarted(span="p1", parent="i1", iteration=1)
RETRY = ev.ModelRetrying(attempt=2, of=4, error=ev.Failure(type="E", message="429"), delay_seconds=9, span="p1")


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((), "reading documents · 0:12"),
        ((started(), ev.SandboxStarting(backend="local")), "starting the sandbox · 0:12"),
        ((started(), ev.Progress(what="sending context", done=1, total=4)), "sending context 25% · 0:12"),
        ((started(), IT, ASKED), "1/5 waiting for the model 10s · 0:12"),
        ((started(), IT, ASKED, ev.PlannerDelta(text="I", span="p1")), "1/5 planning 10s · 0:12"),
        ((started(), IT, ASKED, RETRY), "1/5 asking again (E), attempt 2 of 4 10s · 0:12"),
        ((started(), IT, ev.ExecutionStarted(code="", span="x", iteration=1)), "1/5 executing 10s · 0:12"),
        (
            (
                *(started(), IT, ev.ExecutionStarted(code="", span="x", iteration=1)),
                ev.CallStarted(type="sub_llm", function="llm_query", span="c", parent="x", iteration=1),
            ),
            "1/5 executing 10s · 1 call (1 open) · 0:12",
        ),
        ((started(), ev.ExtractionStarted(why="the limit", span="e")), "forcing the final answer · 0:12"),
    ],
)
def test_the_line_says_what_the_run_is_doing(events: tuple[ev.Event, ...], words: str) -> None:
    assert now(after(*events), 12.0) == words


def test_elsewhere_than_on_a_terminal_lines_stay_and_hold_nothing_harmful() -> None:
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        for event in (
            started(),
            *middle(),
            ev.Notice(level="warning", text="\x1b]0;owned\x07 " + "x" * 500),
            finished(),
        ):
            progress.hear(event, b"")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("run a1b2c3d4e5 · ask · OFFLINE model")
    assert any(line.startswith("✓ 1/5 · planner 0.5s · ran 0.4s · 1 call · I look for the code.") for line in lines)
    assert "\x1b" not in stream.getvalue()
    assert max(map(len, lines)) <= 160
    assert progress.state.status == "submitted"


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    with Progress(quiet=True, stream=stream) as progress:
        progress.hear(started(), b"")
    assert stream.getvalue() == ""
