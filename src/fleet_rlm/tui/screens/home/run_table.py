"""The table of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from fleet_rlm import figures
from fleet_rlm.terminal_text import clean_line, model_name
from fleet_rlm.tui.screens.home.run_row import MARKS, documents, when
from fleet_rlm.tui.widgets.record_table import GAP, Cell, Column, Table

if TYPE_CHECKING:
    from fleet_rlm.runs.library import Column as SortColumn
    from fleet_rlm.runs.summary import RunRow

QUESTION_CHARS, TASK_CHARS, LEAST_QUESTION = 300, 40, 20

SORTS: Mapping[str, SortColumn] = {
    "status": "status", "when": "when", "task": "task", "question": "question", "documents": "documents",
    "model": "model", "it": "iterations", "calls": "calls", "cost": "cost", "time": "seconds",
}  # fmt: skip
"""The library's name for the order of each column."""


class RunTable(Table):
    """Runs, in the order in which they are given. Its owner sorts and filters."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", tooltip="Replay the run, or watch it while it goes on", id="home.open"),
    ]
    TAIL: ClassVar[bool] = False
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("status", "", 1),
        Column("when", "when", 9),
        Column("task", "task", 14, from_width=84),
        Column("question", "question"),
        Column("documents", "documents", 26, from_width=104),
        Column("model", "model", 16, from_width=118),
        Column("it", "it", 4, right=True),
        Column("calls", "calls", 6, right=True, from_width=48),
        Column("cost", "cost", 8, right=True, from_width=56),
        Column("time", "time", 8, right=True, from_width=70),
    )

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now
        self._rows: Sequence[RunRow] = ()
        self._telling: tuple[str, ...] = ()
        """Columns that tell runs with the same question apart."""

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self._rows[self.place] if 0 <= self.place < len(self._rows) else None

    def show(self, rows: Sequence[RunRow], sorted_by: str, descending: bool) -> None:
        """Show these rows; the cursor stays on its run, or at its place when that is gone."""
        before = self.row
        self._rows, self.sorted_by, self.descending = rows, sorted_by, descending
        self._telling = _telling(rows)
        self.records_changed()
        if before is not None:
            self.select(before.path)

    def select(self, path: object) -> bool:
        """Put the cursor on the run with this path; False when it is not shown."""
        for place, row in enumerate(self._rows):
            if row.path == path:
                self.go_to(place, by_person=False)
                return True
        return False

    def columns_for(self, room: int) -> list[Column]:
        """In a narrow table, too, the columns that tell runs with the same question apart: in place of figures."""
        shown = super().columns_for(room)
        for name in self._telling:
            for spares in ((), ("it",), ("it", "calls"), ("it", "calls", "time")):
                names = {column.name for column in shown if column.name not in spares} | {name}
                trial = [column for column in self.COLUMNS if column.name in names]
                if room - sum(column.width + GAP for column in trial) >= LEAST_QUESTION:
                    shown = trial
                    break
        return shown

    def count(self) -> int:
        return len(self._rows)

    def cells_of(self, place: int) -> Sequence[Cell]:
        row = self._rows[place]
        sign, tone = MARKS[row.status]
        quiet = "" if place == self.place else "muted"
        where = "" if row.sandbox in ("", "local") else f" · {clean_line(row.sandbox, 12)}"
        return (
            (sign, f"bold {tone}"),
            (when(row.when, self._now()), quiet),
            (clean_line(row.task, TASK_CHARS), quiet),
            (clean_line(row.question, QUESTION_CHARS), "bold" if place == self.place and self.has_focus else ""),
            (documents(row.documents), quiet),
            (f"{model_name(row.model)}{where}", quiet),
            (str(row.iterations), quiet),
            (figures.count(row.calls), quiet),
            ("–" if row.cost is None else figures.dollars(row.cost), quiet),
            (figures.seconds(row.seconds), quiet),
        )


def _telling(rows: Sequence[RunRow]) -> tuple[str, ...]:
    """The columns, of those that a narrow table leaves out, in which runs with the same question differ."""
    seen: dict[str, RunRow] = {}
    found: dict[str, None] = {}
    for row in rows:
        first = seen.setdefault(row.question, row)
        if (row.model, row.sandbox) != (first.model, first.sandbox):
            found["model"] = None
        if row.documents != first.documents:
            found["documents"] = None
        if row.task != first.task:
            found["task"] = None
    return tuple(name for name in ("model", "documents", "task") if name in found)
