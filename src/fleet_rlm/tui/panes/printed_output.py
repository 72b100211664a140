"""Output: what the code printed, as it comes, with the errors it ended in and what the planner never saw of it."""

from __future__ import annotations

from typing import ClassVar

from fleet_rlm import events as ev
from fleet_rlm.documents.document_work import size_in_words
from fleet_rlm.figures import count
from fleet_rlm.state import ExecutionState, OutputChunk, RunState
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import Row, TailRows, cut, lines_of, plain

GUTTER = 4
MOST_TRACEBACK_LINES = 40
ENDING = 2
"""Characters that may be missing at the end without a word: the planner is shown output without its last newline."""
LONGEST_OPEN_LINE = 32_768
TONES: dict[ev.Stream, str] = {"stdout": "", "stderr": "error"}
OUTCOMES = {
    "interrupted": ("■ interrupted", "operator"),
    "timeout": ("■ stopped: it took too long", "error"),
    "lost": ("■ the sandbox was lost; its variables are gone", "error"),
    "submitted": ("★ submitted", "sandbox"),
}


class OutputLog:
    """The rows of a run's output, grown by `update`; of a run that prints without end the newest are kept."""

    def __init__(self, most: int = 100_000) -> None:
        self.rows = TailRows(GUTTER, most)
        self.chars = 0
        self._chunks = 0
        self._operator = 0
        self._open: tuple[str | None, ev.Stream, str] | None = None
        """Execution, stream and text of a line that has no newline yet; it is the last row."""
        self._tagged: str | None = None
        self._first_row: dict[str, int] = {}
        self._lengths: dict[str, list[tuple[int, int]]] = {}
        """By execution (row, characters of stdout before it), for those that are not closed."""
        self._chars: dict[str, int] = {}
        self._closed: set[str] = set()
        self._done_iterations = 0
        """How many iterations, from the first, have nothing more to say."""
        self.changed_from = 0
        """The first row that the newest update changed or added."""

    def update(self, state: RunState) -> int:
        """Take in what is new in a state that is the same one as before, only further. Returns how many rows came."""
        before = self.changed_from = self.rows.end
        happened: list[OutputChunk | ev.Operator] = [*state.output[self._chunks :]]
        if len(state.operator) > self._operator:
            happened += state.operator[self._operator :]
            happened.sort(key=lambda one: one.t)
        for one in happened:
            if isinstance(one, ev.Operator):
                self._close(state, before=one.t)
                self._say(one)
            else:
                if one.execution != (self._open[0] if self._open else self._tagged):
                    self._close(state, until=one.execution)
                self._take(one)
        self._chunks, self._operator = len(state.output), len(state.operator)
        self._close(state)
        return self.rows.end - before

    def _take(self, chunk: OutputChunk) -> None:
        self.chars += len(chunk.text)
        execution = chunk.execution or ""
        text = chunk.text
        if self._open is not None:
            if self._open[:2] == (chunk.execution, chunk.stream):
                text = self._open[2] + text
                self._drop_open_row()
            self._open = None
        pieces = text.split("\n")
        rest = pieces.pop()
        for piece in pieces:
            self._line(chunk, piece.removesuffix("\r"), execution, newline=True)
        if rest:
            # A line without an end is drawn anew for each chunk, hence a limit: beyond it, it goes on in a new row.
            self._open = (chunk.execution, chunk.stream, rest) if len(rest) <= LONGEST_OPEN_LINE else None
            self._line(chunk, rest, execution, newline=False)

    def _line(self, chunk: OutputChunk, line: str, execution: str, newline: bool) -> None:
        if chunk.stream == "stdout":
            so_far = self._chars.get(execution, 0)
            self._lengths.setdefault(execution, []).append((self.rows.end, so_far))
            self._chars[execution] = so_far + len(line) + newline
        self._open_row = self.rows.end
        for row in cut(plain(line), TONES[chunk.stream], self._tag(chunk.iteration, execution)):
            self.rows.append(row)

    _open_row = 0

    def _drop_open_row(self) -> None:
        """The open line is about to be drawn anew, longer."""
        assert self._open is not None
        execution = self._open[0] or ""
        tagged = self.rows.row(self._open_row).gutter if self._open_row >= self.rows.first else ""
        self.rows.cut_back(self._open_row)
        self.changed_from = min(self.changed_from, self._open_row)
        if tagged:
            self._tagged = None
        if self._open[1] == "stdout":
            _, self._chars[execution] = self._lengths[execution].pop()

    def _tag(self, iteration: int | None, execution: str) -> str:
        if execution == self._tagged:
            return ""
        self._tagged = execution
        self._first_row.setdefault(execution, self.rows.end)
        return f"{iteration} " if iteration is not None else ""

    # What stands after an execution's output

    def _close(self, state: RunState, until: str | None = None, before: float = float("inf")) -> None:
        """Say how executions ended: all that did, or those before the one `until`, or before a time."""
        newest = len(state.iterations) - 1
        for place in range(self._done_iterations, newest + 1):
            iteration = state.iterations[place]
            if place < newest and all(execution.span in self._closed for execution in iteration.executions):
                self._done_iterations += place == self._done_iterations
                continue
            for execution in iteration.executions:
                if execution.span == until:
                    return
                ended = execution.ended if execution.finished is not None else None
                if ended is not None and ended <= before and execution.span not in self._closed:
                    assert execution.finished is not None
                    self._closed.add(execution.span)
                    self._trailer(execution, execution.finished)

    def _trailer(self, execution: ExecutionState, finished: ev.ExecutionFinished) -> None:
        self._open = None
        self._mark_unseen(execution, finished)
        if finished.value:
            self._say_rows(f"→ {finished.value}", "sandbox", execution)
        if finished.dropped is not None:
            for name, dropped in (("stdout", finished.dropped.stdout), ("stderr", finished.dropped.stderr)):
                if dropped:
                    words = f"✂ {size_in_words(dropped)} of {name} were left out at the output limit"
                    self._say_rows(words, "operator", execution)
        if finished.error is not None and finished.outcome != "interrupted":
            if finished.error.traceback:
                lines = lines_of(finished.error.traceback.rstrip("\n"))
                for line in lines[-MOST_TRACEBACK_LINES:-1]:
                    self._say_rows(line, "muted", execution)
            where = f"  line {finished.error.line}" if finished.error.line else ""
            self._say_rows(f"{finished.error.words}{where}", "bold error", execution)
        if finished.outcome in OUTCOMES:
            words, tone = OUTCOMES[finished.outcome]
            self._say_rows(words, tone, execution)
        elif execution.span not in self._first_row:
            self._say_rows("printed nothing", "muted", execution)
        self._lengths.pop(execution.span, None)

    def _mark_unseen(self, execution: ExecutionState, finished: ev.ExecutionFinished) -> None:
        """Dim the rows that the planner was not shown, and say so."""
        shown, total = finished.shown_to_planner, self._chars.get(execution.span, 0)
        if shown is None or shown.head + shown.tail >= total - ENDING:
            return
        places = self._lengths.get(execution.span)
        if not places:  # an odd record may end a cell twice
            return
        for (row, start), (_, after) in zip(places, [*places[1:], (0, total)], strict=True):
            if start >= shown.head and after <= total - shown.tail and row >= self.rows.first:
                old = self.rows.row(row)
                self.changed_from = min(self.changed_from, row)
                self.rows.replace(row, Row(old.text, "muted", (), old.gutter or "┊ ", "muted", old.continued))
        tail = f" and the last {count(shown.tail)}" if shown.tail else ""
        words = f"┊ the planner saw the first {count(shown.head)}{tail} of these {count(total)} characters"
        self._say_rows(words, "italic muted", execution)

    def _say(self, event: ev.Operator) -> None:
        self._open = None
        if event.action == "eval":
            self._plain_rows(f": {event.text}", "operator")
            if event.error is not None:
                self._plain_rows(event.error.words, "error")
            elif event.result is not None:
                self._plain_rows(event.result, "")
        elif event.action == "hint":
            self._plain_rows(f"» {event.text}", "operator")
        elif event.action in ("note", "bookmark"):
            self._plain_rows(f"⚑ {event.text or 'bookmark'}", "operator")

    def _plain_rows(self, text: str, tone: str) -> None:
        self._tagged = None
        for line in lines_of(text):
            for row in cut(line, tone, "  "):
                self.rows.append(row)

    def _say_rows(self, text: str, tone: str, execution: ExecutionState) -> None:
        for line in lines_of(text):
            for row in cut(line, tone, self._tag(execution.iteration, execution.span), indent=2):
                self.rows.append(row)


class OutputPane(TextPane):
    """Follows the end until the person scrolls up."""

    TAIL: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("output")
        self.wrap = True
        self._log = OutputLog()
        self._generation = -1
        self._events = -1
        self._empty = TailRows(GUTTER)

    def show(self, moment: Moment) -> None:
        if moment.generation != self._generation:
            self._generation, self._events = moment.generation, -1
            self._log = OutputLog()
            self._log.update(moment.state)
            self.show_rows(self._log.rows)
            self._events = moment.state.events
            self.post_message(self.Moved(self))
            return
        if moment.state.events == self._events:
            return
        self._events = moment.state.events
        before = self._log.chars
        fresh = self._log.update(moment.state)
        if fresh or self._log.chars != before:
            self.rows_changed(fresh, since=self._log.changed_from)

    @property
    def frame_words(self) -> FrameWords:
        if words := self.place_words():
            return FrameWords(figures=words, alert=self.search is None)
        if not self._log.chars:
            return FrameWords()
        dropped = f"last {self._log.rows.most:,} lines of " if self._log.rows.first else ""
        following = "following · " if self.tail and not self.at_start_only else ""
        return FrameWords(figures=f"{following}{dropped}{count(self._log.chars)} chars")

    @property
    def at_start_only(self) -> bool:
        """True while everything fits, so that there is nothing to follow."""
        return self.virtual_size.height <= self.page

    def item(self) -> tuple[str, str]:
        return "the output", self._log.rows.text()
