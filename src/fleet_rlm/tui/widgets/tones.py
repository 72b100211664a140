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
    """Rich styles from words: a name of the palette is the colour, `on:name` the ground, and `bold`, `italic`, … .

    Later words win, so a row's style and a span's style are simply put one after the other.
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

    def color(self, name: str) -> str:
        """The colour's own notation, for Textual's `Content`."""
        return str(getattr(self._colors, name))

    def _make(self, words: str) -> Style:
        color, ground = "foreground", self._ground
        attributes: dict[str, bool] = {}
        for word in words.split():
            if word in _ATTRIBUTES:
                attributes[word] = True
            elif word.startswith("on:"):
                ground = word[3:]
            else:
                color = word
        return Style(
            color=Color.parse(self.color(color)).rich_color,
            bgcolor=Color.parse(self.color(ground)).rich_color,
            bold=attributes.get("bold"),
            italic=attributes.get("italic"),
            underline=attributes.get("underline"),
            reverse=attributes.get("reverse"),
            strike=attributes.get("strike"),
        )
