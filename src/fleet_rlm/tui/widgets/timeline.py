"""The timeline: one cell per iteration with its outcome and where its time went. A click goes there."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from fleet_rlm.figures import within
from fleet_rlm.state import IterationState, RunState
from fleet_rlm.tui.run_view.run_words import Figures, Words
from fleet_rlm.tui.widgets.wrap import cells

SIGNS: dict[str, Words] = {
    "planning": ("…", "planner"),
    "planned": ("◇", "planner"),
    "executing": ("▶", "accent"),
    "ok": ("✓", "success"),
    "error": ("✗", "error"),
    "submitted": ("★", "success"),
    "skipped": ("⤼", "muted"),
}
LONGEST_BAR, SHORTEST_BAR = 12, 2
End = tuple[tuple[Figures, ...], Words]
"""A run's figures in several lengths, the fullest first, and where its code runs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One iteration as it is drawn."""

    number: int
    status: str
    planner: float
    """Seconds; so are the next two."""
    sandbox: float
    sub_llm: float
    reached: bool
    """False for an iteration after the moment that is shown."""

    @property
    def seconds(self) -> float:
        return self.planner + self.sandbox + self.sub_llm


def cell_of(iteration: IterationState, state: RunState, now: float, reached: bool) -> Cell:
    """Return an iteration's cell; an unfinished one with its time until `now`."""
    planner, sandbox, sub_llm = iteration.planner_seconds, iteration.sandbox_seconds, iteration.sub_llm_seconds
    if iteration is state.iteration and not state.is_over:
        if iteration.planners and iteration.planners[-1].finished is None:
            planner += now - iteration.planners[-1].started
        if iteration.executions and iteration.executions[-1].finished is None:
            sandbox += now - iteration.executions[-1].started
        if state.sub_llm_since is not None:
            sub_llm += now - state.sub_llm_since
    shares = within(planner), within(sandbox - sub_llm), within(sub_llm)
    return Cell(iteration.number, iteration.status, *shares, reached)


def bar(cell: Cell, length: int) -> list[Words]:
    """Return a bar of `length` cells: shares of planner, sandbox and sub-LLMs, at least one cell each if it fits."""
    parts = [(cell.planner, "planner"), (cell.sandbox, "sandbox"), (cell.sub_llm, "sub-llm")]
    total = cell.seconds
    if total <= 0:
        return [("─" * length, "muted")]
    shares = [round(length * value / total) for value, _ in parts]
    largest = shares.index(max(shares))
    for place, (value, _) in enumerate(parts):
        if value > 0 and shares[place] == 0 and shares[largest] > 1:
            shares[place] = 1
    shares[largest] = max(0, shares[largest] + length - sum(shares))
    return [("━" * share, tone) for share, (_, tone) in zip(shares, parts, strict=True) if share]


class Timeline(Widget):
    """The line of iterations; a click runs `screen.iteration(n)`."""

    auto_links = False
    DEFAULT_CSS = """
    Timeline { height: 1; padding: 0 1; background: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._cells: tuple[Cell, ...] = ()
        self._selected: int | None = None
        self._of = 0
        self._end: End = ((), ("", ""))
        self._marks: frozenset[int] = frozenset()

    def show(
        self,
        cells: tuple[Cell, ...],
        selected: int | None,
        of: int,
        end: End,
        marks: frozenset[int] = frozenset(),
    ) -> None:
        """Draw `cells` of at most `of` iterations, and `end` at the right; `marks` are the numbers with a bookmark."""
        fresh = (cells, selected, of, end, marks)
        if fresh != (self._cells, self._selected, self._of, self._end, self._marks):
            self._cells, self._selected, self._of, self._end, self._marks = fresh
            self.refresh()

    def render(self) -> Content:
        width = self.size.width
        end = self._end_in(width - 2 - min(self._wanted, width * 2 // 5))
        room = max(8, width - end.cell_length - 2)
        start = self._cells_in(room)
        return Content.assemble(start, " " * max(2, width - start.cell_length - end.cell_length), end)

    @property
    def _wanted(self) -> int:
        """Columns that the iterations take with short bars."""
        return sum(len(str(cell.number)) + 2 * SHORTEST_BAR + 3 for cell in self._cells) + len(self._tail)

    @property
    def _tail(self) -> str:
        return f" of {self._of}" if self._of else ""

    def _end_in(self, room: int) -> Content:
        """The fullest figures that fit, and as much of the sandbox's words as fits beside them."""
        lengths, (sandbox, tone) = self._end
        fitting = (one for one in lengths if sum(cells(text) for text, _ in one) <= room)
        chosen = next(fitting, lengths[-1] if lengths else ())
        left = room - sum(cells(text) for text, _ in chosen) - 2
        while sandbox and cells(sandbox) > left:
            sandbox = sandbox.rpartition(" · ")[0]
        pieces = [*chosen, *([("  ", "muted"), (sandbox, tone)] if sandbox else [])]
        return Content.assemble(*((text, f"${tone}") for text, tone in pieces))

    def _cells_in(self, room: int) -> Content:
        cells = self._cells
        if not cells:
            return Content.styled("no iteration yet", "$muted")
        tail = self._tail
        labels = [f"{cell.number}{SIGNS[cell.status][0]}" for cell in cells]
        fixed = sum(len(label) + 2 for label in labels) + len(tail)
        longest = max(cell.seconds for cell in cells)
        most = min(LONGEST_BAR, (room - fixed) // len(cells))
        if most < SHORTEST_BAR:
            return self._window(labels, room, tail)
        lengths = [
            max(SHORTEST_BAR, round(most * (cell.seconds / longest) ** 0.5)) if longest > 0 else SHORTEST_BAR
            for cell in cells
        ]
        parts = [self._cell(cell, label, length) for cell, label, length in zip(cells, labels, lengths, strict=True)]
        return Content.assemble(*parts, (tail, "$muted"))

    def _window(self, labels: list[str], room: int, tail: str) -> Content:
        """Return labels without bars, as many around the selected one as fit."""
        chosen = next((i for i, cell in enumerate(self._cells) if cell.number == self._selected), len(labels) - 1)
        first = last = chosen
        used = len(labels[chosen]) + 4 + len(tail)
        while True:
            grew = False
            if last + 1 < len(labels) and used + len(labels[last + 1]) + 1 <= room:
                last, grew = last + 1, True
                used += len(labels[last]) + 1
            if first > 0 and used + len(labels[first - 1]) + 1 <= room:
                first, grew = first - 1, True
                used += len(labels[first]) + 1
            if not grew:
                break
        parts = [self._cell(self._cells[i], labels[i], 0) for i in range(first, last + 1)]
        before, after = "‹" if first else " ", "›" if last + 1 < len(labels) else " "
        return Content.assemble((before, "$muted"), *parts, (after, "$muted"), (tail, "$muted"))

    def _cell(self, cell: Cell, label: str, length: int) -> Content:
        tone = SIGNS[cell.status][1] if cell.reached else "muted"
        chosen = " on $selection" if cell.number == self._selected else ""
        mark = "⚑" if cell.number in self._marks else ""
        pieces: list[Content] = [
            Content.styled(f"{label}{mark}", f"bold ${tone}{chosen}" if cell.reached else f"${tone}")
        ]
        if length:
            bars = bar(cell, length) if cell.reached else [("─" * length, "panel-border")]
            pieces += [Content(" "), *(Content.styled(text, f"${tone}") for text, tone in bars)]
        pieces.append(Content(" "))
        return Content.assemble(*pieces).stylize(Style.from_meta({"@click": f"screen.iteration({cell.number})"}))
