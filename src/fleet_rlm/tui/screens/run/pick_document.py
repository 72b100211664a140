"""Choose a document of a run: a tree by folders, with a line to filter it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from fleet_rlm.documents.document_work import size_in_words
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.dialogs.dialog import Dialog
from fleet_rlm.tui.run_view.provenance import Entry

MOST = 5000


class PickDocument(Dialog[int]):
    """Dismissed with a place among the entries."""

    DEFAULT_CSS = """
    PickDocument > Vertical { width: 84; max-width: 96%; max-height: 80%; padding: 0; }
    PickDocument Input { height: 1; border: none; padding: 0 1; background: $panel; }
    PickDocument OptionList { height: auto; max-height: 24; border: none; padding: 0; background: $surface; }
    PickDocument OptionList:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", id="documents.down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", id="documents.up", show=False, priority=True),
    ]

    def __init__(self, entries: Sequence[Entry], chosen: int) -> None:
        super().__init__()
        self._entries, self._chosen = entries, chosen

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content("Documents")
            box.border_subtitle = Content("type to filter · enter or ctrl+r show · esc close")
            yield Input(placeholder="filter")
            yield OptionList()

    def on_mount(self) -> None:
        self._fill("")
        self.query_one(Input).focus()

    def _fill(self, wanted: str) -> None:
        options: list[Option | None] = []
        folder, highlighted = "", 0
        for place, entry in enumerate(self._entries):
            if wanted and wanted not in entry.name.lower():
                continue
            above, _, name = entry.name.rpartition("/")
            if above != folder and above:
                options.append(Option(Content.styled(f"{clean_line(above, 70)}/", "$muted"), disabled=True))
            folder = above
            size = size_in_words(entry.reference.bytes) if entry.reference else "input"
            if place == self._chosen:
                highlighted = len(options)
            pad = "  " if above else ""
            words = Content.assemble(f"{pad}{clean_line(name, 60)}", (f"  {size}", "$muted"))
            options.append(Option(words, id=str(place)))
            if len(options) >= MOST:
                options.append(Option(Content.styled("… type to see the others", "$muted"), disabled=True))
                break
        choices = self.query_one(OptionList)
        choices.set_options(options)
        first = next((i for i, option in enumerate(options) if option is not None and not option.disabled), None)
        choices.highlighted = first if wanted else highlighted

    def action_move(self, by: int) -> None:
        choices = self.query_one(OptionList)
        if by > 0:
            choices.action_cursor_down()
        else:
            choices.action_cursor_up()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self._fill(message.value.strip().lower())

    @on(Input.Submitted)
    def action_accept(self) -> None:
        choices = self.query_one(OptionList)
        if choices.highlighted is not None:
            option = choices.get_option_at_index(choices.highlighted)
            if option.id is not None:
                self.dismiss(int(option.id))

    @on(OptionList.OptionSelected)
    def _chosen_by_mouse(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        if message.option.id is not None:
            self.dismiss(int(message.option.id))
