"""The gate bar: why the run waits for the person, and which keys answer. It stands under the panes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from fleet_rlm import events as ev
from fleet_rlm.figures import count, dollars, plural, seconds
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.run_view.run_words import BOUNDARIES
from fleet_rlm.tui.widgets.key_bar import GAP, KeyHint, flow

BETWEEN = " · "


def why(gate: ev.GateWaiting, waited: float, limit: int = 70) -> str:
    """Return the reason of a pause in words: the figures of a batch, an error, or what the gate says."""
    if gate.fanout is not None:
        fan = gate.fanout
        parts = [plural(fan.prompts, "prompt"), f"{count(fan.chars)} chars"]
        if fan.duplicates:
            parts.append(plural(fan.duplicates, "duplicate"))
        if fan.estimated_cost_usd is not None:
            parts.append(f"~{dollars(fan.estimated_cost_usd)}")
        return " · ".join(parts)
    words = gate.why
    if gate.error is not None:
        words = gate.error.message if gate.error.type == "SandboxLost" else gate.error.line_of_words
    return f"{clean_line(words, limit)} · {seconds(waited)}" if words else seconds(waited)


class GateBar(Widget):
    """Shown while a gate waits."""

    auto_links = False
    DEFAULT_CSS = """
    GateBar { height: auto; max-height: 4; padding: 0 1; background: $panel; display: none; }
    GateBar.-waiting { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._head = ""
        self._why = ""
        self._hints: tuple[KeyHint, ...] = ()

    def show(self, gate: ev.GateWaiting | None, waited: float, hints: Sequence[KeyHint], *, lost: bool = False) -> None:
        """Show a gate that has waited for some seconds; None hides the bar. `lost`: it waits without a sandbox."""
        self.set_class(gate is not None, "-waiting")
        if gate is None:
            self._head = ""
            return
        head, words = f"❚❚ {'sandbox lost' if lost else BOUNDARIES[gate.at]}", why(gate, waited)
        if (head, words, tuple(hints)) != (self._head, self._why, self._hints):
            layout = head != self._head or tuple(hints) != self._hints or len(words) != len(self._why)
            self._head, self._why, self._hints = head, words, tuple(hints)
            self.refresh(layout=layout)

    def _lines(self, width: int) -> list[Content]:
        # The words keep their place while the seconds run.
        room = max(10, width - len(self._head) - len(BETWEEN) - 1)
        words = clean_line(self._why, room)
        start = Content.assemble((self._head, "bold $operator"), (BETWEEN + words, "$muted"))
        first = start.cell_length + GAP
        lines = flow(self._hints, width, "$operator", first)
        if lines and lines[0]:
            lines[0] = Content.assemble(start, " " * GAP, lines[0])
        else:
            lines[:1] = [start]
        return lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return len(self._lines(width))

    def render(self) -> Content:
        return Content("\n").join(self._lines(self.size.width))
