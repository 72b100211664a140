"""The text of a file, by its format."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

from fleet_rlm.documents.decode import utf8
from fleet_rlm.documents.document_work import Cancelled, DocumentError, never, printable
from fleet_rlm.documents.formats.recognise import FORMATS, Unextractable


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text that was extracted from a file."""

    text: str
    """Lines end in a newline alone."""
    notices: tuple[str, ...] = ()
    """Notices for the person: parts that were left out, a guessed encoding."""


class _Reader(Protocol):
    def __call__(self, data: bytes, name: str, cancelled: Cancelled) -> Extracted: ...


def extract(kind: str, data: bytes, name: str, cancelled: Cancelled = never) -> Extracted:
    """Take the text out of a file's bytes. `name` is for messages, and for what is written as text.

    Raises `Unextractable`, or `Stopped` when cancelled. It may compute for long, and a hostile file may bring it down:
    only the reading process (`fleet_rlm.documents.formats.__main__`) calls it.
    """
    known = FORMATS[kind]
    read = cast("_Reader", importlib.import_module(f"fleet_rlm.documents.formats.{_MODULES[kind]}").read)
    try:
        found = read(data, name, cancelled)
    except (DocumentError, MemoryError):
        raise
    except RecursionError as error:
        raise Unextractable(f"{printable(name)} is nested too deeply to be read.", "Save it as plain text.") from error
    except Exception as error:
        raise Unextractable(
            f"{printable(name)} could not be read as {known.kind}: it is damaged, or not what its name says.",
            f"({type(error).__name__}: {printable(str(error))[:200]})",
        ) from error
    text = found.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if not text.strip():
        raise Unextractable(f"{printable(name)} holds no text.", "")
    return Extracted(utf8(text).decode(), found.notices)


_MODULES = {name: name for name in FORMATS} | {"docx": "word", "mbox": "mail_box"}
