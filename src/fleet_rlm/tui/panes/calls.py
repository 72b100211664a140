"""Calls: every sub-LLM call, batch, tool call and sub-agent of a run, sortable, filterable, ten thousand and more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from fleet_rlm.figures import count, dollars, plural, seconds
from fleet_rlm.state import CallState
from fleet_rlm.terminal_text import clean_line, model_name
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.run_view.run_words import spinner
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.record_table import Cell, Column, Table

SIGNS: dict[str, Cell] = {"queued": ("·", "muted"), "done": ("✓", "success"), "failed": ("✗", "error")}
GIST_CHARS = 2000
REORDER_SECONDS = 0.25
"""At least this long between two orders of a list that still changes: a row must not move under the eye."""


def took(call: CallState, now: float) -> float:
    """Seconds that a call took, or takes so far, without the time it waited for its turn."""
    if call.finished is not None:
        return call.finished.seconds or max(0.0, (call.ended or 0.0) - (call.ran or call.started))
    return max(0.0, now - call.ran) if call.ran is not None else 0.0


def tokens(call: CallState) -> tuple[int | None, int | None]:
    """(in, out); before the answer, the prompt's characters divided by four."""
    usage = call.finished.usage if call.finished else None
    if usage is not None:
        return usage.input, usage.output
    return (len(call.prompt) // 4 if call.prompt else None), None


class CallsPane(Table):
    """The calls of the view. The person's choice stays theirs; else the newest is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "sort", "Sort by the next column", id="calls.sort", show=False),
        Binding("R", "reverse", "Reverse the order", id="calls.reverse", show=False),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("number", "#", 4, right=True),
        Column("status", "", 1),
        Column("iteration", "it", 2, right=True, from_width=44),
        Column("what", "from"),
        Column("model", "model", 16, from_width=76),
        Column("input", "in", 5, right=True),
        Column("output", "out", 5, right=True, from_width=38),
        Column("cost", "cost", 8, right=True, from_width=60),
        Column("time", "time", 6, right=True),
    )
    SORTABLE: ClassVar[tuple[str, ...]] = ("number", "time", "input", "output", "cost", "status", "what")

    def __init__(self) -> None:
        super().__init__(name="calls", classes="pane")
        self._moment: Moment | None = None
        self._order: list[int] | None = None
        """Places of calls in the state's list; None: all of them as they came."""
        self._filter = ""
        self._ordered_at = -1.0
        self._latencies = ""
        self._latencies_of = (-1, -1)
        self._generation = -1
        self._events = -1

    # What it shows

    def show(self, moment: Moment) -> None:
        """Draw a moment of the run."""
        other = moment.generation != self._generation
        if other:
            self._generation, self.tail, self._ordered_at = moment.generation, True, -1.0
        grown = moment.state.events != self._events
        self._events, self._moment = moment.state.events, moment
        if self._order is not None and (other or (grown and abs(moment.now - self._ordered_at) > REORDER_SECONDS)):
            self._reorder()
        if other or grown:
            self.records_changed()
        elif moment.moving and moment.state.open_sub_calls:
            self.refresh()

    @property
    def calls(self) -> list[CallState]:
        return self._moment.state.calls if self._moment else []

    def count(self) -> int:
        return len(self.calls) if self._order is None else len(self._order)

    def call_at(self, place: int) -> CallState:
        return self.calls[place if self._order is None else self._order[place]]

    @property
    def chosen(self) -> CallState | None:
        """The call under the cursor."""
        return self.call_at(self.place) if 0 <= self.place < self.count() else None

    def cells_of(self, place: int) -> Sequence[Cell]:
        call = self.call_at(place)
        assert self._moment is not None
        now = self._moment.now
        sent, received = tokens(call)
        cost = call.finished.cost_usd if call.finished else None
        failed = call.finished is not None and call.finished.error is not None
        return (
            (str(call.number), "muted"),
            SIGNS.get(call.status) or (spinner(now), "accent"),
            (str(call.iteration or ""), "muted"),
            _what(call, self._beside(call)),
            (model_name(call.model) if call.model else "", "muted"),
            ("" if sent is None else count(sent), ""),
            (("–" if failed else "…" if call.status == "running" else "") if received is None else count(received), ""),
            ("" if cost is None else dollars(cost), "muted"),
            self._time(call, now),
        )

    def _beside(self, call: CallState) -> CallState | None:
        """Another call of the same batch."""
        place = call.number if call.index == 0 else call.number - 2
        return self.calls[place] if call.index is not None and 0 <= place < len(self.calls) else None

    def _time(self, call: CallState, now: float) -> Cell:
        if call.finished is not None and call.finished.error is not None:
            message = call.finished.error.message
            code = next((word for word in message.split()[:2] if word.isdigit() and len(word) == 3), "")
            return (code or "failed", "error")
        if call.retry is not None:
            left = max(0.0, call.retry.t + call.retry.delay_seconds - now)
            return f"↻ {seconds(left)}", "operator"
        if call.status == "queued":
            return "", "muted"
        return seconds(took(call, now)), "" if call.finished else "accent"

    def empty(self) -> str:
        if self._filter:
            return f"no call matches {self._filter!r}"
        return "no call yet" if self._moment and not self._moment.state.is_over else "no calls"

    @property
    def frame_words(self) -> FrameWords:
        extra = ""
        if self._filter:
            extra = f"{self.count():,} of {len(self.calls):,} match {clean_line(self._filter, 20)}"
        return FrameWords(extra, self._summary())

    def _summary(self) -> str:
        if self._moment is None or not self.calls:
            return ""
        state = self._moment.state
        done = len(self.calls) - state.open_sub_calls
        if self._latencies_of != (done, self._generation):
            self._latencies_of = (done, self._generation)
            times = sorted(took(call, 0) for call in self.calls if call.finished and call.type == "sub_llm")
            self._latencies = f"p50 {seconds(_at(times, 0.5))} · p95 {seconds(_at(times, 0.95))}" if times else ""
        parts = [f"{state.failed_calls:,} failed"] if state.failed_calls else []
        if state.open_sub_calls:
            parts.append(f"{state.open_sub_calls:,} unanswered")
        if self._latencies:
            parts.append(self._latencies)
        return " · ".join(parts) or plural(len(self.calls), "call")

    # Order and filter

    def filter(self, text: str) -> None:
        """Show only calls that hold a text: in their prompt, answer, function, model or error."""
        self._filter = text.strip()
        self._reorder()
        self.tail = not self._filter
        self.place = 0 if self._filter else self.place
        self.records_changed()

    def action_sort(self) -> None:
        names = [name for name in self.SORTABLE if name in {column.name for column, _ in self._widths()}]
        place = names.index(self.sorted_by) if self.sorted_by in names else 0
        self.sort_by(names[(place + 1) % len(names)])

    def action_reverse(self) -> None:
        self.sort_by(self.sorted_by or "number", descending=not self.descending)

    def sort_by(self, name: str, descending: bool | None = None) -> None:
        """Sort by a column; figures from the largest on unless told otherwise."""
        chosen = self.chosen
        self.sorted_by = name
        self.descending = name in ("time", "input", "output", "cost") if descending is None else descending
        self._reorder()
        self.tail = False
        self.records_changed()
        if chosen is not None:
            self.choose(chosen)

    def on_table_head_pressed(self, message: Table.HeadPressed) -> None:
        message.stop()
        again = message.column.name == self.sorted_by
        self.sort_by(message.column.name, descending=not self.descending if again else None)

    def choose(self, call: CallState, by_person: bool = True) -> bool:
        """Put the cursor on a call; False when it is filtered away."""
        index = call.number - 1
        if self._order is None:
            self.go_to(index, by_person)
            return True
        if index in self._order:
            self.go_to(self._order.index(index), by_person)
            return True
        return False

    def _reorder(self) -> None:
        natural = self.sorted_by in (None, "number") and not self.descending
        if natural and not self._filter:
            self._order = None
            return
        now = self._moment.now if self._moment else 0.0
        self._ordered_at = now
        chosen = self._order[self.place] if self._order is not None and self.place < len(self._order) else None
        wanted = self._filter.lower()
        order = [place for place, call in enumerate(self.calls) if not wanted or _holds(call, wanted)]
        if not natural:
            key = _KEYS[self.sorted_by or "number"]
            order.sort(key=lambda place: key(self.calls[place], now), reverse=self.descending)
        self._order = order
        if chosen is not None and not self.tail and chosen in order:
            self.place = order.index(chosen)


_KEYS: dict[str, Callable[[CallState, float], float | str]] = {
    "number": lambda call, _: call.number,
    "time": took,
    "input": lambda call, _: tokens(call)[0] or 0,
    "output": lambda call, _: tokens(call)[1] or 0,
    "cost": lambda call, _: (call.finished.cost_usd if call.finished else 0) or 0,
    "status": lambda call, _: ("failed", "running", "queued", "done").index(call.status),
    "what": lambda call, _: f"{call.function} {call.iteration or 0:06}",
    "iteration": lambda call, _: call.iteration or 0,
    "model": lambda call, _: call.model,
}


def _what(call: CallState, neighbour: CallState | None) -> Cell:
    indent = "  " * min(call.depth, 4)
    name = clean_line(call.function, 40)
    if call.type == "batch":
        done = f"{call.members_done}/{call.size or '?'}"
        if call.members_failed:
            return f"{indent}{done}, {call.members_failed} failed: {call.failed_why}", "error"
        return f"{indent}batch {done}", "bold sub_llm"
    if call.type == "sub_agent":
        return f"{indent}◈ {name}", "bold sub_llm"
    if call.type == "tool":
        return f"{indent}⚒ {name}", "sandbox"
    beside = neighbour.prompt if neighbour is not None and neighbour.parent == call.parent else None
    gist = clean_line(_gist(call.prompt, beside), 60)
    if call.index is not None:
        return f"{indent}  {call.index + 1} {gist}", "muted"
    return f"{indent}{gist or name}", "muted"


def _gist(prompt: str | None, beside: str | None) -> str:
    """What tells a prompt from the one beside it in the batch: the first line in which they differ."""
    lines = [line.strip(" #\t") for line in (prompt or "")[:GIST_CHARS].split("\n")]
    kept = [line for line in lines if line]
    if beside:
        others = {line.strip(" #\t") for line in beside[:GIST_CHARS].split("\n")}
        kept = [line for line in kept if line not in others] or kept
    return kept[0] if kept else ""


def _holds(call: CallState, wanted: str) -> bool:
    error = call.finished.error.message if call.finished and call.finished.error else ""
    return (
        wanted in (call.prompt or "").lower()
        or wanted in call.answer.lower()
        or wanted in f"{call.function} {call.model} {call.status} {call.type} {error} #{call.number}".lower()
    )


def _at(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]
