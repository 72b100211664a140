"""What all panes of text have in common: a frame that says how it stands, a search, something to copy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from fleet_rlm.documents.document_work import Cancelled
from fleet_rlm.documents.search import KEPT_HITS, BadPattern, Found, Hit, Matcher, Query
from fleet_rlm.figures import plural
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.widgets.line_view import LineView
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import Rows

REPORTED_ROWS = 5000
"""Rows that are searched between two reports."""


@dataclass(slots=True)
class Search:
    """A query and what it has found so far."""

    query: Query
    from_row: int
    """Where the person was when it began: the first hit gone to is the next one from there."""
    hits: list[tuple[int, int]] = field(default_factory=list)
    """(row, column), in order; at most `KEPT_HITS`."""
    total: int = 0
    place: int | None = None
    """The hit that was gone to."""
    share: float = 0.0
    finished: bool = False
    notices: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`3 of 128`, `128 hits, 40% searched`, `nothing found`."""
        if self.finished and not self.total:
            return "nothing found"
        words = f"{self.place + 1:,} of {self.total:,}" if self.place is not None else plural(self.total, "hit")
        if not self.finished:
            words += f", {self.share:.0%} searched"
        return words


def search_rows(rows: Rows, matcher: Matcher, cancelled: Cancelled) -> Iterator[Found]:
    """Search rows that are held in memory; they may grow and be dropped meanwhile."""
    hits: list[Hit] = []
    total = kept = 0
    number, end = rows.first, rows.end
    size = max(1, end - number)
    while number < end and not cancelled():
        for _ in range(min(REPORTED_ROWS, end - number)):
            try:
                text = rows.row(number).text
            except IndexError:  # dropped by now
                text = ""
            for start, after in matcher.in_row(text):
                total += 1
                if kept < KEPT_HITS:
                    hits.append(Hit(0, 0, number, start, after - start))
                    kept += 1
            number += 1
        yield Found(tuple(hits), total, size - (end - number), size, finished=number >= end)
        hits = []
    if size and not total and number >= end and end == rows.first:
        yield Found((), 0, 0, 0, finished=True)


class TextPane(LineView):
    """A pane of text. Subclasses draw a moment in `show`, and say what stands in the frame in `frame_words`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("w", "wrap", "Wrap lines", id="text.wrap", show=False)]

    class SearchMoved(Message):
        """A search found something, ended, or went to another hit."""

        def __init__(self, pane: TextPane) -> None:
            super().__init__()
            self.pane = pane

    class Report(Message):
        """From the searching thread."""

        def __init__(self, query: Query, found: Found) -> None:
            super().__init__()
            self.query, self.found = query, found

    def __init__(self, name: str) -> None:
        super().__init__(name=name, classes="pane")
        self.search: Search | None = None

    def show(self, moment: Moment) -> None:
        """Draw a moment of the run. Called often: does nothing where nothing changed."""
        raise NotImplementedError

    @property
    def frame_words(self) -> FrameWords:
        return FrameWords(figures=self.place_words())

    def place_words(self) -> str:
        """Where the reader is, for the frame: the search's hits, what came below, or nothing."""
        if self.search is not None:
            return self.search.words
        if self.unseen:
            return f"▼ {self.unseen:,} new"
        return ""

    def item(self) -> tuple[str, str]:
        """(what it is, its text): what `y` copies and the pager shows."""
        raise NotImplementedError

    def action_wrap(self) -> None:
        wrapped = self.toggle_wrap()
        self.notify("Lines are wrapped." if wrapped else "Lines are not wrapped: h and l move sideways.", markup=False)

    # Searching

    def find(self, text: str, regex: bool) -> str:
        """Search for what is typed; an empty text ends the search. Returns what is wrong with the pattern, or ''."""
        if not text:
            self.end_search()
            return ""
        try:
            matcher = Matcher(Query(text, regex))
        except BadPattern as error:
            return error.message
        from_row = self.search.from_row if self.search is not None else self.top[0]
        self.search = Search(matcher.query, from_row)
        self.search_for(matcher)
        self._search(matcher)
        return ""

    def end_search(self) -> None:
        """Forget the search; the place stays."""
        self.workers.cancel_group(self, "search")
        if self.search is not None:
            self.search = None
            self.search_for(None)
            self.post_message(self.SearchMoved(self))

    def reports(self, matcher: Matcher, cancelled: Cancelled) -> Iterator[Found]:
        """The search itself, in a thread."""
        return search_rows(self.rows, matcher, cancelled)

    @work(thread=True, group="search", exclusive=True)
    def _search(self, matcher: Matcher) -> None:
        worker = get_current_worker()
        for found in self.reports(matcher, lambda: worker.is_cancelled):
            if worker.is_cancelled:
                return
            self.post_message(self.Report(matcher.query, found))

    def work_failed(self, group: str, words: str) -> None:
        """The search is over: what it found until then stays."""
        if group == "search" and self.search is not None:
            self.search.finished, self.search.notices = True, (words,)
            self.post_message(self.SearchMoved(self))

    def on_text_pane_report(self, message: Report) -> None:
        message.stop()
        search, found = self.search, message.found
        if search is None or search.query is not message.query:
            return
        search.hits += [(hit.row, hit.column) for hit in found.hits]
        search.total, search.finished, search.notices = found.total, found.finished, found.notices
        search.share = found.done / max(found.size, 1)
        if search.place is None and search.hits:
            place = bisect_left(search.hits, (search.from_row, 0))
            if place < len(search.hits) or search.finished:
                self._go_to_hit(place % len(search.hits))
        self.post_message(self.SearchMoved(self))

    def next_hit(self, direction: int) -> str:
        """Go to the next hit (1) or the one before (-1). Returns what the person should know, or ''."""
        search = self.search
        if search is None:
            return "No search is active: / starts one."
        if not search.hits:
            return "Nothing found." if search.finished else "Nothing found yet."
        first, _ = self.visible_rows()
        if search.place is None:
            place = (
                bisect_left(search.hits, (first, 0)) if direction == 1 else bisect_right(search.hits, (first, 0)) - 1
            )
        else:
            place = search.place + direction
        wrapped = not 0 <= place < len(search.hits)
        self._go_to_hit(place % len(search.hits))
        self.post_message(self.SearchMoved(self))
        if not wrapped:
            return ""
        return "From the first hit again." if direction == 1 else "From the last hit again."

    def _go_to_hit(self, place: int) -> None:
        assert self.search is not None
        self.search.place = place
        self.go_to_hit(*self.search.hits[place])
