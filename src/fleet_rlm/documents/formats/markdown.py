"""Writes a tree of HTML as Markdown: told of each element as it begins and ends, it keeps no tree of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

NOT_SHOWN = frozenset([
    "script", "style", "template", "noscript", "iframe", "embed", "link", "meta", "title", "datalist", "rp",
    "area", "param", "source", "track", "col", "colgroup",
])  # fmt: skip
"""Elements of which a reader sees nothing."""
_GAP = frozenset([
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "menu", "table", "pre", "xmp", "listing",
    "blockquote", "hr", "figure", "section", "article", "aside", "main", "nav", "header", "footer", "form",
    "fieldset", "details", "dialog", "dir",
])  # fmt: skip
_LINE = frozenset([
    "html", "body", "div", "li", "dt", "dd", "tr", "caption", "summary", "legend", "figcaption", "address",
    "option", "optgroup", "textarea", "center", "search", "hgroup", "thead", "tbody", "tfoot", "frameset",
    "noframes", "td", "th",
])  # fmt: skip
_APART = frozenset([
    "button", "label", "input", "select", "meter", "progress", "output", "video", "audio", "canvas", "svg",
    "text", "tspan", "img", "math", "mtr", "mtd",
])  # fmt: skip
_OF_THEIR_OWN = _GAP | _LINE | _APART
_DISPLAY = re.compile(
    r"(?:^|;)\s*display\s*:\s*(?:(block|flex|grid|table|list-item|flow-root|table-row)\b|inline-|table-)", re.I
)
_MARKS = {
    name: mark
    for mark, names in {"**": "b strong", "*": "i em", "`": "code kbd samp tt", "~~": "del s strike"}.items()
    for name in names.split()
}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_BETWEEN = {"mfrac": "/", "msup": "^", "msub": "_", "munder": "_", "mover": "^", "msubsup": "_"}
"""Signs between the parts of a formula (MathML)."""
_LITERAL = frozenset(("pre", "xmp", "listing", "textarea"))
_INVISIBLE = re.compile("[\u00ad\u200b\ufeff]")
_SPACES = re.compile(r"[ \t\n\r\f]+")
_LINK = re.compile(r"(?!\s*(?:data|javascript|vbscript|blob|about|cid)\s*:)[^\s#][^\s]*", re.IGNORECASE)
_MOST_LINK_CHARS = 2_000
_MOST_DEEP = 24
"""The deepest indentation of lists and quotations within each other."""
_MOST_SPAN = 50


@dataclass(slots=True)
class _Mark:
    """Emphasis or a link around text: written when its first letter comes, closed at the end of each block."""

    begin: str
    end: str
    written: bool = False
    since: int = 0


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    below: dict[int, int] = field(default_factory=dict)
    """Column → rows that a cell above still reaches down to."""
    has_heads: bool = False
    taken: frozenset[int] = frozenset()
    """The columns of the row at hand that cells above take."""


@dataclass(slots=True)
class _Flow:
    """The text of the page, or of a table's cell, while it is written."""

    lines: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    space: bool = False
    gap: bool = False
    indents: list[list[str]] = field(default_factory=list)
    """[before the first line, before the others] of each list item and quotation that is open."""
    marks: list[_Mark] = field(default_factory=list)


class Writer:
    """Gets `enter` and `leave` of each element and `add` of each text, in the page's order."""

    def __init__(self, layout_tables: frozenset[int], text_of: Callable[[str], str]) -> None:
        """`text_of` reads a page within the page, which the parser left as plain text."""
        self.hidden = 0
        """Elements that were left out because a browser hides them; whoever walks the tree counts."""
        self._layout, self._text_of = layout_tables, text_of
        self._flow = _Flow()
        self._outer: list[_Flow] = []
        self._tables: list[_Table | None] = []
        self._lists: list[int | None] = []
        """The number of the next item of each list that is open; None without numbers."""
        self._literal = 0
        self._heading = 0

    def text(self) -> str:
        """Return the Markdown that was written so far."""
        self._end_line()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._flow.lines)).strip("\n").replace("\xa0", " ")

    def add(self, text: str) -> None:
        """A text between tags."""
        text = _INVISIBLE.sub("", text)
        flow = self._flow
        if self._literal:
            flow.pieces.append(text)
            return
        words = _SPACES.split(text)
        if not any(words):
            flow.space = flow.space or bool(text)
            return
        flow.space = flow.space or not words[0]
        after = not words[-1]
        self._begin()
        flow.pieces.append(" ".join(word for word in words if word))
        flow.space = after

    def enter(self, node: LexborNode, tag: str) -> bool:
        """An element begins; True where what is in it has been written already."""
        self._break(_placed_as(node, tag))
        if tag in _LITERAL:
            self._literal += 1
        elif tag in _HEADINGS:
            self._heading = _HEADINGS[tag]
        elif mark := _MARKS.get(tag):
            alone = self._heading or self._literal or any(one.begin == mark for one in self._flow.marks)
            self._flow.marks.append(_Mark("", "") if alone else _Mark(mark, mark))
        elif handler := _ENTER.get(tag):
            return bool(handler(self, node))
        return False

    def leave(self, node: LexborNode, tag: str) -> None:
        """An element ends."""
        if tag in _MARKS or tag == "a":
            self._close_mark()
        elif handler := _LEAVE.get(tag):
            handler(self, node)
        elif tag[:1] == "m" and node.next is not None and (above := node.parent) is not None:
            self._flow.pieces.append(_BETWEEN.get(above.tag or "", ""))
        if tag in _LITERAL:
            self._literal -= 1
        self._break(_placed_as(node, tag))
        if tag in _HEADINGS:
            self._heading = 0

    # ── lines ──

    def _begin(self) -> None:
        """Write what must stand before a text: a space, and marks that were opened."""
        flow = self._flow
        if flow.space and flow.pieces and not flow.pieces[-1].endswith((" ", "\n")):
            flow.pieces.append(" ")
        flow.space = False
        for mark in flow.marks:
            if not mark.written and mark.begin:
                flow.pieces.append(mark.begin)
                mark.written, mark.since = True, len(flow.pieces)

    def _break(self, tag: str) -> None:
        """End the line, the paragraph or the word where an element of this kind begins and ends."""
        flow = self._flow
        if self._literal:
            if (tag in _LINE or tag in _GAP) and flow.pieces and not flow.pieces[-1].endswith("\n"):
                flow.pieces.append("\n")
        elif tag in _GAP:
            self._end_line()
            flow.gap = flow.gap or not (tag in _LISTS and self._lists)
        elif tag in _LINE:
            self._end_line()
        elif tag in _APART:
            flow.space = True

    def _end_line(self) -> None:
        flow = self._flow
        for mark in reversed(flow.marks):
            if mark.written:
                self._finish(mark)
        text = "".join(flow.pieces)
        flow.pieces, flow.space = [], False
        text = "\n".join(line.strip(" ") for line in text.split("\n")).strip("\n")
        if text.strip():
            self._write("#" * self._heading + " " + text if self._heading and not self._outer else text)

    def _write(self, text: str) -> None:
        flow = self._flow
        if flow.gap and flow.lines:
            flow.lines.append("")
        flow.gap = False
        deepest = flow.indents[:_MOST_DEEP]
        for line in text.split("\n"):
            before = "".join(one[0] for one in deepest)
            for one in deepest:
                one[0] = one[1]
            flow.lines.append((before + line).rstrip())

    def _finish(self, mark: _Mark) -> None:
        """Write a mark's end; a link that only repeats its own address loses its marks."""
        pieces = self._flow.pieces
        mark.written = False
        if mark.begin == "[" and mark.end[2:-1].removeprefix("mailto:") == "".join(pieces[mark.since :]):
            pieces[mark.since - 1] = ""
        else:
            pieces.append(mark.end)

    def _close_mark(self) -> None:
        if self._flow.marks:
            if self._flow.marks[-1].written:
                self._finish(self._flow.marks[-1])
            self._flow.marks.pop()

    # ── elements ──

    def _link(self, node: LexborNode) -> None:
        address = (node.attributes.get("href") or "").strip()
        told = not self._literal and len(address) <= _MOST_LINK_CHARS and _LINK.fullmatch(address)
        self._flow.marks.append(_Mark("[", f"]({address})") if told else _Mark("", ""))

    def _image(self, node: LexborNode) -> None:
        self.add((node.attributes.get("alt") or "").strip())

    def _control(self, node: LexborNode) -> None:
        given = node.attributes
        kind = (given.get("type") or "").lower()
        if kind in ("checkbox", "radio"):
            self.add("[x]" if "checked" in given else "[ ]")
        elif kind not in ("hidden", "password", "image", "file"):
            self.add(given.get("value") or "")

    def _new_line(self, _node: LexborNode) -> None:
        if self._heading:
            self._flow.space = True
        elif self._literal or self._flow.pieces:
            self._flow.pieces.append("\n")
            self._flow.space = False

    def _rule(self, _node: LexborNode) -> None:
        self._write("---")

    def _raised(self, node: LexborNode) -> None:
        """10<sup>6</sup> is not 106."""
        pieces = self._flow.pieces
        if (node.text() or "").strip().isdigit() and pieces and pieces[-1][-1:].isalnum() and not self._flow.space:
            pieces.append("^")

    def _reading(self, _node: LexborNode) -> None:
        self._flow.pieces.append("(")

    def _end_reading(self, _node: LexborNode) -> None:
        self._flow.pieces.append(")")

    def _quote(self, _node: LexborNode) -> None:
        self.add('"')

    def _end_quote(self, _node: LexborNode) -> None:
        after, self._flow.space = self._flow.space, False
        self.add('"')
        self._flow.space = after

    def _formula(self, node: LexborNode) -> bool:
        told = node.css_first('annotation[encoding*="tex"]')
        if told is not None:
            self.add(told.text() or "")
        return told is not None

    def _old(self, node: LexborNode) -> bool:
        """Write `<noframes>`, whose content the parser leaves as plain text."""
        self._write(self._text_of(node.text() or "").strip("\n"))
        return True

    def _list(self, node: LexborNode) -> None:
        self._lists.append(_number(node.attributes.get("start"), 1) if node.tag == "ol" else None)

    def _end_list(self, _node: LexborNode) -> None:
        self._end_line()
        self._lists.pop()

    def _item(self, node: LexborNode) -> None:
        number, marker = self._lists[-1] if self._lists else None, "- "
        if number is not None:
            number = _number(node.attributes.get("value"), number)
            self._lists[-1], marker = number + 1, f"{number}. "
        self._flow.indents.append([marker, " " * len(marker)])

    def _definition(self, _node: LexborNode) -> None:
        self._flow.indents.append([": ", "  "])

    def _quotation(self, _node: LexborNode) -> None:
        self._flow.indents.append(["> ", "> "])

    def _end_indent(self, _node: LexborNode) -> None:
        self._end_line()
        self._flow.indents.pop()

    def _fence(self, _node: LexborNode) -> None:
        text = "".join(self._flow.pieces).strip("\n").rstrip()
        self._flow.pieces = []
        if text:
            around = "~~~" if "```" in text else "```"
            self._write(text if self._outer else f"{around}\n{text}\n{around}")

    # ── tables ──

    def _table(self, node: LexborNode) -> None:
        layout = node.mem_id in self._layout or node.attributes.get("role") in ("presentation", "none")
        self._tables.append(None if layout else _Table())

    def _row(self, _node: LexborNode) -> None:
        if self._tables and (table := self._tables[-1]) is not None:
            table.rows.append([])
            table.taken = frozenset(table.below)
            table.below = {column: rows - 1 for column, rows in table.below.items() if rows > 1}

    def _cell(self, _node: LexborNode) -> None:
        if self._tables and (table := self._tables[-1]) is not None:
            if not table.rows:
                table.rows.append([])
            self._outer.append(self._flow)
            self._flow = _Flow()

    def _end_cell(self, node: LexborNode) -> None:
        if not self._tables or (table := self._tables[-1]) is None:
            return
        self._end_line()
        text = " ".join(filter(None, (line.strip() for line in self._flow.lines)))
        self._flow = self._outer.pop()
        row, given = table.rows[-1], node.attributes
        table.has_heads = table.has_heads or node.tag == "th"
        while len(row) in table.taken:
            row.append("")
        down = _number(given.get("rowspan"), 1)
        for place in range(max(1, min(_number(given.get("colspan"), 1), _MOST_SPAN))):
            if down > 1:
                table.below[len(row)] = down - 1
            row.append("" if place else text.replace("|", "\\|"))

    def _end_table(self, _node: LexborNode) -> None:
        self._end_line()
        table = self._tables.pop()
        if table is None:
            return
        rows = [row for row in table.rows if any(row)]
        width = max(map(len, rows), default=0)
        if rows and (width > 1 or table.has_heads):
            lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
            lines.insert(1, "| " + " | ".join(["---"] * width) + " |")
            self._flow.gap = True
            self._write("\n".join(lines))
        elif rows:
            self._write("\n".join(row[0].replace("\\|", "|") for row in rows))


_ENTER: dict[str, Callable[[Writer, LexborNode], bool | None]] = {
    "a": Writer._link, "img": Writer._image, "input": Writer._control, "br": Writer._new_line, "hr": Writer._rule,
    "sup": Writer._raised, "rt": Writer._reading, "q": Writer._quote, "math": Writer._formula, "li": Writer._item,
    "dd": Writer._definition, "noframes": Writer._old,
    "blockquote": Writer._quotation, "table": Writer._table, "tr": Writer._row,
    **dict.fromkeys(_LISTS, Writer._list), **dict.fromkeys(("td", "th"), Writer._cell),
}  # fmt: skip
_LEAVE: dict[str, Callable[[Writer, LexborNode], None]] = {
    "rt": Writer._end_reading, "q": Writer._end_quote, "table": Writer._end_table,
    **dict.fromkeys(_LISTS, Writer._end_list), **dict.fromkeys(("li", "dd", "blockquote"), Writer._end_indent),
    **dict.fromkeys(("pre", "xmp", "listing"), Writer._fence), **dict.fromkeys(("td", "th"), Writer._end_cell),
}  # fmt: skip


def _placed_as(node: LexborNode, tag: str) -> str:
    """The element that stands on a page as this one does: its style may make it a line or a word of its own."""
    if tag in _OF_THEIR_OWN:
        return tag
    if (style := node.attributes.get("style")) and (found := _DISPLAY.search(style)):
        return "div" if found[1] else "button"
    return "button" if "-" in tag else tag  # a page's own elements, which are parts rather than letters


def _number(given: str | None, otherwise: int) -> int:
    try:
        return int((given or "").strip()[:9])
    except ValueError:
        return otherwise
