"""Scrolling by lines, for the text and table widgets."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.widget import Widget

WHEEL_LINES = 3
"""Lines that one step of the mouse wheel scrolls."""


def set_virtual_size(view: ScrollView, size: Size) -> None:
    """Set how much there is to scroll, without a new layout of the whole screen.

    For views whose vertical scrollbar is always there, or never (`overflow-y: scroll` or `hidden`).
    """
    if size != view.virtual_size:
        view.set_reactive(Widget.virtual_size, size)
        if view.show_vertical_scrollbar:
            view.vertical_scrollbar.window_virtual_size = size.height
