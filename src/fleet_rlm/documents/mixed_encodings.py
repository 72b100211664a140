"""Text in two encodings, such as a log that two programs write: UTF-8, and an older one in the lines that are not.

It is a codec like others, named for instance `utf-8-or-cp1252`, so that a run can record it and a screen decode by it.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PREFIX = "utf_8_or_"
_CERTAIN = 3


def name_of(older: str) -> str:
    """The codec's name for UTF-8 beside another encoding."""
    return (_PREFIX + older).replace("_", "-")


def legacy_of(codec: str) -> str:
    """The other encoding of such a codec; '' for every other codec."""
    plain = codec.replace("-", "_")
    return codec[len(_PREFIX) :] if plain.startswith(_PREFIX) else ""


def find(name: str) -> codecs.CodecInfo | None:
    """The codec for a name, for `codecs.register`."""
    older = legacy_of(name)
    if not older or legacy_of(older):
        return None
    try:
        other = codecs.lookup(older)
    except LookupError:
        return None

    def decode(data: Buffer, errors: str = "strict", /) -> tuple[str, int]:
        data = bytes(data)
        return "".join(_line(one, other, errors) for one in data.splitlines(True)), len(data)

    class Decoder(codecs.BufferedIncrementalDecoder):
        def _buffer_decode(self, data: Buffer, errors: str, final: bool) -> tuple[str, int]:
            data = bytes(data)
            end = len(data) if final else max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
            return decode(data[:end], errors)

    return codecs.CodecInfo(other.encode, decode, name=name_of(older), incrementaldecoder=Decoder)


def _line(line: bytes, other: codecs.CodecInfo, errors: str) -> str:
    if is_other(line):
        return str(other.decode(line, errors)[0])
    return line.decode("utf-8", errors)


def is_other(line: bytes) -> bool:
    """True if a line is rather in the other encoding than in UTF-8 with some bytes broken."""
    try:
        line.decode()
    except UnicodeDecodeError:
        read = line.decode("utf-8", "replace")
        return sum(c > "\x7f" and c != "\N{REPLACEMENT CHARACTER}" for c in read) < read.count(
            "\N{REPLACEMENT CHARACTER}"
        )
    return False


@dataclass(frozen=True, slots=True)
class Census:
    """Find the encodings of the lines of some pieces of a text."""

    utf8: int
    """Lines beyond ASCII that are UTF-8."""
    certain: int
    """UTF-8 lines with three letters or more beyond ASCII, which is no chance."""
    legacy: list[bytes]
    """Lines beyond ASCII that are not UTF-8."""


def census(windows: Sequence[bytes]) -> Census:
    """Count the lines beyond ASCII; those that the pieces' ends cut are left out where there are others."""
    utf8, certain, legacy = 0, 0, []
    for number, window in enumerate(windows):
        if window.isascii():
            continue
        lines = window.splitlines()
        if number and len(lines) > 1:
            lines = lines[1:]
        if len(lines) > 1:
            lines = lines[:-1] if not window.endswith((b"\n", b"\r")) and len(windows) > 1 else lines
        for line in lines:
            if line.isascii():
                continue
            if is_other(line):
                legacy.append(line)
            else:
                utf8 += 1
                certain += sum(c > "\x7f" for c in line.decode("utf-8", "ignore")) >= _CERTAIN
    return Census(utf8, certain, legacy)
