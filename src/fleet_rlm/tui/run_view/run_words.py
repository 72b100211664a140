"""A run's state in words: what it does, what it waits for, how it ended, what must not be overlooked."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_rlm.figures import clock, dollars, plural, seconds, within
from fleet_rlm.state import CallState, PlannerState, RetryState, RunState
from fleet_rlm.terminal_text import clean_line, model_name
from fleet_rlm.tui.run_view.playhead import INSTANT, Playhead
from fleet_rlm.tui.sources.event_source import SourceEnd

Words = tuple[str, str]
"""(text, the theme's name of its colour)."""

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
BOUNDARIES = {
    "planner": "before the planner",
    "code": "before code",
    "fanout": "before a batch",
    "error": "on error",
}
ENDS: dict[str, Words] = {
    "submitted": ("✓ SUBMITTED", "success"),
    "extracted": ("◆ EXTRACTED", "sub-llm"),
    "stopped": ("■ STOPPED", "muted"),
    "failed": ("✗ FAILED", "error"),
    "aborted": ("■ ABORTED", "muted"),
}


def spinner(now: float) -> str:
    """A sign that something moves; the same at the same time."""
    return SPINNER[int(within(now) * 5) % len(SPINNER)]


def run_state(playhead: Playhead) -> Words:
    """The one word that says where the run and the person are."""
    edge, source = playhead.edge, playhead.source
    if not playhead.following:
        if playhead.growing and not playhead.playing:
            return "❚❚ EARLIER MOMENT", "operator"
        sign = "⏵" if playhead.playing else "❚❚"
        return f"{sign} REPLAY {speed(playhead.speed)}", "operator"
    if edge.is_over:
        return ENDS[edge.status]
    if source.end is not None:
        return ("■ ENDED EARLY", "error")
    if edge.waits_for_sandbox:
        return "❚❚ SANDBOX LOST", "error"
    if edge.gate is not None:
        return f"❚❚ PAUSED {BOUNDARIES[edge.gate.at]}", "operator"
    if source.mode == "follow":
        return "● FOLLOWING", "success"
    if source.mode == "replay":
        return "● OPENING", "muted"
    return "● LIVE", "success"


def speed(value: float) -> str:
    """`×1`, `×¼`, `×64`, `instant`."""
    if value == INSTANT:
        return "instant"
    return {0.25: "×¼", 0.5: "×½"}.get(value) or f"×{value:g}"


def badges(state: RunState, end: SourceEnd | None) -> list[Words]:
    """What must not be overlooked."""
    found: list[Words] = []
    if state.started and state.started.models.offline:
        found.append(("OFFLINE MODEL", "operator"))
    if words := unprotected(state):
        found.append((words, "operator"))
    if state.extraction is not None:
        found.append(("FORCED", "sub-llm"))
    if state.sandbox.times_lost > state.sandbox.restarts and not state.waits_for_sandbox:
        found.append(("SANDBOX LOST", "error"))
    elif state.sandbox.restarts:
        found.append(("SANDBOX RESTARTED", "operator"))
    if end is not None and not end.complete:
        found.append(("ENGINE GONE" if not state.is_over else "RECORD INCOMPLETE", "error"))
    if state.imported is not None:
        found.append((f"IMPORTED FROM {clean_line(state.imported.source, 24).upper()}", "muted"))
    return found


Figures = tuple[Words, ...]
"""Pieces of one line, to be joined by nothing."""


def figures(state: RunState, now: float, end: float | None = None) -> tuple[Figures, ...]:
    """Return a run's figures at `now` in several lengths, the fullest first; `end` is shown beside an earlier `now`.

    `14 calls, 2 failed · 41k tok (30k cached) · $0.07 of $0.50 (planner $0.05, sub-LLM $0.02) · 1:23`. Where that
    is too long, the planner's and the sub-models' dollars are told apart by the colours that both have everywhere.
    """
    spent, limit = state.spent, state.cost_limit
    failed = f", {state.failed_sub_calls:,} failed" if state.failed_sub_calls else ""
    calls = f"{plural(state.sub_calls, 'call')}{failed} · "
    time = (clock(now), "muted") if end is None else (f"{clock(now)} of {clock(end)}", "operator")
    money = spent.money_words(limit, apart=True)
    after = f"{f' of {dollars(limit)}' if limit is not None else ''} · "
    whole: Figures = (f"{money} · " if money else "", "muted"), time
    lengths: list[Figures] = [((calls + spent.token_words() + " · ", "muted"), *whole)]
    tokens = calls + spent.token_words(cached=False) + " · "
    lengths.append(((tokens, "muted"), *whole))
    if spent.has_two_parts:
        least = f"{tokens}{'at least ' if spent.unpriced else ''}"
        planner, sub = spent.dollars(spent.planner), spent.dollars(spent.sub)
        for one, plus, other in (("planner ", " + ", "sub-LLM "), ("", "+", "")):
            parts: Figures = (f"{one}{planner}", "planner"), (plus, "muted"), (f"{other}{sub}", "sub-llm")
            lengths.append(((least, "muted"), *parts, (after, "muted"), time))
    return tuple(lengths)


def sandbox(state: RunState, limit: int = 60) -> Words:
    """Where the code runs, and how it is kept in."""
    box = state.sandbox
    if box.status == "starting":
        return f"{box.backend}: starting", "muted"
    if box.status == "lost":
        return f"{box.backend}: lost", "error"
    if not box.isolation:
        return clean_line(box.backend, limit), "muted"
    words = f"{box.backend} · {box.isolation.replace(', ', ' · ')}"
    return clean_line(words, limit), "operator" if unprotected(state) else "sandbox"


def unprotected(state: RunState) -> str:
    """What the sandbox does not keep safe, when that is something a person would expect; else nothing."""
    words = state.sandbox.isolation.split()
    if "NOT" not in words:
        return ""
    return "NOT ISOLATED" if words[0] == "NOT" else "FILES NOT PROTECTED"


@dataclass(frozen=True, slots=True)
class Activity:
    """What a run does now."""

    words: str = ""
    tone: str = "muted"
    waiting: bool = False
    """True while something outside is waited for, such as a model."""


def activity(state: RunState, now: float) -> Activity:
    """What is going on at `now` (run time in seconds); nothing once the run is over, or waits for the person."""
    if state.is_over or state.gate is not None:
        return Activity()
    if state.progress:
        step = next(iter(state.progress.values()))
        share = f"{step.done * 100 // max(step.total, 1)}%"
        return Activity(f"{clean_line(step.what, 40)} {share}", waiting=True)
    iteration = state.iteration
    planner = iteration.planners[-1] if iteration and iteration.planners else None
    if planner is not None and planner.finished is None:
        return Activity(planner_words(planner, now), "planner", waiting=not planner.streamed)
    if iteration is not None and iteration.executions and iteration.executions[-1].finished is None:
        return _executing(state, now)
    if state.sandbox.status == "starting":
        what = clean_line(state.sandbox.what, 40) or "starting the sandbox"
        return Activity(f"{what} {seconds(now - state.sandbox.since)}", "sandbox", waiting=True)
    if state.extraction is not None and state.extraction_finished is None:
        retry = state.extraction_retry
        words = retry_words(retry, now) if retry else f"extracting the answer {seconds(now - state.extraction.t)}"
        return Activity(words, "sub-llm", waiting=True)
    if state.started is None:
        return Activity(f"starting {seconds(now)}", waiting=True)
    return Activity("starting the next step" if state.iterations else "preparing", waiting=True)


def planner_words(planner: PlannerState, now: float) -> str:
    """`waiting for gpt-5.1 12s`, `gpt-5.1 writes 3.0s`, `waiting 4 s (rate limit), attempt 2 of 5: slow down`."""
    model = model_name(planner.model)
    if planner.retry is not None:
        return retry_words(planner.retry, now)
    took = seconds(now - planner.started)
    if planner.streamed:
        return f"{model} writes {took}"
    if planner.thinking:
        return f"{model} thinks {took}"
    return f"waiting for {model} {took}"


def retry_words(retry: RetryState, now: float) -> str:
    """What a failed model call waits for, and what its provider said."""
    left = max(0.0, retry.t + retry.delay_seconds - now)
    return f"{retry.words(left)}: {clean_line(retry.error.message, 60)}"


def _executing(state: RunState, now: float) -> Activity:
    assert state.iteration is not None
    execution = state.iteration.executions[-1]
    call = state.calls[-1] if state.calls else None
    if call is not None and call.execution == execution.span:
        batch = state.calls_by_span.get(call.parent or "")
        if batch is not None and batch.type == "batch":
            call = batch
        if call.finished is None:
            return Activity(_call_words(call, now), "sub-llm", waiting=True)
    return Activity(f"executing {seconds(now - execution.started)}", "sandbox")


def _call_words(call: CallState, now: float) -> str:
    took = seconds(now - call.started)
    if call.type == "batch":
        failed = f", {call.members_failed} failed" if call.members_failed else ""
        return f"batch {call.members_done}/{call.size or '?'}{failed} {took}"
    if call.retry is not None:
        return retry_words(call.retry, now)
    if call.type == "sub_llm":
        return f"asking {model_name(call.model)} {took}"
    kind = "sub-agent" if call.type == "sub_agent" else "tool"
    return f"{kind} {clean_line(call.function, 30)} {took}"
