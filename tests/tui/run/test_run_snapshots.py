"""What the Run screen looks like in every state that a run can be in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleet_rlm import events as ev
from fleet_rlm.state import fold_all
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.sources.event_source import Mode, SourceEnd
from tests.tui.conftest import settle
from tests.tui.run.conftest import Clock, show, still
from tests.tui.synthetic import BATCH_CODE, Script, ScriptedSource, rich

Look = Callable[..., None]

MODEL_GONE = ev.Failure(type="Unauthorized", message="401: the key was refused", hint="Set OPENAI_API_KEY in .env.")


@pytest.fixture
def look(make_app: Callable[..., FleetApp], snap_compare: Callable[..., bool]) -> Look:
    """Compare a run's picture with the one that was agreed on."""

    def compare(
        script: Script | ScriptedSource,
        keys: Sequence[str] = (),
        size: tuple[int, int] = (120, 40),
        theme: str = "fleet-dark",
        mode: Mode = "live",
        later: float = 0.0,
    ) -> None:
        source = script if isinstance(script, ScriptedSource) else ScriptedSource(script.events, mode)

        async def before(pilot) -> None:
            screen = await show(pilot, source, Clock(), later=later)
            if keys:
                await pilot.press(*keys)
                await settle(pilot, lambda: screen.playhead.target is None)
                await still(pilot, screen)
            pilot.app.clear_notifications()
            await pilot.pause()

        assert snap_compare(make_app(theme=theme), terminal_size=size, run_before=before)

    return compare


def at_gate(at: ev.Boundary, until: str = "error", **more: ev.Json) -> Script:
    script = rich(until=until)
    script.add(ev.GateWaiting(at=at, why="you paused", **more))
    return script


def planned() -> Script:
    """The planner has written its fourth version of the code, and nothing ran yet."""
    script = rich(until="error")
    script.planner(4, "I know where the headers are. Ask about each section, in one batch.", BATCH_CODE, 2.1)
    return script


# At work


def test_starting(look: Look, guide: Path) -> None:
    look(rich([guide], until="starting"), later=0.7)


def test_starting_the_sandbox(look: Look, guide: Path) -> None:
    look(rich([guide], until="sandbox"), later=2.5)


def test_waiting_for_the_planner(look: Look, guide: Path) -> None:
    script = rich([guide], until="error")
    script.add(ev.IterationStarted(iteration=4, span="i4", parent="run", of=20))
    script.add(ev.PlannerStarted(iteration=4, span="p4", parent="i4", model="openai/gpt-5.1"))
    error = ev.Failure(type="RateLimited", message="429 Too Many Requests")
    script.add(ev.ModelRetrying(iteration=4, span="p4", attempt=2, of=5, error=error, delay_seconds=8.0))
    look(script, later=3.0)


def test_the_planner_writes(look: Look, guide: Path) -> None:
    look(rich([guide], until="planning"), later=0.4)


def test_code_executes(look: Look, guide: Path) -> None:
    look(rich([guide], until="executing"), later=1.2)


def test_a_batch_runs(look: Look, guide: Path) -> None:
    look(rich([guide], until="batch"), later=1.1)


def test_a_batch_runs_on_paper(look: Look, guide: Path) -> None:
    look(rich([guide], until="batch"), later=1.1, theme="fleet-light")


def test_a_batch_runs_in_high_contrast(look: Look, guide: Path) -> None:
    look(rich([guide], until="batch"), later=1.1, theme="fleet-contrast", keys=["5"])


# Waiting for the person


def test_the_gate_before_the_planner(look: Look) -> None:
    look(at_gate("planner"), later=12)


def test_the_gate_before_code(look: Look) -> None:
    script = planned()
    script.add(ev.GateWaiting(at="code", why="you paused", code=BATCH_CODE))
    look(script, later=3)


def test_the_gate_before_a_fan_out(look: Look) -> None:
    fan = ev.FanOut(prompts=8, chars=31_000, duplicates=1, estimated_cost_usd=0.004)
    look(at_gate("fanout", "batch", fanout=fan), later=3)


def test_the_gate_on_an_error(look: Look) -> None:
    look(at_gate("error", error=ev.Failure(type="KeyError", message="'Optimisers'")), later=3)


def test_the_gate_before_code_in_a_small_terminal(look: Look) -> None:
    script = planned()
    script.add(ev.GateWaiting(at="code", why="you paused", code=BATCH_CODE))
    look(script, later=3, size=(80, 24))


# How iterations and runs end


def test_an_error(look: Look, guide: Path) -> None:
    look(rich([guide], until="error"), mode="replay", keys=["E"])


def test_submitted(look: Look, guide: Path) -> None:
    look(rich([guide]), mode="replay", keys=["6"])


def test_submitted_in_a_large_terminal(look: Look, guide: Path) -> None:
    look(rich([guide]), mode="replay", keys=["7"], size=(200, 60))


def test_extracted(look: Look) -> None:
    script = rich(until="agent")
    script.finish("x5", 5)
    script.add(ev.ExtractionStarted(span="e", why="the limit of 5 iterations"))
    script.add(ev.ExtractionFinished(span="e", outputs={"answer": "What is known so far."}), 1.5)
    script.end("extracted", {"answer": "What is known so far."}, reason="the limit of 5 iterations was reached")
    look(script, mode="replay", keys=["6"])


def test_failed(look: Look) -> None:
    script = Script()
    script.start()
    script.sandbox()
    script.add(ev.IterationStarted(iteration=1, span="i1", of=20))
    script.add(ev.PlannerStarted(iteration=1, span="p1", parent="i1", model="openai/gpt-5.1"))
    script.add(ev.PlannerFinished(iteration=1, span="p1", error=MODEL_GONE, seconds=0.4), 0.4)
    script.end("failed", error=MODEL_GONE)
    look(script, mode="replay", keys=["6"])


def test_aborted(look: Look) -> None:
    script = rich(until="batch")
    script.end("aborted", reason="aborted by the person")
    look(script, keys=["6"])


def test_the_sandbox_was_lost(look: Look) -> None:
    script = rich(until="executing")
    script.add(ev.SandboxLost(backend="local", reason="killed by signal 9 (out of memory)", recovered=True), 0.4)
    error = ev.Failure(type="SandboxLost", message="killed by signal 9 (out of memory)")
    script.finish("x3", 3, "lost", error, state_lost=True)
    look(script, keys=["5"])


def lost() -> Script:
    """Killed while its third cell runs, and the person is asked."""
    script = rich(until="executing")
    script.add(ev.SandboxLost(backend="local", reason=GONE), 0.4)
    error = ev.Failure(type="SandboxLost", message=GONE)
    script.finish("x3", 3, "lost", error, state_lost=True)
    script.add(ev.GateWaiting(iteration=3, parent="i3", at="error", why="the sandbox is lost", error=error))
    return script


def restarted() -> Script:
    script = lost()
    script.add(ev.GateResumed(iteration=3, parent="i3", at="error", decision="restart", seconds=4.0), 4.0)
    script.sandbox()
    for number in (1, 2):
        span = f"again{number}"
        code = next(it.code for it in fold_all(script.events).iterations if it.number == number)
        script.add(
            ev.ExecutionStarted(iteration=number, parent=f"i{number}", span=span, code=code, origin="replayed"), 0.1
        )
        script.finish(span, number, seconds=0.1)
    script.add(ev.Notice(text="the sandbox is restored after 0.4s: 2 steps ran again", iteration=3, parent="i3"))
    script.add(
        ev.ExecutionStarted(iteration=3, parent="i3", span="y3", code=fold_all(script.events).iterations[2].code)
    )
    script.output("y3", 3, "there again\n")
    return script


GONE = "the local sandbox is gone: it was killed by signal 9 (SIGKILL: out of memory?)"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_the_sandbox_is_lost_and_the_person_is_asked(look: Look, size: tuple[int, int]) -> None:
    look(lost(), size=size)


def test_the_sandbox_was_restarted(look: Look) -> None:
    look(restarted(), keys=["3"])


def test_the_engine_is_gone(look: Look) -> None:
    source = ScriptedSource(rich(until="executing").events)
    source.end = SourceEnd(False, "the engine was killed by signal 9", "What was recorded is kept.")
    look(source)


# Moving about


def test_a_replay_midway(look: Look, guide: Path) -> None:
    look(rich([guide]), mode="replay", keys=["[", "[", "m"])


def test_an_earlier_moment_of_a_live_run(look: Look, guide: Path) -> None:
    look(rich([guide], until="batch"), keys=["[", "[", "["])


def test_calls_in_a_small_terminal(look: Look) -> None:
    look(rich(), mode="replay", keys=["4", "S"], size=(80, 24))


def test_two_columns(look: Look, guide: Path) -> None:
    look(rich([guide]), mode="replay", keys=["4", "g", "j"], size=(110, 36))


def test_several_documents_one_of_them_gone(look: Look, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.txt", "two.txt")]
    for path in paths:
        path.write_text(f"the text of {path.name}\n")
    events = rich(paths, until="error").events
    started = events[0]
    assert isinstance(started, ev.RunStarted)
    refs = tuple(replace(ref, path=f"/no/such/{ref.name}") for ref in started.inputs[0].documents)
    events[0] = replace(started, inputs=(replace(started.inputs[0], documents=refs), *started.inputs[1:]))
    look(ScriptedSource(events), keys=["1", ")"])


def test_code_that_was_changed(look: Look) -> None:
    script = rich(until="error")
    script.planner(4, "Better now.", "headers = headers[:3]\nprint(headers)\n")
    span = script.execute(4, "headers = headers[:5]\nprint(len(headers))\nprint(headers)\n", origin="operator")
    script.output(span, 4, "5\n")
    script.finish(span, 4, seconds=0.1)
    look(script)


def test_a_search(look: Look, guide: Path) -> None:
    look(rich([guide]), mode="replay", keys=["1", "/", *"gepa", "enter", "n"])
