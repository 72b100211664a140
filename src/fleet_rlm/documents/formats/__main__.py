"""`python -m fleet_rlm.documents.formats`: reads documents for a screen, in a process of its own.

Extraction may take seconds of pure computing, which would hold up a screen's thread, and may come to grief over a
broken file. A request is one JSON array a line on standard input: path, format, member. The answer is a line of JSON,
either `{"bytes": N}` with N bytes of UTF-8 text after it, or `{"message": …, "hint": …}`. The process ends with its
input, or when nobody has asked for a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

from fleet_rlm.documents import archive
from fleet_rlm.documents.load import Document, load, of_member
from fleet_rlm.documents.work import DocumentError

IDLE_SECONDS = 60.0


class _Reader:
    """Reads one document after the other; members of an archive in its order, without unpacking it again for each."""

    def __init__(self) -> None:
        self._packed: tuple[str, Iterator[tuple[str, bytes]]] | None = None

    def read(self, path: str, kind: str, member: str) -> Document:
        """Raises `DocumentError`."""
        if not member:
            return load(path, kind=kind)
        return of_member(Path(path), member, member, self._unpacked(path, member), kind)

    def _unpacked(self, path: str, member: str) -> bytes:
        if self._packed is not None and self._packed[0] == path:
            for name, data in self._packed[1]:
                if name == member:
                    return data
        names = [one.name for one in archive.listing(Path(path)).members]
        self._packed = (path, archive.contents(Path(path), names))
        for name, data in self._packed[1]:
            if name == member:
                return data
        raise archive.BadArchive(f"{path} holds no {member} any more.", "It changed since the run.")


def main() -> None:
    """Answer until nobody asks."""
    with contextlib.suppress(OSError):
        os.nice(5)
    reader, out = _Reader(), sys.stdout.buffer
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.buffer.readline()):
        text = b""
        try:
            text = reader.read(*json.loads(line)).text.encode()
        except DocumentError as error:
            answer: dict[str, object] = {"message": error.message, "hint": error.hint}
        else:
            answer = {"bytes": len(text)}
        out.write(json.dumps(answer).encode() + b"\n" + text)
        out.flush()


if __name__ == "__main__":
    main()
