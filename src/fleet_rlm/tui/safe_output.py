"""The last gate before the terminal: no text of any widget reaches it with a character that a terminal acts on.

Textual writes what widgets hold as it is. Text is cleaned where it enters a screen (`fleet_rlm.screen_text`), so that
it is measured as it is shown; this filter stands behind that, for what slips through.
"""

from __future__ import annotations

import re

from rich.segment import Segment
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
