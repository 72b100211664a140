"""What a file is, by its first bytes, and by its name where it is written as text."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType

from fleet_rlm.documents.decode import NotText
from fleet_rlm.documents.work import DocumentError

ARCHIVE = "archive"
INSTALL = "pip install 'fleet-rlm[formats]'"


class NotInstalled(NotText):
    """The file could be read if a library were installed."""

    def __init__(self, path: Path | str, kind: str) -> None:
        super().__init__(path, kind, f"To read it: {INSTALL}")


class Unextractable(DocumentError):
    """The file is broken, encrypted, or holds no text."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that text can be taken out of."""

    name: str
    kind: str
    """With its article: `a PDF`."""
    plural: str
    needs: tuple[str, ...] = ()
    """Modules that must be there."""
    suffixes: tuple[str, ...] = ()
    """Endings of names by which it is known; () where its bytes say what it is."""

    @property
    def installed(self) -> bool:
        """True when all that it needs is there."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


FORMATS = MappingProxyType({
    one.name: one
    for one in (
        Format("pdf", "a PDF", "PDFs", ("pypdfium2",)),
        Format("docx", "a Word document", "Word documents", ("mammoth", "markdownify", "bs4")),
        Format("html", "an HTML page", "HTML pages", ("markdownify", "bs4"), (".html", ".htm", ".xhtml")),
        Format("mail", "an e-mail", "e-mails", (), (".eml",)),
        Format("mbox", "a mailbox", "mailboxes", (), (".mbox",)),
        Format("notebook", "a notebook", "notebooks", (), (".ipynb",)),
    )
})  # fmt: skip

_PACKED = re.compile(rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\x00")
_OTHER_ZIPS = (b"xl/", b"ppt/", b"mimetypeapplication/")


def recognise(name: str | PurePath, head: bytes) -> str:
    """The name of a file's format, `ARCHIVE`, or '' for what is plain text or unknown.

    `head` is its first 64 KiB. Texts are recognised by the ending of their names alone: who wants to work on a page's
    markup gives it a name in `.txt`.
    """
    suffix = PurePath(name).suffix.lower()
    if head.startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in head[:1024]):
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        if b"word/" in head or suffix == ".docx":
            return "docx"
        return "" if any(sign in head for sign in _OTHER_ZIPS) else ARCHIVE
    if head[257:262] == b"ustar" or _PACKED.match(head):
        return ARCHIVE
    if head.startswith(b"PK\x05\x06"):  # a zip archive with nothing in it
        return ARCHIVE
    return next((one.name for one in FORMATS.values() if suffix in one.suffixes), "")
