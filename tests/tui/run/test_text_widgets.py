"""Lines that break, rows that are kept, tables that fit: what panes are drawn with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleet_rlm.terminal_text import clean
from fleet_rlm.tui.widgets.highlight import highlighted
from fleet_rlm.tui.widgets.rows import ROW_CHARS, Row, TailRows, TextRows, lines_of, rows_of
from fleet_rlm.tui.widgets.wrap import MIN_WIDTH, between_cells, breaks, cells
from tests.tui.synthetic import BATCH_CODE

TEXT = st.text(alphabet=st.sampled_from("ab c日🦊é-"), max_size=80)


@given(TEXT, st.integers(MIN_WIDTH, 30), st.integers(0, 3))
def test_broken_lines_fit_and_lose_nothing_but_the_spaces_they_break_at(text: str, width: int, indent: int) -> None:
    lines = breaks(text, width, indent)
    assert all(cell_len(text[a:b].rstrip()) <= (width if i == 0 else max(width - indent, MIN_WIDTH))
               for i, (a, b) in enumerate(lines))  # fmt: skip
    shown = "".join(text[a:b] for a, b in lines)
    assert shown.replace(" ", "") == text.replace(" ", "")
    assert lines[0][0] == 0
    assert text[lines[-1][1] :].strip() == ""


@given(TEXT, st.integers(0, 40), st.integers(1, 40))
def test_characters_between_two_cells_are_never_wider_than_the_cells_between_them(
    text: str, left: int, width: int
) -> None:
    start, end, blank = between_cells(text, left, left + width)
    assert blank + cells(text[start:end]) <= width
    assert blank <= 1 or start >= len(text)


def test_a_line_of_a_million_characters_becomes_short_rows_that_read_as_one_line() -> None:
    text = "x" * 1_000_000
    rows = TextRows(rows_of(text))
    assert max(len(rows.row(n).text) for n in range(rows.end)) == ROW_CHARS
    assert rows.text() == text


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60))
def test_lines_hold_nothing_that_breaks_a_screen(text: str) -> None:
    for line in lines_of(text):
        assert "\n" not in line
        assert "\t" not in line
        assert clean(line) == line


def test_rows_past_the_limit_are_dropped_from_the_start_and_keep_their_numbers() -> None:
    rows = TailRows(4, most=100)
    for number in range(1000):
        rows.append(Row(str(number)))
    assert (rows.first, rows.end) == (900, 1000)
    assert [rows.row(n).text for n in (900, 999)] == ["900", "999"]
    rows.replace(950, Row("other"))
    rows.replace(3, Row("long gone"))
    assert rows.row(950).text == "other"
    rows.cut_back(998)
    assert rows.end == 998
    assert rows.text().endswith("\n996\n997")


def test_highlighted_code_is_the_code_with_its_calls_to_models_marked() -> None:
    lines = highlighted(BATCH_CODE)
    assert [line for line, _ in lines] == BATCH_CODE.rstrip("\n").split("\n")
    marked = [line[a:b] for line, spans in lines for a, b, tone in spans if tone == "bold sub_llm"]
    assert marked == ["llm_query_batched"]
    strings = [line[a:b] for line, spans in lines for a, b, tone in spans if tone == "sandbox"]
    assert "about optimizers" in strings


def test_code_that_would_take_long_to_highlight_is_shown_plain() -> None:
    code = "x = '" + "a" * 20_000 + "'\n"
    ((line, spans),) = highlighted(code)
    assert line == code.strip()
    assert spans == ()


def test_code_with_lone_surrogates_and_broken_syntax_is_highlighted_all_the_same() -> None:
    lines = highlighted('print(\'\ud800\x1b[2J\ndef ((\n\t"""never closed')
    assert len(lines) == 3
    assert "\x1b" not in lines[0][0]
