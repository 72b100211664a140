"""Records of any number in columns, drawn a screenful at a time; the heads stay when it scrolls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleet_rlm.tui.widgets.scrolling import WHEEL_LINES, set_virtual_size
from fleet_rlm.tui.widgets.tones import Tones
from fleet_rlm.tui.widgets.wrap import between_cells, cells

Cell = tuple[str, str]
"""(clean text of one line, tone)."""
GAP = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column; flexible ones (`width` 0) share the cells that the others leave."""

    name: str
    head: str
    width: int = 0
    right: bool = False
    from_width: int = 0
    """The least width of the table, in cells, at which it is shown."""


class Table(ScrollView, can_focus=True):
    """A scrolled table with a cursor, which stays where the person put it, or at the end while it is there.

    Subclasses override `count`, `cells_of` and `empty`.
    """

    DEFAULT_CSS = """
    Table { overflow-x: hidden; overflow-y: scroll; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor(1)", "Down", id="table.down", show=False),
        Binding("up,k", "cursor(-1)", "Up", id="table.up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="table.page-down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="table.page-up", show=False),
        Binding("ctrl+d", "page(0.5)", "Half a page down", id="table.half-down", show=False),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", id="table.half-up", show=False),
        Binding("g,home", "first", "First record", id="table.first", show=False),
        Binding("G,end", "last", "Last record", id="table.last", show=False),
        Binding("enter", "choose", "Open", id="table.choose", show=False),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    TAIL: ClassVar[bool] = True

    class Moved(Message):
        """The cursor is on another record."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            return self.table

    class Chosen(Moved):
        """The person pressed enter, or clicked twice on a record."""

    class HeadPressed(Moved):
        """A column's head was clicked."""

        def __init__(self, table: Table, column: Column) -> None:
            super().__init__(table)
            self.column = column

    def __init__(self, *, name: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=name, classes=classes)
        self.place = 0
        """The place of the cursor, from 0."""
        self.tail = self.TAIL
        self.sorted_by: str | None = None
        self.descending = False
        self._tones: Tones | None = None

    def count(self) -> int:
        raise NotImplementedError

    def cells_of(self, place: int) -> Sequence[Cell]:
        """Return one cell for each of `COLUMNS`, shown or not."""
        raise NotImplementedError

    def empty(self) -> str:
        """Return the words shown while there is no record."""
        return ""

    @property
    def tones(self) -> Tones:
        if self._tones is None:
            self._tones = Tones.of(self.app)
        return self._tones

    @property
    def page(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def records_changed(self) -> None:
        """Draw the records again after some came, went or changed."""
        count = self.count()
        set_virtual_size(self, Size(0, count + 1 if count else 0))
        if self.tail:
            self.place = max(0, count - 1)
            self.scroll_to(y=max(0, count - self.page), animate=False, force=True)
        else:
            self.place = max(0, min(self.place, count - 1))
        self.refresh()

    def go_to(self, place: int, by_person: bool = True) -> None:
        """Put the cursor on a record and bring it into view."""
        count = self.count()
        place = max(0, min(place, count - 1))
        self.place = place
        if by_person:
            self.tail = self.TAIL and place >= count - 1
        top = self.scroll_offset.y
        if place < top:
            self.scroll_to(y=place, animate=False, force=True)
        elif place >= top + self.page:
            self.scroll_to(y=place - self.page + 1, animate=False, force=True)
        self.refresh()
        if by_person:
            self.post_message(self.Moved(self))

    def action_cursor(self, by: int) -> None:
        self.go_to(self.place + by)

    def action_page(self, pages: float) -> None:
        self.go_to(self.place + int(pages * self.page))

    def action_first(self) -> None:
        self.go_to(0)

    def action_last(self) -> None:
        self.go_to(self.count() - 1)

    def action_choose(self) -> None:
        if self.count():
            self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < 1:
            x = 0
            for column, width in self._widths():
                if x <= offset.x < x + width + GAP:
                    self.post_message(self.HeadPressed(self, column))
                x += width + GAP
            return
        place = self.scroll_offset.y + offset.y - 1
        if 0 <= place < self.count():
            again = place == self.place and event.chain > 1
            self.go_to(place)
            if again:
                self.post_message(self.Chosen(self))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -WHEEL_LINES)

    def _wheel(self, event: events.MouseEvent, lines: int) -> None:
        event.stop()
        event.prevent_default()
        self.tail = False
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)
        self.refresh()

    def on_resize(self) -> None:
        self.records_changed()
        if self.count():
            self.go_to(self.place, by_person=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._tones = None

    def columns_for(self, room: int) -> list[Column]:
        """Return the columns that are shown in `room` cells."""
        return [column for column in self.COLUMNS if room >= column.from_width]

    def _widths(self) -> list[tuple[Column, int]]:
        room = self.scrollable_content_region.width
        shown = self.columns_for(room)
        fixed = sum(column.width + GAP for column in shown if column.width)
        flexible = [column for column in shown if not column.width]
        share = max(4, (room - fixed - GAP * len(flexible)) // max(1, len(flexible)))
        return [(column, column.width or share) for column in shown]

    def render_line(self, y: int) -> Strip:
        width, tones = self.size.width, self.tones
        count = self.count()
        if y == 0 and count:
            return self._strip([(self._head(column), "muted") for column, _ in self._widths()], "", width)
        place = self.scroll_offset.y + y - (1 if count else 0)
        if not count:
            text = self.empty() if y == 0 else ""
            return Strip([Segment(text[:width], tones("muted"))]).adjust_cell_length(width, tones(""))
        if not 0 <= place < count:
            return Strip.blank(width, tones(""))
        ground = "on:selection" if place == self.place else ""
        all_cells = dict(zip((column.name for column in self.COLUMNS), self.cells_of(place), strict=True))
        return self._strip([all_cells[column.name] for column, _ in self._widths()], ground, width)

    def _head(self, column: Column) -> str:
        if column.name != self.sorted_by:
            return column.head
        return f"{column.head}{'▾' if self.descending else '▴'}"

    def _strip(self, row: Sequence[Cell], ground: str, width: int) -> Strip:
        segments: list[Segment] = []
        for (text, tone), (column, room) in zip(row, self._widths(), strict=True):
            size = cells(text)
            if size > room:
                start, end, _ = between_cells(text, 0, room - 1)
                text = text[start:end] + "…"
                size = cells(text)
            pad = " " * (room - size)
            style = self.tones(f"{tone} {ground}")
            segments.append(Segment(pad + text if column.right else text + pad, style))
            segments.append(Segment(" " * GAP, self.tones(ground)))
        return Strip(segments).adjust_cell_length(width, self.tones(ground))
