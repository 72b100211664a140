"""RTF, by striprtf: the text with its tables; notes and page headers stand where they are in the file."""

from __future__ import annotations

import re

from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.work import Cancelled, printable

_LEFT_OUT = re.compile(r"\{(?:\\\*)?\\(header|footer|footnote|annotation)[lrf]?\b")
"""Parts that the library leaves out: without these words their text is text like the rest."""
_PICTURE = re.compile(r"\{(?:\\\*)?\\(?:shppict|pict)\b")


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:  # noqa: ARG001 - one call of a library
    """The document's text; pictures are counted."""
    from striprtf.striprtf import rtf_to_text

    source = data.decode("latin-1")
    pictures = len(_PICTURE.findall(source))
    source = _LEFT_OUT.sub(lambda match: "{ [" + match[1] + "] ", source)
    notices = (f"{printable(name)}: {pictures} picture{'s' * (pictures != 1)} left out",) if pictures else ()
    text = rtf_to_text(source, errors="replace")  # type: ignore[no-untyped-call]  # the library has no types
    return Extracted(text, notices)
