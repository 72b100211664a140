"""Break lines, and find the characters between two cells of a screen."""

from __future__ import annotations

from rich.cells import cell_len, get_character_cell_size

MIN_WIDTH = 4


def breaks(text: str, width: int, indent: int = 0) -> list[tuple[int, int]]:
    """Return (start, end) of each line of `text` when it is `width` cells wide; at spaces where there are any.

    Lines after the first are `indent` cells shorter. There is at least one line.
    """
    width = max(width, MIN_WIDTH)
    if not text:
        return [(0, 0)]
    narrow = text.isascii()
    found: list[tuple[int, int]] = []
    start, room = 0, width
    while start < len(text):
        end = min(start + room, len(text)) if narrow else _fitting(text, start, room)
        if end < len(text):
            space = text.rfind(" ", start, end + 1)
            if space > start and text[start:space].strip():
                end = space + 1 if space < end else space
        found.append((start, end))
        start = end
        if start < len(text) and text[start] == " " and text[start - 1] != " ":
            start += 1  # the space at which the line was broken
        room = max(width - indent, MIN_WIDTH)
    return found


def _fitting(text: str, start: int, room: int) -> int:
    """Return the end of the longest piece from `start` that needs at most `room` cells; at least one character."""
    cells = 0
    for place in range(start, len(text)):
        cells += get_character_cell_size(text[place])
        if cells > room:
            return max(place, start + 1)
    return len(text)


def between_cells(text: str, left: int, right: int) -> tuple[int, int, int]:
    """Return (first character, after the last, blank cells before them) of a text's cells `left` … `right`.

    A wide character that the left edge would halve is left out, hence the blank.
    """
    if text.isascii():
        return min(left, len(text)), min(right, len(text)), 0
    first: int | None = None
    blank = cells = 0
    for place, character in enumerate(text):
        if first is None and cells >= left:
            first, blank = place, cells - left
        size = get_character_cell_size(character)
        if cells + size > right:
            return (place if first is None else first), place, blank
        cells += size
    return (len(text) if first is None else first), len(text), blank


def cells(text: str) -> int:
    """Return the width of a text in cells."""
    return len(text) if text.isascii() else cell_len(text)
