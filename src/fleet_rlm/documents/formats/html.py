"""HTML as Markdown, by Beautiful Soup and markdownify: headings, lists, tables and links stay, the rest is text."""

from __future__ import annotations

import re

from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.work import Cancelled, printable, size_in_words

MOST_BYTES = 64_000_000
_UNSEEN = ("script", "style", "template", "noscript", "svg", "iframe", "object", "link", "meta")
_BLANKS = re.compile(r"[ \t]+\n")
_GAPS = re.compile(r"\n{3,}")


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:  # noqa: ARG001 - one call of a library each
    """The text that a page shows, its title first."""
    if len(data) > MOST_BYTES:
        raise Unextractable(
            f"{printable(name)} is too large for a page ({size_in_words(len(data))}).",
            "Give it a name in .txt to have it read as it is, tags and all.",
        )
    return Extracted(text_of(data))


def text_of(page: bytes | str) -> str:
    """A page's text; bytes are decoded as the page says."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup([*_UNSEEN, "title"]):
        tag.decompose()
    for image in soup("img"):
        image.replace_with(str(image.get("alt") or ""))
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        table_infer_header=True,  # a table without one would get an empty row as its head
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    text = str(converter.convert_soup(soup))
    text = _GAPS.sub("\n\n", _BLANKS.sub("\n", text.replace("\r\n", "\n"))).strip()
    if title and not text.startswith(f"# {title}"):
        text = f"{title}\n\n{text}"
    return f"{text}\n" if text else ""
