"""A box to tick whose state can be read without colours."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Tick(Widget, can_focus=True):
    """`[✓] label` or `[ ] label`."""

    DEFAULT_CSS = """
    Tick { width: auto; height: 1; padding: 0 1; }
    Tick:focus { background: $selection; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,enter", "toggle_value", "Tick", id="new_run.tick")]

    value: reactive[bool] = reactive(False, init=False)

    class Changed(Message):
        def __init__(self, tick: Tick) -> None:
            super().__init__()
            self.tick = tick

        @property
        def control(self) -> Tick:
            return self.tick

    def __init__(self, label: str, value: bool, *, name: str) -> None:
        super().__init__(id=name)
        self.label = label
        self.set_reactive(Tick.value, value)

    def render(self) -> Content:
        box = ("[✓]", "bold $success") if self.value else ("[ ]", "$muted")
        return Content.assemble(box, " ", self.label)

    def watch_value(self) -> None:
        self.post_message(self.Changed(self))

    def action_toggle_value(self) -> None:
        self.value = not self.value

    def on_click(self) -> None:
        self.action_toggle_value()
