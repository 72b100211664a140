"""Answer: what the run gave, tables as tables and trees as trees; or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import msgspec
from textual import events
from textual.binding import Binding, BindingType

from fleet_rlm import events as ev
from fleet_rlm.figures import dollars, plural, seconds
from fleet_rlm.state import RunState
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.run_view.run_words import ENDS, activity
from fleet_rlm.tui.screens.run.text_reader import Reader
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import PASSAGE, Row, Span, TextRows, rows_of
from fleet_rlm.tui.widgets.wrap import between_cells, cells

Opened = tuple[str, ev.Json]
"""(its name, a value) that enter opens."""
MOST_ROWS, WIDEST_CELL, NARROWEST_CELL, DEEPEST, GAP = 1000, 200, 8, 12, 2


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the pane, and what enter opens there."""

    row: Row
    opens: Opened | None = None
    cells: tuple[tuple[int, int, Opened], ...] = ()
    """The cells of a table row: (first character, end, the value that enter opens)."""


class AnswerPane(TextPane):
    """Redrawn only when the outcome or the width changes. `enter` opens the value or cell under the cursor whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", tooltip="The value under the cursor, whole", id="answer.open"),
    ]

    def __init__(self) -> None:
        super().__init__("answer")
        self.wrap = True
        self._moment: Moment | None = None
        self._drawn: tuple[object, ...] = ()
        self._shown: list[Line] = []
        self.cursor = 0
        self.column = 0
        """The place of the cell under the cursor, if the cursor is on a table row."""

    def show(self, moment: Moment) -> None:
        self._moment, state = moment, moment.state
        doing = activity(state, moment.now).words if state.extraction is not None else ""
        drawn = (moment.generation, state.status, len(state.outputs), state.extraction is not None, doing)
        if (*drawn, self.text_width) != self._drawn:
            same, self._drawn = drawn == self._drawn[:-1], (*drawn, self.text_width)
            self._shown = list(_lines(state, doing, self.text_width))
            if not same:
                self.column = 0
                self.cursor = next((place for place, line in enumerate(self._shown) if line.opens), 0)
            self.show_rows(TextRows(line.row for line in self._shown), keep_place=True)

    def on_resize(self) -> None:
        super().on_resize()
        if self._moment is not None:
            self.show(self._moment)

    # The cursor: on a row of a value, which enter opens whole

    def is_marked(self, number: int) -> bool:
        return self._is_under_cursor(number) and not self._shown[number].cells

    def spans_of(self, number: int, row: Row) -> Sequence[Span]:
        if not self._is_under_cursor(number) or not (cells := self._shown[number].cells):
            return row.spans
        start, end, _ = cells[min(self.column, len(cells) - 1)]
        return (*row.spans, (0, len(row.text), "on:panel"), (start, end, "bold on:selection"))

    def _is_under_cursor(self, number: int) -> bool:
        return number == self.cursor and self.has_focus and self._structured and number < len(self._shown)

    @property
    def _outputs(self) -> Mapping[str, ev.Json]:
        return self._moment.state.outputs if self._moment else {}

    @property
    def _structured(self) -> bool:
        """True where there is more than text: text is scrolled by lines, as everywhere."""
        return any(not isinstance(value, str) for value in self._outputs.values())

    def move(self, lines: int) -> None:
        """Move the cursor, and the text with it: a row that is taller than the pane is read before the next one."""
        if not self._structured:
            super().move(lines)
            return
        step = 1 if lines > 0 else -1
        if abs(lines) > 1:
            before = self.top
            super().move(lines)
            self._put(self.cursor if self.top != before else self.rows.end * step)
            self._put_in_view()
            return
        self._put_in_view()
        if self._goes_on(step):
            super().move(step)
            return
        self._put(self.cursor + step)
        for _ in range(self.page):
            if not self._goes_on(step) or self.top == (self.cursor, 0):
                break
            before = self.top
            super().move(step)
            if self.top == before:
                break

    def _goes_on(self, step: int) -> bool:
        """True if the row under the cursor goes on below (or above) the visible part."""
        seen = [start for number, start, _, _ in self._layout() if number == self.cursor]
        pieces = self._lines(self.cursor)
        return pieces[-1 if step > 0 else 0][0] not in seen

    def _put(self, row: int, column: int | None = None) -> None:
        self.cursor = max(0, min(row, self.rows.end - 1))
        self.column = self.column if column is None else column
        self._forget()
        self.refresh()

    def _put_in_view(self) -> None:
        """The cursor goes to what can be seen when the text was scrolled away from it."""
        first, end = self.visible_rows()
        self._put(max(first, min(self.cursor, end - 1)))

    def action_top(self) -> None:
        super().action_top()
        self._put(0)

    def action_bottom(self) -> None:
        super().action_bottom()
        self._put(self.rows.end)

    def go_to_hit(self, row: int, column: int) -> None:
        super().go_to_hit(row, column)
        self._put(row, self._cell_at(row, column))

    def action_sideways(self, columns: int) -> None:
        """Choose the next cell of a row of a table; elsewhere, what is sideways of every text."""
        self._put_in_view()
        cells = self._shown[self.cursor].cells if self._structured and self.cursor < len(self._shown) else ()
        if not cells:
            super().action_sideways(columns)
            return
        self._put(self.cursor, max(0, min(self.column + (1 if columns > 0 else -1), len(cells) - 1)))

    def on_focus(self) -> None:
        self._forget()
        self.refresh()

    on_blur = on_focus

    def on_click(self, event: events.Click) -> None:
        offset, pieces = event.get_content_offset(self), self._layout()
        if offset is not None and offset.y < len(pieces):
            number, start, _, _ = pieces[offset.y]
            self._put(number, self._cell_at(number, start + offset.x + self.scroll_offset.x))
            if event.chain == 2:
                self.action_open()

    def _cell_at(self, number: int, character: int) -> int:
        cells = self._shown[number].cells if number < len(self._shown) else ()
        return max((place for place, (start, _, _) in enumerate(cells) if start <= character), default=0)

    def action_open(self) -> None:
        """Show the value under the cursor whole: a table's cell, a member of a list, else the output."""
        if self._structured:
            self._put_in_view()
        line = self._shown[self.cursor] if self.cursor < len(self._shown) else Line(Row(""))
        opens = line.cells[min(self.column, len(line.cells) - 1)][2] if line.cells else line.opens
        if opens is None:
            self.notify("There is no value here to open.", timeout=3)
            return
        self.app.push_screen(Reader(opens[0], ev.as_text(opens[1])))

    @property
    def frame_words(self) -> FrameWords:
        if words := self.place_words():
            return FrameWords(figures=words)
        return FrameWords(figures=plural(len(self._outputs), "output") if self._outputs else "")

    def item(self) -> tuple[str, str]:
        outputs = self._outputs
        if len(outputs) == 1:
            return "the answer", ev.as_text(next(iter(outputs.values())))
        return "the answer as JSON", msgspec.json.format(msgspec.json.encode(outputs), indent=2).decode()


def _lines(state: RunState, doing: str, room: int) -> Iterator[Line]:
    for row in _outcome_rows(state, doing):
        yield Line(row)
    for name, value in state.outputs.items():
        yield Line(Row(clean_line(name, 200), "bold primary"), (name, value))
        yield from value_lines(name, value, room)
        yield Line(Row(""))


def _outcome_rows(state: RunState, doing: str) -> Iterator[Row]:
    finished = state.finished
    if finished is not None:
        words, tone = ENDS[finished.status]
        cost = f" · {dollars(finished.totals.cost_usd)}" if finished.totals.cost_usd is not None else ""
        yield Row(f"{words.lower()} in {seconds(finished.totals.seconds)}{cost}", f"bold {tone}".replace("-", "_"))
        if finished.reason:
            yield from rows_of(finished.reason, "muted")
        if finished.error is not None:
            yield from rows_of(finished.error.words, "error")
            if finished.error.hint:
                yield from rows_of(finished.error.hint)
        yield Row("")
    elif state.extraction is not None:
        yield from rows_of(f"The answer is being extracted: {state.extraction.why}", "sub_llm")
        yield Row(doing, "muted")
    if not state.outputs:
        yield Row("no answer" if finished is not None else "no answer yet", "muted")


def _is_table(value: ev.Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and one for one in value)


def value_lines(name: str, value: ev.Json, room: int, depth: int = 0) -> Iterator[Line]:
    """A value as a person reads it, in a pane of `room` cells; `name` says where in the answer it stands."""
    pad = "  " * depth
    if isinstance(value, str):
        for row in rows_of(value):
            yield Line(_text_row(pad, row, len(pad)), (name, value))
    elif depth >= DEEPEST:
        yield Line(Row(pad + clean_line(ev.as_text(value), 200), "muted"), (name, value))
    elif isinstance(value, Mapping) and value:
        entries = ((f"{pad}{clean_line(str(key), 60)}: ", f"{name} · {key}", one) for key, one in value.items())
        yield from _branches(entries, len(value), name, value, room, depth)
    elif _is_table(value):
        yield from _table_lines(name, value, room, pad)
    elif isinstance(value, Sequence) and value:
        members = ((f"{pad}• ", f"{name} · {place}", one) for place, one in enumerate(value, 1))
        yield from _branches(members, len(value), name, value, room, depth)
    else:
        yield Line(Row(pad + clean_line(ev.as_text(value), 200), "accent" if value is not None else "muted"),
                   (name, value))  # fmt: skip


def _text_row(head: str, row: Row, muted: int) -> Row:
    """A line of text behind `head`, whose first `muted` characters are; the place behind a passage is muted as well."""
    text, passage = head + row.text, PASSAGE.fullmatch(row.text)
    spans: tuple[Span, ...] = ((0, muted, "muted"),) if muted else ()
    indent = len(head)
    if passage is not None:
        spans += ((len(head) + passage.start(1), len(text), "muted"),)
        indent += 1  # under the passage's first word
    return Row(text, row.tone, spans, continued=row.continued, indent=indent)


def _branches(
    parts: Iterable[tuple[str, str, ev.Json]], count: int, name: str, value: ev.Json, room: int, depth: int
) -> Iterator[Line]:
    """The members of a value, each behind its head (head, name, value)."""
    for head, named, one in islice(parts, MOST_ROWS):
        yield from _branch(head, named, one, room, depth)
    if count > MOST_ROWS:
        yield Line(Row(f"{'  ' * depth}… {count - MOST_ROWS:,} more", "muted"), (name, value))


def _branch(head: str, name: str, value: ev.Json, room: int, depth: int) -> Iterator[Line]:
    """What fits beside its head stands there, the rest below it."""
    if (isinstance(value, str) and "\n" not in value) or not isinstance(value, Mapping | list | str):
        words = value if isinstance(value, str) else ev.as_text(value)
        for place, row in enumerate(rows_of(words)):
            yield Line(_text_row("" if place else head, row, 0 if place else len(head)), (name, value))
    else:
        yield Line(Row(head.rstrip(), "muted"), (name, value))
        yield from value_lines(name, value, room, depth + 1)


def _table_lines(name: str, records: Sequence[Mapping[str, ev.Json]], room: int, pad: str) -> Iterator[Line]:
    """One line for each record. The widest columns are cut so that it fits; enter opens what was cut."""
    names = list(dict.fromkeys(str(key) for record in records[:MOST_ROWS] for key in record))
    lines = [[_cell(record.get(key)) for key in names] for record in records[:MOST_ROWS]]
    heads = [clean_line(key, WIDEST_CELL) for key in names]
    widths = [max(cells(head), *(cells(line[place]) for line in lines)) for place, head in enumerate(heads)]
    room -= len(pad) + GAP * (len(names) - 1)
    while sum(widths) > room and max(widths) > NARROWEST_CELL:
        widths[widths.index(max(widths))] -= 1
    yield Line(Row(_table_row(pad, heads, widths)[0], "muted"), (name, records))
    for number, (record, line) in enumerate(zip(records, lines, strict=False), 1):
        text, edges = _table_row(pad, line, widths)
        opens = tuple(
            (*edge, (f"{name} · {number} · {key}", record.get(key))) for edge, key in zip(edges, names, strict=True)
        )
        yield Line(Row(text), (f"{name} · {number}", record), opens)
    if len(records) > MOST_ROWS:
        yield Line(Row(f"{pad}… {len(records) - MOST_ROWS:,} more", "muted"), (name, records))


def _table_row(pad: str, texts: Sequence[str], widths: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """A row of a table, and where each of its cells begins and ends in it."""
    row, edges = pad, []
    for text, width in zip(texts, widths, strict=True):
        if cells(text) > width:
            text = text[: between_cells(text, 0, width - 1)[1]] + "…"
        padded = text + " " * (width - cells(text))
        edges.append((len(row), len(row) + len(padded)))
        row += padded + " " * GAP
    return row.rstrip(), edges


def _cell(value: ev.Json) -> str:
    return "" if value is None else clean_line(ev.as_text(value), WIDEST_CELL)
