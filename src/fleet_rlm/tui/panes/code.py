"""Code: what the planner thought and wrote in an iteration, as it writes and as it ran; or the prompt it was given."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import ClassVar

from textual import work
from textual.message import Message

from fleet_rlm import events as ev
from fleet_rlm import replies
from fleet_rlm.figures import dollars, seconds, within
from fleet_rlm.state import ExecutionState, IterationState, PlannerState, RunState
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.run_view.run_words import activity, planner_words, spinner
from fleet_rlm.tui.widgets.highlight import highlighted, possible, quick, unhighlighted
from fleet_rlm.tui.widgets.line_view import LineView
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import Row, Span, TextRows, cut, lines_of, rows_of

Line = tuple[str, tuple[Span, ...]]
HINT_CHARS = 600
"""Of a hint to the planner this much stands above the code; all of it is in Output and Events."""


class CodePane(TextPane):
    """Shows the newest iteration of the view. Once the person scrolls in it, it stays with the iteration that they
    read, and says that another has begun.
    """

    TAIL: ClassVar[bool] = False

    class Highlighted(Message):
        """From the thread that highlights long code."""

        def __init__(self, code: str, lines: list[Line]) -> None:
            super().__init__()
            self.code, self.lines = code, lines

    def __init__(self) -> None:
        super().__init__("code")
        self.wrap = True
        self.prompt_shown = False
        self._moment: Moment | None = None
        self._drawn: tuple[object, ...] = ()
        self._iteration: IterationState | None = None
        self._held: IterationState | None = None
        self._long: dict[str, list[Line]] = {}
        self._gate_seq = -1
        self._failed_row: int | None = None
        """The row with the line that failed, or else with the error."""

    # What it shows

    def show(self, moment: Moment) -> None:
        before = self._moment
        self._moment = moment
        state = moment.state
        if before is None or before.generation != moment.generation:
            self._held = None
        gate_seq = state.gate.seq if state.gate is not None else -1
        fresh_gate = gate_seq not in (self._gate_seq, -1)
        if gate_seq != self._gate_seq:  # what the run waits for is shown; then what it goes on with
            self._gate_seq, self._held = gate_seq, None
            self.prompt_shown = self.prompt_shown and not fresh_gate
        iteration = self._held or _at_gate(state)
        planner = iteration.planners[-1] if iteration and iteration.planners else None
        execution = iteration.executions[-1] if iteration and iteration.executions else None
        streaming = planner is not None and planner.finished is None
        waiting = planner is not None and streaming and not planner.streamed
        key = (
            moment.generation,
            self.prompt_shown,
            iteration and (iteration.number, iteration.status, len(iteration.planners), len(iteration.executions)),
            planner and (len(planner.streamed), len(planner.thinking), planner.finished is None, planner.retry),
            execution and execution.finished is None,
            (state.gate.seq if state.gate else None),
            iteration and (len(iteration.hints), iteration.rejected),
            int(within(moment.now) * 5) if waiting and not self.prompt_shown else None,
            (activity(state, moment.now).words, state.status) if iteration is None else None,
            len(self._long),
        )
        if key == self._drawn:
            return
        same = iteration is self._iteration and bool(self._drawn) and self._drawn[1] == self.prompt_shown
        self._drawn, self._iteration = key, iteration
        drawn = list(self._rows(state, iteration, moment.now))
        rows = TextRows(drawn, gutter_width=5)
        failed = (place for place, row in enumerate(drawn) if row.gutter.endswith("✗ ") or row.text.startswith("✗ "))
        self._failed_row = next(failed, None)
        follow = streaming and not self.prompt_shown and self._held is None
        self.show_rows(rows, keep_place=same)
        if fresh_gate and self._failed_row is not None:
            self._go(self._step((self._failed_row, 0), -(self.page // 3)), by_person=False)
        elif follow:
            self.to_end()
        elif same and not streaming and self._held is None and self.top[0] > 0 and self._was_streaming:
            self.action_top()
        self._was_streaming = streaming

    _was_streaming = False

    @property
    def iteration(self) -> IterationState | None:
        """The one that is shown."""
        return self._iteration

    @property
    def code(self) -> str:
        """The code that is shown, as it is: pending, running or over."""
        state, iteration = self._moment.state if self._moment else None, self._iteration
        if state is not None and iteration is state.iteration and state.gate is not None and state.gate.code:
            return state.gate.code
        return iteration.code if iteration is not None else ""

    def item(self) -> tuple[str, str]:
        if self.prompt_shown:
            assert isinstance(self.rows, TextRows)
            return "the prompt", self.rows.text()
        return "the code", self.code

    @property
    def frame_words(self) -> FrameWords:
        iteration, moment = self._iteration, self._moment
        if iteration is None or moment is None:
            return FrameWords(figures=self.place_words())
        extra = f"iteration {iteration.number}"
        if self.prompt_shown:
            extra += " · prompt"
        execution = iteration.executions[-1] if iteration.executions else None
        if execution is not None and execution.origin != "planner":
            extra += " · changed by you" if execution.origin == "operator" else " · replayed"
        newest = moment.state.iteration
        if self._held is not None and newest is not None and newest is not self._held:
            return FrameWords(extra, f"▼ {newest.number} has begun · f", alert=True)
        if words := self.place_words():
            return FrameWords(extra, words)
        return FrameWords(extra, " · ".join(_figures(iteration, moment.now)))

    def release(self) -> None:
        """Go on with the newest iteration."""
        self._held = None

    def toggle_prompt(self) -> bool:
        """Show the prompt in place of the code, or the code again. Returns what is shown now."""
        self.prompt_shown = not self.prompt_shown
        if self._moment is not None:
            self.show(self._moment)
        return self.prompt_shown

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        if message.view is self and self.has_focus and self.top > (0, 0) and self._iteration is not None:
            streaming = self._iteration.planners and self._iteration.planners[-1].finished is None
            if not (streaming and self.at_end):
                self._held = self._iteration
        elif message.view is self and self.top == (self.rows.first, 0):
            self._held = None

    # Its rows

    def _rows(self, state: RunState, iteration: IterationState | None, now: float) -> Iterator[Row]:
        if iteration is None:
            doing = activity(state, now)
            if state.is_over:
                yield Row("The run ended before its first iteration.", "muted")
            else:
                yield Row(f"{spinner(now)} {doing.words or 'waiting for the first event'}", "muted")
            return
        if self.prompt_shown:
            yield from _prompt_rows(iteration)
            return
        for hint in iteration.hints:
            more = f"… ({len(hint):,} characters)" if len(hint) > HINT_CHARS else ""
            yield from _prefixed("» ", f"you told the planner: {hint[:HINT_CHARS]}{more}", "operator")
        if iteration.shortened is not None:
            yield from _prefixed("≈ ", iteration.shortened.words, "warning")
        planner = iteration.planners[-1] if iteration.planners else None
        if planner is not None and planner.finished is None:
            yield from _streaming_rows(planner, now)
            return
        if reasoning := iteration.reasoning.strip():
            yield from rows_of(reasoning, "italic planner")
            yield Row("")
        if planner is not None and planner.finished is not None and planner.finished.error is not None:
            if planner.finished.cut:
                yield Row("cut off at its token limit: none of it ran", "operator")
            yield from _failure_rows(planner.finished.error)
            yield from rows_of(planner.finished.text, "muted")
        yield from self._code_rows(state, iteration)

    def _code_rows(self, state: RunState, iteration: IterationState) -> Iterator[Row]:
        execution = iteration.executions[-1] if iteration.executions else None
        pending = state.gate if iteration is state.iteration and execution is None else None
        code = pending.code if pending is not None and pending.code else iteration.code
        if not code.strip():
            if not iteration.planners:
                yield Row("the planner has not been asked yet", "muted")
            elif execution is None and iteration.status != "error":
                yield Row("no code in this step", "muted")
            return
        if iteration.skipped:
            yield Row("⤼ skipped by you: it did not run", "operator")
        changed = _changed_lines(iteration, execution)
        error = execution.finished.error if execution is not None and execution.finished is not None else None
        for number, (line, spans) in enumerate(self._lines_of(code), 1):
            failed = error is not None and error.line == number
            sign = "✗" if failed else "▎" if number in changed else " "
            tone = "bold error" if failed else "operator" if number in changed else "muted"
            first = True
            for row in cut(line, "on:panel" if failed else "", f"{number}{sign} ", tone, indent=_indent(line)):
                yield Row(row.text, row.tone, spans if first else (), row.gutter, tone, row.continued, row.indent)
                first = False
            if failed and error is not None:
                pad = " " * (len(line) - len(line.lstrip()))
                yield from _prefixed(f"{pad}╰ ", error.words, "error")
        if error is not None and not (error.line and error.line <= code.count("\n") + 1):
            yield Row("")
            yield from _failure_rows(error)
        if iteration.rejected is not None:
            yield Row("")
            yield from _prefixed("✗ ", f"the answer was refused: {iteration.rejected}", "error")

    def _lines_of(self, code: str) -> list[Line]:
        if quick(code):
            return highlighted(code)
        if code in self._long:
            return self._long[code]
        if possible(code):
            self._highlight(code)
        return unhighlighted(code)

    @work(thread=True, group="highlight", exclusive=True)
    def _highlight(self, code: str) -> None:
        self.post_message(self.Highlighted(code, highlighted(code)))

    def on_code_pane_highlighted(self, message: Highlighted) -> None:
        message.stop()
        if len(self._long) > 8:
            self._long.clear()
        self._long[message.code] = message.lines
        if self._moment is not None:
            self.show(self._moment)


def _at_gate(state: RunState) -> IterationState | None:
    """The newest iteration; at an error the one whose cell failed, when the next has begun without a planner."""
    newest, gate = state.iteration, state.gate
    if gate is not None and gate.at == "error" and newest is not None and not (newest.planners or newest.executions):
        return next((one for one in reversed(state.iterations) if one.error is not None), newest)
    return newest


def _figures(iteration: IterationState, now: float) -> Iterator[str]:
    planner = iteration.planners[-1] if iteration.planners else None
    if planner is not None:
        if planner.finished is None:
            if planner.streamed:
                yield planner_words(planner, now)
            return
        words = f"planner {seconds(iteration.planner_seconds)}"
        if planner.finished.cost_usd:
            words += f" {dollars(planner.finished.cost_usd)}"
        yield words
    execution = iteration.executions[-1] if iteration.executions else None
    if execution is not None and execution.finished is None:
        yield f"executing {seconds(now - execution.started)}"
    elif execution is not None and execution.finished is not None:
        yield f"ran {seconds(execution.finished.seconds)}"


def _streaming_rows(planner: PlannerState, now: float) -> Iterator[Row]:
    if planner.thinking:
        yield from rows_of("".join(planner.thinking).strip(), "italic muted")
        yield Row("")
    if not planner.streamed:
        yield Row(f"{spinner(now)} {planner_words(planner, now)}", "muted")
        return
    reply = replies.so_far("".join(planner.streamed))
    for line in lines_of(reply.reasoning):
        if line.strip():
            yield from cut(line, "italic planner")
    if reply.code:
        yield Row("")
        for line in lines_of(reply.code):
            yield from cut(line, "")
    yield Row("▍", "planner")


def _prompt_rows(iteration: IterationState) -> Iterator[Row]:
    planner = next((planner for planner in reversed(iteration.planners) if planner.prompt), None)
    if planner is None:
        yield Row("The prompt of this iteration is not in the record.", "muted")
        return
    for role, content in planner.prompt:
        yield Row(f"── {role} ", "bold planner")
        yield from rows_of(content)
        yield Row("")


def _failure_rows(error: ev.Failure) -> Iterator[Row]:
    yield from _prefixed("✗ ", error.words, "error")
    if error.hint:
        yield from _prefixed("  ", error.hint, "muted")


def _prefixed(prefix: str, text: str, tone: str) -> Iterator[Row]:
    for place, line in enumerate(lines_of(text)):
        yield from cut((prefix if place == 0 else " " * len(prefix)) + line, tone, indent=len(prefix))


def _changed_lines(iteration: IterationState, execution: ExecutionState | None) -> set[int]:
    """Lines (from 1) of an operator's code that the planner did not write."""
    if execution is None or execution.origin != "operator":
        return set()
    planned = iteration.planners[-1].finished if iteration.planners else None
    if planned is None:
        return set()
    matcher = difflib.SequenceMatcher(None, planned.code.splitlines(), execution.code.splitlines(), autojunk=False)
    return {
        number + 1
        for kind, _, _, first, after in matcher.get_opcodes()
        if kind in ("replace", "insert")
        for number in range(first, after)
    }


def _indent(line: str) -> int:
    """How far a wrapped line of code is moved in: as far as its own indent, and a little more."""
    return min(len(line) - len(line.lstrip()) + 4, 24)
