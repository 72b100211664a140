"""The last gate before the terminal: no text of any widget reaches it with a character that a terminal acts on.

Textual writes what widgets hold as it is. Text is cleaned where it enters a screen (`fleet_rlm.terminal_text`), so that
it is measured as it is shown; this filter stands behind that, for what slips through.
"""

from __future__ import annotations

import colorsys
import re
from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_ZERO_WIDTH = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]")
"""All of these count as no cell, so that taking them out leaves the layout as it was measured."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def harmless(text: str) -> str:
    """The text without what a terminal acts on, as wide as before."""
    if text.isascii() and text.isprintable():
        return text
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _ZERO_WIDTH.sub("", text))


class SafeOutput(LineFilter):
    """Removes C0, DEL, C1 and bidirectional controls from every line that is about to be written."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - LineFilter's interface
        if all(text.isascii() and text.isprintable() for text, _, _ in segments):
            return segments
        return [
            segment if segment.control else Segment(harmless(segment.text), segment.style, None) for segment in segments
        ]


_GREY = 0.2
"""A colour whose parts differ by less than this has no hue: text is a bluish white in most themes, and stays white."""
_HUES = ((20, 1), (75, 3), (160, 2), (200, 6), (245, 4), (330, 5), (361, 1))
"""Up to which degree of the circle a colour is red, yellow, green, cyan, blue, magenta, red; by their numbers."""


class SixteenColors(LineFilter):
    """Keeps hues apart where the terminal has sixteen colours: the nearest one to a soft colour would be white."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - LineFilter's interface
        return [Segment(text, style and _in_sixteen(style), control) for text, style, control in segments]


@lru_cache(maxsize=4096)
def _in_sixteen(style: Style) -> Style:
    back = None if style.bgcolor is None else RichColor.from_ansi(_number_of(style.bgcolor, ground=True))
    fore = None if style.color is None else RichColor.from_ansi(_number_of(style.color))
    if fore is not None and back is not None and fore.number == back.number:
        fore = RichColor.from_ansi(0 if back.number in (7, 15, 3, 2, 6) else 15)
    return style + Style(color=fore, bgcolor=back)


def _number_of(color: RichColor, *, ground: bool = False) -> int:
    """The number from 0 to 15 of the colour with the same hue, and as bright."""
    if color.type is ColorType.STANDARD and color.number is not None:
        return color.number
    red, green, blue = (part / 255 for part in color.get_truecolor())
    hue, light, _ = colorsys.rgb_to_hls(red, green, blue)
    if ground and light < 0.16:
        return 0
    if ground and light > 0.85:
        return 15
    if max(red, green, blue) - min(red, green, blue) < _GREY:
        return 0 if light < 0.16 else 8 if light < 0.55 else 7 if light < 0.8 else 15
    bright = 0 if ground or light < 0.45 else 8
    return next(number for degrees, number in _HUES if hue * 360 < degrees) + bright
