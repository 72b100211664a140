"""The forms in which a secret comes back: base64, hexadecimal digits, and the escapes of URLs, JSON and HTML."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

_SHORTEST_PIECE = 5
ESCAPE_CHARS = 8
"""The most characters that one escaped character takes."""
_LONGEST_ESCAPE = 24
_LAYERS = 3
"""Escapes of escapes are looked into this deep."""
_ESCAPE = re.compile(
    r"%[0-7][0-9A-Fa-f]|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3}"
    r"|\\+u[0-9A-Fa-f]{4}|\\+x[0-9A-Fa-f]{2}|\\+[\"'/n]|\\\\"
    r"|&#[xX][0-9A-Fa-f]{1,6};?|&#[0-9]{1,7};?|&[A-Za-z]{2,8};"
)
_CUT_ESCAPE = re.compile(
    r"(?:%[0-9A-Fa-f]?|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){0,2}(?:%[89ABab]?)?"
    r"|\\+(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&(?:#(?:[xX][0-9A-Fa-f]{0,6}|[0-9]{0,7})|[A-Za-z]{0,8}))\Z"
)


def encoded_forms(secret: str) -> set[str]:
    """Return how a secret always looks inside of base64 (at any place of it) and of hexadecimal digits."""
    raw, forms = utf8(secret), {utf8(secret).hex(), utf8(secret).hex().upper(), secret.replace(" ", "+")} - {secret}
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw).decode()
        inner = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]  # characters that hold bits of nothing else
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms


def whole_piece(form: str) -> str:
    """The longest piece of letters and digits, which escapes leave as it is; empty when it is too short to tell."""
    longest = max(re.findall("[A-Za-z0-9]+", form), key=len, default="")
    return longest if len(longest) >= _SHORTEST_PIECE else ""


def layers(text: str, at: int, *, cut: bool = False) -> Iterator[tuple[str, Sequence[int]]]:
    """The text from `at` on as it is, then with its escapes undone, and theirs; and where each character stands.

    With `cut`, an escape at the end that is not whole yet is left out: what it will be is not known.
    """
    plain, places = text[at:], _places(at, len(text))
    for layer in range(_LAYERS + 1):
        if cut and (unfinished := _CUT_ESCAPE.search(plain, max(0, len(plain) - _LONGEST_ESCAPE))):
            plain, places = plain[: unfinished.start()], places[: unfinished.start() + 1]
        yield plain, places
        if layer == _LAYERS or not _ESCAPE.search(plain):
            return
        plain, places = _unescaped(plain, places)


def _places(start: int, end: int) -> Sequence[int]:
    return range(start, end + 1)


def _unescaped(text: str, places: Sequence[int]) -> tuple[str, Sequence[int]]:
    """The text with one layer of escapes undone, and where each of its characters stands."""
    parts: list[str] = []
    stands: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        character = _meaning(match[0])
        parts += text[at : match.start()], character
        stands += places[at : match.start()]
        stands += [places[match.start()]] * len(character)
        at = match.end()
    parts.append(text[at:])
    stands += places[at:]
    return "".join(parts), stands


def _meaning(escape: str) -> str:
    if escape[0] == "%":
        return unquote(escape, errors="replace")
    if escape[0] == "&":
        return html.unescape(escape) or "\ufffd"  # what stands for nothing still stands somewhere
    rest = escape.lstrip("\\")
    if rest[:1] in ("u", "x") and len(rest) > 1:
        return chr(int(rest[1:], 16))
    return "\n" if rest == "n" else rest or "\\"


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
