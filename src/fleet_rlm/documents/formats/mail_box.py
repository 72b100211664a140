"""Mailboxes (mbox): all messages in one text, numbered."""

from __future__ import annotations

import re

from fleet_rlm.documents.document_work import Cancelled, Stopped, printable
from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.mail import Reading, parse
from fleet_rlm.documents.formats.recognise import Unextractable

_START = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n"
    rb"|(?<=\n)From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} [ \d]\d [\d:]{5,8}[^\r\n]{0,30}\d{4}\r?\n"
)
_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
_TOLD = 5


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """Every message, after a line such as `[message 3 of 120]`."""
    data = data.lstrip(b"\0").removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    data = data if b"\n" in data else data.replace(b"\r", b"\n")
    starts = list(_START.finditer(data))
    if not starts:
        raise Unextractable(f"{printable(name)} could not be read as a mailbox: no line begins with `From `.")
    ends = [*(start.start() for start in starts[1:]), len(data)]
    parts: list[str] = []
    reading = Reading(name, cancelled)
    if before := data[: starts[0].start()].strip():
        parts.append(before.decode("utf-8", "replace"))
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        if cancelled():
            raise Stopped("reading was cancelled.")
        parts.append(f"[message {number} of {len(starts)}]")
        parts += reading.message(parse(_ESCAPED.sub(rb"\1", data[start.end() : end])))
        parts.append("")
    told = list(reading.notices)
    if len(told) > _TOLD:
        told = [*told[:_TOLD], f"{printable(name)}: and {len(told) - _TOLD:,} notices like these"]
    return Extracted("\n".join(parts), tuple(told))
