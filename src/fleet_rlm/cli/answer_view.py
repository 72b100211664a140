"""Structured answers as a person reads them: texts as they are, lists of objects as tables, groups as trees.

Everything in them came from a model: it is cleaned, and nothing in it is markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fleet_rlm import events as ev
from fleet_rlm.terminal_text import clean, clean_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

ROWS, CELL_CHARS, TEXT_CHARS = 60, 160, 4000
"""Most rows of a list, and characters of a cell and of a text, without --full-output."""
NARROW = 50
PLAIN_WIDTH = 120
"""Columns where the output is no terminal."""


def say_answer(result: Mapping[str, ev.Json], *, full: bool) -> None:
    """Each field under its name on stdout; `full` cuts nothing."""
    console = _console()
    with console.capture() as captured:
        for name, value in result.items():
            console.print(*_shown(name, value, full))
    text = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def _shown(name: str, value: ev.Json, full: bool) -> Iterable[RenderableType]:
    title = name.replace("_", " ")
    if isinstance(value, dict) and value:
        return [_tree(f"{title} ({len(value)})", value, full)]
    if isinstance(value, list) and value and all(isinstance(row, dict) and row for row in value):
        return [_table(f"{title} ({len(value)})", value, full)]
    if isinstance(value, list):
        return [_numbered(f"{title} ({len(value)})", value, full)]
    return [_one(title, value, full)]


def _head(words: str) -> Text:
    from rich.text import Text

    return Text(clean_line(words, 200), style="bold")


def _text(value: ev.Json, most: int | None) -> Text:
    from rich.text import Text

    words = clean(ev.as_text(value)).expandtabs(4)
    if most is not None and len(words) > most:
        words = f"{words[:most].rstrip()}… ({len(words):,} characters, --full-output shows all)"
    return Text(words)


def _one(title: str, value: ev.Json, full: bool) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    if not isinstance(value, str):
        return Text.assemble(_head(title), "  ", _text(value, None))
    return Group(_head(title), Padding(_text(value, None if full else TEXT_CHARS), (0, 0, 1, 2)))


def _numbered(title: str, rows: Sequence[ev.Json], full: bool) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column(overflow="fold")
    for number, row in enumerate(rows if full else rows[:ROWS], 1):
        table.add_row(f"  {number}", _text(row, None if full else 3 * CELL_CHARS))
    return Group(_head(title), table, *_left_out(len(rows), full), "")


def _table(title: str, rows: Sequence[Mapping[str, ev.Json]], full: bool) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table

    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    table: Table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in columns:
        longest = max(len(ev.as_text(row.get(name, ""))) for row in rows)
        table.add_column(_head(name), overflow="fold", no_wrap=longest <= NARROW)  # identifiers stay whole
    for row in rows if full else rows[:ROWS]:
        table.add_row(*(_text(row.get(name, ""), None if full else 2 * CELL_CHARS) for name in columns))
    return Group(_head(title), table, *_left_out(len(rows), full))


def _left_out(count: int, full: bool) -> list[Text]:
    from rich.text import Text

    return [] if full or count <= ROWS else [Text(f"  … {count - ROWS:,} more: --full-output shows all", style="dim")]


def _tree(title: str, value: Mapping[str, ev.Json], full: bool) -> RenderableType:
    from rich.tree import Tree

    tree = Tree(_head(title), guide_style="dim")
    _grow(tree, value, full)
    return tree


def _grow(tree: Tree, value: Mapping[str, ev.Json] | Sequence[ev.Json], full: bool) -> None:
    from rich.text import Text

    items = list(value.items() if isinstance(value, Mapping) else ((None, part) for part in value))
    for name, part in items if full else items[:ROWS]:
        label = None if name is None else clean_line(str(name), 200)
        if isinstance(part, dict | list) and part and not _is_flat(part):
            _grow(tree.add(Text(f"{label} ({len(part)})" if label else f"({len(part)})")), part, full)
        else:
            said = _text(part, None if full else 2 * CELL_CHARS)
            tree.add(Text.assemble((f"{label}: ", "dim"), said) if label else said)
    if not full and len(items) > ROWS:
        tree.add(Text(f"… {len(items) - ROWS:,} more: --full-output shows all", style="dim"))


def _is_flat(value: ev.Json) -> bool:
    """An object of short values: `name: …, line: …` on one line."""
    if not isinstance(value, dict) or len(value) > 3:
        return False
    return not any(isinstance(part, dict | list) for part in value.values())
