"""HTML: what a reader of the page sees, word by word, and nothing that only the browser needs."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.documents.formats import Extracted, Unextractable, extract


def page(html: str | bytes, name: str = "p.html") -> Extracted:
    return extract("html", html if isinstance(html, bytes) else html.encode(), name)


def text(html: str | bytes) -> str:
    return page(html).text.rstrip("\n")


_PARTS = [
    "p", "div", "li", "dt", "dd", "td", "th", "h1", "h4", "section", "article", "address", "summary", "figcaption",
    "option", "button", "label", "textarea", "legend", "blockquote", "pre", "center", "my-card", "noframes",
]  # fmt: skip


@pytest.mark.parametrize("tag", _PARTS)
def test_words_of_neighbouring_elements_are_not_glued(tag: str) -> None:
    inside = {"li": "ul", "dt": "dl", "dd": "dl", "td": "tr", "th": "tr", "option": "select"}.get(tag, "div")
    around = ("<table><tr>", "</tr></table>") if inside == "tr" else (f"<{inside}>", f"</{inside}>")
    found = text(f"{around[0]}<{tag}>one</{tag}><{tag}>two</{tag}>{around[1]}three")
    assert re.findall(r"\w+", found) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "between",
    [
        "<br>",
        "<img src=x>",
        "<img src=x alt=''>",
        "<hr>",
        "<svg></svg>",
        "<span> </span>",
        "<input>",
        "<video></video>",
    ],
)
def test_what_stands_between_two_words_parts_them(between: str) -> None:
    assert re.findall(r"\w+", text(f"one{between}two")) == ["one", "two"]


@pytest.mark.parametrize("display", ["block", "flex", "list-item", "inline-block", "table-cell"])
def test_a_style_that_makes_a_line_or_a_box_parts_words(display: str) -> None:
    one = f"<span style='color:red; Display: {display}'>"
    assert re.findall(r"\w+", text(f"{one}one</span>{one}two</span>")) == ["one", "two"]


@pytest.mark.parametrize("tag", ["span", "b", "i", "em", "code", "sub", "a", "font", "mark", "wbr"])
def test_elements_within_a_word_do_not_part_it(tag: str) -> None:
    assert re.sub(r"[*`]", "", text(f"<p>super<{tag}>cali</{tag}>fragil")) == "supercalifragil"


@given(st.lists(st.sampled_from(["<p>", "<li>", "<td>", "<tr>", "<dd>", "<table>", "</p>", "<div>", "</div>", "<b>"])))
def test_every_word_stays_whole_and_in_order_whatever_tags_are_left_open(tags: list[str]) -> None:
    words = [f"w{n}w" for n in range(len(tags) + 1)]
    html = words[0] + "".join(tag + " " + word for tag, word in zip(tags, words[1:], strict=True))
    found = re.findall(r"w\d+w", text(html))
    if any(tag in ("<table>", "<tr>", "<td>") for tag in tags):  # a browser moves loose text out of a table
        assert sorted(found) == sorted(words)
    else:
        assert found == words


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>one<p>two<div>three</div>four", "one\n\ntwo\n\nthree\nfour"),
        ("<ul><li>one<li>two<ul><li>a<li>b</ul><li>three</ul>", "- one\n- two\n  - a\n  - b\n- three"),
        ("<dl><dt>Term<dd>Meaning<dt>Other<dd>More</dl>", "Term\n: Meaning\nOther\n: More"),
        ("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "| a | b |\n| --- | --- |\n| c | d |"),
        ("<ol start=7><li>x<li>y</ol>", "7. x\n8. y"),
    ],
    ids=["paragraphs", "lists", "definitions", "cells", "numbers"],
)
def test_end_tags_that_html_leaves_out_are_implied(html: str, expected: str) -> None:
    assert text(html) == expected


@pytest.mark.parametrize(
    ("html", "rows"),
    [
        ("<table><tr><td rowspan=2>a</td><td>b</td></tr><tr><td>c</td></tr></table>", ["| a | b |", "|  | c |"]),
        ("<table><tr><th colspan=2>H</th></tr><tr><td>1</td><td>2</td></tr></table>", ["| H |  |", "| 1 | 2 |"]),
        ("<table><tr><td>a<br>b</td><td>c|d</td></tr></table>", ["| a b | c\\|d |"]),
        ("<table><caption>Depots</caption><tr><td>a</td><td>b</td></tr></table>", ["Depots", "| a | b |"]),
        ("<table><td>L<table><td>a</td><td>b</td></table></td><td>R</td></table>", ["L", "| a | b |", "R"]),
    ],
    ids=["down", "across", "lines and bars", "caption", "in a layout"],
)  # fmt: skip
def test_a_table_stays_a_table_with_each_cell_in_its_column(html: str, rows: list[str]) -> None:
    assert [line for line in text(html).splitlines() if line.strip() and "---" not in line] == rows


def test_a_cell_that_claims_millions_of_columns_and_rows_gets_few() -> None:
    html = "<table><tr><td colspan=99999999 rowspan=99999999>a</td></tr>" + "<tr><td>b</td></tr>" * 50 + "</table>"
    assert len(text(html)) < 20_000


@pytest.mark.parametrize(
    "start",
    ['<?xml version="1.0"?>', "\ufeff<?xml version='1.0'?>", "<?xml-stylesheet href='a.css'?>", "<?php x ?>"],
)  # fmt: skip
def test_declarations_are_no_text(start: str) -> None:
    assert text(f"{start}<html><body><p>Größe</p></body></html>") == "Größe"


def test_xhtml_closes_elements_at_once_and_escapes_whole_sections() -> None:
    html = (
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/><script src='x'/></head><body>"
        "<p>one<br/>two</p><div/>three <![CDATA[a<b & c]]></body></html>"
    )
    assert text(html) == "one\ntwo\n\nthree a<b & c"


@pytest.mark.parametrize(
    "html",
    [
        "<a href='data:text/html;base64,QUFBQUFB'>go</a>", "go<img src='data:image/png;base64,QUFBQUFB'>",
        "<a href=' DATA:text/plain,QUFBQUFB'>go</a>", "<p style='background:url(data:image/png,QUFBQUFB)'>go</p>",
        "<object data='data:image/svg+xml,QUFBQUFB'>go</object>", "<a href='javascript:QUFBQUFB()'>go</a>",
    ],
)  # fmt: skip
def test_contents_in_addresses_are_left_out(html: str) -> None:
    assert text(html) == "go"


@pytest.mark.parametrize(
    ("html", "hidden"),
    [
        ("<p hidden>no</p>yes", 1), ("<p style='display:none'>no</p><i style='COLOR:red;Display : None'>no</i>yes", 2),
        ("<p style='visibility:hidden'>no</p>yes", 1), ("<p hidden='until-found'>yes</p>", 0),
        ("<body><script>no</script><style>no</style><template>no</template><noscript>no</noscript>yes", 0),
    ],
)  # fmt: skip
def test_what_a_browser_hides_is_left_out_and_counted(html: str, hidden: int) -> None:
    found = page(html)
    assert found.text == "yes\n"
    assert [notice for notice in found.notices if f"{hidden} hidden element" in notice] == list(found.notices)
    assert bool(found.notices) == bool(hidden)


@pytest.mark.parametrize("html", ["<div hidden>all of it</div>", "<noscript>all of it</noscript>"])
def test_a_page_that_hides_everything_is_read_nevertheless(html: str) -> None:
    assert text(html) == "all of it"


_WORDS = {
    "windows-1251": "Привет, мир", "iso-8859-2": "Łódź i Żuków", "Shift_JIS": "日本語の本", "gb2312": "中文测试",
    "iso-8859-1": "“quoted” – 5 €", "euc-kr": "안녕하세요 세계", "iso-2022-jp": "日本語", "koi8-r": "Склад в порту",
}  # fmt: skip


@pytest.mark.parametrize("label", _WORDS)
@pytest.mark.parametrize("form", ["<meta charset={}>", '<meta http-equiv=x content="text/html; charset={}">'])
def test_a_page_is_in_the_encoding_that_it_names(label: str, form: str) -> None:
    codec = {"iso-8859-1": "cp1252"}.get(label, label)
    found = page((form.format(label) + f"<p>{_WORDS[label]}</p>").encode(codec))
    assert (found.text, found.notices) == (f"{_WORDS[label]}\n", ())


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_recognised_whatever_the_page_says(codec: str) -> None:
    html = '<html><meta charset="iso-8859-1"><body><p>Gr\u00fc\u00dfe an alle, die es lesen</p></body></html>'
    assert text(html.encode(codec)) == "Grüße an alle, die es lesen"


@pytest.mark.parametrize("label", ["", "punycode", "zlib", "unicode_escape", "undefined", "klingon", "x" * 900])
def test_a_guess_is_said_to_be_one(label: str) -> None:
    found = page(f'<meta charset="{label}"><p>Größe für Jürgen “quoted”</p>'.encode("cp1252"))
    assert found.text == "Größe für Jürgen “quoted”\n"
    assert found.notices == ("p.html: decoded as cp1252 (a guess: it is not UTF-8)",)


def test_frames_and_fallbacks_of_old_pages_are_read() -> None:
    assert text("<frameset><frame src=a><noframes><p>for <b>old</b> browsers</p></noframes></frameset>") == (
        "for **old** browsers"
    )
    assert text("<object data=x.swf>the same in words</object>") == "the same in words"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    with contextlib.suppress(Unextractable):  # it holds no text
        page(data).text.encode()
