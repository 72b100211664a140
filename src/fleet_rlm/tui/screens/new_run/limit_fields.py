"""The fields of New run that bound what a run may spend."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.suggester import Suggester
from textual.widgets import Input, Label, Static

from fleet_rlm.config import Settings
from fleet_rlm.run_settings import budgets
from fleet_rlm.tasks.catalog import Task
from fleet_rlm.tui.screens.new_run.draft import LIMITS, Draft
from fleet_rlm.tui.screens.new_run.tick import Tick


class LimitFields(Vertical):
    """A field for each limit, and whether the run starts paused."""

    DEFAULT_CSS = """
    LimitFields { height: auto; }
    LimitFields .limits Input { width: 10; margin-right: 1; }
    """

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft

    def compose(self) -> ComposeResult:
        for label, names in (("Limits", list(LIMITS)[:3]), ("", list(LIMITS)[3:])):
            with Horizontal(classes="row limits" if label else "row limits gap"):
                yield Label(label, classes="label")
                for name in names:
                    yield Label(name, classes="limit")
                    yield text_field(name, getattr(self._draft.budget, name))
                if not label:
                    yield Tick("start paused", self._draft.paused, name="paused")
        yield Static(id="limits-hint", classes="hint")

    def show_usual(self, configured: Settings, task: Task) -> None:
        """Show in each empty field the limit that counts: as configured, else as the task has it."""
        usual = budgets(configured, task.budgets)
        for name, key in LIMITS.items():
            value = getattr(usual, key.partition(".")[2])
            self.query_one(f"#{name}", Input).placeholder = "no limit" if value is None else f"{value:g}"


def text_field(name: str, value: str, placeholder: str = "", suggester: Suggester | None = None) -> Input:
    """A field of one line."""
    return Input(value, placeholder, id=name, suggester=suggester, compact=True, select_on_focus=False)
