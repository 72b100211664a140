"""Remarks that a reader should know before trusting a run's answer, computed from its record alone."""

from __future__ import annotations

from fleet_rlm.figures import count
from fleet_rlm.state import IterationState, RunState

SHOWN_AT_MOST = 0.5
"""Above this share of a text the bound on what was looked at says nothing worth a remark."""


def remarks(state: RunState) -> list[str]:
    """One line each, the weightiest first; empty when there is nothing to say."""
    found: list[str] = []
    finished = state.finished
    if finished is not None and finished.error is not None:
        found.append(finished.error.message)
    if finished is not None and finished.reason:
        found.append(finished.reason)
    if state.extraction is not None:
        found.append(f"the answer was forced: {state.extraction.why}")
    if finished is None and state.started is not None and state.gate is not None:
        found.append(f"it waits: {state.gate.why}")
    found += _sandbox(state) + _calls(state) + _code(state) + _looked_at(state) + _operator(state)
    if state.started is not None and state.started.models.offline:
        found.append("offline model: it searches and quotes, it does not reason")
    if state.spent.usage.estimated:
        found.append("tokens are estimated: the provider did not count them")
    return found


def seconds_by_iteration(state: RunState) -> list[float]:
    """Return the seconds of planner and sandbox together for each iteration, for a sparkline."""
    return [turn.planner_seconds + turn.sandbox_seconds for turn in state.iterations]


def _sandbox(state: RunState) -> list[str]:
    lost = state.sandbox.times_lost
    if not lost:
        return []
    restarted = f", and restarted {_times(state.sandbox.restarts)}" if state.sandbox.restarts else ""
    return [f"the sandbox was lost {_times(lost)}{restarted}: {state.sandbox.reason}"]


def _calls(state: RunState) -> list[str]:
    found = []
    if state.failed_calls:
        first = next((call.finished.error for call in state.calls if call.finished and call.finished.error), None)
        why = f", first: {first.message}" if first else ""
        of = f" of {len(state.calls):,}" if state.calls else ""
        found.append(f"{state.failed_calls:,}{of} calls failed{why}")
    if state.is_over and state.outputs and state.iterations and not state.sub_calls:
        found.append("no sub-LLM was asked: the answer rests on what the code printed")
    return found


def _code(state: RunState) -> list[str]:
    found = []
    broken = [turn for turn in state.iterations if turn.status == "error"]
    if broken:
        error = broken[-1].error
        what = f" ({error.type})" if error else ""
        turns = ", ".join(str(turn.number) for turn in broken[:6]) + (" …" if len(broken) > 6 else "")
        found.append(f"iteration {turns} failed{what}" if len(broken) == 1 else f"iterations {turns} failed")
    refused = sum(1 for turn in state.iterations if turn.rejected)
    if refused:
        found.append(f"a submission was refused {_times(refused)}")
    hidden = sum(_hidden(turn) for turn in state.iterations)
    if hidden:
        found.append(f"the planner did not see {count(hidden)} characters that its code printed")
    return found


def _hidden(turn: IterationState) -> int:
    """Characters that were printed and not shown to the planner."""
    hidden = 0
    for execution in turn.executions:
        done = execution.finished
        if done is not None and done.shown_to_planner is not None:
            shown = done.shown_to_planner.head + done.shown_to_planner.tail
            hidden += max(0, done.stdout_chars - shown)
    return hidden


def _looked_at(state: RunState) -> list[str]:
    """An upper bound: all that was printed or sent cannot be more of the text than its own length."""
    if state.started is None or not state.is_over:
        return []
    chars = sum(document.chars for given in state.started.inputs for document in given.documents)
    if not chars:
        return []
    sent = sum(len(call.prompt or "") for call in state.calls)
    printed = sum(execution.finished.stdout_chars for execution in state.executions.values() if execution.finished)
    share = (sent + printed) / chars
    if share >= SHOWN_AT_MOST:
        return []
    percent = "less than 1%" if share < 0.01 else f"at most {share:.0%}"
    return [f"{percent} of the text was printed or sent to a sub-LLM; the rest was seen by code only"]


def _operator(state: RunState) -> list[str]:
    words = {"edit": "code changed", "hint": "hint given", "eval": "expression evaluated", "finish": "finished early"}
    done = []
    for action, word in words.items():
        number = sum(1 for event in state.operator if event.action == action)
        if number:
            done.append(f"{word} {_times(number)}" if number > 1 else word)
    return [f"by the operator: {', '.join(done)}"] if done else []


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
