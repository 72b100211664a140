"""The lines on the driver's connections, to the host and between supervisor and worker: JSON in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Message: TypeAlias = "dict[str, Any]"
"""A JSON object, as it came or as it goes."""

PART_CHARS = 256 << 10
"""A value longer than this crosses in parts of this many characters."""
LINE_BYTES = 8 << 20
"""The length of the longest line that is read, in either direction."""
READ_BYTES = 64 << 10
"""The most bytes to read at once: a larger buffer costs a memory map for every small message."""

as_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder())["scan_once"]


def dumps(message: Message) -> bytes:
    """Return a message as a line of UTF-8. Lone surrogates, which no host can read, become U+FFFD."""
    return utf8(as_text(message)) + b"\n"


def loads(text: str) -> Any:
    """Return the value of a JSON text that has no space around it."""
    return _scan(text, 0)[0]


def utf8(text: str) -> bytes:
    """Return a text as UTF-8, with U+FFFD for each lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class Lines:
    """Splits chunks of bytes into lines; a line longer than `most` bytes comes out as None, and takes no memory."""

    def __init__(self, most: int = LINE_BYTES) -> None:
        self.most, self.size = most, 0
        self.pieces: list[bytes] = []

    @property
    def too_long(self) -> bool:
        """True if the line that is being read is longer than allowed already."""
        return self.size > self.most

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yield the lines that end in `data`, without empty ones."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            line = None if self.too_long else b"".join(self.pieces)
            self.pieces.clear()
            self.size = 0
            if line != b"":
                yield line
        if rest:
            self._add(rest)

    def _add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.too_long:
            self.pieces.clear()
        else:
            self.pieces.append(piece)


# -- what a worker may say to its supervisor

_STATUSES = frozenset({"ok", "submit", "error", "syntax", "interrupted", "inputs"})
_TEXT, _NAME, _MOST = 64 << 10, 256, 1 << 53
"""The lengths of the longest text and name, and the largest number, that the host reads."""
_ROW = {"name": _NAME, "type": _NAME, "preview": 1024, "digest": 64}, {"size": 0}
_VARIABLES: Any = {}, {"added": [_ROW], "changed": [_ROW], "removed": [_NAME], "total": 0, "whole": True}
_ERROR = {"type": _NAME, "message": _TEXT, "traceback": _TEXT}, {"line": None}
_DONE = {"final": {}, "parts": 0, "value": _TEXT, "ms": 0.0, "missing": [_NAME], "error": _ERROR, "vars": _VARIABLES}
_FRAMES: dict[str, Any] = {
    "began": ({"cell": 0}, {}),
    "call": ({"cell": 0, "id": 0, "name": _NAME}, {"body": {}, "parts": 0}),
    "cancel": ({"id": 0}, {}),
    "part": ({"key": 32, "data": LINE_BYTES}, {}),
    "done": ({"cell": 0, "status": _STATUSES}, _DONE),
}
"""The shape of each frame: the members that it needs, and those that it may have. A length stands for a text, 0 for a
number, None for a number or null, a list for a list of such, and `{}` for any object.
"""


def sound(message: Any) -> bool:
    """Return True if the host can read this frame of a worker's."""
    kind = message.get("t") if type(message) is dict else None
    if type(kind) is not str or kind not in _FRAMES:
        return False
    return _fits({key: value for key, value in message.items() if key != "t"}, _FRAMES[kind])


def _fits(value: Any, shape: Any) -> bool:
    if type(shape) is list:
        return type(value) is list and len(value) <= 1000 and all(_fits(one, shape[0]) for one in value)
    if type(shape) is dict:
        return type(value) is dict
    if type(shape) is not tuple:
        return _fits_alone(value, shape)
    needed, others = shape
    return (
        type(value) is dict
        and needed.keys() <= value.keys() <= needed.keys() | others.keys()
        and all(_fits(one, needed[key] if key in needed else others[key]) for key, one in value.items())
    )


def _fits_alone(value: Any, shape: Any) -> bool:
    """Check a value that holds no others."""
    if type(shape) in (bool, float):
        return type(value) is type(shape) and 0 <= value < 1e15
    if type(shape) is int and shape:
        return type(value) is str and len(value) <= shape
    if type(shape) is frozenset:
        return type(value) is str and value in shape
    return (type(value) is int and 0 <= value <= _MOST) or (value is None and shape is None)
