"""E-mail: the headers that people read, the message, and the text of every further part.

The standard library takes the message apart; headers are decoded here, for its own reading of them takes memory and
time by the square of their length, and takes raw 8-bit letters for broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email._policybase import Compat32
from email.header import decode_header
from email.message import Message
from typing import TypeAlias, cast

from fleet_rlm.documents import archive
from fleet_rlm.documents.decode import HEAD_BYTES, NotText, decode, decode_as, reading, refuse_binary
from fleet_rlm.documents.document_work import Cancelled, DocumentError, Stopped, printable, size_in_words
from fleet_rlm.documents.encoding_labels import codec_of
from fleet_rlm.documents.formats.extract import Extracted, extract
from fleet_rlm.documents.formats.html import read as read_page
from fleet_rlm.documents.formats.recognise import ARCHIVE, recognise

Mail: TypeAlias = "Message[str, str]"

MOST_HEADER_CHARS = 16_000
"""A header beyond it is cut, and that is said: nobody reads it to its end."""
_HEADERS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject")
_DEEPEST = 8
_CUT = " […]"
_MESSAGES = ("message/rfc822", "message/global", "message/news", "message/partial")
_CUSTOMARY = re.compile(r"multi-?part message in MIME format|S/MIME|OpenPGP|MIME-aware", re.IGNORECASE)
_WORD = re.compile(r"\w{2,}")
_ADDRESS = re.compile(r"\]\([^)\s]*\)|\S+://\S+")


class _Bounded(Compat32):
    """Cuts a header that is too long before anything looks at it."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name[:200], value if len(value) <= MOST_HEADER_CHARS else value[:MOST_HEADER_CHARS] + _CUT


_POLICY = _Bounded()


def parse(data: bytes) -> Mail:
    """A message from its bytes; marks and blank lines before its headers are skipped."""
    data = data.lstrip(b"\0")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = decode(data, "utf-16")[0].encode()
    return message_from_bytes(data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"), policy=_POLICY)


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """One message."""
    reading = Reading(name, cancelled)
    return Extracted("\n".join(reading.message(parse(data))), reading.notices)


class Reading:
    """Reads messages of one file, and gathers what is to be told of them."""

    def __init__(self, name: str, cancelled: Cancelled) -> None:
        self._name = printable(name)
        self._cancelled = cancelled
        self._told: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices for the person: what was left out or guessed, each once."""
        return tuple(self._told)

    def message(self, message: Mail, depth: int = 0) -> Iterator[str]:
        """Pieces of text, in order: headers, message, attachments."""
        yield from self._headers(message)
        yield ""
        yield from self._part(message, depth, is_body=True)

    def header(self, part: Mail, name: str) -> str:
        """A header's text, decoded; '' where there is none."""
        return self._decoded(next(_raw(part, name), ""), name, part)

    def _headers(self, part: Mail, every: bool = False) -> Iterator[str]:
        """Yield the headers that people read; all of them where there are none of these."""
        found = [(name, value) for name in _HEADERS for value in _raw(part, name)]
        for name, value in part.raw_items() if every or not found else found:
            yield f"{printable(name)}: {self._decoded(str(value), name, part)}"

    def _decoded(self, value: str, name: str, part: Mail) -> str:
        if value.endswith(_CUT):
            self._told[f"{self._name}: the header {name} is cut after {MOST_HEADER_CHARS:,} characters"] = None
        raw = value.encode("utf-8", "surrogateescape")
        value = decode_as(raw, _charset(part), self._name)[0]
        if "=?" in value:
            try:
                pieces = decode_header(value)
            except (ValueError, LookupError):
                pieces = []
            if pieces:
                value = "".join(_word(piece, codec) for piece, codec in pieces)
        return " ".join(value.split())

    def _part(self, part: Mail, depth: int, is_body: bool = False) -> Iterator[str]:
        if self._cancelled():
            raise Stopped("reading was cancelled.")
        kind = part.get_content_type()
        inner = part.get_payload()
        if isinstance(inner, list):
            yield from self._parts(part, kind, cast("list[Mail]", inner), depth, is_body)
            return
        name = self._file_name(part)
        data = part.get_payload(decode=True)
        data = data if isinstance(data, bytes) else b""
        shown_inline = is_body and not name and part.get_content_disposition() != "attachment"
        if shown_inline and part.get_content_maintype() in ("text", "multipart", "message"):
            yield self._text(part, data)
            return
        yield from self._attachment(part, data, name or kind, kind, depth)

    def _parts(self, part: Mail, kind: str, inner: list[Mail], depth: int, is_body: bool) -> Iterator[str]:
        if kind.startswith("message/") and kind not in _MESSAGES:  # a report for programs: its headers are what it says
            if kind == "message/external-body":
                yield f"[kept elsewhere: {self.header(part, 'Content-Type')}]"
            for block in inner:
                yield (
                    "\n".join([*self._headers(block, every=True), "", *self._part(block, depth, is_body)]).rstrip()
                    + "\n"
                )
            return
        if kind in _MESSAGES:
            for message in inner:
                if depth >= _DEEPEST:
                    yield "[attached message: nested too deeply, not read]"
                    self._told[f"{self._name}: messages that are nested too deeply were not read"] = None
                    continue
                yield f"\n[attached message: {printable(self.header(message, 'Subject'))}]"
                yield from self.message(message, depth + 1)
            return
        if (before := _said(part.preamble)) and not _CUSTOMARY.search(before):
            yield before
        if kind == "multipart/alternative":
            yield from self._alternatives(inner, depth, is_body)
        else:
            for one in inner:
                yield from self._part(one, depth, is_body)
        if after := _said(part.epilogue):
            yield after

    def _alternatives(self, inner: list[Mail], depth: int, is_body: bool) -> Iterator[str]:
        """The first alternative that says all that the others say; where none does, each that says something new."""
        texts = [(one.get_content_type(), "\n".join(self._part(one, depth, is_body))) for one in inner]
        texts = [(kind, text) for kind, text in texts if text.strip()]
        taken: list[tuple[str, str]] = []
        for kind, text in sorted(texts, key=lambda one: -len(_words(one[1]))):
            if not any(_covers(other, text) for _, other in taken):
                taken = [(*one,) for one in taken if not _covers(text, one[1])] + [(kind, text)]
        if len(taken) == 1:
            wanted = next((text for kind, text in texts if kind == "text/plain" and _covers(text, taken[0][1])), None)
            yield wanted if wanted is not None else taken[0][1]
            return
        for place, (kind, text) in enumerate(one for one in texts if one in taken):
            yield f"\n[the same as {kind}]\n{text}" if place else text

    def _text(self, part: Mail, data: bytes) -> str:
        if part.get_content_type() == "text/rfc822-headers":
            return "\n".join(self._headers(parse(data), every=True))
        if part.get_content_subtype().endswith(("html", "xhtml+xml")):
            found = read_page(data, self._name, self._cancelled) if not _charset(part) else None
            if found is None:
                text, notice = decode_as(data, _charset(part), self._name)
                found = read_page(text.encode(), self._name, self._cancelled)
                self._tell(notice)
            for each in found.notices:
                if "hidden element" not in each:  # every newsletter has some: a line for the list, pixels
                    self._tell(each)
            return found.text
        text, notice = decode_as(data, _charset(part), self._name)
        self._tell(notice)
        return text

    def _tell(self, notice: str | None) -> None:
        if notice:
            self._told[notice] = None

    def _file_name(self, part: Mail) -> str:
        try:
            name = part.get_filename() or ""
        except (ValueError, LookupError, TypeError):
            name = ""
        return printable(self._decoded(name, "Content-Disposition", part))[:200]

    def _attachment(self, part: Mail, data: bytes, title: str, kind: str, depth: int) -> Iterator[str]:
        try:
            if part.get_content_maintype() == "text" and not recognise(title, data[:HEAD_BYTES]):
                text = self._text(part, data)
            elif kind in _MESSAGES and depth < _DEEPEST:  # packed, so not parsed yet
                text = "\n".join(self.message(parse(data), depth + 1))
            else:
                text = self._file(title, data, depth)
        except Stopped:
            raise
        except DocumentError:
            yield f"\n[attachment {title}: {kind}, {size_in_words(len(data))}, not read]"
            self._told[f"{self._name}: the attachment {title} was not read"] = None
        else:
            yield f"\n[attachment {title}]\n{text}"

    def _file(self, title: str, data: bytes, depth: int) -> str:
        """The text of a file that is attached, or of the files in an archive that is. Raises `DocumentError`."""
        kind = recognise(title, data[:HEAD_BYTES])
        if kind != ARCHIVE:
            if kind and depth < _DEEPEST:
                return extract(kind, data, title, self._cancelled).text
            refuse_binary(reading(data), len(data), title)
            return decode_as(data, "", title)[0]
        if depth >= _DEEPEST:
            raise NotText(title, "an archive", "")
        files, told = archive.texts_in(data, title)
        self._told.update(dict.fromkeys(told))
        parts = []
        for name, inner_kind, inner in files:
            try:
                text = self._file(name, inner, _DEEPEST if inner_kind == ARCHIVE else depth)
            except Stopped:
                raise
            except DocumentError:
                self._told[f"{self._name}: {printable(name)} in the attachment {title} was not read"] = None
            else:
                parts.append(f"[{printable(name)}]\n{text}")
        if not parts:
            raise NotText(title, "an archive without texts", "")
        return "\n".join(parts)


def _raw(part: Mail, name: str) -> Iterator[str]:
    """The values of a header as they were sent, bytes beyond ASCII as surrogates."""
    return (str(value) for key, value in part.raw_items() if key.lower() == name.lower())


def _word(piece: str | bytes, codec: str | None) -> str:
    """A piece of a header, as `decode_header` gives it."""
    if isinstance(piece, str):
        return piece
    if codec is None:
        return piece.decode("utf-8", "replace") if not piece.isascii() else piece.decode()
    return decode_as(piece, codec, "")[0]


def _charset(part: Mail) -> str:
    """The encoding that a part names, where it names one that there is."""
    try:
        label = part.get_content_charset() or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return label if codec_of(label) else ""


def _said(text: str | None) -> str:
    """Decode the text before the first part or after the last, which mail programs of today do not show."""
    raw = (text or "").strip().encode("utf-8", "surrogateescape")
    return decode_as(raw, "", "")[0]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_ADDRESS.sub(" ", text).casefold()))


def _covers(text: str, other: str) -> bool:
    """True if a text has nearly all the words of another, and every one with a digit."""
    missing = (wanted := _words(other)) - _words(text)
    return len(missing) * 10 <= len(wanted) and not any(any(c.isdigit() for c in word) for word in missing)
