"""Document: the text that the run is about, of any size, and what of it a model has seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.segment import Segment
from textual import events, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from fleet_rlm.documents.coverage import Coverage, Seen
from fleet_rlm.documents.document_work import Cancelled, DocumentError
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.locate import Span
from fleet_rlm.documents.search import Found, Hit, Matcher
from fleet_rlm.documents.search import search as search_text
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.run_view.provenance import Entry, Provenance, SeenSoFar, difference, entries_of
from fleet_rlm.tui.widgets.line_view import Piece
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import Row, TextRows, plain, rows_of

PHRASE = 8
"""A piece so many times shorter than the longest is a phrase that stands in both by chance."""
TONES = {Seen.UNREAD: "unread", Seen.PRINTED: "printed", Seen.SENT: "sent"}


class IndexRows:
    """A document's rows for a `LineView`."""

    first = 0

    def __init__(self, index: LineIndex) -> None:
        self.index = index

    @property
    def end(self) -> int:
        return self.index.rows

    @property
    def gutter_width(self) -> int:
        return max(4, len(str(self.index.rows))) + 2

    def row(self, number: int) -> Row:
        row = self.index.row(number)
        if row.gone:
            return Row("(the file no longer holds this)", "error")
        return Row(plain(row.text), gutter="" if row.continued else f"{row.line + 1} ", continued=row.continued)


class DocumentPane(TextPane):
    """Opens the run's documents where they are; `SeenSoFar` and `Provenance` say what of them was seen."""

    DEFAULT_CSS = """
    DocumentPane { overflow-y: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_parenthesis", "document(-1)", "Previous document", id="document.previous", show=False),
        Binding("right_parenthesis", "document(1)", "Next document", id="document.next", show=False),
    ]

    class Opened(Message):
        """From the opening thread: a document is there, or it can't be."""

        def __init__(self, place: int, index: LineIndex | None, error: DocumentError | None) -> None:
            super().__init__()
            self.place, self.index, self.error = place, index, error

    class Indexed(Message):
        """From the indexing thread: there are more rows."""

        def __init__(self, index: LineIndex, share: float) -> None:
            super().__init__()
            self.index, self.share = index, share

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, DocumentPane.Indexed) and message.index is self.index

    class Differs(Message):
        def __init__(self, place: int, words: str) -> None:
            super().__init__()
            self.place, self.words = place, words

    class Covered(Message):
        def __init__(self, coverage: Coverage, provenance: Provenance) -> None:
            super().__init__()
            self.coverage, self.provenance = coverage, provenance

    class Located(Message):
        """Where a call's text stands: (entry, span) for each piece."""

        def __init__(self, name: str, found: list[tuple[int, Span]]) -> None:
            super().__init__()
            self.name, self.found = name, found

    def __init__(self) -> None:
        super().__init__("document")
        self.entries: tuple[Entry, ...] = ()
        self.place = 0
        """Which of the entries is shown."""
        self.index: LineIndex | None = None
        self.edge_width = 1
        self.marks: list[tuple[int, int]] = []
        self._marked_for = ""
        self._share = 0.0
        self._problem = ""
        self._differences: dict[int, str] = {}
        self._tops: dict[int, int] = {}
        self._after_opening: list[tuple[int, int]] = []
        self._provenance: Provenance | None = None
        self._coverage: Coverage | None = None
        self._covering = False
        self._seen = SeenSoFar()
        self._seen_generation = -1
        self._pending: list[tuple[str, Seen]] = []
        self._events = -1
        self._rows_before = 0
        self._minimap: tuple[int, list[Seen]] | None = None

    # What it shows

    def show(self, moment: Moment) -> None:
        grown, self._events = moment.state.events != self._events, moment.state.events
        if not self.entries:
            self.entries = entries_of(moment.state.started)
            if self.entries:
                self._provenance = Provenance(self.entries)
                self.open(0)
            elif grown:
                words = "waiting for the run" if moment.state.started is None else "this run has no documents"
                self.show_rows(TextRows([Row(words, "muted")]))
        if moment.generation != self._seen_generation:
            self._seen_generation = moment.generation
            self._seen, self._pending, self._coverage = SeenSoFar(), [], None
            self._covering = False
            self.workers.cancel_group(self, "coverage")
            grown = True
        if grown:
            self._pending += self._seen.fresh(moment.state)
            self._cover_more()

    @property
    def busy(self) -> bool:
        """True while a document is being opened or indexed, or what was seen is being found."""
        opening = bool(self.entries) and self.index is None and not self._problem
        return opening or (self.index is not None and self._share < 1.0) or self._covering

    def open(self, place: int, rows: list[tuple[int, int]] | None = None) -> None:
        """Show another entry; `rows` are offsets (start, end) to mark once it is there."""
        if self.index is not None:
            self._tops[self.place] = self.top[0]
        self.end_search()
        self.place, self.index, self._problem = place, None, ""
        self._share, self.marks, self._minimap = 0.0, [], None
        self._after_opening = rows or []
        self.show_rows(TextRows([Row("opening …", "muted")]))
        self._open(place, self.entries[place])

    def action_document(self, by: int) -> None:
        if len(self.entries) > 1:
            self.open((self.place + by) % len(self.entries))

    @work(thread=True, group="open", exclusive=True)
    def _open(self, place: int, entry: Entry) -> None:
        worker = get_current_worker()
        try:
            text = entry.open(lambda: worker.is_cancelled)
        except DocumentError as error:
            self.post_message(self.Opened(place, None, error))
            return
        index = LineIndex(text)
        self.post_message(self.Opened(place, index, None))
        try:
            complete = index.build(
                lambda done, of: self._tell_indexed(index, done / max(of, 1)),
                lambda: worker.is_cancelled,
            )
        except DocumentError as error:
            self.post_message(self.Differs(place, error.message))
            return
        if complete:
            self.post_message(self.Indexed(index, 1.0))
            if words := difference(entry, text, lambda: worker.is_cancelled):
                self.post_message(self.Differs(place, words))

    def _tell_indexed(self, index: LineIndex, share: float) -> None:
        self.post_message(self.Indexed(index, share))

    def work_failed(self, group: str, words: str) -> None:
        """Say that a document can't be shown, or that what was seen of it isn't known."""
        super().work_failed(group, words)
        if group == "open":
            self.post_message(self.Opened(self.place, None, DocumentError(f"This document can't be shown: {words}")))
        elif group == "coverage":
            self._covering = False
        elif group == "locate":
            self.forget_source()

    def on_document_pane_opened(self, message: Opened) -> None:
        message.stop()
        if message.place != self.place:
            return
        if message.index is None:
            assert message.error is not None
            self._problem = message.error.message
            rows = [*rows_of(message.error.message, "error"), *rows_of(message.error.hint, "muted")]
            self.wrap = True
            self.show_rows(TextRows(rows))
        else:
            self.index = message.index
            self.show_rows(IndexRows(message.index))
        self.post_message(self.Moved(self))

    def on_document_pane_indexed(self, message: Indexed) -> None:
        message.stop()
        if message.index is not self.index:
            return
        first, before = not self._share, self._rows_before
        self._rows_before = self.rows.end
        self._share = message.share
        self._minimap = None
        self.rows_changed(since=0 if first or message.share >= 1.0 else before)
        if self._after_opening and (message.share >= 1.0 or message.index.indexed > self._after_opening[-1][1]):
            spans, self._after_opening = self._after_opening, []
            self._mark(spans)
        elif message.share >= 1.0 and (top := self._tops.pop(self.place, 0)):
            self.to_row(top, context=0)

    def on_document_pane_differs(self, message: Differs) -> None:
        message.stop()
        self._differences[message.place] = message.words
        self.post_message(self.Moved(self))

    @property
    def frame_words(self) -> FrameWords:
        if not self.entries:
            return FrameWords()
        name = clean_line(self.entries[self.place].name, 40)
        extra = name if len(self.entries) == 1 else f"{name} ({self.place + 1} of {len(self.entries):,})"
        if self._problem:
            return FrameWords(extra, "not there any more", alert=True)
        if self.search is not None:
            return FrameWords(extra, self.search.words)
        if words := self._differences.get(self.place):
            return FrameWords(extra, words, alert=True)
        if self.index is None:
            return FrameWords(extra)
        if self._share < 1.0:
            return FrameWords(extra, f"indexing {self._share:.0%}")
        return FrameWords(extra, self._place_in_text())

    def _place_in_text(self) -> str:
        assert self.index is not None
        first, _ = self.visible_rows()
        if not self.index.rows:
            return "empty"
        line = self.index.row(min(first, self.index.rows - 1)).line + 1
        words = f"{line:,} of {self.index.lines:,}"
        if self._marked_for and self.marks:
            words = f"{self._marked_for} · {words}"
        number = self._provenance.place_of(self.place) if self._provenance and self._coverage else None
        if number is not None and self._coverage is not None:
            words += f" · seen {1 - self._coverage.share(number, Seen.UNREAD):.0%}"
        return words

    def item(self) -> tuple[str, str]:
        if self.search is not None and self.hit is not None:
            return "the line", self.rows.row(self.hit[0]).text
        first, end = self.marks[0] if self.marks else self.visible_rows()
        what = "the marked lines" if self.marks else "the lines on screen"
        return what, "\n".join(self.rows.row(number).text for number in range(first, min(end, self.rows.end)))

    # Where to go

    def go_to(self, words: str) -> str:
        """Go to a line (`118`) or a place (`40%`). Returns what is wrong with the words, or ''."""
        if self.index is None:
            return "There is no document to go to a line of."
        words = words.strip().replace(",", "")
        try:
            if words.endswith("%"):
                row = self.index.row_at_fraction(max(0.0, min(float(words[:-1]) / 100, 1.0)))
            else:
                row = self.index.row_of_line(max(0, int(words) - 1))
        except ValueError:
            return "A line such as 118, or a place such as 40%."
        self.to_row(row, context=0, always=True)
        return ""

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.x >= self.size.width - self.edge_width:
            event.stop()
            self.capture_mouse()
            self._to_fraction(offset.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._to_fraction(event.y - 1)

    def on_mouse_up(self) -> None:
        if self.app.mouse_captured is self:
            self.release_mouse()

    def _to_fraction(self, y: int) -> None:
        share = max(0.0, min(1.0, y / max(1, self.page - 1)))
        self._go((int(share * max(0, self.rows.end - 1)), 0))

    def reports(self, matcher: Matcher, cancelled: Cancelled) -> Iterator[Found]:
        index = self.index
        if index is None:
            yield from super().reports(matcher, cancelled)
            return
        for found in search_text(index, matcher, cancelled=cancelled):
            hits = tuple(Hit(h.start, h.end, h.row, self._column(index, h), h.width) for h in found.hits)
            yield Found(hits, found.total, found.done, found.size, found.notices, found.finished)

    def _column(self, index: LineIndex, hit: Hit) -> int:
        """The hit's first character as the row is shown, tabs expanded."""
        text = index.row(hit.row).text
        return len(plain(text[: hit.column])) if "\t" in text else hit.column

    # Where a call's text came from

    def show_source_of(self, name: str, text: str, without: str = "") -> None:
        """Find a text, such as a call's prompt, in the documents, and go to its longest passage there.

        What is `without` in the text, such as the question, is not looked for.
        """
        if self._provenance is not None and self.entries:
            self._locate(name, text.replace(without, "\n") if without else text, self._provenance)

    def forget_source(self) -> None:
        """Mark nothing any more."""
        if self.marks:
            self.marks, self._marked_for = [], ""
            self._forget()
            self.refresh()

    @work(thread=True, group="locate", exclusive=True)
    def _locate(self, name: str, text: str, provenance: Provenance) -> None:
        worker = get_current_worker()
        if provenance.build(lambda: worker.is_cancelled):
            self.post_message(self.Located(name, provenance.locate(text, lambda: worker.is_cancelled)))

    def on_document_pane_located(self, message: Located) -> None:
        message.stop()
        if not message.found:
            self.forget_source()
            return
        by_entry: dict[int, int] = {}
        for entry, span in message.found:
            by_entry[entry] = by_entry.get(entry, 0) + span.end - span.start
        entry = max(by_entry, key=lambda place: by_entry[place])
        spans = [(span.start, span.end) for place, span in message.found if place == entry]
        self._marked_for = message.name
        if entry != self.place:
            self.open(entry, spans)
        elif self.index is not None:
            self._mark(spans)

    def _mark(self, spans: list[tuple[int, int]]) -> None:
        index = self.index
        if index is None or not index.rows:
            return
        longest, end = max(spans, key=lambda span: span[1] - span[0])
        kept = [span for span in spans if (span[1] - span[0]) * PHRASE >= end - longest]
        # a passage may begin with the end of the line above it, which is not marked
        rows = {start: index.row_at(max(start, min(start + 1, end - 1))) for start, end in kept}
        self.marks = sorted((rows[start], index.row_at(max(start, end - 1)) + 1) for start, end in kept)
        self._forget()
        self.to_row(rows[longest], context=2)
        self.refresh()

    def is_marked(self, number: int) -> bool:
        return any(first <= number < end for first, end in self.marks)

    # What was seen

    def _cover_more(self) -> None:
        if self._provenance is None or self._covering or not self._pending:
            return
        pending, self._pending = self._pending, []
        self._covering = True
        self._mark_seen(self._provenance, self._coverage, pending)

    @work(thread=True, group="coverage", exclusive=True)
    def _mark_seen(self, provenance: Provenance, coverage: Coverage | None, seen: list[tuple[str, Seen]]) -> None:
        worker = get_current_worker()
        if not provenance.build(lambda: worker.is_cancelled):
            return
        coverage = coverage or provenance.coverage()
        provenance.mark(coverage, seen, lambda: worker.is_cancelled)
        if not worker.is_cancelled:
            self.post_message(self.Covered(coverage, provenance))

    def on_document_pane_covered(self, message: Covered) -> None:
        message.stop()
        if message.provenance is not self._provenance:
            return
        self._coverage, self._covering, self._minimap = message.coverage, False, None
        self._forget()
        self.refresh()
        self.post_message(self.Moved(self))
        self._cover_more()

    def gutter_of(self, piece: Piece, row: Row) -> tuple[str, str]:
        text, tone = super().gutter_of(piece, row)
        seen = self._seen_in(piece[0])
        if seen is Seen.UNREAD:
            return text + " ", tone
        return text + "▎", TONES[seen]

    def _seen_in(self, number: int) -> Seen:
        if self._coverage is None or self._provenance is None or self.index is None:
            return Seen.UNREAD
        place = self._provenance.place_of(self.place)
        if place is None or number >= self.index.rows:
            return Seen.UNREAD
        row = self.index.row(number)
        return self._coverage.at(place, row.start, max(row.end, row.start + 1))

    def edge(self, y: int, piece: Piece | None) -> list[Segment]:  # noqa: ARG002
        page = self.page
        if self.index is None or y >= page:
            return [Segment(" ", self.tones(""))]
        if self._minimap is None or self._minimap[0] != page:
            self._minimap = (page, self._cells(page))
        rows = max(1, self.rows.end)
        first, end = self.visible_rows()
        inside = first * page // rows <= y <= max(first * page // rows, (end - 1) * page // rows)
        seen = self._minimap[1][y]
        if end - first >= rows:  # all of it can be seen: there is nothing to find one's way in
            return [Segment("▐" if seen is not Seen.UNREAD else " ", self.tones(TONES[seen]))]
        return [Segment("█" if inside else "▐", self.tones(TONES[seen]))]

    def _cells(self, page: int) -> list[Seen]:
        place = self._provenance.place_of(self.place) if self._provenance and self._coverage else None
        if self._coverage is None or place is None:
            return [Seen.UNREAD] * page
        return [bucket.strongest for bucket in self._coverage.minimap(place, page)]
