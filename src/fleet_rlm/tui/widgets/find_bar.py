"""The find bar: one line under the panes to type a search in, with the number of hits so far."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from fleet_rlm.terminal_text import clean_line


class FindBar(Horizontal):
    """The line to type a search in, hidden until `begin`. Posts `Typed`, `Accepted` and `Left` (given up)."""

    DEFAULT_CSS = """
    FindBar { height: 1; padding: 0 1; background: $panel; display: none; }
    FindBar .label { width: auto; color: $primary; text-style: bold; }
    FindBar Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $panel; }
    FindBar Input:focus { border: none; background: $panel; }
    FindBar .found { width: auto; color: $muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="find.close"),
        Binding("ctrl+r", "toggle_regex", "Regular expression", id="find.regex", priority=True),
        Binding("down", "next(1)", "Next", id="find.next", priority=True),
        Binding("up", "next(-1)", "Previous", id="find.previous", priority=True),
    ]

    class Typed(Message):
        def __init__(self, text: str, regex: bool) -> None:
            super().__init__()
            self.text, self.regex = text, regex

    class Accepted(Message):
        pass

    class Left(Message):
        pass

    class Next(Message):
        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def __init__(self) -> None:
        super().__init__()
        self.regex, self.allow_regex = False, True
        self._label = ""

    def compose(self) -> ComposeResult:
        yield Static(classes="label")
        yield Input()
        yield Static(classes="found")

    def begin(self, label: str, text: str, allow_regex: bool = True) -> None:
        """Open for typing. `label` names what is searched or filtered, such as `Search Output`."""
        self._label = label
        self.allow_regex, self.regex = allow_regex, self.regex and allow_regex
        self.display = True
        self._draw_label()
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        field.select_all()
        self.screen.set_focus(field)  # at once: what is typed next belongs here
        self.tell("")

    def tell(self, words: str, wrong: bool = False) -> None:
        """Show the number of hits, or what is wrong with the pattern."""
        tone = "$error" if wrong else "$muted"
        self.query_one(".found", Static).update(Content.styled(clean_line(words, 60), tone))

    def end(self) -> None:
        self.display = False

    def _draw_label(self) -> None:
        kind = " regex" if self.regex else ""
        self.query_one(".label", Static).update(Content(f"{self._label}{kind}"))

    def action_toggle_regex(self) -> None:
        self.regex = not self.regex
        self._draw_label()
        self.post_message(self.Typed(self.query_one(Input).value, self.regex))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return action != "toggle_regex" or self.allow_regex

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_next(self, direction: int) -> None:
        self.post_message(self.Next(direction))

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Typed(message.value, self.regex))

    @on(Input.Submitted)
    def _accepted(self, message: Input.Submitted) -> None:
        message.stop()
        self.post_message(self.Accepted())
