"""Something to read in full over the Run screen: an event, a variable, a call where there is no pane for it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen

from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.external import CannotRun, page_text
from fleet_rlm.tui.widgets.line_view import LineView
from fleet_rlm.tui.widgets.rows import TextRows, rows_of

SHORT = 12
"""Lines of a window that is large enough for a short text."""


class Reader(ModalScreen[None]):
    """Scrolls, copies, opens in the pager; closes with escape, q or enter."""

    DEFAULT_CSS = """
    Reader { align: center middle; background: $background 70%; }
    Reader LineView {
        width: 90%; max-width: 140; height: 86%; border: round $primary; padding: 0 1; background: $surface;
        border-title-color: $primary; border-title-style: bold; border-subtitle-color: $muted;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "Close", id="reader.close"),
        Binding("y", "copy", "Copy", id="reader.copy"),
        Binding("o", "page", "Pager", id="reader.page"),
        Binding("w", "wrap", "Wrap", id="reader.wrap", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = clean_line(title, 100), text

    def compose(self) -> ComposeResult:
        rows = TextRows(rows_of(self._text))
        view = LineView(rows)
        view.wrap = True
        if rows.end <= SHORT and len(self._text) <= SHORT * SHORT:
            view.styles.height = SHORT
        view.border_title = Content(self._title)
        view.border_subtitle = Content("y copy · o pager · esc close")
        yield view

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._text)
        self.notify("Copied.", markup=False)

    def action_page(self) -> None:
        try:
            page_text(self.app, self._text)
        except CannotRun as error:
            self.notify(str(error), severity="error", markup=False)

    def action_wrap(self) -> None:
        self.query_one(LineView).toggle_wrap()
