"""Mailboxes (mbox): all messages in one text, numbered."""

from __future__ import annotations

import re
from email import message_from_bytes

from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.mail import MAIL, parts_of
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.work import Cancelled, Stopped, printable

_START = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n")
_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
_TOLD = 5


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """Every message, after a line such as `[message 3 of 120]`."""
    starts = list(_START.finditer(data))
    if not starts:
        raise Unextractable(f"{printable(name)} could not be read as a mailbox: no line begins with `From `.")
    ends = [*(start.start() for start in starts[1:]), len(data)]
    parts: list[str] = []
    notices: list[str] = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        if cancelled():
            raise Stopped("reading was cancelled.")
        message = message_from_bytes(_ESCAPED.sub(rb"\1", data[start.end() : end]), policy=MAIL)
        parts.append(f"[message {number} of {len(starts)}]")
        parts += parts_of(message, name, notices, cancelled)
        parts.append("")
    told = list(dict.fromkeys(notices))
    if len(told) > _TOLD:
        told = [*told[:_TOLD], f"{printable(name)}: and {len(told) - _TOLD:,} notices like these"]
    return Extracted("\n".join(parts), tuple(told))
