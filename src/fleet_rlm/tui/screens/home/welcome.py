"""The page that an empty library shows: ways to begin."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

_OFFERS = (
    ("t", "demo", "Try the demo", "a question about the bundled guide; needs no key"),
    ("w", "samples", "Watch a replay", "a recorded run, step by step; nothing is run"),
    ("n", "new_run", "New run", "your documents, your question"),
    ("o", "open_file", "Open a file", "a run that was recorded elsewhere"),
)


class Offer(Static, can_focus=True):
    """A line to choose by its key, by click, or by enter."""

    DEFAULT_CSS = """
    Offer { width: 100%; height: 1; padding: 0 1; }
    Offer:hover { background: $panel; }
    Offer:focus { background: $selection; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "choose", "Choose", id="welcome.choose"),
        Binding("down,j", "app.focus_next", "Next", id="welcome.next", show=False),
        Binding("up,k", "app.focus_previous", "Previous", id="welcome.previous", show=False),
    ]

    class Chosen(Message):
        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, key: str, action: str, title: str, words: str) -> None:
        super().__init__(Content.assemble((f"{key}  ", "bold $primary"), (f"{title:<16}", "bold"), (words, "$muted")))
        self.offered = action

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self.offered))

    def on_click(self) -> None:
        self.action_choose()


class Welcome(Middle):
    """The first start: ways to begin."""

    DEFAULT_CSS = """
    Welcome { height: 1fr; background: $surface; }
    Welcome Vertical { width: 72; max-width: 100%; height: auto; }
    Welcome .title { text-style: bold; color: $primary; padding: 0 1; }
    Welcome .words { color: $muted; padding: 0 1; margin-bottom: 1; width: 100%; }
    """

    def compose(self) -> ComposeResult:
        with Center(), Vertical():
            yield Static("Nothing was run here yet", classes="title")
            yield Static(
                "A Recursive Language Model writes Python in a sandbox to explore a text that is too long to read, "
                "and asks other models about the pieces. Here you watch it, steer it and replay it.",
                classes="words",
            )
            for offer in _OFFERS:
                yield Offer(*offer)

    def on_mount(self) -> None:
        self.query(Offer).first().focus()
