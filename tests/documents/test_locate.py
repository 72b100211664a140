from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import write_corpus
from fleet_rlm.documents.coverage import Coverage, Intervals, Seen
from fleet_rlm.documents.document_work import Stopped
from fleet_rlm.documents.locate import Locator, Span
from fleet_rlm.documents.textfile import TextFile


def prose(seed: int, words: int, alphabet: str = "abcdefghijklmnoprstuvwyäéß") -> str:
    rng = random.Random(seed)
    known = ["".join(rng.choices(alphabet, k=rng.randrange(2, 9))) for _ in range(400)]
    return "".join(rng.choice(known) + rng.choice([" "] * 9 + [".\n"]) for _ in range(words))


def built(*texts: str, max_anchors: int = 4_000_000) -> Locator:
    locator = Locator([TextFile.of_text(text, f"d{i}") for i, text in enumerate(texts)], max_anchors=max_anchors)
    assert locator.build()
    return locator


TEXTS = (prose(1, 6_000), prose(2, 4_000), prose(3, 500))
LOCATOR = built(*TEXTS)


def found_text(span: Span) -> str:
    return LOCATOR.texts[span.document].text(span.start, span.end)


@settings(max_examples=150)
@given(st.integers(0, 2), st.data())
def test_any_slice_of_a_document_is_found_exactly_inside_any_wrapper(which: int, data: st.DataObject) -> None:
    text = TEXTS[which]
    start = data.draw(st.integers(0, len(text) - 60))
    length = data.draw(st.integers(60, min(3_000, len(text) - start)))
    before, after = data.draw(
        st.sampled_from([("", ""), ("Summarise this:\n<<<", ">>>\nIn one word."), ("§" * 40, "§")])
    )
    piece = text[start : start + length]
    spans = LOCATOR.locate(before + piece + after)
    assert [span.document for span in spans] == [which]
    assert found_text(spans[0]) == piece
    assert spans[0].start == len(text[:start].encode())


def test_a_span_ends_between_characters_where_only_half_of_one_agrees() -> None:
    start = TEXTS[0].index("ä", 5_000)
    piece = TEXTS[0][start - 200 : start]
    (span,) = LOCATOR.locate(f"{piece}ö")  # shares its first byte with ä
    assert found_text(span) == piece


def test_text_from_elsewhere_is_not_found() -> None:
    assert LOCATOR.locate(prose(99, 5_000)) == ()
    assert LOCATOR.locate("") == LOCATOR.locate("short") == LOCATOR.locate(TEXTS[0][:20]) == ()


def test_a_prompt_with_pieces_of_several_documents_gives_each_in_order() -> None:
    pieces = [TEXTS[1][500:900], TEXTS[0][9_000:9_100], TEXTS[1][20:200], TEXTS[0][100:8_000]]
    prompt = "Compare.\n" + "\n---\nand this, which is not in any document, but long enough to separate:\n".join(pieces)
    spans = LOCATOR.locate(prompt)
    assert [span.document for span in spans] == [1, 0, 1, 0]
    assert [found_text(span) for span in spans] == pieces


def test_lines_that_were_quoted_and_escaped_come_as_one_span() -> None:
    lines = [line for line in TEXTS[0][2_000:6_000].split("\n")[1:-1] if len(line) > 60][:1]
    start = TEXTS[0].index(lines[0])
    piece = TEXTS[0][start : start + 1_500]
    spans = LOCATOR.locate(f"hits = {piece!r}")
    assert len(spans) == 1
    assert len(found_text(spans[0])) > 0.9 * len(piece)


def test_what_stands_everywhere_does_not_lead_astray() -> None:
    log = [
        f"2031-04-01T09:00:00Z INFO service=gateway host=alpha-1 request handled in {n * 7919 % 10_000} ms by {n:06}\n"
        for n in range(4_000)
    ]
    locator = built("".join(log))
    for first, count in ((17, 1), (3_000, 3), (1_234, 200)):
        prompt = "Which is slow? §" + "".join(log[first : first + count])
        (span,) = locator.locate(prompt)
        begin = sum(map(len, log[:first]))
        assert (span.start, span.end) == (begin, begin + sum(map(len, log[first : first + count])))
    assert built("-" * 100_000).locate("-" * 5_000) == (), "a ruler tells nothing"


def test_a_needle_printed_from_a_large_text_is_found(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.txt", 3, needle="The access code of the Marlow depot is 7741, says the notice.")
    locator = Locator([TextFile.open(tmp_path / "c.txt")])
    assert locator.build()
    (span,) = locator.locate(">>> The access code of the Marlow depot is 7741, says the notice.")
    assert span.start <= corpus.needle_offset < span.end


def test_with_fewer_anchors_long_slices_are_still_found() -> None:
    text = prose(5, 30_000)
    locator = built(text, max_anchors=500)
    assert locator.certain_bytes > 200
    length = locator.certain_bytes
    for start in range(0, len(text) - length, 7_777):
        (span,) = locator.locate("§" + text[start : start + length])
        assert locator.texts[0].text(span.start, span.end) == text[start : start + length]


def test_building_tells_how_far_it_is_and_both_can_be_cancelled() -> None:
    locator = Locator([TextFile.of_text(prose(6, 200_000), "d")])
    told: list[tuple[int, int]] = []
    assert not locator.build(cancelled=lambda: True)
    assert locator.locate(prose(6, 100)) == ()
    assert locator.build(lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == locator.texts[0].size
    with pytest.raises(Stopped):
        locator.locate(prose(7, 1_000), lambda: True)


def test_a_document_truncated_meanwhile_is_found_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(TEXTS[0])
    locator = Locator([TextFile.open(tmp_path / "t")])
    assert locator.build()
    (tmp_path / "t").write_bytes(TEXTS[0].encode()[:5_000])
    (span,) = locator.locate(TEXTS[0])
    assert (span.start, span.end) == (0, 5_000)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12))), st.integers(0, 60), st.integers(0, 30))
def test_intervals_count_as_a_set_of_bytes_does(added: list[tuple[int, int]], start: int, length: int) -> None:
    intervals, naive = Intervals(), set[int]()
    for begin, size in added:
        intervals.add(begin, begin + size)
        naive.update(range(begin, begin + size))
    assert intervals.within(start, start + length) == len(naive & set(range(start, start + length)))
    assert {n for s, e in intervals for n in range(s, e)} == naive
    ends = [edge for interval in intervals for edge in interval]
    assert ends == sorted(set(ends)), "disjoint, not touching, in order"


def test_intervals_stay_bounded_by_closing_the_smallest_gaps() -> None:
    intervals = Intervals(limit=100)
    for n in range(1_000):
        intervals.add(n * 10 + n // 100, n * 10 + n // 100 + 5)
    assert len(intervals) <= 100
    assert intervals.within(0, 20_000) >= 5_000


def test_the_map_shows_the_stronger_mark_and_the_shares() -> None:
    coverage = Coverage([1_000, 50, 0])
    coverage.add([Span(0, 0, 100), Span(0, 500, 600)], Seen.PRINTED)
    coverage.add([Span(0, 50, 150), Span(1, 40, 90)], Seen.SENT)
    assert [coverage.at(0, s, s + 10) for s in (0, 45, 140, 150, 590)] == [1, 2, 2, 0, 1]
    assert [coverage.share(0, seen) for seen in Seen] == [0.75, 0.2, 0.1]
    assert [coverage.share(1, seen) for seen in Seen] == [0.8, 0.0, 0.2]
    assert coverage.share(2, Seen.UNREAD) == 0.0
    assert [b.strongest for b in coverage.minimap(0, 10)] == [2, 2, 0, 0, 0, 1, 0, 0, 0, 0]
    assert [(b.printed, b.sent) for b in coverage.minimap(0, 2)] == [(0.2, 0.2), (0.2, 0.0)]
    assert len(coverage.minimap(2, 5)) == 5
    assert len(coverage.minimap(1, 200)) == 200, "more cells than bytes"
