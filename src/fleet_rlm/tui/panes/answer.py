"""Answer: what the run gave, tables as tables and trees as trees; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from textual import events
from textual.binding import Binding, BindingType

from fleet_rlm import events as ev
from fleet_rlm.figures import dollars, plural, seconds
from fleet_rlm.screen_text import clean_line
from fleet_rlm.state import RunState
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.playhead import Moment
from fleet_rlm.tui.run_words import ENDS, activity
from fleet_rlm.tui.screens.reader import Reader
from fleet_rlm.tui.widgets.pane_grid import Titled
from fleet_rlm.tui.widgets.rows import Row, TextRows, rows_of

Opened = tuple[str, ev.Json]
"""(its name, a value) that enter opens."""
MOST_ROWS, WIDEST_CELL, DEEPEST = 1000, 32, 12


class AnswerPane(TextPane):
    """Redrawn only when the outcome changes. `enter` opens the value under the cursor whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", tooltip="The value under the cursor, whole", id="answer.open"),
    ]

    def __init__(self) -> None:
        super().__init__("answer")
        self.wrap = True
        self._state: RunState | None = None
        self._drawn: tuple[object, ...] = ()
        self._opens: list[Opened | None] = []
        """By row, what enter opens there."""
        self.cursor = 0

    def show(self, moment: Moment) -> None:
        state = self._state = moment.state
        doing = activity(state, moment.now).words if state.extraction is not None else ""
        key = (moment.generation, state.status, len(state.outputs), state.extraction is not None, doing)
        if key != self._drawn:
            self._drawn = key
            rows: list[Row] = []
            self._opens.clear()
            for row, opened in _rows(state, doing):
                rows.append(row)
                self._opens.append(opened)
            self.cursor = next((place for place, opened in enumerate(self._opens) if opened is not None), 0)
            self.show_rows(TextRows(rows), keep_place=True)

    # The cursor: on a row of a value, which enter opens whole

    def is_marked(self, number: int) -> bool:
        return number == self.cursor and self.has_focus and self._structured

    @property
    def _structured(self) -> bool:
        """True where there is more than text: text is scrolled by lines, as everywhere."""
        outputs = self._state.outputs if self._state else {}
        return any(not isinstance(value, str) for value in outputs.values())

    def move(self, lines: int) -> None:
        """Move the cursor, and the text with it."""
        if not self._structured:
            super().move(lines)
            return
        self.cursor = max(0, min(self.cursor + lines, self.rows.end - 1))
        self._forget()
        self.refresh()
        self.to_row(self.cursor, context=self.page // 2)

    def on_focus(self) -> None:
        self._forget()
        self.refresh()

    on_blur = on_focus

    def on_click(self, event: events.Click) -> None:
        offset, pieces = event.get_content_offset(self), self._layout()
        if offset is not None and offset.y < len(pieces):
            self.cursor = pieces[offset.y][0]
            self._forget()
            self.refresh()
            if event.chain == 2:
                self.action_open()

    def action_open(self) -> None:
        """Show the value under the cursor whole: a record of a table with all its cells, else the output."""
        opened = self._opens[self.cursor] if self.cursor < len(self._opens) else None
        if opened is None:
            self.notify("There is no value here to open.", timeout=3)
            return
        name, value = opened
        self.app.push_screen(Reader(name, whole(value)))

    @property
    def titled(self) -> Titled:
        if words := self.place_words():
            return Titled(figures=words)
        return Titled(figures=plural(len(self._state.outputs), "output") if self._state and self._state.outputs else "")

    def item(self) -> tuple[str, str]:
        outputs = self._state.outputs if self._state else {}
        if len(outputs) == 1:
            return "the answer", ev.as_text(next(iter(outputs.values())))
        return "the answer as JSON", msgspec.json.format(msgspec.json.encode(outputs), indent=2).decode()


def whole(value: ev.Json) -> str:
    """A value without any cut: the fields of a record one below the other, other structures as JSON."""
    if isinstance(value, Mapping):
        return "\n\n".join(f"{name}:\n{ev.as_text(one)}" for name, one in value.items())
    return ev.as_text(value)


def _rows(state: RunState, doing: str) -> Iterator[tuple[Row, Opened | None]]:
    for row in _outcome_rows(state, doing):
        yield row, None
    for name, value in state.outputs.items():
        yield Row(clean_line(name, 200), "bold primary"), (name, value)
        records = value if _is_table(value) else []
        for place, row in enumerate(value_rows(value)):
            inside = 0 < place <= len(records)  # below the heads of the columns
            yield row, (f"{name} {place}", records[place - 1]) if inside else (name, value)
        yield Row(""), None


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


def value_rows(value: ev.Json, depth: int = 0) -> Iterator[Row]:
    """A value as a person reads it."""
    pad = "  " * depth
    if isinstance(value, str):
        for row in rows_of(value):
            yield Row(pad + row.text, row.tone, continued=row.continued, indent=len(pad))
    elif depth >= DEEPEST:
        yield Row(pad + clean_line(ev.as_text(value), 200), "muted")
    elif isinstance(value, Mapping) and value:
        yield from _mapping_rows(value, depth)
    elif _is_table(value):
        yield from _table_rows(value, pad)
    elif isinstance(value, Sequence) and value:
        for one in value[:MOST_ROWS]:
            yield from _branch(f"{pad}• ", one, depth)
        if len(value) > MOST_ROWS:
            yield Row(f"{pad}… {len(value) - MOST_ROWS:,} more", "muted")
    else:
        yield Row(pad + clean_line(ev.as_text(value), 200), "accent" if value is not None else "muted")


def _mapping_rows(value: Mapping[str, ev.Json], depth: int) -> Iterator[Row]:
    pad = "  " * depth
    for place, (key, one) in enumerate(value.items()):
        if place >= MOST_ROWS:
            yield Row(f"{pad}… {len(value) - MOST_ROWS:,} more", "muted")
            return
        yield from _branch(f"{pad}{clean_line(str(key), 60)}: ", one, depth)


def _branch(head: str, value: ev.Json, depth: int) -> Iterator[Row]:
    """What fits beside its head stands there, the rest below it."""
    if (isinstance(value, str) and "\n" not in value) or not isinstance(value, Mapping | list | str):
        words = value if isinstance(value, str) else ev.as_text(value)
        for place, row in enumerate(rows_of(words)):
            text = head + row.text if place == 0 else row.text
            span = ((0, len(head), "muted"),) if place == 0 else ()
            yield Row(text, spans=span, continued=row.continued, indent=len(head))
    else:
        yield Row(head.rstrip(), "muted")
        yield from value_rows(value, depth + 1)


def _table_rows(records: Sequence[Mapping[str, ev.Json]], pad: str) -> Iterator[Row]:
    names = list(dict.fromkeys(str(name) for record in records[:MOST_ROWS] for name in record))
    lines = [[_cell(record.get(name)) for name in names] for record in records[:MOST_ROWS]]
    heads = [clean_line(name, WIDEST_CELL) for name in names]
    widths = [max(len(head), *(len(line[place]) for line in lines)) for place, head in enumerate(heads)]
    yield Row(pad + "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)), "muted")
    for line in lines:
        yield Row(pad + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    if len(records) > MOST_ROWS:
        yield Row(f"{pad}… {len(records) - MOST_ROWS:,} more", "muted")


def _cell(value: ev.Json) -> str:
    return "" if value is None else clean_line(ev.as_text(value), WIDEST_CELL)
