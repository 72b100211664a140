"""Styles by meaning for code that makes its own strips: `tones("bold planner")`, `tones("muted on:selection")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual.color import Color

from fleet_rlm.tui.look.themes import Palette, palette

if TYPE_CHECKING:
    from textual.app import App

_ATTRIBUTES = frozenset({"bold", "italic", "underline", "reverse", "strike"})


class Tones:
    """Makes Rich styles from words: a palette name is the colour, `on:name` the background; `bold`, `italic`, ….

    Later words win: a span's words are appended to its row's.
    """

    def __init__(self, colors: Palette, ground: str = "surface") -> None:
        self._colors = colors
        self._ground = ground
        self._made: dict[str, Style] = {}

    @classmethod
    def of(cls, app: App[object], ground: str = "surface") -> Tones:
        return cls(palette(app), ground)

    def __call__(self, words: str) -> Style:
        found = self._made.get(words)
        if found is None:
            found = self._made[words] = self._make(words)
        return found

    def _make(self, words: str) -> Style:
        color, ground = "foreground", self._ground
        attributes: list[str] = []
        for word in words.split():
            if word in _ATTRIBUTES:
                attributes.append(word)
            elif word.startswith("on:"):
                ground = word[3:]
            else:
                color = word
        front, back = (Color.parse(getattr(self._colors, name)).rich_color for name in (color, ground))
        return Style.combine([Style(color=front, bgcolor=back), Style.parse(" ".join(attributes))])
