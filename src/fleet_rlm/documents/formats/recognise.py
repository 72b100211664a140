"""Recognise the format of a file by its first bytes, and by its name where it is written as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

from fleet_rlm.documents.document_work import DocumentError

ARCHIVE = "archive"


class Unextractable(DocumentError):
    """The file is broken, encrypted, takes too long or too much memory, or holds no text."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that text can be taken out of."""

    name: str
    kind: str
    """Its name for people, with the article: `a PDF`."""
    plural: str
    suffixes: tuple[str, ...] = ()
    """Endings of names by which it is known; () where its bytes say what it is."""


FORMATS = MappingProxyType({
    one.name: one
    for one in (
        Format("pdf", "a PDF", "PDFs"),
        Format("docx", "a Word document", "Word documents"),
        Format("rtf", "an RTF document", "RTF documents"),
        Format("html", "an HTML page", "HTML pages", (".html", ".htm", ".xhtml", ".xht")),
        Format("mail", "an e-mail", "e-mails", (".eml", ".mht", ".mhtml")),
        Format("mbox", "a mailbox", "mailboxes", (".mbox",)),
        Format("notebook", "a notebook", "notebooks", (".ipynb",)),
    )
})  # fmt: skip

_PACKED = re.compile(rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\x00")
_OTHER_ZIPS = (b"xl/", b"ppt/", b"mimetypeapplication/")
_PACKERS = (".gz", ".bz2", ".xz")


def recognise(name: str | PurePath, head: bytes) -> str:
    """The name of a file's format, `ARCHIVE`, or '' for what is plain text or unknown.

    `head` is its first 64 KiB. Texts are recognised by the ending of their names alone: who wants to work on a page's
    markup gives it a name in `.txt`.
    """
    path = PurePath(name)
    suffix = path.suffix.lower()
    if head.startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in head[:1024]):
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        if b"word/" in head or suffix in (".docx", ".docm", ".dotx"):
            return "docx"
        return "" if any(sign in head for sign in _OTHER_ZIPS) else ARCHIVE
    if head[257:262] == b"ustar" or _PACKED.match(head):
        return ARCHIVE
    if head.startswith(b"PK\x05\x06"):  # a zip archive with nothing in it
        return ARCHIVE
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if suffix in _PACKERS:  # unpacked already: it is named for what was packed
        suffix = PurePath(path.stem).suffix.lower()
    return next((one.name for one in FORMATS.values() if suffix in one.suffixes), "")
