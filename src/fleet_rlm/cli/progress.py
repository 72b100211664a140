"""What a run is doing, on stderr while it runs: one line that changes on a terminal, lines that stay elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from fleet_rlm import events as ev
from fleet_rlm.figures import clock, plural, seconds
from fleet_rlm.state import IterationState, RetryState, RunState, fold
from fleet_rlm.terminal_text import clean_line

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

FRAMES_A_SECOND = 8
LINE_CHARS = 160
_WORTH_TELLING = 0.05
"""Seconds: parts of a start that took less go unsaid."""
WHOLE_CHARS = 20_000
"""Most characters of a line that is no use when it is cut: a command to copy, code."""
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_OUTCOMES = {"ok": "✓", "submitted": "✓", "error": "✗", "skipped": "–"}


class Progress:
    """Hears a run's events (`hear` is a recorder's listener) and shows where it stands."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None) -> None:
        """`verbose` shows each step whole: reasoning, code and output."""
        self.state = RunState()
        self.watch: Callable[[], str] | None = None
        """Words that say how to watch the run, once it has begun."""
        self._quiet, self._verbose = quiet, verbose
        self._stream = stream or sys.stderr
        self._live: Live | None = None
        self._frame = 0
        self._heard = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        if not self._quiet and self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
            self._live = Live(
                get_renderable=self._line, console=console, refresh_per_second=FRAMES_A_SECOND, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def hear(self, event: ev.Event, line: bytes) -> None:
        """Take an event in; called from the run's threads, one at a time."""
        del line
        with self._lock:
            self._heard = time.monotonic()
            fold(self.state, event)  # type: ignore[arg-type]  # a recorder's event is one of the known kinds
            lines = self._lines(event)
        for words, limit in lines:
            self._print(words, limit)

    def _lines(self, event: ev.Event) -> list[tuple[str, int]]:
        """Return the lines that stay on the screen for an event, each with its most characters."""
        if self._quiet:
            return []
        words = news(self.state, event)
        lines = [(words, LINE_CHARS)] if words is not None else []
        if isinstance(event, ev.RunStarted) and self.watch is not None:
            lines.append((self.watch(), WHOLE_CHARS))
        if self._verbose:
            lines += [(line, WHOLE_CHARS) for line in whole(event)]
        return lines

    def _print(self, words: str, limit: int) -> None:
        text = clean_line(words, limit)
        if self._live is not None:
            from rich.text import Text

            cut = limit == LINE_CHARS
            self._live.console.print(Text(text), overflow="ellipsis" if cut else "fold", no_wrap=cut, soft_wrap=not cut)
        else:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()

    def _line(self) -> Text:
        from rich.text import Text

        self._frame += 1
        with self._lock:
            words = now(self.state, self.state.t + time.monotonic() - self._heard)
        line = Text(f"{_SPINNER[self._frame % len(_SPINNER)]} {clean_line(words, LINE_CHARS)}")
        line.no_wrap, line.overflow = True, "ellipsis"
        return line


def news(state: RunState, event: ev.Event) -> str | None:
    """The line that stays, for an event that deserves one; `state` holds the event already."""
    match event:
        case ev.RunStarted(run_id=run_id, models=models):
            model = "OFFLINE model" if models.offline else models.planner
            return f"run {run_id} · {event.task.name} · {model}"
        case ev.SandboxReady(backend=backend, isolation=isolation):
            return f"sandbox ready in {seconds(event.seconds)}{_parts(event.steps)} · {backend}: {isolation}"
        case ev.SandboxLost(reason=reason, recovered=recovered):
            return f"sandbox lost: {reason}" + (" · started again, without its variables" if recovered else "")
        case ev.ModelRetrying(attempt=attempt, of=of, error=error, delay_seconds=delay):
            return f"{RetryState(attempt, of, error, delay, event.t).words()}: {error.message}"
        case ev.HistoryShortened():
            return event.words
        case ev.Notice(text=text, level=level):
            return f"{level}: {text}" if level != "info" else text
        case ev.PlannerFinished(error=ev.Failure(message=message, hint=hint)):
            return f"planner failed: {message}" + (f". {hint}" if event.cut and hint else "")
        case ev.ExtractionFinished(cut=True):
            return "the final answer was cut off at its token limit: its end is missing"
        case ev.ExtractionStarted(why=why):
            return f"forcing the final answer: {why}"
        case ev.Submitted(rejected=str() as rejected):
            return f"submission refused: {rejected}"
        case ev.ExecutionFinished() if event.iteration is not None:
            return _iteration(state, event)
    return None


def _parts(steps: Mapping[str, float]) -> str:
    """Return the long steps of a start with their seconds; empty when one figure says all."""
    long = [f"{name} {seconds(took)}" for name, took in steps.items() if took >= _WORTH_TELLING]
    return f" ({', '.join(long)})" if len(steps) > 2 and long else ""


def whole(event: ev.Event) -> list[str]:
    """The lines of an event for somebody who wants to see everything."""
    if isinstance(event, ev.ExecutionStarted) and event.origin == "replayed":
        return [f"  (step {event.iteration} runs again)"]
    match event:
        case ev.PlannerFinished(reasoning=reasoning) if reasoning:
            return [f"    {line}" for line in reasoning.splitlines()]
        case ev.ExecutionStarted(code=code):
            return [f"  │ {line}" for line in code.splitlines()]
        case ev.Output(text=text):
            return [f"  > {line}" for line in text.splitlines()]
        case ev.ExecutionFinished(error=ev.Failure(message=message)):
            return [f"  ✗ {line}" for line in message.splitlines()]
        case ev.CallFinished(error=ev.Failure(message=message)):
            return [f"  ✗ a call failed: {message}"]
    return []


def _iteration(state: RunState, event: ev.ExecutionFinished) -> str | None:
    if state.agent(event.span) is not None:
        return None
    step = next((step for step in reversed(state.iterations) if step.number == event.iteration), None)
    if step is None or all(execution.finished is not event for execution in step.executions):
        return None  # a step that ran again, to rebuild what a lost sandbox held, was told of before
    about = next((line for line in (step.reasoning or step.code).splitlines() if line.strip()), "")
    calls, failed = _calls_of(state, step)
    parts = [f"{_OUTCOMES.get(event.outcome, '✗')} {step.number}/{step.of}"]
    parts += [f"planner {seconds(step.planner_seconds)}", f"ran {seconds(event.seconds)}"]
    if calls:
        parts.append(plural(calls, "call") + (f", {failed:,} failed" if failed else ""))
    if event.error is not None:
        parts.append(event.error.line_of_words)
    elif event.outcome not in _OUTCOMES:
        parts.append(event.outcome)
    return " · ".join([*parts, about])


def _calls_of(state: RunState, step: IterationState) -> tuple[int, int]:
    """Count the calls of a step and those that failed; a batch counts as its members."""
    cells = {execution.span for execution in step.executions}
    made = [call for call in state.calls if call.execution in cells and call.type != "batch"]
    return len(made), sum(call.status == "failed" for call in made)


def now(state: RunState, t: float) -> str:
    """Describe the run's state `t` seconds after its start, in one line."""
    parts = [_doing(state, t)]
    if state.calls:
        waiting = f" ({state.open_sub_calls} open)" if state.open_sub_calls else ""
        failed = f", {state.failed_calls:,} failed" if state.failed_calls else ""
        parts.append(plural(len(state.calls), "call") + failed + waiting)
    if state.spent.tokens:
        parts.append(state.spent.token_words())
    if money := state.spent.money_words(state.cost_limit):
        parts.append(money)
    parts.append(clock(t))
    return " · ".join(parts)


def _doing(state: RunState, t: float) -> str:
    if state.started is None:
        return "reading documents"
    for work in state.progress.values():
        return f"{work.what} {100 * work.done // max(work.total, 1)}%"
    step = state.iteration
    if state.extraction is not None:
        return "forcing the final answer"
    if step is None:
        return (state.sandbox.what or "starting the sandbox") if state.sandbox.status == "starting" else "starting"
    doing, since = "", t
    if step.status == "executing":
        doing, since = "executing", step.executions[-1].started
    elif step.status == "planning" and step.planners:
        call = step.planners[-1]
        doing, since = ("planning" if call.streamed or call.thinking else "waiting for the model"), call.started
        if call.retry is not None:
            doing = call.retry.words(max(0.0, call.retry.t + call.retry.delay_seconds - t))
    return f"{step.number}/{step.of} {doing} {seconds(t - since)}" if doing else f"{step.number}/{step.of}"
