from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleet_rlm.documents import search as searching
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.search import BadPattern, Found, Hit, Matcher, Query, search
from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.documents.unrolled import unrolled_items


def index_of(text: str, chunk_bytes: int = 16 * 1024) -> LineIndex:
    index = LineIndex(TextFile.of_text(text, "t"), chunk_bytes=chunk_bytes)
    assert index.build()
    return index


def all_hits(index: LineIndex, query: Query, keep: int = 10_000) -> tuple[list[Hit], Found]:
    hits: list[Hit] = []
    last: Found | None = None
    for last in search(index, query, keep=keep):
        hits.extend(last.hits)
    assert last is not None
    assert last.finished
    return hits, last


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of 16 bytes meet their edges at every example."""
    monkeypatch.setattr(searching, "BLOCK_BYTES", 16)
    return


letters = st.text("aAbé\n 日", max_size=80)


@settings(max_examples=200)
@given(text=letters, data=st.data(), case=st.sampled_from(["exact", "ignore"]))
def test_plain_text_is_found_where_a_plain_search_finds_it(text: str, data: st.DataObject, case: str) -> None:
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    needle = text[start : start + data.draw(st.integers(1, 6))].split("\n")[0] or "b"
    query = Query(needle, case="exact" if case == "exact" else "ignore")
    if Matcher(query).needle is None:  # such text is matched in whole lines, and longer ones in pieces
        assume(all(len(line.encode()) < 16 for line in text.split("\n")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "BLOCK_BYTES", 16)
        index = index_of(text)
        hits, found = all_hits(index, query)
    encoded = text.encode()
    haystack, sought = (text.lower(), needle.lower()) if case == "ignore" else (text, needle)
    expected, place = [], haystack.find(sought)
    while place >= 0:
        expected.append(place)
        place = haystack.find(sought, place + len(sought))
    assert [len(encoded[: hit.start].decode()) for hit in hits] == expected
    assert found.total == len(expected)
    for hit in hits:
        row = index.row(hit.row)
        shown = row.text[hit.column : hit.column + hit.width]
        assert (shown.lower(), shown)[case == "exact"] == (sought, needle)[case == "exact"]
        assert encoded[hit.start : hit.end].decode() == shown


WITHIN_LINES = [
    "a",
    "a+",
    "^a",
    "a$",
    "^$",
    "a|b",
    "[^a]+",
    r"\s+",
    r"\S+",
    r"a\s*b",
    "(?:ab)*",
    "é.",
    ".+",
    "x*$",
    "日|é",
]
AT_EDGES = [r"\bA", "(?i)A", "a*", "(a)(b)?"]
SEEING_PAST_THE_END = [r"(?<=a)b", r"a(?!\s)", r"\Aa", r"b\Z", "(?s)a.b", "(?>a+)b", "a++", r"(?>\s*)$", r"(?=\s)"]
patterns = st.sampled_from([*WITHIN_LINES, *AT_EDGES, *SEEING_PAST_THE_END])


@settings(max_examples=250)
@given(
    lines=st.lists(st.text("aAbé 日", max_size=8), max_size=12), pattern=patterns, end=st.sampled_from(["\n", "\r\n"])
)
def test_a_pattern_is_found_as_line_by_line(lines: list[str], pattern: str, end: str) -> None:
    text = "".join(line + end for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "BLOCK_BYTES", 16)
        index = index_of(text)
        hits, found = all_hits(index, Query(pattern, regex=True, case="exact"))
    compiled = Matcher(Query(pattern, regex=True, case="exact")).pattern
    expected = [
        (number, *match.span())
        for number, line in enumerate(lines)
        for match in compiled.finditer(line)
        if match.end() > match.start() or match.start() == 0
    ]
    assume(all(len(line.encode()) + 2 <= 16 for line in lines))  # longer lines are searched in pieces, see below
    assert [(hit.row, hit.column, hit.column + hit.width) for hit in hits] == expected
    assert found.total == len(expected)


def test_the_smart_case_minds_capitals_only_where_the_query_has_some() -> None:
    index = index_of("Marlow marlow MARLOW Über über ÜBER\n")
    totals = {q: all_hits(index, Query(q))[1].total for q in ("marlow", "Marlow", "über", "Über")}
    assert totals == {"marlow": 3, "Marlow": 1, "über": 3, "Über": 1}
    assert all_hits(index, Query(r"\S+low", regex=True))[1].total == 3, "the S of \\S is no capital"


def test_all_hits_are_counted_and_the_first_kept() -> None:
    index = index_of("abc aa\n" * 40_000)
    for query in (Query("a"), Query("aa"), Query("[a]", regex=True)):
        hits, found = all_hits(index, query, keep=100)
        assert found.total == {"a": 120_000, "aa": 40_000, "[a]": 120_000}[query.text]
        assert len(hits) == 100
        assert found.notices == (f"showing the first 100 of {found.total:,} hits",)
        assert hits == sorted(hits, key=lambda hit: hit.start)
        assert found.done == found.size == index.text.size


def test_hits_in_broken_bytes_stand_where_they_stand(tmp_path: Path) -> None:
    data = b"\xff\xfe \xe2\x82 word\n\xc3 word\n" * 3 + "éé word éé ".encode() * 200
    (tmp_path / "t").write_bytes(b"plain\n" * 20_000 + data)
    index = LineIndex(TextFile.open(tmp_path / "t"))
    assert index.text.encoding.is_utf8
    assert index.build()
    for query in (Query("word"), Query("[w]ord", regex=True)):
        hits, _ = all_hits(index, query)
        assert [index.text.text(hit.start, hit.end) for hit in hits] == ["word"] * 206
        assert all(index.row(h.row).text[h.column : h.column + h.width] == "word" for h in hits)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a|b|ab)*c", r"(.*?,){20}z"])
def test_a_catastrophic_pattern_gives_up_on_its_lines_and_finds_the_rest(pattern: str) -> None:
    evil = "a" * 3_000 + "!" if "," not in pattern else "a," * 60 + "!"
    index = index_of(f"{evil}\nb\nabc aa\na,{'b,' * 19}z\n")
    started = time.monotonic()
    hits, found = all_hits(index, Query(pattern, regex=True))
    assert time.monotonic() - started < 8
    assert any(hit.row >= 2 for hit in hits)
    assert not [hit for hit in hits if hit.row == 0] or found.notices == ()


def test_a_search_that_would_take_forever_stops_and_says_where() -> None:
    index = index_of(("a" * 2_000 + "!\n") * 400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "LINE_SECONDS", 0.001)
        patch.setattr(searching, "BLOCK_SECONDS", 0.01)
        _, found = all_hits(index, Query("(a|aa)+$", regex=True))
    assert "the pattern is too slow" in found.notices[-1]
    assert "gave up on 51 line(s)" in found.notices[0]


def test_a_long_line_is_searched_in_pieces_and_that_is_said(small_blocks: None) -> None:
    index = index_of("é" * 40 + "needle" + "x" * 40)
    _, found = all_hits(index, Query("e{2}", regex=True))
    assert found.notices == ("lines longer than 1 MiB were searched in pieces",)
    assert all_hits(index, Query("needle"))[1].total == 1


def test_a_search_runs_beside_the_index_and_gets_ahead_of_nothing() -> None:
    text = TextFile.of_text("some words here\n" * 300_000 + "the needle\n", "t")
    index = LineIndex(text)
    hits: list[Hit] = []
    thread = threading.Thread(target=lambda: [hits.extend(found.hits) for found in search(index, Query("needle"))])
    thread.start()
    assert index.build()
    thread.join(10)
    assert [(hit.row, hit.column) for hit in hits] == [(300_000, 4)]


def test_a_cancelled_search_ends_without_a_last_report() -> None:
    index = index_of("some words\n" * 500_000)
    for query in (Query("o"), Query("[o]", regex=True), Query("(?=o)o", regex=True)):
        asked = iter(range(100))
        reports = list(search(index, query, cancelled=lambda asked=asked: next(asked) > 5))
        assert not any(report.finished for report in reports)


def test_a_search_over_an_index_that_was_cancelled_ends() -> None:
    index = LineIndex(TextFile.of_text("word and much else in this line\n" * 100_000, "t"))
    turns = iter([False, True])
    assert not index.build(cancelled=lambda: next(turns))
    reports = list(search(index, Query("word"), keep=10**9))
    assert not reports or not reports[-1].finished


@pytest.mark.parametrize("text", ["(", "a{2", "[a", "*a", r"\p{Klingon}", "(?P<n>a)(?P<n", "a" * 20_000, ""])
def test_what_is_no_pattern_is_refused_in_words(text: str) -> None:
    if text == "a{2":
        Matcher(Query(text, regex=True))  # plain text, as in grep
        return
    with pytest.raises(BadPattern) as refused:
        search(index_of("x"), Query(text, regex=True))
    assert str(refused.value)
    if refused.value.position is not None:
        assert 0 <= refused.value.position <= len(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(((a{1000}){1000}){1000})",
        "((a?){1000}){1000}",
        "(?:(?:[ab]{100}){100}|c){100}",
        "a{99999999999}",
        "(a{9}" * 9 + "){9}" * 9,
    ],
)
def test_a_short_pattern_that_would_fill_the_memory_is_refused_before_it_is_compiled(pattern: str) -> None:
    with pytest.raises(BadPattern, match="too large"):
        Matcher(Query(pattern, regex=True))


@pytest.mark.parametrize(
    ("pattern", "items"),
    [
        ("", 0),
        ("abc", 3),
        (r"\d{4}-\d\d", 7),
        ("[a-z{9}()]{3}", 3),
        ("(ab|c){10}x", 31),
        ("((a{3}b){2}c){2}", 18),
        (r"\(a{5}\)", 7),
        (r"\p{Lu}{2}a*", 3),
        ("a{,5}b{2,}", 3),
        ("((", 0),
        ("a){3}", 3),
    ],
)
def test_repeats_are_counted_as_often_as_they_are_written_out(pattern: str, items: int) -> None:
    assert unrolled_items(pattern) == items


def test_one_row_is_matched_for_painting_with_a_limit() -> None:
    assert Matcher(Query("ÜB")).in_row("übÜb ÜB") == [(5, 7)]
    assert Matcher(Query("k")).in_row("\N{KELVIN SIGN}k") == [(1, 2)], "as the search over the file finds it"
    assert Matcher(Query("üb")).in_row("übÜb ÜB") == [(0, 2), (2, 4), (5, 7)]
    assert len(Matcher(Query("a")).in_row("a" * 5_000)) == 1_000
    assert Matcher(Query("(a|aa)+$", regex=True)).in_row("a" * 10_000 + "!") == [], "given up in time"
    assert Matcher(Query("[/b]")).in_row("x[/b]") == [(1, 5)]
