"""The order of Home's runs, and the filter that leaves only those with some words."""

from __future__ import annotations

from abc import abstractmethod

from textual import on
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.screens.home.run_table import SORTS, RunTable

FILTER_SECONDS = 0.15
FILTER_CHARS = 200

_DOWN_FIRST = ("when", "it", "calls", "cost", "time")
_ORDERS = {
    "when": ("oldest first", "newest first"),
    "it": ("fewest iterations first", "most iterations first"),
    "calls": ("fewest calls first", "most calls first"),
    "cost": ("cheapest first", "most expensive first"),
    "time": ("shortest first", "longest first"),
}


class RunOrder(Screen[None]):
    """Actions that sort and filter the runs; each asks the library anew."""

    _words = ""
    """The filter."""
    _column, _descending = "when", True
    _typing: Timer | None = None

    @abstractmethod
    def _look(self) -> None:
        """Ask the library for the runs in this order, with these words."""

    @abstractmethod
    def _draw_head(self) -> None:
        """Draw the line above the table."""

    @property
    def _order_words(self) -> Content:
        words = _ORDERS.get(self._column, (f"by {self._column}", f"by {self._column}, reversed"))
        return Content(words[self._descending])

    @on(RunTable.HeadPressed)
    def _sort_by(self, message: RunTable.HeadPressed) -> None:
        if message.column.name == self._column:
            self.action_reverse()
        else:
            self._order(message.column.name, message.column.name in _DOWN_FIRST)

    def action_sort(self) -> None:
        names = list(SORTS)
        column = names[(names.index(self._column) + 1) % len(names)]
        self._order(column, column in _DOWN_FIRST)

    def action_reverse(self) -> None:
        self._order(self._column, not self._descending)

    def _order(self, column: str, descending: bool) -> None:
        self._column, self._descending = column, descending
        self._look()

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def action_filter(self) -> None:
        self._filter.add_class("-open")
        self._filter.display = True
        self.set_focus(self._filter)  # at once: what is typed next belongs to it
        self.query_one("#head-right").display = False

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(FILTER_SECONDS, lambda: self._filter_by(message.value))

    @on(Input.Submitted, "#filter")
    def _filter_done(self, message: Input.Submitted) -> None:
        self._close_filter()
        self._filter_by(message.value)

    def _close_filter(self) -> None:
        self._filter.remove_class("-open")
        self._filter.display = False
        self.query_one("#head-right").display = True
        self._draw_head()
        self.query_one(RunTable).focus()

    def _filter_by(self, words: str) -> None:
        self._words = clean_line(words, FILTER_CHARS).strip()
        self._look()

    def action_close(self) -> None:
        self._close_filter()
        if self._filter.value or self._words:
            self._filter.value = ""
            self._filter_by("")
