"""Searching the Run screen's panes of text and filtering its tables, from one line that is typed in."""

from __future__ import annotations

from textual import on
from textual.screen import Screen

from fleet_rlm.figures import plural
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.widgets.find_bar import FindBar
from fleet_rlm.tui.widgets.pane_grid import NAMES, PaneGrid

FILTERED = ("calls", "variables", "events")
"""Panes that are tables: what is typed leaves only the records that hold it."""


class RunSearch(Screen[None]):
    """Actions of `/`, `n` and `N`. What they are called and when they make sense says `run_keys`."""

    grid: PaneGrid
    find: FindBar
    searched: str
    """The pane that the find bar searches."""
    typed: dict[str, str]
    """By pane, what was typed there last."""

    def action_search(self) -> None:
        name = self.grid.chosen
        what = "Filter" if name in FILTERED else "Search"
        self.searched = name
        self.find.begin(f"{what} {NAMES[name]}", self.typed.get(name, ""), allow_regex=name not in FILTERED)

    @on(FindBar.Typed)
    def _find_typed(self, message: FindBar.Typed) -> None:
        self.search_in(self.searched, message.text, message.regex)

    def search_in(self, name: str, text: str, regex: bool) -> None:
        """Search or filter a pane; an empty text ends that."""
        self.typed[name] = text
        pane = getattr(self, name)
        if isinstance(pane, TextPane):
            wrong = pane.find(text, regex)
            self.find.tell(wrong or (pane.search.words if pane.search else ""), bool(wrong))
        else:
            pane.filter(text)
            self.find.tell(plural(pane.count(), "match", "matches") if text else "")
        self.grid.draw_titles()

    @on(TextPane.SearchMoved)
    def _search_moved(self, message: TextPane.SearchMoved) -> None:
        if message.pane.search is not None:
            self.find.tell(message.pane.search.words)
        self.grid.draw_titles()
        self.refresh_bindings()

    @on(FindBar.Next)
    def _find_next(self, message: FindBar.Next) -> None:
        pane = getattr(self, self.searched)
        if isinstance(pane, TextPane):
            pane.next_hit(message.direction)
        else:
            pane.action_cursor(message.direction)

    @on(FindBar.Accepted)
    def _find_accepted(self) -> None:
        self.find.end()
        self.grid.show(self.searched)

    @on(FindBar.Left)
    def _find_left(self) -> None:
        self.search_in(self.searched, "", False)
        self._find_accepted()

    def action_next_hit(self) -> None:
        self._next_hit(1)

    def action_previous_hit(self) -> None:
        self._next_hit(-1)

    def _next_hit(self, direction: int) -> None:
        pane = getattr(self, self.grid.chosen)
        if isinstance(pane, TextPane) and (words := pane.next_hit(direction)):
            self.notify(words, timeout=2)
