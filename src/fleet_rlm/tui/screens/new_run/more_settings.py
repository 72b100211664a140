"""The settings of New run that are rarely needed, from the table of settings, behind one row that unfolds them."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from fleet_rlm.config import Settings
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.screens.new_run.draft import FURTHER
from fleet_rlm.tui.screens.new_run.tick import Tick

UNFOLD = "unfold"


class FurtherSettings(Vertical):
    """`[ ] temperature …`, and when it is ticked a field for each of them."""

    DEFAULT_CSS = """
    FurtherSettings { height: auto; margin-bottom: 1; }
    NewRunScreen.-short FurtherSettings { margin-bottom: 0; }
    FurtherSettings #further-rows { display: none; height: auto; }
    FurtherSettings #further-rows.-wanted { display: block; }
    FurtherSettings .row Input { width: 1fr; margin-right: 1; }
    FurtherSettings .further { width: 15; height: 1; text-align: right; color: $muted; padding: 0 1 0 0; }
    """

    class Changed(Message):
        """Something was typed."""

    def __init__(self, typed: Mapping[str, str]) -> None:
        super().__init__()
        self._typed = {key: text for key, text in typed.items() if text.strip()}

    def compose(self) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Label("More", classes="label")
            yield Tick("temperature, effort, keys, time-outs, prices …", bool(self._typed), name=UNFOLD)
        with Vertical(id="further-rows", classes="-wanted" if self._typed else ""):
            for first in range(0, len(FURTHER), 2):
                with Horizontal(classes="row"):
                    for setting in FURTHER[first : first + 2]:
                        yield Label(setting.label, classes="further")
                        field = Input(self._typed.get(setting.key, ""), setting.default, id=setting.parameter,
                                      compact=True, select_on_focus=False)  # fmt: skip
                        field.tooltip = setting.help
                        yield field

    @property
    def typed(self) -> dict[str, str]:
        """What was typed, by the settings' keys; empty fields are left out."""
        fields = {one.key: self.query_one(f"#{one.parameter}", Input).value.strip() for one in FURTHER}
        return {key: text for key, text in fields.items() if text}

    def unfold(self) -> None:
        """Show the fields."""
        self.query_one(f"#{UNFOLD}", Tick).value = True
        self.query_one("#further-rows").add_class("-wanted")

    def show_configured(self, settings: Settings) -> None:
        """Show in each empty field what is configured; of a key only where it is."""
        for setting in FURTHER:
            value = settings.value(setting.key)
            words = setting.default if value is None else value.variable if setting.kind == "secret" else value.text
            self.query_one(f"#{setting.parameter}", Input).placeholder = clean_line(words, 80)

    @on(Tick.Changed)
    def _unfold(self, message: Tick.Changed) -> None:
        message.stop()
        self.query_one("#further-rows").set_class(message.tick.value, "-wanted")

    @on(Input.Changed)
    def _changed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Changed())
