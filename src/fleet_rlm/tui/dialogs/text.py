"""Ask for a line of text, or for another version of a cell's code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, TextArea

from fleet_rlm import syntax
from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.dialogs.choose import TITLE_LIMIT, Confirm
from fleet_rlm.tui.dialogs.dialog import Dialog
from fleet_rlm.tui.widgets.highlight import highlighted, quick, unhighlighted
from fleet_rlm.tui.widgets.rows import Span
from fleet_rlm.tui.widgets.tones import Tones


class AskText(Dialog[str]):
    """One line of text. Enter and ctrl+r accept (also an empty text), escape is None."""

    DEFAULT_CSS = """
    AskText > Vertical { width: 80%; max-width: 100; }
    AskText Input, AskText Input:focus { border: none; padding: 0; height: 1; background: $surface; }
    """

    def __init__(
        self, title: str, text: str = "", placeholder: str = "", hint: str = "enter or ctrl+r accept · esc close"
    ) -> None:
        super().__init__()
        self._title, self._text = clean_line(title, TITLE_LIMIT), clean_line(text, 100_000)
        self._placeholder, self._hint = clean_line(placeholder, 200), clean_line(hint, TITLE_LIMIT)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title, box.border_subtitle = Content(self._title), Content(self._hint)
            yield Input(self._text, placeholder=self._placeholder)

    @on(Input.Submitted)
    def action_accept(self) -> None:
        self.dismiss(self.query_one(Input).value)


class CodeEditor(TextArea):
    """A `TextArea` for Python in the house's own colours. Long code is edited plain: colouring it would be felt."""

    def __init__(self, code: str) -> None:
        self._colored: Sequence[tuple[str, tuple[Span, ...]]] = ()
        self._of = ""
        self._tones: Tones | None = None
        super().__init__(code, theme="css", soft_wrap=False, show_line_numbers=True, tab_behavior="indent")

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        if self.text != self._of:
            self._of = self.text
            self._colored = highlighted(self._of) if quick(self._of) else unhighlighted(self._of)
        tones = self._tones = self._tones or Tones.of(self.app)
        if line_index < len(self._colored) and self._colored[line_index][0] == line.plain:
            for start, end, tone in self._colored[line_index][1]:
                style = tones(tone)
                line.stylize(Style(color=style.color, bold=style.bold, italic=style.italic), start, end)
        return line

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._tones = None


class EditCode(Dialog[str]):
    """Another version of a cell's code. Dismissed with the code to run, or None when nothing is to change.

    Characters that a terminal would act on, or that hide text (such as bidirectional overrides), are shown as
    stand-ins. Code that comes back unedited is the original, byte for byte. Code that is no Python is accepted only
    when it is accepted twice: the sandbox may have a newer Python than this one.
    """

    DEFAULT_CSS = """
    EditCode > Vertical { width: 94%; max-width: 130; height: 85%; padding: 0; }
    EditCode.-wrong > Vertical { border-subtitle-color: $error; }
    EditCode CodeEditor, EditCode CodeEditor:focus { border: none; padding: 0; height: 1fr; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Close", id="code.cancel", priority=True),  # before the editor's own
    ]

    def __init__(self, code: str, title: str = "Change code", edited: str | None = None) -> None:
        """`edited` is the version to begin with, where it isn't the code itself."""
        super().__init__(classes="-operator")
        self._original, self._shown = code, clean(code)
        self._title, self._first = clean_line(title, TITLE_LIMIT), clean(code if edited is None else edited)
        self._refused: str | None = None
        """The text that was not valid Python when it was last accepted."""

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)
            box.border_subtitle = self._hint
            yield CodeEditor(self._first)

    def on_mount(self) -> None:
        if self._first != self._shown:
            self._check(self._first)

    @property
    def _hint(self) -> Content:
        plain = self._shown == self._original.replace("\r\n", "\n")
        hidden = "" if plain else "invisible characters are shown as symbols · "
        return Content(f"{hidden}ctrl+r run this version · esc close")

    @property
    def _edited(self) -> str:
        return self.query_one(CodeEditor).text

    def action_accept(self) -> None:
        edited = self._edited
        if edited == self._shown:
            edited = self._original
        if not edited.strip():
            self.notify("There is no code to run; esc keeps it as it was.", severity="warning", markup=False)
        elif edited in (self._original, self._refused) or self._check(edited):
            self.dismiss(edited)

    def _check(self, code: str) -> bool:
        """Look for a syntax error; show it and go to its line."""
        fault = syntax.fault(code)
        self._refused = code if fault else None
        self.set_class(fault is not None, "-wrong")
        box = self.query_one(Vertical)
        if fault is None:
            box.border_subtitle = self._hint
            return True
        line, words = fault
        box.border_subtitle = Content(clean_line(f"line {line}: {words} · ctrl+r again runs it anyway", 110))
        self.query_one(CodeEditor).move_cursor((line - 1, 0), center=True)
        return False

    def action_cancel(self) -> None:
        if self._edited == self._shown:
            self.dismiss(None)
            return

        def answered(discard: bool | None) -> None:
            if discard:
                self.dismiss(None)

        self.app.push_screen(Confirm("Discard your changes?", "Discard", "Keep editing", danger=True), answered)
