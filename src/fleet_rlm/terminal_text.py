"""Make text from a model, a document or a sandbox harmless to a terminal.

What can move a cursor, set a title, write the clipboard or reorder a line is replaced by a visible sign, one for one,
so that positions in a cleaned line are positions in the original. Nothing is interpreted: markup is the caller's care.
"""

from __future__ import annotations

import re

_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_LINE_BREAKING = (0x2028, 0x2029)
_INVISIBLE = (
    0x180E,
    *range(0x2060, 0x2065),
    *range(0x206A, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
"""Nobody sees them and a model reads them; the last are tags, which can spell whole sentences."""
_SURROGATES = range(0xD800, 0xE000)
_NO_WIDTH = range(0x200B, 0x200E)
_VARIANTS = range(0xFE00, 0xFE10)
"""Zero-width joiners and variation selectors: terminals disagree about how wide what they join or change is, and a line
that is wider than it was measured pushes everything beside it away. Shown one by one, every character has its width."""

_SIGN: dict[int, int] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *_BIDI, *_LINE_BREAKING, *_INVISIBLE, *_SURROGATES), 0xFFFD),
    **dict.fromkeys(_NO_WIDTH, ord("·")),
    **dict.fromkeys(_VARIANTS, ord(" ")),
}
"""What is shown instead: control pictures where Unicode has them, else the replacement character."""

_ONE_LINE: dict[int, int] = {**_SIGN, ord("\n"): ord(" "), ord("\t"): ord(" ")}

_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
_TAGS = re.compile("[\U000e0000-\U000e007f]")
"""On its own: one range beyond the first 65,536 characters would make the other search several times slower."""


def clean(text: str) -> str:
    """The text with everything a terminal could act on made visible; newlines and tabs stay, CRLF becomes LF."""
    if text.isascii() and text.isprintable():
        return text
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    return text.translate(_SIGN) if _HARMFUL.search(text) or _TAGS.search(text) else text


def clean_line(text: str, limit: int = 1000) -> str:
    """One harmless line of at most `limit` characters: newlines and tabs become spaces, a cut ends in `…`.

    Character for character: position *n* of the result shows character *n* of `text`.
    """
    if len(text) > limit:
        text = text[: max(limit - 1, 0)] + "…"
    if text.isascii() and text.isprintable():
        return text
    # What is not printable includes all that is harmful, but for variation selectors.
    return text if text.isprintable() and not _HARMFUL.search(text) else text.translate(_ONE_LINE)


def model_name(name: str) -> str:
    """A model's name without its provider."""
    return clean_line(name.rpartition("/")[2] or "the model", 30)
