"""`python -m fleet_rlm.documents.formats`: the process that reads documents (see `documents.reading_process`).

Extraction may take seconds of pure computing, which would hold up a screen's thread, and may come to grief over a
broken file. A request is one JSON object a line on standard input: what to `do` (`read`, `digest` or `list`), with the
seconds and the memory that it may take. The answer is a line of JSON, the facts or an error, with as many bytes of
UTF-8 text after it as its `bytes` says. The process ends with its input, or when nobody has asked for a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet_rlm.documents import archive
from fleet_rlm.documents.document_work import DocumentError, size_in_words
from fleet_rlm.documents.load import TooLarge, document_of, read_file

IDLE_SECONDS = 60.0


class _Reader:
    """Reads one document after the other; members of an archive in its order, without unpacking it again for each."""

    def __init__(self) -> None:
        self._packed: tuple[str, Iterator[tuple[str, bytes, list[str]]]] | None = None

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The facts, and the text. Raises `DocumentError`."""
        path, member = request["path"], request.get("member", "")
        if request["do"] == "list":
            listing = archive.listing(Path(path))
            members = [[one.name, one.bytes, one.format] for one in listing.members]
            return {"members": members, "left_out": listing.left_out, "notices": listing.notices}, b""
        if request["do"] == "digest":
            data, _ = self._unpacked(path, member)
            return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}, b""
        data, told = self._unpacked(path, member) if member else (bytes(read_file(Path(path))[0]), [])
        found = document_of(Path(path), request["name"], member, data, request["kind"], notices=told)
        text = found.text.encode()
        facts = {"size": found.bytes, "chars": found.chars, "sha256": found.sha256, "encoding": found.encoding}
        return {**facts, "notices": found.notices, "format": found.format, "bytes": len(text)}, text

    def _unpacked(self, path: str, member: str) -> tuple[bytes, list[str]]:
        """A member's bytes, and what of it is damaged. Raises `BadArchive`."""
        found = self._next(path, member)
        if found is None:
            names = [one.name for one in archive.listing(Path(path)).members]
            self._packed = (path, archive.contents(Path(path), names))
            found = self._next(path, member)
        if found is None:
            raise archive.BadArchive(f"{path} holds no {member} any more.", "It changed since it was looked into.")
        data, told = found
        if told and not data:
            raise archive.BadArchive(f"{member} in {path} is damaged.", f"({told[0]})")
        return found

    def _next(self, path: str, member: str) -> tuple[bytes, list[str]] | None:
        """Read on to the next member of that name in the archive that was read last."""
        if self._packed is not None and self._packed[0] == path:
            for name, data, told in self._packed[1]:
                if name == member:
                    return data, told
        return None


def _limit(memory: int, seconds: float) -> None:
    """Bound what the next request may take. Where the system knows no such limit, whoever asked still ends us."""
    computed = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    for what, soft in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, int(computed + seconds) + 1)):
        with contextlib.suppress(OSError, ValueError):
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def main() -> None:
    """Answer until nobody asks."""
    with contextlib.suppress(OSError):
        os.nice(5)
    reader, out = _Reader(), sys.stdout.buffer
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.buffer.readline()):
        request, text = json.loads(line), b""
        _limit(request["memory"], request["seconds"])
        facts: dict[str, Any]
        try:
            facts, text = reader.answer(request)
        except (MemoryError, TooLarge):
            reader = _Reader()
            words = f"{request['path']} needs more than {size_in_words(request['memory'])} of memory to be read."
            facts = {"error": "Unextractable", "message": words, "hint": "Split it, and pass the part that matters."}
        except DocumentError as error:
            facts = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        out.write(json.dumps(facts).encode() + b"\n" + text)
        out.flush()


if __name__ == "__main__":
    main()
