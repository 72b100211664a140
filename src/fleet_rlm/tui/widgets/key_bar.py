"""A line of key hints: each a key and a word, both clickable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

GAP = 2


@dataclass(frozen=True, slots=True)
class KeyHint:
    """A key and what it does at this moment."""

    keys: str
    """The key as it is shown: `space`, `[ ]`."""
    label: str
    action: str
    """The action that a click runs, with its namespace, such as `screen.pause`."""
    tip: str = ""

    @property
    def width(self) -> int:
        return len(self.keys) + 1 + len(self.label)


def hint_content(hint: KeyHint, tone: str) -> Content:
    """Return one hint, drawn. `tone` is a CSS variable, such as `$primary`."""
    content = Content.assemble((hint.keys, f"bold {tone}"), (f" {hint.label}", "$foreground"))
    return content.stylize(Style.from_meta({"@click": hint.action}))


def flow(hints: Sequence[KeyHint], width: int, tone: str, first: int = 0) -> list[Content]:
    """Return hints in lines of at most `width` cells; the first line begins after `first` cells."""
    lines: list[list[Content]] = [[]]
    used = first
    for hint in hints:
        if used + hint.width > width and (lines[-1] or first):
            lines.append([])
            used = 0
        lines[-1].append(hint_content(hint, tone))
        used += hint.width + GAP
    return [Content(" " * GAP).join(line) for line in lines]


class KeyBar(Widget):
    """Shows as many hints as fit in one line; those in `last` always stand at its end."""

    auto_links = False
    """A hint is clicked like a button; underlined like a link, a line of them cannot be read."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; padding: 0 1; background: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hints: tuple[KeyHint, ...] = ()
        self._last: tuple[KeyHint, ...] = ()

    def show(self, hints: Sequence[KeyHint], last: Sequence[KeyHint]) -> None:
        if (tuple(hints), tuple(last)) != (self._hints, self._last):
            self._hints, self._last = tuple(hints), tuple(last)
            self.refresh()

    def fitting(self, width: int) -> list[KeyHint]:
        """Return the hints that fit, in order."""
        room = width - sum(hint.width + GAP for hint in self._last)
        kept: list[KeyHint] = []
        for hint in self._hints:
            if hint.width > room:
                break
            kept.append(hint)
            room -= hint.width + GAP
        return [*kept, *self._last]

    def render(self) -> Content:
        return Content(" " * GAP).join(hint_content(hint, "$primary") for hint in self.fitting(self.size.width))
