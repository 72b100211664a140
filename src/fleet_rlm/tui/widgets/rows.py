"""Rows of text for a `LineView`: what one row is, text that is all there, and text that grows at its end.

Everything that is put into a row is clean (`fleet_rlm.terminal_text`), holds no newline and no tab, and has at most
`ROW_CHARS` characters: longer lines are cut into rows that continue them, so that no row is ever slow to draw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fleet_rlm.terminal_text import clean

ROW_CHARS = 4096
TAB = "    "
Span = tuple[int, int, str]
"""(first character, after the last, tone)."""
PASSAGE = re.compile(r"^“.*” (\(.+:\d+.*\))$", re.MULTILINE)
"""A line that quotes a passage, and in its group the place of the passage, which is shown muted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is drawn."""

    text: str
    tone: str = ""
    """Tone of the whole row, see `tones`. May name a background: `on:panel`."""
    spans: tuple[Span, ...] = ()
    """Tones of parts; later ones win."""
    gutter: str = ""
    """Text left of the row, in its first line only; not searched, not copied."""
    gutter_tone: str = "muted"
    continued: bool = False
    """True when it continues the line of the row before."""
    indent: int = 0
    """Cells by which its further lines are moved in when it is wrapped."""


class Rows(Protocol):
    """Rows numbered from `first` (the oldest that is kept) to `end` (one after the newest)."""

    @property
    def first(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def gutter_width(self) -> int:
        """Cells; all gutters are padded to it."""

    def row(self, number: int) -> Row:
        """Raises `IndexError` outside of `first` … `end`."""


def plain(text: str) -> str:
    """Return a text as one line without tabs and without characters that a terminal would act on."""
    return clean(text).replace("\t", TAB).replace("\n", " ")


def cut(text: str, tone: str = "", gutter: str = "", gutter_tone: str = "muted", indent: int = 0) -> Iterator[Row]:
    """Yield the rows of one clean line."""
    yield Row(text[:ROW_CHARS], tone, (), gutter, gutter_tone, indent=indent)
    for start in range(ROW_CHARS, len(text), ROW_CHARS):
        yield Row(text[start : start + ROW_CHARS], tone, continued=True, indent=indent)


def lines_of(text: str) -> list[str]:
    """Return a text's lines, each as `plain` makes it; an ending newline adds none."""
    lines = [line.replace("\t", TAB) for line in clean(text).split("\n")]
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def rows_of(text: str, tone: str = "") -> Iterator[Row]:
    """Yield the rows of a text of any length."""
    for line in lines_of(text):
        yield from cut(line, tone)


class TextRows:
    """Rows that are given at once and never change."""

    def __init__(self, rows: Iterable[Row] = (), gutter_width: int | None = None) -> None:
        self._rows = list(rows)
        self.first = 0
        self.gutter_width = (
            max((len(row.gutter) for row in self._rows), default=0) if gutter_width is None else gutter_width
        )

    @property
    def end(self) -> int:
        return len(self._rows)

    def row(self, number: int) -> Row:
        return self._rows[number]

    def text(self) -> str:
        """Return all rows as text."""
        return joined(self._rows)


class TailRows:
    """Rows that grow at the end and are dropped at the start, past `most` of them."""

    def __init__(self, gutter_width: int, most: int = 100_000) -> None:
        self.gutter_width = gutter_width
        self.most = most
        self.first = 0
        self._rows: list[Row] = []
        self._skip = 0

    @property
    def end(self) -> int:
        return self.first + len(self._rows) - self._skip

    def row(self, number: int) -> Row:
        if number < self.first:
            raise IndexError(number)
        return self._rows[number - self.first + self._skip]

    def append(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) - self._skip > self.most:
            self.first += 1
            self._skip += 1
            if self._skip >= self.most // 4:  # so that dropping one row does not move all the others each time
                del self._rows[: self._skip]
                self._skip = 0

    def replace(self, number: int, row: Row) -> None:
        """Replace a row that is kept; one that was dropped stays dropped."""
        if number >= self.first:
            self._rows[number - self.first + self._skip] = row

    def cut_back(self, end: int) -> None:
        """Remove the rows from `end` on."""
        del self._rows[max(end - self.first, 0) + self._skip :]

    def text(self) -> str:
        """Return the rows that are kept as text."""
        return joined(self._rows[self._skip :])


def joined(rows: Iterable[Row]) -> str:
    """Return rows as text; a row that continues a line adds no newline."""
    parts: list[str] = []
    for row in rows:
        if parts and not row.continued:
            parts.append("\n")
        parts.append(row.text)
    return "".join(parts)
