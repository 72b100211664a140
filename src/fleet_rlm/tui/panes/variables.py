"""Variables: what the sandbox holds at the view's moment, and what the newest execution did to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fleet_rlm.figures import count, plural
from fleet_rlm.state import VariableState
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.record_table import Cell, Column, Table

PREVIEW = 400


class VariablesPane(Table):
    """Those that changed in this iteration come first; then by name."""

    TAIL: ClassVar[bool] = False
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("change", "", 1),
        Column("name", "name", 14),
        Column("type", "type", 12, from_width=54),
        Column("size", "size", 6, right=True),
        Column("preview", "preview"),
        Column("iteration", "it", 3, right=True, from_width=30),
    )

    def __init__(self) -> None:
        super().__init__(name="variables", classes="pane")
        self._moment: Moment | None = None
        self._drawn = (-1, -1)
        self._rows: list[tuple[str, VariableState | None, int | None]] = []
        self._filter = ""

    def show(self, moment: Moment) -> None:
        """Draw a moment of the run."""
        self._moment = moment
        if (moment.generation, moment.state.events) != self._drawn:
            self._drawn = (moment.generation, moment.state.events)
            self._collect()

    def filter(self, text: str) -> None:
        """Show only variables whose name, type or preview holds a text."""
        self._filter = text.strip().lower()
        self._collect()

    def _collect(self) -> None:
        if self._moment is None:
            return
        state = self._moment.state
        number = state.iteration.number if state.iteration else None
        rows: list[tuple[str, VariableState | None, int | None]] = [
            (name, variable, variable.iteration) for name, variable in state.variables.items()
        ]
        rows += [(name, None, gone) for name, gone in state.removed_variables.items() if gone == number]
        if self._filter:
            rows = [row for row in rows if self._filter in _words(row[0], row[1])]
        rows.sort(key=lambda row: (row[2] != number, row[0]))
        if rows != self._rows:
            self._rows = rows
            self.records_changed()

    def count(self) -> int:
        return len(self._rows)

    def cells_of(self, place: int) -> Sequence[Cell]:
        name, variable, iteration = self._rows[place]
        state = self._moment.state if self._moment else None
        now = state.iteration.number if state and state.iteration else None
        fresh = iteration == now
        if variable is None:
            gone = ("−", "error"), (clean_line(name, 60), "muted strike"), ("", ""), ("", ""), ("removed", "muted")
            return (*gone, (str(iteration or ""), "muted"))
        sign = ("+" if variable.change == "added" else "~") if fresh else ""
        return (
            (sign, "success" if sign == "+" else "accent"),
            (clean_line(name, 60), "bold" if fresh else ""),
            (clean_line(variable.variable.type, 60), "muted"),
            ("" if variable.variable.size is None else count(variable.variable.size), ""),
            (clean_line(variable.variable.preview, PREVIEW), "" if fresh else "muted"),
            (str(iteration or ""), "muted"),
        )

    def empty(self) -> str:
        if self._filter:
            return f"no variable matches {self._filter!r}"
        if self._moment is not None and self._moment.state.sandbox.times_lost:
            return "the variables were lost with the sandbox"
        return "no variables yet"

    @property
    def frame_words(self) -> FrameWords:
        return FrameWords(figures=plural(len(self._rows), "variable") if self._rows else "")

    def item(self) -> tuple[str, str]:
        """What `y` copies: the preview, which is all that the record holds of a value."""
        if not self._rows:
            return "nothing", ""
        name, variable, _ = self._rows[self.place]
        return f"the preview of {clean_line(name, 40)}", variable.variable.preview if variable else ""

    def details(self) -> str:
        """The variable under the cursor, with all that is known."""
        if not self._rows:
            return ""
        name, variable, iteration = self._rows[self.place]
        if variable is None:
            return f"{name} was removed in iteration {iteration}."
        known = variable.variable
        size = "" if known.size is None else f"\nsize: {known.size:,}"
        return f"{name}: {known.type}{size}\n{variable.change} in iteration {iteration}\n\n{known.preview}"


def _words(name: str, variable: VariableState | None) -> str:
    return f"{name} {variable.variable.type} {variable.variable.preview}".lower() if variable else name.lower()
