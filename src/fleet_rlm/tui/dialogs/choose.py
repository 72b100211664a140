"""Questions with a few answers, each with its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widgets import Static

from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.dialogs.dialog import Dialog, T

TITLE_LIMIT = 76


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One answer."""

    key: str
    """A single printable character."""
    label: str
    value: T
    danger: bool = False


class ChoiceKey(Static, can_focus=True):
    """An answer to click, to focus, or to choose by its key."""

    DEFAULT_CSS = """
    ChoiceKey { width: auto; height: 1; padding: 0 1; margin-right: 2; color: $foreground; }
    ChoiceKey:hover { background: $panel; }
    ChoiceKey:focus { background: $selection; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "choose", "Choose", id="dialog.choose", show=False)]

    class Chosen(TextualMessage):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, index: int, key: str, label: str, danger: bool) -> None:
        tone = "$error" if danger else "$primary"
        super().__init__(Content.assemble((key, f"bold {tone}"), " ", clean_line(label, TITLE_LIMIT)))
        self.index = index

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self.index))

    def on_click(self) -> None:
        self.action_choose()


class Choose(Dialog[T]):
    """A question with a few answers. Dismissed with the chosen value; escape means None."""

    DEFAULT_CSS = """
    Choose > Vertical { width: auto; min-width: 44; max-width: 100%; padding: 1 2; }
    Choose VerticalScroll { width: auto; max-width: 72; height: auto; max-height: 16; }
    Choose .detail { width: auto; max-width: 72; height: auto; color: $muted; margin-bottom: 1; }
    Choose .answers { width: auto; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,up", "app.focus_previous", "Previous answer", id="dialog.previous", show=False),
        Binding("right,down", "app.focus_next", "Next answer", id="dialog.next", show=False),
    ]

    def __init__(self, question: str, choices: Sequence[Choice[T]], detail: str = "", first: int = 0) -> None:
        super().__init__()
        self.question, self.detail = clean_line(question, TITLE_LIMIT), clean(detail)
        self.choices, self._first = tuple(choices), first

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self.question)
            if self.detail:
                with VerticalScroll(can_focus=False):
                    yield Static(Content(self.detail), classes="detail")
            with Horizontal(classes="answers"):
                for index, choice in enumerate(self.choices):
                    yield ChoiceKey(index, choice.key, choice.label, choice.danger)

    def on_mount(self) -> None:
        keys = self.query(ChoiceKey)
        if keys:
            keys[self._first].focus()

    def on_key(self, event: events.Key) -> None:
        for choice in self.choices:
            if event.character == choice.key:
                event.stop()
                self.dismiss(choice.value)
                return

    def on_choice_key_chosen(self, message: ChoiceKey.Chosen) -> None:
        message.stop()
        self.dismiss(self.choices[message.index].value)

    def action_accept(self) -> None:
        """Choose the focused answer."""
        if isinstance(self.focused, ChoiceKey):
            self.focused.action_choose()


class Confirm(Choose[bool]):
    """Yes or no; escape and the first focus are *no*. Dismissed with a bool."""

    def __init__(
        self, question: str, yes: str = "Yes", no: str = "No", detail: str = "", *, danger: bool = False
    ) -> None:
        choices = (Choice("y", yes, True, danger), Choice("n", no, False))
        super().__init__(question, choices, detail, first=1)

    def action_accept(self) -> None:
        """Answer *yes*, whatever is focused."""
        self.dismiss(True)

    def action_cancel(self) -> None:
        self.dismiss(False)


class Message(Choose[None]):
    """Something to read: the text may be long and is scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "cancel", "Close", id="dialog.close", show=False),
        Binding("y", "copy", "Copy", id="dialog.copy", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title, (Choice("q", "Close", None),), text)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.detail)
        self.app.notify("Copied.", markup=False)
