"""E-mail: the headers that people read, the message, and the text of what is attached."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from functools import lru_cache
from typing import cast

from fleet_rlm.documents.decode import HEAD_BYTES, NotText, decode, detect
from fleet_rlm.documents.formats.extract import Extracted, extract
from fleet_rlm.documents.formats.recognise import ARCHIVE, FORMATS, INSTALL, recognise
from fleet_rlm.documents.work import Cancelled, DocumentError, Stopped, printable, size_in_words

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_DEEPEST = 8
MAIL = policy.default.clone(header_factory=lru_cache(4096)(policy.default.header_factory))
"""How messages are parsed. Headers cost nine tenths of the time, and most of a mailbox's are the same."""


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """One message."""
    message = message_from_bytes(data, policy=MAIL)
    notices: list[str] = []
    return Extracted("\n".join(parts_of(message, name, notices, cancelled)), tuple(dict.fromkeys(notices)))


def parts_of(
    message: EmailMessage, name: str, notices: list[str], cancelled: Cancelled, depth: int = 0
) -> Iterator[str]:
    """Pieces of text, in order: headers, message, attachments."""
    for header in _HEADERS:
        if (value := _header(message, header)) is not None:
            yield f"{header}: {value}"
    yield ""
    body = message.get_body(("plain", "html"))
    if body is not None:
        yield _text(body, name, notices)
    attached = list(message.iter_attachments()) if message.is_multipart() else []
    for part in attached:
        if cancelled():
            raise Stopped("reading was cancelled.")
        yield from _attachment(part, name, notices, cancelled, depth + 1)


def _header(message: EmailMessage, name: str) -> str | None:
    try:
        value = message[name]
    except (ValueError, LookupError, TypeError, AttributeError):  # the standard library's parser, on broken addresses
        value = dict(message.raw_items()).get(name)
    return None if value is None else " ".join(str(value).split())


def _text(part: MIMEPart, name: str, notices: list[str]) -> str:
    data = part.get_payload(decode=True)
    data = data if isinstance(data, bytes) else b""
    codec = part.get_content_charset() or ""
    try:
        text = data.decode(codec) if codec else _decoded(data, name)
    except (LookupError, UnicodeError):
        text = _decoded(data, name)
    if part.get_content_subtype() != "html":
        return text
    if FORMATS["html"].installed:
        from fleet_rlm.documents.formats.html import text_of

        return text_of(text)
    notices.append(f"{printable(name)}: its HTML is read with its tags; for its text alone: {INSTALL}")
    return text


def _decoded(data: bytes, name: str) -> str:
    encoding = detect(lambda count, offset: data[offset : offset + count], len(data), name)
    return decode(data[encoding.bom :], encoding.codec)[0]


def _attachment(part: MIMEPart, name: str, notices: list[str], cancelled: Cancelled, depth: int) -> Iterator[str]:
    title = printable(part.get_filename() or part.get_content_type())
    if part.get_content_type() == "message/rfc822" and depth < _DEEPEST:
        (inner,) = part.iter_parts()
        yield f"\n[attached message: {printable(str(inner.get('Subject', title)))}]"
        yield from parts_of(cast("EmailMessage", inner), name, notices, cancelled, depth)
        return
    data = part.get_payload(decode=True)
    data = data if isinstance(data, bytes) else b""
    try:
        if part.get_content_maintype() == "text":
            text = _text(part, name, notices)
        else:
            kind = recognise(title, data[:HEAD_BYTES])
            if kind == ARCHIVE or depth >= _DEEPEST:
                raise NotText(title, "an archive", "")
            text = extract(kind, data, title, cancelled).text if kind else _decoded(data, title)
    except Stopped:
        raise
    except DocumentError:
        yield f"\n[attachment {title}: {part.get_content_type()}, {size_in_words(len(data))}, not read]"
        notices.append(f"{printable(name)}: the attachment {title} was not read")
    else:
        yield f"\n[attachment {title}]\n{text}"
