"""What all dialogs share: a frame that stands at any size, and the same two keys."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

T = TypeVar("T")


class Dialog(ModalScreen[T | None]):
    """A question over a screen: `ctrl+r` accepts what it shows, escape closes it with None."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 70%; }
    Dialog > Vertical {
        height: auto; max-height: 100%; max-width: 100%; padding: 0 1; background: $surface; border: round $primary;
        border-title-color: $primary; border-title-style: bold; border-title-background: $surface;
        border-subtitle-color: $muted; border-subtitle-background: $surface;
    }
    Dialog.-operator > Vertical { border: round $operator; border-title-color: $operator; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "accept", "Accept", tooltip="The same key in every dialog", id="dialog.accept",
                priority=True),
        Binding("escape", "cancel", "Close", id="dialog.cancel"),
    ]  # fmt: skip

    def action_accept(self) -> None:
        """Take what the dialog shows now."""
        raise NotImplementedError

    def action_cancel(self) -> None:
        """Close it; nothing changes."""
        self.dismiss(None)
