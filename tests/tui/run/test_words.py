"""A run in words, and what its keys say that they do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleet_rlm import events as ev
from fleet_rlm.figures import clock, count, dollars, plural, seconds
from fleet_rlm.spent import Spent
from fleet_rlm.state import fold_all
from fleet_rlm.tui.run_view.about_run import about
from fleet_rlm.tui.run_view.playhead import Playhead
from fleet_rlm.tui.run_view.run_words import Figures, activity, badges, figures, run_state
from fleet_rlm.tui.screens.run.run_keys import BINDINGS, GATE_ACTIONS, LOST_ACTIONS, RunSituation, offer
from fleet_rlm.tui.sources.event_source import SourceEnd
from fleet_rlm.tui.widgets.gate_bar import why
from fleet_rlm.tui.widgets.timeline import Cell, bar
from tests.tui.synthetic import Script, ScriptedSource, rich


def playhead(script: Script, mode: str = "live") -> Playhead:
    found = Playhead(ScriptedSource(script.events, mode))
    found.take(0.0)
    return found


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("starting", "reading dspy-guide.txt 43%"),
        ("sandbox", "starting Python 1.5s"),
        ("planning", "gpt-5.1 writes 3.4s"),
        ("executing", "executing 1.6s"),
        ("batch", "batch 4/8, 1 failed 2.1s"),
        ("agent", "executing 2.2s"),
        ("end", ""),
    ],
)
def test_what_a_run_does_is_said_with_the_seconds_it_takes(until: str, words: str) -> None:
    state = fold_all(rich(until=until).events)
    assert activity(state, state.t + 1.5).words == words


def test_a_model_that_is_waited_for_and_one_that_is_tried_again_are_told_apart() -> None:
    script = rich(until="error")
    script.add(ev.IterationStarted(iteration=4, span="i4", of=20))
    script.add(ev.PlannerStarted(iteration=4, span="p4", parent="i4", model="openai/gpt-5.1"))
    state = fold_all(script.events)
    assert activity(state, state.t + 12).words == "waiting for gpt-5.1 12s"
    error = ev.Failure(type="RateLimited", message="429 Too Many Requests")
    script.add(ev.ModelRetrying(span="p4", attempt=2, of=5, error=error, delay_seconds=8))
    state = fold_all(script.events)
    assert activity(state, state.t + 3).words == "waiting 5 s (RateLimited), attempt 2 of 5: 429 Too Many Requests"


def test_a_final_extraction_that_is_tried_again_says_why_and_how_long_it_waits() -> None:
    script = rich(until="error")
    script.add(ev.ExecutionFinished(span="x3", iteration=3, outcome="error"))
    script.add(ev.ExtractionStarted(span="e1", why="the limit of 20 iterations"))
    state = fold_all(script.events)
    assert activity(state, state.t + 2).words == "extracting the answer 2.0s"
    error = ev.Failure(type="LMRateLimitError", message="429 Too Many Requests")
    script.add(ev.ModelRetrying(span="e1", attempt=2, of=5, error=error, delay_seconds=8))
    state = fold_all(script.events)
    assert activity(state, state.t + 3).words == "waiting 5 s (rate limit), attempt 2 of 5: 429 Too Many Requests"


def test_the_state_of_a_run_is_one_word_wherever_the_person_is() -> None:
    assert run_state(playhead(rich(until="batch"))) == ("● LIVE", "success")
    assert run_state(playhead(rich(until="batch"), "follow")) == ("● FOLLOWING", "success")
    paused = rich(until="planning")
    paused.add(ev.GateWaiting(at="code", why="you paused"))
    assert run_state(playhead(paused)) == ("❚❚ PAUSED before code", "operator")
    ended = playhead(rich(), "replay")
    assert run_state(ended) == ("✓ SUBMITTED", "success")
    rewind = ended.seek(30)
    assert rewind is not None
    rewind.fold()
    ended.adopt(rewind)
    assert run_state(ended) == ("❚❚ REPLAY ×1", "operator")
    ended.play(0.0)
    ended.speed = 4
    assert run_state(ended) == ("⏵ REPLAY ×4", "operator")


def test_what_must_not_be_overlooked_has_a_badge() -> None:
    script = rich(until="error")
    started = script.events[0]
    assert isinstance(started, ev.RunStarted)
    script.events[0] = replace(started, models=ev.Models(planner="offline", sub="offline", offline=True))
    script.add(ev.SandboxLost(backend="local", reason="killed by signal 9"))
    script.add(ev.ExtractionStarted(why="the limit of 20 iterations"))
    script.add(ev.Imported(source="rlms"))
    names = [name for name, _ in badges(fold_all(script.events), SourceEnd(False, "the engine ended"))]
    assert names == ["OFFLINE MODEL", "FORCED", "SANDBOX LOST", "ENGINE GONE", "IMPORTED FROM RLMS"]


def test_a_gate_says_why_it_waits() -> None:
    fan = ev.FanOut(prompts=8, chars=31_000, duplicates=1, estimated_cost_usd=0.004)
    assert why(ev.GateWaiting(at="fanout", why="", fanout=fan), 3) == "8 prompts · 31k chars · 1 duplicate · ~$0.004"
    error = ev.Failure(type="KeyError", message="'x'")
    assert why(ev.GateWaiting(at="error", why="failed", error=error), 75) == "KeyError: 'x' · 1:15"
    message = "File \"<cell 4>\", line 2\n    x = (\n        ^\nSyntaxError: '(' was never closed"
    error = ev.Failure(type="SyntaxError", message=message, line=2)
    assert why(ev.GateWaiting(at="error", why="failed", error=error), 3) == "SyntaxError: '(' was never closed · 3.0s"
    assert why(ev.GateWaiting(at="code", why="you paused"), 2) == "you paused · 2.0s"


def test_every_action_has_an_id_a_word_and_a_tooltip_and_no_key_that_terminals_confuse() -> None:
    ids = [binding.id for binding in BINDINGS]
    assert len(ids) == len(set(ids))
    for binding in BINDINGS:
        assert binding.description
        assert binding.tooltip or binding.id in ("run.next", "run.previous")
        keys = {key.strip() for key in binding.key.split(",")}
        assert not keys & {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket", "ctrl+enter"}


def test_what_the_gate_offers_can_be_done_there() -> None:
    actions = {binding.action for binding in BINDINGS}
    for at, offers in GATE_ACTIONS.items():
        for _, action in offers:
            assert action in actions
            assert offer(action, RunSituation(live=True, mode="live", gate=at)).why_not == ""
    for _, action in LOST_ACTIONS:
        assert action in actions
        assert offer(action, RunSituation(live=True, mode="live", gate="error", lost=True)).why_not == ""


def test_a_lost_sandbox_is_the_state_while_it_is_asked_about_and_a_badge_after() -> None:
    script = rich(until="executing")
    script.add(ev.SandboxLost(backend="local", reason="killed"))
    assert ("SANDBOX LOST", "error") in badges(fold_all(script.events), None)
    script.add(ev.GateWaiting(at="error", why="the sandbox is lost"))
    assert run_state(playhead(script)) == ("❚❚ SANDBOX LOST", "error")
    assert "SANDBOX LOST" not in dict(badges(fold_all(script.events), None))
    script.add(ev.GateResumed(at="error", decision="restart"))
    script.sandbox()
    assert ("SANDBOX RESTARTED", "operator") in badges(fold_all(script.events), None)


@pytest.mark.parametrize("action", ["step", "change", "tell", "restart", "retry", "skip", "finish", "evaluate",
                                    "breakpoints", "interrupt", "abort"])  # fmt: skip
def test_a_control_of_live_runs_says_of_a_record_why_it_does_nothing(action: str) -> None:
    assert "only a live run" in offer(action, RunSituation(mode="replay")).why_not
    assert "Another process" in offer(action, RunSituation(mode="follow")).why_not
    assert "over" in offer(action, RunSituation(mode="live", over=True)).why_not
    assert "engine has ended" in offer(action, RunSituation(mode="live")).why_not


def test_the_word_for_space_is_what_it_does_now() -> None:
    live = RunSituation(live=True, mode="live")
    words = [
        offer("pause", live).label,
        offer("pause", RunSituation(live=True, mode="live", pausing=True)).label,
        offer("pause", RunSituation(live=True, mode="live", gate="code")).label,
        offer("pause", RunSituation(live=True, mode="live", gate="fanout")).label,
        offer("pause", RunSituation()).label,
        offer("pause", RunSituation(playing=True, following=False)).label,
    ]
    assert words == ["Pause", "Don't pause", "Continue", "Send all", "Play", "Pause"]


def test_a_bar_shows_where_the_time_went_and_leaves_nothing_out() -> None:
    parts = bar(Cell(1, "ok", planner=9.0, sandbox=0.01, sub_llm=1.0, reached=True), 10)
    assert [(len(text), tone) for text, tone in parts] == [(8, "planner"), (1, "sandbox"), (1, "sub-llm")]
    assert sum(len(text) for text, _ in bar(Cell(1, "ok", 1.0, 1.0, 1.0, True), 10)) == 10
    assert bar(Cell(1, "planning", 0, 0, 0, True), 3) == [("───", "muted")]


def text_of(pieces: Figures) -> str:
    return "".join(text for text, _ in pieces)


def test_what_planner_and_sub_models_cost_is_told_apart_and_fits_beside_the_iterations_at_80_columns() -> None:
    state = fold_all(rich().events)
    state.spent = Spent()
    usage = ev.Usage(input=30_000, output=1000, cached=20_000)
    state.spent.add(usage, 0.0521, sub=False)
    state.spent.add(usage, 0.0032, sub=True)
    lengths = figures(state, 83)
    assert [text_of(one).partition(" · ")[2] for one in lengths] == [
        "62k tok (40k cached) · $0.06 (planner $0.05, sub-LLM <$0.01) · 1:23",
        "62k tok · $0.06 (planner $0.05, sub-LLM <$0.01) · 1:23",
        "62k tok · planner $0.05 + sub-LLM <$0.01 · 1:23",
        "62k tok · $0.05+<$0.01 · 1:23",
    ]
    assert {("$0.05", "planner"), ("<$0.01", "sub-llm")} <= set(lengths[-1])
    assert len(text_of(lengths[-1])) <= 50
    assert "planner spent  31,000 tokens, $0.05" in about(state, None)
    assert text_of(figures(state, 83, 90)[0]).endswith("1:23 of 1:30")


def test_parts_of_a_sum_are_rounded_as_the_sum() -> None:
    assert [dollars(part, 0.06) for part in (0.0521, 0.0079, 0.0032, 0)] == ["$0.05", "$0.01", "<$0.01", "$0"]
    assert [dollars(part, 0.009) for part in (0.0078, 0.0012)] == ["$0.0078", "$0.0012"]


def test_numbers_are_short() -> None:
    assert [count(n) for n in (7, 999, 1200, 41_400, 999_600, 3_200_000)] == ["7", "999", "1.2k", "41k", "1.0M", "3.2M"]
    assert [seconds(s) for s in (0.04, 9.94, 12.4, 59.6, 83)] == ["0.0s", "9.9s", "12s", "0:59", "1:23"]
    assert clock(3725) == "1:02:05"
    assert [dollars(d) for d in (0, 0.00001, 0.0004, 0.009, 0.07, 12.4)] == [
        "$0", "<$0.0001", "$0.0004", "$0.009", "$0.07", "$12.40",
    ]  # fmt: skip
    assert (plural(1, "call"), plural(3000, "call"), plural(2, "match", "matches")) == (
        "1 call", "3,000 calls", "2 matches",
    )  # fmt: skip
