"""Breakpoints: where a run waits by itself."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from fleet_rlm import breakpoints
from fleet_rlm.spec import Breakpoints
from fleet_rlm.tui.dialogs.dialog import Dialog
from fleet_rlm.tui.screens.new_run.tick import Tick


class BreakpointsDialog(Dialog[Breakpoints]):
    """Dismissed with the breakpoints to set; None when nothing is to change."""

    DEFAULT_CSS = """
    BreakpointsDialog > Vertical { width: 66; max-width: 96%; }
    BreakpointsDialog Tick { width: 100%; padding: 0; }
    BreakpointsDialog Horizontal { height: 1; }
    BreakpointsDialog .name { width: 24; padding: 0 0 0 4; }
    BreakpointsDialog Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $panel; }
    BreakpointsDialog Input:focus { border: none; background: $selection; }
    BreakpointsDialog .wrong { color: $error; height: auto; padding: 0 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next", id="breakpoints.next", show=False),
        Binding("up", "app.focus_previous", "Previous", id="breakpoints.previous", show=False),
    ]

    def __init__(self, now: Breakpoints) -> None:
        super().__init__(classes="-operator")
        self._now = now

    def compose(self) -> ComposeResult:
        now = self._now
        with Vertical() as box:
            box.border_title = Content("Breakpoints: pause the run")
            box.border_subtitle = Content("space tick · ctrl+r, or enter in a field, accept · esc close")
            yield Tick("before every cell", now.every_cell, name="every")
            yield Tick("on an error", now.on_error, name="error")
            yield from self._field("pattern", "code matches", now.code_pattern or "", "such as os\\.remove|open\\(")
            yield from self._field("fanout", "batch of at least", str(now.fanout or ""), "such as 10")
            spend = "" if now.spend_usd is None else f"{now.spend_usd:g}"
            yield from self._field("spend", "cost passes $", spend, "such as 0.50")
            yield Static(classes="wrong")

    def _field(self, name: str, label: str, value: str, placeholder: str) -> ComposeResult:
        with Horizontal():
            yield Static(Content(label), classes="name")
            yield Input(value, placeholder=placeholder, id=name)

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_accept()

    def action_accept(self) -> None:
        try:
            chosen = self._chosen()
        except ValueError as error:
            self.query_one(".wrong", Static).update(Content(str(error)))
            return
        self.dismiss(chosen)

    def _chosen(self) -> Breakpoints:
        fanout, spend = self.query_one("#fanout", Input).value.strip(), self.query_one("#spend", Input).value.strip()
        try:
            batch = int(fanout) if fanout else None
            cost = float(spend.removeprefix("$")) if spend else None
        except ValueError as error:
            raise ValueError("Type a whole number for the batch, and dollars such as 0.50 for the cost.") from error
        chosen = Breakpoints(
            every_cell=self.query_one("#every", Tick).value,
            on_error=self.query_one("#error", Tick).value,
            code_pattern=self.query_one("#pattern", Input).value or None,
            fanout=batch,
            spend_usd=cost,
        )
        breakpoints.check(chosen)
        return chosen
