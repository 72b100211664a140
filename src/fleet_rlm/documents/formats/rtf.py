"""RTF, by striprtf: the text with its tables; notes and page headers stand where they are in the file."""

from __future__ import annotations

import re

from fleet_rlm.documents.document_work import Cancelled, printable
from fleet_rlm.documents.formats.extract import Extracted

_TOLD = {
    "header": ("[page header] ", r"\par "), "footer": ("[page footer] ", r"\par "),
    "footnote": (" [footnote: ", "]"), "annotation": (" [comment: ", "]"),
    "shptxt": (r"\par ", r"\par "), "dptxbxtext": (r"\par ", r"\par "), "result": (" ", " "),
}  # fmt: skip
"""Groups that the library leaves out, and what stands before and after their text instead."""
_BOXES = ["shp", "shpinst", "do", "object", "upr"]
_FORMULAS = ["mmath", "moMath", "moMathPara", "mr", "mf", "mnum", "mrad", "me", "md", "msSup", "msSub", "mnary", "mm"]
_KEPT = {"mden": " / ", "msup": "^", "msub": "_", "mdeg": "√"} | dict.fromkeys((*_BOXES, *_FORMULAS), "")
"""Further groups that it leaves out, and what stands before their text."""
_TOKEN = re.compile(
    rf"\\[\\{{}}]|\{{(?:\\\*)?\\({'|'.join(_TOLD)})[lrf]?(?![a-z])|\{{(?:\\\*)?\\({'|'.join(_KEPT)})(?![A-Za-z]) ?"
    rf"|\{{\\deleted(?![a-z])|[{{}}]"
)
_PICTURE = re.compile(r"\{(?:\\\*)?\\(?:shppict|pict)\b")
_NO_LETTER = re.compile(r"\\u-?\d{6,}")
_BINARY = re.compile(rb"\\bin(\d{1,9}) ?")
_RAW = re.compile(r"[\x80-\xff]")
_OLD = (("\\mac", "mac_roman"), ("\\pca", "cp850"), ("\\pc", "cp437"))
"""The control words that name the encoding of a file without a code page."""


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:  # noqa: ARG001 - one call of a library
    """The document's text, tracked changes as accepted; pictures are counted."""
    from striprtf.striprtf import rtf_to_text

    name = printable(name)
    data = _without_binary(data)
    try:
        source = data.decode()
    except UnicodeDecodeError:  # letters beyond ASCII belong to the code page, as escaped ones do
        source = _RAW.sub(lambda match: f"\\'{ord(match[0]):02x}", data.decode("latin-1"))
    notices = []
    if pictures := len(_PICTURE.findall(source)):
        notices.append(f"{name}: {pictures} picture{'s' * (pictures != 1)} left out")
    source, is_whole = _kept(_NO_LETTER.sub("\N{REPLACEMENT CHARACTER}", source))
    if not is_whole:
        notices.append(f"{name} is cut off and was read as far as it goes")
    encoding = next((codec for sign, codec in _OLD if sign in source[:200]), "cp1252")
    text = rtf_to_text(source, encoding, errors="replace")  # type: ignore[no-untyped-call]  # the library has no types
    return Extracted(text, tuple(notices))


def _without_binary(data: bytes) -> bytes:
    pieces, place = [], 0
    while match := _BINARY.search(data, place):
        pieces.append(data[place : match.start()])
        place = match.end() + int(match[1])
    return b"".join([*pieces, data[place:]])


def _kept(source: str) -> tuple[str, bool]:
    """The source with everything that says something as text, and whether every group is closed."""
    ends: list[str] = []

    def token(match: re.Match[str]) -> str:
        found = match[0]
        if found == "}":
            return f"{ends.pop() if ends else ''}}}"
        if not found.startswith("{"):
            return found
        before, after = _TOLD[match[1]] if match[1] else ("", "")
        ends.append(after)
        if found.endswith("deleted"):
            return r"{\*\deleted"
        return "{" + (before or _KEPT.get(match[2] or "", ""))

    return _TOKEN.sub(token, source), not ends
