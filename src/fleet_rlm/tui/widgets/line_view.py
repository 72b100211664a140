"""Rows of any number, drawn a screenful at a time: documents, output, code, prompts.

The place in the text is a row and, where rows are wrapped, a line within it. So nothing needs to know how high all rows
together are: a hundred million of them start as fast as ten, wrapped or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollDown, ScrollTo, ScrollUp
from textual.selection import Selection
from textual.strip import Strip

from fleet_rlm.documents.search import Matcher
from fleet_rlm.tui.widgets.rows import Row, Rows, Span, TextRows
from fleet_rlm.tui.widgets.scrolling import WHEEL_LINES, set_virtual_size
from fleet_rlm.tui.widgets.tones import Tones
from fleet_rlm.tui.widgets.wrap import between_cells, breaks, cells

KEPT_STRIPS = 600
WIDEST = 10_000
Place = tuple[int, int]
"""(row, line within it)."""
Piece = tuple[int, int, int, bool]
"""(row, first character, after the last, whether it begins the row): one line of the screen."""


class LineView(ScrollView, can_focus=True):
    """Shows `Rows`. Follows their end while `tail` is true, which ends when the person scrolls up."""

    DEFAULT_CSS = """
    LineView { overflow-x: hidden; overflow-y: scroll; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", id="text.down", show=False),
        Binding("j", "move(1)", "Down", id="text.down-letter", show=False),
        Binding("up", "move(-1)", "Up", id="text.up", show=False),
        Binding("k", "move(-1)", "Up", id="text.up-letter", show=False),
        Binding("pagedown", "page(1)", "Page down", id="text.page-down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="text.page-up", show=False),
        Binding("ctrl+d", "page(0.5)", "Half a page down", id="text.half-down", show=False),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", id="text.half-up", show=False),
        Binding("g,home", "top", "First line", id="text.top", show=False),
        Binding("G,end", "bottom", "Last line", id="text.bottom", show=False),
        Binding("l,shift+right", "sideways(8)", "Right", id="text.right", show=False),
        Binding("h,shift+left", "sideways(-8)", "Left", id="text.left", show=False),
    ]
    ALLOW_SELECT = True
    TAIL: ClassVar[bool] = False
    """True if the end is followed while the person is there."""

    class Moved(Message):
        """The person moved, or what can be seen changed: figures in a frame may be old."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LineView.Moved) and message.control is self.control

        def __init__(self, view: LineView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> LineView:
            return self.view

    def __init__(self, rows: Rows | None = None, *, name: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=name, classes=classes)
        self.rows: Rows = TextRows() if rows is None else rows
        self.wrap = False
        self.tail = self.TAIL
        self.unseen = 0
        """Rows that came since the tail was left."""
        self.matcher: Matcher | None = None
        self.hit: tuple[int, int] | None = None
        """(row, first character) of the hit that was gone to."""
        self.edge_width = 0
        """Cells at the right that `edge` draws."""
        self._line = 0
        self._first = self.rows.first
        self._widest = 0
        self._tones: Tones | None = None
        self._strips: dict[tuple[int, int, int, int], Strip] = {}
        self._pieces: list[Piece] | None = None
        self._own_move = False

    # What it shows

    @property
    def tones(self) -> Tones:
        if self._tones is None:
            self._tones = Tones.of(self.app)
        return self._tones

    @property
    def text_width(self) -> int:
        return max(1, self.scrollable_content_region.width - self.rows.gutter_width - self.edge_width)

    @property
    def page(self) -> int:
        """The number of lines that fit."""
        return max(1, self.scrollable_content_region.height)

    @property
    def top(self) -> Place:
        """The place shown in the first line of the view."""
        return self._first + self.scroll_offset.y, self._line

    @property
    def at_end(self) -> bool:
        return self.top >= self._last_top()

    def visible_rows(self) -> tuple[int, int]:
        """Return (first, after the last) of the rows that can be seen."""
        pieces = self._layout()
        return (pieces[0][0], pieces[-1][0] + 1) if pieces else (self.rows.first, self.rows.first)

    def show_rows(self, rows: Rows, *, keep_place: bool = False) -> None:
        """Show other rows, from their start (their end when it is followed) unless `keep_place`."""
        place = self.top
        self.rows, self._first, self._widest, self.unseen = rows, rows.first, 0, 0
        if not keep_place:
            self.tail = self.TAIL
        self._forget()
        self._measure()
        if self.tail:
            self.to_end()
        else:
            self._go(place if keep_place else (rows.first, 0))

    def rows_changed(self, fresh: int = 0, since: int = 0) -> None:
        """Draw rows again that were added (`fresh` of them), replaced or dropped from `since` on. The place stays."""
        top = self.top
        self._strips = {key: strip for key, strip in self._strips.items() if key[0] < since}
        self._pieces = None
        self._first = self.rows.first
        self._measure()
        if self.tail:
            self.to_end()
        else:
            self.unseen += fresh
            self._go(max(top, (self.rows.first, 0)), by_person=False)
        self.refresh()
        self.post_message(self.Moved(self))

    def toggle_wrap(self) -> bool:
        """Turn wrapping on or off; the first row stays the first. Returns True if rows are wrapped now."""
        row, _ = self.top
        self.wrap = not self.wrap
        self._forget()
        self._measure()
        self.scroll_to(x=0, animate=False, force=True)
        self._go((row, 0))
        return self.wrap

    def search_for(self, matcher: Matcher | None) -> None:
        """Highlight a query's hits; None ends that."""
        self.matcher, self.hit = matcher, None
        self._forget()
        self.refresh()

    def go_to_hit(self, row: int, column: int) -> None:
        """Scroll to a hit, also sideways, and highlight it."""
        self.hit = (row, column)
        self._forget()
        self.to_row(row)
        if not self.wrap:
            left, room = self.scroll_offset.x, self.text_width
            at = cells(self.rows.row(row).text[:column]) if self.rows.first <= row < self.rows.end else 0
            if not left <= at < left + room - 1:
                self._widen(at + room)
                self._measure()
                self.scroll_to(x=max(0, at - room // 2) if at >= room else 0, animate=False, force=True)
        self.refresh()

    # Where it is

    def to_row(self, number: int, *, context: int | None = None, always: bool = False) -> None:
        """Bring a row into view, `context` lines below the top; nothing moves when it is there, unless `always`."""
        first, end = self.visible_rows()
        if always or not first <= number < end - 1:
            self.tail = False
            above = self.page // 3 if context is None else context
            self._go(self._step((number, 0), -above))
        self.post_message(self.Moved(self))

    def to_end(self) -> None:
        """Go to the end, and follow it where that is this view's way."""
        self.tail = self.TAIL
        self.unseen = 0
        self._go(self._last_top(), by_person=False)

    def move(self, lines: int) -> None:
        """Scroll down by some lines; up when negative."""
        self._go(self._step(self.top, lines))

    def action_move(self, lines: int) -> None:
        self.move(lines)

    def action_page(self, pages: float) -> None:
        self.move(int(pages * max(1, self.page - 1)) or (1 if pages > 0 else -1))

    def action_top(self) -> None:
        self._go((self.rows.first, 0))

    def action_bottom(self) -> None:
        self.to_end()
        self.post_message(self.Moved(self))

    def action_sideways(self, columns: int) -> None:
        if not self.wrap:
            self.scroll_to(x=max(0, self.scroll_offset.x + columns), animate=False, force=True)

    def edge(self, y: int, piece: Piece | None) -> list[Segment]:
        """Return the `edge_width` cells at the right of a line of the screen."""
        raise NotImplementedError

    def gutter_of(self, piece: Piece, row: Row) -> tuple[str, str]:
        """Return (text, tone) left of a line of the screen; the text is padded to the gutter's width."""
        return (row.gutter, row.gutter_tone) if piece[3] else ("", row.gutter_tone)

    def spans_of(self, number: int, row: Row) -> Sequence[Span]:  # noqa: ARG002
        """Return the tones of parts of a row."""
        return row.spans

    def is_marked(self, number: int) -> bool:  # noqa: ARG002
        """Return True for a row that is highlighted, such as where a call's text came from."""
        return False

    # Inside

    def _go(self, place: Place, by_person: bool = True) -> None:
        place = max((self.rows.first, 0), min(place, self._last_top()))
        self._own_move = True
        self._line = place[1]
        self._pieces = None
        try:
            self.scroll_to(y=place[0] - self._first, animate=False, force=True)
        finally:
            self._own_move = False
        if by_person:
            self.tail = self.TAIL and self.at_end
            if self.tail or self.at_end:
                self.unseen = 0
            self.post_message(self.Moved(self))
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._pieces = None
        if not self._own_move and round(old_value) != round(new_value):
            # Textual itself moved it, since less text or more room is there.
            self._line = 0
            if self.tail:
                self.call_later(self.to_end)

    def on_scroll_to(self, message: ScrollTo) -> None:
        """Go to where the scrollbar was dragged."""
        message.stop()
        message.prevent_default()
        if message.y is not None:
            last = self._last_top()
            row = self._first + round(message.y)
            self._go(last if row >= last[0] else (row, 0))

    def on_scroll_up(self, message: ScrollUp) -> None:
        """Scroll a page up: the scrollbar was pressed above its thumb."""
        message.stop()
        message.prevent_default()
        self.action_page(-1)

    def on_scroll_down(self, message: ScrollDown) -> None:
        message.stop()
        message.prevent_default()
        self.action_page(1)

    def watch_scroll_x(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_x(old_value, new_value)
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -WHEEL_LINES)

    def _wheel(self, event: events.MouseEvent, lines: int) -> None:
        event.stop()
        event.prevent_default()
        if event.ctrl or event.shift:
            self.action_sideways(lines * 4)
        else:
            self.move(lines)

    def on_resize(self) -> None:
        self._forget()
        self._measure()
        if self.tail:
            self.to_end()
        else:
            self._go((self.top[0], min(self._line, len(self._lines(self.top[0])) - 1)), by_person=False)
        self.post_message(self.Moved(self))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._tones = None
        self._forget()

    def _forget(self) -> None:
        self._strips.clear()
        self._pieces = None

    def _measure(self) -> None:
        rows = self.rows.end - self.rows.first
        last = self._last_top()
        height = max(rows if last[1] == 0 and not self.wrap else 0, last[0] - self.rows.first + self.page)
        width = 0 if self.wrap else self.rows.gutter_width + self._widest + self.edge_width
        set_virtual_size(self, Size(width, height if rows else 0))

    def _lines(self, number: int) -> list[tuple[int, int]]:
        if not self.rows.first <= number < self.rows.end:
            return [(0, 0)]
        row = self.rows.row(number)
        if self.wrap:
            return breaks(row.text, self.text_width, row.indent)
        return [(0, len(row.text))]

    def _last_top(self) -> Place:
        """Return the last place from which a page is full."""
        return self._step((self.rows.end, 0), -self.page)

    def _step(self, place: Place, lines: int) -> Place:
        """Return the place some lines further, within the text."""
        row, line = place
        if not self.wrap:
            return max(self.rows.first, min(row + lines, max(self.rows.end - 1, self.rows.first))), 0
        while lines > 0:
            left = len(self._lines(row)) - 1 - line
            if lines <= left:
                return row, line + lines
            if row + 1 >= self.rows.end:
                return row, line + left
            lines -= left + 1
            row, line = row + 1, 0
        while lines < 0:
            if -lines <= line:
                return row, line + lines
            if row <= self.rows.first:
                return self.rows.first, 0
            lines += line + 1
            row -= 1
            line = len(self._lines(row)) - 1
        return row, line

    def _layout(self) -> list[Piece]:
        if self._pieces is None:
            self._pieces = list(self._laid_out())
        return self._pieces

    def _laid_out(self) -> Iterator[Piece]:
        row, skip = self.top
        left = self.page
        while left > 0 and row < self.rows.end:
            for place, (start, end) in enumerate(self._lines(row)):
                if place >= skip and left > 0:
                    yield row, start, end, place == 0
                    left -= 1
            row, skip = row + 1, 0

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        pieces = self._layout()
        ground = self.tones("")
        edge = self.edge_width
        if y >= len(pieces):
            strip = Strip.blank(width - edge, ground)
            return Strip.join([strip, Strip(self.edge(y, None), edge)]) if edge else strip
        piece = pieces[y]
        left = self.scroll_offset.x
        key = (piece[0], piece[1], left, width)
        strip_or_none = None if self.text_selection else self._strips.get(key)
        if strip_or_none is None:
            strip_or_none = self._strip(piece, left, width - edge)
            if len(self._strips) > KEPT_STRIPS:
                self._strips.clear()
            self._strips[key] = strip_or_none
        return Strip.join([strip_or_none, Strip(self.edge(y, piece), edge)]) if edge else strip_or_none

    def _strip(self, piece: Piece, left: int, width: int) -> Strip:
        number, start, end, begins = piece
        row, tones, gutter_width = self.rows.row(number), self.tones, self.rows.gutter_width
        if not self.wrap:
            self._widen(cells(row.text))
        base = f"{row.tone} on:selection" if self.is_marked(number) else row.tone
        segments: list[Segment] = []
        if gutter_width:
            text, tone = self.gutter_of(piece, row)
            segments.append(Segment(text[:gutter_width].rjust(gutter_width), tones(tone)))
        blank = 0
        if not self.wrap:
            start, end, blank = between_cells(row.text, left, left + width - gutter_width)
        elif not begins:
            blank = row.indent
        if blank:
            segments.append(Segment(" " * blank, tones(base)))
        strip = Strip(segments, gutter_width + blank)
        text_strip = Strip(list(self._styled(row, number, start, end, base))).apply_offsets(start, number - self._first)
        return Strip.join([strip, text_strip]).adjust_cell_length(width, tones(base))

    def _styled(self, row: Row, number: int, start: int, end: int, base: str) -> Iterator[Segment]:
        """Yield the characters `start` … `end` of a row, cut where their style changes."""
        spans = list(self.spans_of(number, row))
        if self.matcher is not None:
            spans += [
                (a, b, "bold background on:primary" if self.hit == (number, a) else "background on:operator")
                for a, b in self.matcher.in_row(row.text)
            ]
        selection = self.text_selection
        if selection is not None and (chosen := selection.get_span(number - self._first)) is not None:
            spans.append((chosen[0], len(row.text) if chosen[1] == -1 else chosen[1], "on:selection underline"))
        edges = sorted({start, end, *(place for span in spans for place in span[:2] if start < place < end)})
        for a, b in pairwise(edges):
            words = [base, *(tone for x, y, tone in spans if x <= a and b <= y)]
            yield Segment(row.text[a:b], self.tones(" ".join(words)))

    def _widen(self, width: int) -> None:
        if self._widest < (width := min(width, WIDEST)):
            self._widest = width
            self.call_later(self._measure)

    # Selecting with the mouse

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        first = 0 if selection.start is None else selection.start.y
        last = self.rows.end - self._first - 1 if selection.end is None else selection.end.y
        parts: list[str] = []
        for place in range(first, min(last, first + 100_000) + 1):
            span = selection.get_span(place)
            number = place + self._first
            if span is None or not self.rows.first <= number < self.rows.end:
                continue
            text = self.rows.row(number).text
            parts.append(text[span[0] : len(text) if span[1] == -1 else span[1]])
        return "\n".join(parts), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002  # Textual's signature
        self._forget()
        self.refresh()
