"""Events: the raw stream up to the view's moment, for those who want to know exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from fleet_rlm import events as ev
from fleet_rlm.figures import plural
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.run_view.playhead import AnyEvent
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.record_table import Cell, Column, Table

FILTERED_AT_ONCE = 2000
"""Events that are looked through before the screen gets its turn again."""
_COMMON = frozenset({"seq", "t", "iteration", "span", "parent"})
_TONES = {
    "planner": "planner",
    "gate": "operator",
    "operator": "operator",
    "execution": "sandbox",
    "output": "sandbox",
    "variables": "sandbox",
    "sandbox": "sandbox",
    "call": "sub_llm",
    "extraction": "sub_llm",
    "model": "error",
}


class EventsPane(Table):
    """Follows the newest while the cursor is on it."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("seq", "seq", 5, right=True),
        Column("t", "t", 8, right=True),
        Column("iteration", "it", 3, right=True, from_width=56),
        Column("kind", "kind", 17),
        Column("fields", "carries"),
    )

    def __init__(self) -> None:
        super().__init__(name="events", classes="pane")
        self._events: list[AnyEvent] = []
        self._count = 0
        self._kept: list[int] | None = None
        self._filter = ""
        self._filtered = 0

    def show_events(self, events: list[AnyEvent], at: int) -> None:
        """The first `at` of a list of events that only grows."""
        if self._events is events and self._count == at:
            return
        if self._events is not events or at < self._count:
            self._filtered, self._kept = 0, [] if self._filter else None
        self._events, self._count = events, at
        self._keep()
        self.records_changed()

    def filter(self, text: str) -> None:
        """Show only events whose kind, span or fields hold a text."""
        self._filter = text.strip().lower()
        self._filtered, self._kept = 0, [] if self._filter else None
        self._keep()
        self.records_changed()

    def _keep(self) -> None:
        if self._kept is None:
            return
        if self._filtered > self._count:
            self._kept = [place for place in self._kept if place < self._count]
        end = min(self._count, self._filtered + FILTERED_AT_ONCE)
        for place in range(self._filtered, end):
            event = self._events[place]
            if self._filter in f"{event.kind} {event.span or ''}".lower() or self._filter in _fields(event).lower():
                self._kept.append(place)
        self._filtered = end
        if end < self._count:
            self.set_timer(0.01, self._keep_on)

    def _keep_on(self) -> None:
        self._keep()
        self.records_changed()

    def count(self) -> int:
        return self._count if self._kept is None else len(self._kept)

    def event_at(self, place: int) -> AnyEvent:
        return self._events[place if self._kept is None else self._kept[place]]

    def cells_of(self, place: int) -> Sequence[Cell]:
        event = self.event_at(place)
        tone = _TONES.get(event.kind.partition(".")[0], "")
        return (
            (str(event.seq), "muted"),
            (f"{event.t:.3f}", "muted"),
            (str(event.iteration or ""), "muted"),
            (clean_line(event.kind, 40), tone),
            (clean_line(_fields(event), 400), ""),
        )

    def empty(self) -> str:
        return f"no event matches {self._filter!r}" if self._filter else "no events yet"

    @property
    def frame_words(self) -> FrameWords:
        return FrameWords(figures=plural(self.count(), "event") if self._count else "")

    def item(self) -> tuple[str, str]:
        """What `y` copies: the event as it stands in the run file."""
        if not self.count():
            return "nothing", ""
        event = self.event_at(self.place)
        return f"event {event.seq}", ev.encode(event).decode()

    def details(self) -> str:
        """The event under the cursor, in full."""
        if not self.count():
            return ""
        return msgspec.json.format(ev.encode(self.event_at(self.place)), indent=2).decode()


def _fields(event: AnyEvent) -> str:
    """What an event carries besides its stamps, in short."""
    if isinstance(event, ev.Unknown):
        return f"(a kind that this version does not know) {event.fields}"[:1000]
    parts = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name not in _COMMON and value not in (None, "", (), {}):
            parts.append(f"{name}={_short(value)}")
    return " ".join(parts)


def _short(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:200])
    if isinstance(value, msgspec.Struct):
        return msgspec.json.encode(value)[:200].decode("utf-8", "replace")
    return repr(value)[:200] if not isinstance(value, tuple | dict) else f"{len(value)} items"
