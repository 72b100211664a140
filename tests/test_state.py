"""Folding events gives the state that screens show, whatever the events are."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm import events as ev
from fleet_rlm.state import RunState, fold, fold_all, state_at
from runs.recording import finished, middle, started
from strategies import any_event


def run(*events: ev.Event) -> RunState:
    """The state after these, stamped a second apart."""
    return fold_all(msgspec.structs.replace(event, seq=n, t=float(n)) for n, event in enumerate(events))


@settings(max_examples=300)
@given(st.lists(any_event(), max_size=40))
def test_no_sequence_of_events_breaks_the_fold(events: list[ev.Event]) -> None:
    state = RunState()
    for event in events:
        assert fold(state, event) is state
    assert state.events == len(events)
    for iteration in state.iterations:
        assert iteration.status
        assert iteration.error is None or iteration.code is not None
    for call in state.calls:
        assert isinstance(call.answer, str)
    assert state.sub_calls >= state.open_sub_calls >= 0
    assert state.is_over == (state.status in ("submitted", "extracted", "stopped", "failed", "aborted"))


@given(st.lists(any_event(), max_size=25), st.data())
def test_folding_in_two_parts_is_folding_at_once(events: list[ev.Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    parts = fold_all(events[cut:], fold_all(events[:cut]))
    assert copy.deepcopy(parts) == fold_all(events)


def test_an_unknown_kind_changes_nothing_but_the_count() -> None:
    state = run(started())
    fold(state, ev.Unknown(kind="dream", seq=1, t=9.0))
    assert (state.events, state.t, state.status) == (2, 9.0, "running")


def test_a_small_run_is_folded_into_what_screens_show() -> None:
    state = run(started(), *middle(), finished())
    assert (state.status, state.question) == ("submitted", "What is the access code?")
    assert state.sandbox.isolation == "no network"
    (iteration,) = state.iterations
    assert (iteration.number, iteration.of, iteration.status) == (1, 5, "submitted")
    assert (iteration.reasoning, iteration.code) == ("I look for the code.", "print(1)")
    assert "".join(iteration.planners[0].streamed) == "I look for the code."
    assert [chunk.text for chunk in state.output] == ["1\n"]
    (call,) = state.calls
    assert (call.number, call.status, call.answer, call.prompt, call.iteration) == (1, "done", "7741", "what?", 1)
    assert state.executions["x1"].calls == 1
    assert state.variables["x"].variable.preview == "1"
    assert (state.spent.usage.input, state.spent.usage.output, state.spent.cost_usd) == (13, 4, 0.01)
    assert state.outputs == {"answer": "The access code is 7741."}


def test_an_earlier_moment_is_folded_up_to_it() -> None:
    events = [msgspec.structs.replace(e, seq=n, t=float(n)) for n, e in enumerate([started(), *middle(), finished()])]
    for event in events:
        state = state_at(events, event.seq)
        assert state.last_seq == event.seq
        assert state == fold_all(events[: event.seq + 1])
    assert state_at(events, 4).iterations[0].status == "planning"


def planner(number: int, content: str, base: str | None = None, reuse: int = 0) -> ev.PlannerStarted:
    message = ev.Message(role="user", content=content, reuse=reuse)
    return ev.PlannerStarted(prompt=(message,), base=base, span=f"p{number}", iteration=number)


def test_a_prompt_is_put_together_from_what_was_added_to_earlier_ones() -> None:
    state = run(
        started(),
        ev.IterationStarted(of=3, iteration=1, span="i1"),
        planner(1, "question; nothing yet"),
        ev.IterationStarted(of=3, iteration=2, span="i2"),
        planner(2, "one step", base="p1", reuse=10),
        planner(3, " and another", base="p2", reuse=18),
    )
    assert [state.planners[f"p{n}"].prompt[0][1] for n in (1, 2, 3)] == [
        "question; nothing yet",
        "question; one step",
        "question; one step and another",
    ]


def test_a_retried_planner_call_starts_its_text_again() -> None:
    failure = ev.Failure(type="RateLimit", message="429")
    state = run(
        started(),
        ev.IterationStarted(of=3, iteration=1, span="i1"),
        planner(1, "x"),
        ev.PlannerDelta(text="half an ans", span="p1"),
        ev.ModelRetrying(attempt=2, of=4, error=failure, delay_seconds=3.0, span="p1"),
    )
    call = state.planners["p1"]
    assert call.streamed == []
    assert call.retry is not None
    assert call.retry.delay_seconds == 3.0
    fold(state, ev.PlannerDelta(text="again", span="p1", seq=9, t=9.0))
    assert (call.streamed, call.retry) == (["again"], None)


def call_started(span: str, parent: str, kind: ev.CallType = "sub_llm", **fields: object) -> ev.CallStarted:
    return ev.CallStarted(type=kind, function="f", span=span, parent=parent, iteration=1, **fields)


EXECUTING = (ev.IterationStarted(of=3, iteration=1, span="i1"), ev.ExecutionStarted(code="f()", span="x1", iteration=1))


def test_the_time_of_overlapping_sub_calls_counts_once() -> None:
    state = run(
        started(),
        *EXECUTING,
        call_started("b", "x1", "batch", size=2),  # t = 3
        call_started("c1", "b", index=0),  # 4
        call_started("c2", "b", index=1),  # 5
        ev.CallFinished(span="c1", answer="1"),  # 6
        ev.CallFinished(span="c2", error=ev.Failure(type="E", message="no")),  # 7
        ev.CallFinished(span="b"),  # 8
        call_started("c3", "x1"),  # 9
        ev.CallFinished(span="c3"),  # 10
    )
    assert state.iterations[0].sub_llm_seconds == pytest.approx((7 - 4) + (10 - 9))
    assert (state.sub_calls, state.open_sub_calls, state.failed_calls) == (3, 0, 1)
    assert [call.status for call in state.calls] == ["done", "done", "failed", "done"]
    assert {call.execution for call in state.calls} == {"x1"}


def test_a_call_that_finishes_twice_counts_once() -> None:
    finish = ev.CallFinished(span="c1", answer="1", usage=ev.Usage(input=5), cost_usd=0.5)
    state = run(started(), *EXECUTING, call_started("c1", "x1"), finish, finish)
    assert (state.open_sub_calls, state.spent.usage.input, state.spent.cost_usd) == (0, 5, 0.5)


def test_a_span_used_for_two_calls_keeps_the_count_of_open_ones_right() -> None:
    again = call_started("c1", "x1")
    state = run(started(), *EXECUTING, again, again, ev.CallFinished(span="c1"), ev.CallFinished(span="c1"))
    assert state.open_sub_calls == 0


def test_a_queued_call_runs_when_its_turn_comes() -> None:
    state = run(started(), *EXECUTING, call_started("c1", "x1", queued=True))
    (call,) = state.calls
    assert (call.status, call.ran) == ("queued", None)
    fold(state, ev.CallRunning(span="c1", queued_seconds=2.0, seq=9, t=9.0))
    assert (call.status, call.ran) == ("running", 9.0)


def test_what_a_sub_agent_does_is_its_own() -> None:
    state = run(
        started(),
        *EXECUTING,
        call_started("agent", "x1", "sub_agent"),
        ev.IterationStarted(of=2, iteration=1, span="ai1", parent="agent"),
        ev.ExecutionStarted(code="inner()", span="ax1", parent="ai1", iteration=1),
        ev.Output(stream="stdout", text="inner", span="ax1", parent="ai1"),
        ev.Variables(added=(ev.Variable(name="secretly", type="int"),), span="ax1"),
        call_started("c9", "ax1"),
        ev.Submitted(outputs={"answer": "inner"}, span="as1", parent="ai1", iteration=1),
    )
    (agent, inner) = state.calls
    assert [iteration.code for iteration in agent.iterations] == ["inner()"]
    assert agent.iterations[0].submitted
    assert [iteration.code for iteration in state.iterations] == ["f()"]
    assert (state.output, state.variables, state.outputs) == ([], {}, {})
    assert (agent.depth, inner.depth) == (0, 1)


def test_variables_come_change_and_go_and_are_lost_with_the_sandbox() -> None:
    one, two = ev.Variable(name="x", type="int", preview="1"), ev.Variable(name="x", type="int", preview="2")
    other = ev.Variable(name="y", type="str")
    state = run(
        started(),
        *EXECUTING,
        ev.Variables(added=(one, other), span="x1", iteration=1),
        ev.Variables(changed=(two,), removed=("y",), span="x1", iteration=2),
    )
    assert (state.variables["x"].variable.preview, state.variables["x"].change) == ("2", "changed")
    assert state.removed_variables == {"y": 2}
    fold(state, ev.SandboxLost(backend="local", reason="killed", recovered=True, seq=9, t=9.0))
    assert state.variables == {}
    assert (state.sandbox.status, state.sandbox.times_lost) == ("ready", 1)


def test_the_gate_is_shown_while_the_run_waits_and_gone_after() -> None:
    state = run(started(), ev.Operator(action="pause"))
    assert state.pause_requested
    fold(state, ev.GateWaiting(at="code", why="paused", code="x", seq=2, t=2.0))
    assert (state.status, state.gate_since, state.pause_requested) == ("waiting", 2.0, False)
    fold(state, ev.GateResumed(at="code", decision="step", seq=3, t=3.0))
    assert (state.status, state.gate, state.pause_requested) == ("running", None, True)


def test_a_hint_belongs_to_the_next_prompt() -> None:
    state = run(started(), ev.Operator(action="hint", text="look at the end"))
    assert state.pending_hints == ["look at the end"]
    fold_all([ev.IterationStarted(of=3, iteration=1, span="i1", seq=2, t=2.0), planner(1, "x")], state)
    assert state.pending_hints == []
    assert state.iterations[0].hints == ["look at the end"]


def test_progress_is_there_until_it_is_done_or_the_run_is() -> None:
    state = run(started(), ev.Progress(what="index", done=1, total=3), ev.Progress(what="send", done=1, total=9))
    fold(state, ev.Progress(what="index", done=3, total=3))
    assert list(state.progress) == ["send"]
    fold(state, finished())
    assert state.progress == {}


def test_after_the_end_nothing_brings_a_run_back() -> None:
    state = run(started(), finished("aborted"))
    for event in (
        ev.GateResumed(at="code", decision="continue"),
        ev.GateWaiting(at="code", why="late"),
        started(),
        ev.SandboxStopped(backend="local"),
    ):
        fold(state, event)
        assert state.is_over
        assert state.status == "aborted"
