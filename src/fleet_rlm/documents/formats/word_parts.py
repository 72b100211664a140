"""The parts of a Word document that mammoth leaves out, made text that it reads: page headers and footers, formulas,
text boxes, moved text, and text within wrappers that it does not know.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import cast
from xml.etree import ElementTree as ET

from fleet_rlm.documents.cut_zip import CutZip, read_to_the_cut

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(officeDocument|wordprocessingml|drawingml)/(?=[a-zA-Z])")
_BODIES = re.compile(r"word/(document\d*|footnotes|endnotes|comments)\.xml")
_MARGINS = re.compile(r"word/(header|footer)\d*\.xml")
_UNWRAPPED = frozenset(f"{_W}{name}" for name in ["customXml", "moveTo", "dir", "bdo", "fldSimple"])
_DROPPED = frozenset(
    f"{_W}{name}" for name in ["moveFrom", "moveFromRangeStart", "moveFromRangeEnd", "customXmlPr", "fldData"]
)
_OBJECTS = (("word/charts/chart", "chart"), ("word/diagrams/data", "diagram"), ("word/embeddings/", "embedded file"))
_BETWEEN = {"f": "/", "sSup": "^", "sSub": "_", "sSubSup": "_", "limLow": "_", "limUpp": "^", "eqArr": "; ", "mr": ", "}
_BEFORE = {"rad": "√"}
_NO_TEXT = frozenset([
    "rPr", "ctrlPr", "fPr", "radPr", "dPr", "naryPr", "sSupPr", "sSubPr", "sSubSupPr", "mPr", "funcPr", "accPr",
    "barPr", "limLowPr",
])  # fmt: skip


def prepared(packed: zipfile.ZipFile, most_bytes: int) -> tuple[io.BytesIO, list[str]]:
    """The document with those parts as text, and what it holds that is left out.

    Of a document that is cut off, at most `most_bytes` of the last part are read.
    """
    out = io.BytesIO()
    left_out: list[str] = []
    cut = packed.unfinished if isinstance(packed, CutZip) else ""
    names = list(dict.fromkeys(packed.namelist()))
    main = next((name for name in names if re.fullmatch(r"word/document\d*\.xml", name)), "")
    parts: dict[str, bytes] = {}
    for name in names:
        content = read_to_the_cut(packed, name, most_bytes) if name == cut else packed.read(name)
        if name.endswith((".xml", ".rels")):
            content = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", content)
            if name == cut:
                content = _closed_where_cut(content)
        if content or name != cut:
            parts[name] = content
    margins = _margins(parts)
    with zipfile.ZipFile(out, "w") as made:
        for name, content in parts.items():
            is_body = _BODIES.fullmatch(name)
            made.writestr(name, _body(content, margins if name == main else ("", "")) if is_body else content)
    for start, kind in _OBJECTS:
        if count := sum(name.startswith(start) and not name.endswith("/") for name in names):
            left_out.append(f"{count} {kind}{'s' * (count != 1)}")
    if b"altChunk" in parts.get(main, b""):
        left_out.append("documents that are included in it")
    out.seek(0)
    return out, left_out


def _closed_where_cut(content: bytes) -> bytes:
    """XML that is cut off, with every element closed; empty when not even its first element begins."""
    parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["start"])
    parser.feed(content)
    events = cast("Iterator[tuple[str, ET.Element]]", parser.read_events())
    return next((bytes(ET.tostring(root, encoding="utf-8")) for _, root in events), b"")


def _margins(parts: Mapping[str, bytes]) -> tuple[str, str]:
    """The texts of the page headers and of the page footers, each once."""
    found: dict[str, dict[str, None]] = {"header": {}, "footer": {}}
    for name, content in parts.items():
        if match := _MARGINS.fullmatch(name):
            root = ET.fromstring(content)
            _simplify(root)
            lines = ("".join(_runs(paragraph)).strip() for paragraph in root.iter(f"{_W}p"))
            if text := " / ".join(filter(None, lines)):
                found[match[1]][text] = None
    return "\n".join(found["header"]), "\n".join(found["footer"])


def _runs(paragraph: ET.Element) -> Iterable[str]:
    for node in paragraph.iter():
        if node.tag == f"{_W}t":
            yield node.text or ""
        elif node.tag in (f"{_W}tab", f"{_W}br", f"{_W}cr"):
            yield " "


def _body(content: bytes, margins: tuple[str, str]) -> bytes:
    root = ET.fromstring(content)
    _simplify(root)
    body = root.find(f"{_W}body")
    if body is not None:
        header, footer = margins
        before = [_paragraph(f"[page header] {line}") for line in header.splitlines()]
        body[0:0] = before
        last = len(body) - 1 if len(body) and body[-1].tag == f"{_W}sectPr" else len(body)
        body[last:last] = [_paragraph(f"[page footer] {line}") for line in footer.splitlines()]
    made: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _simplify(root: ET.Element) -> None:
    """Replace what mammoth does not know by what it does, from the leaves up."""
    for parent in reversed(list(root.iter())):
        changed: list[ET.Element] = []
        for child in parent:
            if child.tag in (f"{_M}oMath", f"{_M}oMathPara"):
                text = _formula(child).strip()
                run = _run(f" {text} ")
                changed.append(_around(run) if parent.tag in (f"{_W}body", f"{_W}tc") else run)
            elif child.tag == f"{_MC}AlternateContent":
                changed += _alternative(child)
            elif child.tag == f"{_W}ruby":
                changed += _reading(child)
            elif child.tag in (f"{_W}cr", f"{_W}ptab"):
                changed.append(ET.Element(f"{_W}br" if child.tag == f"{_W}cr" else f"{_W}tab"))
            elif child.tag in _UNWRAPPED:
                changed += list(child)
            elif child.tag not in _DROPPED:
                changed.append(child)
        if changed != list(parent):
            parent[:] = changed


def _reading(node: ET.Element) -> list[ET.Element]:
    """Signs with how they are read behind them: `漢(kan)`."""
    read, base = ([run for run in node if run.tag == f"{_W}{name}"] for name in ("rt", "rubyBase"))
    texts = ["".join(text for part in parts for text in _runs(part)) for parts in (base, read)]
    return _text_nodes(f"{texts[0]}({texts[1]})" if texts[1] else texts[0])


def _alternative(node: ET.Element) -> list[ET.Element]:
    """Of several forms of the same thing the one for old programs, which mammoth reads; else the first, with a text
    box's paragraphs where mammoth finds them.
    """
    fallback = node.find(f"{_MC}Fallback")
    first = node.find(f"{_MC}Choice")
    boxes = [] if first is None else list(first.iter(f"{_W}txbxContent"))
    if (
        fallback is not None
        and len(fallback)
        and (not boxes or next(fallback.iter(f"{_W}txbxContent"), None) is not None)
    ):
        return list(fallback)
    return boxes or ([] if first is None else list(first))


def _formula(node: ET.Element) -> str:
    """A formula in one line: `(a+b)/2`, `x^2`, `√x`."""
    name = node.tag.removeprefix(_M)
    if name in _NO_TEXT:
        sign = node.find(f"{_M}chr")
        return (
            (sign.get(f"{_M}val") or "") if name == "naryPr" and sign is not None else "∫" if name == "naryPr" else ""
        )
    if node.tag in (f"{_M}t", f"{_W}t"):
        return node.text or ""
    parts = [part for child in node if (part := _formula(child))]
    if name == "d":
        return "(" + ", ".join(parts) + ")"
    if name in _BETWEEN:
        return _BETWEEN[name].join(_closed(part) if name in ("f", "sSup", "sSub") else part for part in parts)
    if name == "m":
        return "[" + "; ".join(parts) + "]"
    return _BEFORE.get(name, "") + (_closed("".join(parts)) if name in _BEFORE else "".join(parts))


def _closed(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() or text.startswith("(") else f"({text})"


def _run(text: str) -> ET.Element:
    run = ET.Element(f"{_W}r")
    run.extend(_text_nodes(text))
    return run


def _text_nodes(text: str) -> list[ET.Element]:
    content = ET.Element(f"{_W}t", {"{http://www.w3.org/XML/1998/namespace}space": "preserve"})
    content.text = text
    return [content]


def _around(run: ET.Element) -> ET.Element:
    paragraph = ET.Element(f"{_W}p")
    paragraph.append(run)
    return paragraph


def _paragraph(text: str) -> ET.Element:
    return _around(_run(text))
