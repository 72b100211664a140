"""HTML as Markdown: Lexbor (through selectolax) reads it by the HTML5 rules, as browsers do, and this module writes it.

Headings, lists, tables, links and preformatted text stay; the rest becomes text in which no two words are glued.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleet_rlm.documents.decode import decode_as, utf8
from fleet_rlm.documents.document_work import Cancelled, Stopped, never, printable, size_in_words
from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.markdown import NOT_SHOWN, Writer
from fleet_rlm.documents.formats.recognise import Unextractable

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

MOST_BYTES = 64_000_000
_CODING = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})|<meta[^>]{0,1000}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_XHTML = re.compile(r"\s*<\?xml|[^<]{0,100}<!DOCTYPE[^>]{0,200}XHTML", re.IGNORECASE)
_CLOSED_AT_ONCE = re.compile(r"<([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/>")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_TURN = 4096


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """The text that a page shows, its title first."""
    if len(data) > MOST_BYTES:
        raise Unextractable(
            f"{printable(name)} is too large for a page ({size_in_words(len(data))}).",
            "Give it a name in .txt to have it read as it is, tags and all.",
        )
    found = _CODING.search(data, 0, 4096)
    declared = (found[1] or found[2]).decode("ascii", "replace") if found else ""
    page, notice = decode_as(data, declared, name)
    text, hidden = text_and_hidden(page, name.lower().endswith(".xhtml"), cancelled)
    notices = [notice] if notice else []
    if hidden:
        notices.append(f"{printable(name)}: {hidden:,} hidden element{'s' * (hidden != 1)} left out")
    return Extracted(text, tuple(notices))


def text_of(page: str, cancelled: Cancelled = never) -> str:
    """A page's text as Markdown."""
    return text_and_hidden(page, False, cancelled)[0]


def text_and_hidden(page: str, is_xml: bool, cancelled: Cancelled) -> tuple[str, int]:
    """A page's text, and how many of its elements were left out because a browser hides them."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    if is_xml or _XHTML.match(page):
        page = _as_html(page)
    try:
        tree = LexborHTMLParser(utf8(page).decode().replace("\0", ""))
    except SelectolaxError as error:  # any bytes make a page: nothing else can go wrong
        raise MemoryError from error
    root = tree.root
    if root is None:
        return "", 0
    title = tree.css_first("head > title")
    heading = " ".join(title.text().split()) if title is not None else ""
    writer = _written(root, False, cancelled)
    if not writer.text():  # nothing but what a browser would show without scripts, or on a click
        writer = _written(root, True, cancelled)
    text = writer.text()
    if heading and not text.startswith(f"# {heading}"):
        text = f"{heading}\n\n{text}".rstrip()
    return f"{text}\n" if text else "", writer.hidden


def _as_html(page: str) -> str:
    """XHTML for an HTML parser, to which `<script/>` would swallow the rest of the page."""

    def opened(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name.lower() in _VOID else f"<{name}{match[2]}></{name}>"

    page = _CDATA.sub(lambda match: match[1].replace("&", "&amp;").replace("<", "&lt;"), page)
    return _CLOSED_AT_ONCE.sub(opened, page)


def _written(root: LexborNode, all_of_it: bool, cancelled: Cancelled) -> Writer:
    """Walk the tree without recursion: pages are nested as deep as their authors' mistakes."""
    writer = Writer(tables_with_tables(root), text_of)
    node: LexborNode | None = root
    count = 0
    while node is not None:
        count += 1
        if not count % _TURN and cancelled():
            raise Stopped("reading was cancelled.")
        if (child := _begun(writer, node, all_of_it)) is not None:
            node = child
            continue
        while node.next is None:
            node = node.parent
            if node is None or node.mem_id == root.mem_id:
                writer.leave(root, root.tag or "")
                return writer
            writer.leave(node, node.tag or "")
        node = node.next
    return writer


def _begun(writer: Writer, node: LexborNode, all_of_it: bool) -> LexborNode | None:
    """Write the beginning of a node, and return its first child; without one, write its end as well."""
    tag = node.tag or ""
    if tag == "-text":
        writer.add(node.text_content or "")
    elif tag.startswith(("-", "!")) and tag != "-document":
        return None
    elif not all_of_it and _is_hidden(node, tag):
        writer.hidden += 1
    elif tag not in NOT_SHOWN or (all_of_it and tag == "noscript"):
        if not writer.enter(node, tag) and node.child is not None:
            return node.child
        writer.leave(node, tag)
    return None


def tables_with_tables(root: LexborNode) -> frozenset[int]:
    """The tables that lay a page out: those that hold others."""
    found: set[int] = set()
    for table in root.css("table table"):
        above = table.parent
        while above is not None and above.mem_id not in found:
            if above.tag == "table":
                found.add(above.mem_id)
            above = above.parent
    return frozenset(found)


def _is_hidden(node: LexborNode, tag: str) -> bool:
    if tag in ("html", "body"):
        return False
    given = node.attributes
    if not given:
        return False
    if "hidden" in given:
        return given["hidden"] != "until-found"
    return bool((style := given.get("style")) and _HIDING.search(style))
