from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm.documents.document_work import BLOCK_BYTES
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.textfile import TextFile


def indexed(data: bytes, path: Path, chunk_bytes: int = 16 * 1024) -> LineIndex:
    path.write_bytes(data)
    index = LineIndex(TextFile.open(path), chunk_bytes=chunk_bytes)
    assert index.build()
    return index


def lines_of(data: bytes) -> list[bytes]:
    """What the index must give, by the obvious means."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    else:
        lines.append(lines.pop() + b"!")  # protect a last \r that ends no line
    return [line.removesuffix(b"\r").removesuffix(b"!") for line in lines]


pieces = st.lists(
    st.sampled_from(
        [b"a", b"bc", b"\n", b"\n\n", b"\r\n", b"\r", "é".encode(), "日本".encode(), "🚀".encode(), b"x" * 9]
    )
)
texts = pieces.map(b"".join)


@settings(max_examples=200)
@given(data=texts, chunk=st.integers(8, 40))
def test_rows_are_the_lines_with_long_ones_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk: int
) -> None:
    index = indexed(data, tmp_path_factory.mktemp("i") / "t", chunk)
    rows = [*map(index.row, range(index.rows))]
    joined: list[bytes] = []
    for row in rows:
        if row.continued:
            joined[-1] += row.data
        else:
            joined.append(row.data)
        assert row.line == len(joined) - 1
        assert len(row.data) <= 2 * chunk + 3
        assert data[row.start : row.end] == row.data
    assert joined == lines_of(data)
    assert index.lines == len(joined)


@settings(max_examples=200)
@given(data=texts, chunk=st.integers(8, 40))
def test_an_offset_leads_to_its_row_and_back(tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk: int) -> None:
    index = indexed(data, tmp_path_factory.mktemp("i") / "t", chunk)
    rows = [*map(index.row, range(index.rows))]
    for row, after in zip(rows, [*rows, None][1:], strict=True):
        end = after.start if after else len(data)
        for offset in range(row.start, end):
            assert index.row_at(offset) == row.number
    for line in range(index.lines):
        assert index.row_of_line(line) == next(r.number for r in rows if r.line == line)


@settings(max_examples=200)
@given(text=st.text("aé日🚀\n", max_size=200), chunk=st.integers(8, 20))
def test_no_row_cuts_a_character(tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int) -> None:
    index = indexed(text.encode(), tmp_path_factory.mktemp("i") / "t", chunk)
    assert "\ufffd" not in "".join(row.text for row in [*map(index.row, range(index.rows))])


def test_one_line_of_a_whole_file_comes_in_pieces_with_one_line_number(tmp_path: Path) -> None:
    data = ("日本語 and more, " * 20_000).encode()
    index = indexed(data, tmp_path / "t")
    rows = [*map(index.row, range(index.rows))]
    assert len(rows) > 10
    assert b"".join(row.data for row in rows) == data
    assert {row.line for row in rows} == {0}
    assert [row.continued for row in rows] == [False] + [True] * (len(rows) - 1)


def test_rows_can_be_read_while_the_index_grows_and_it_goes_on_after_a_cancel(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(400_000)))
    index = LineIndex(TextFile.open(path))
    told: list[tuple[int, int]] = []
    blocks = iter([False, False, True])
    assert not index.build(lambda done, of: told.append((done, of)), lambda: next(blocks))
    assert 0 < index.indexed < index.text.size
    assert not index.complete
    assert index.row(index.rows - 1).text == f"line {index.rows - 1}"
    assert not index.wait_for(index.text.size - 1), "no build goes on, so nothing is waited for"
    assert index.build(lambda done, of: told.append((done, of)))
    assert index.complete
    assert index.rows == index.lines == 400_000
    assert index.row(399_999).text == "line 399999"
    assert told == sorted(told)
    assert told[-1] == (index.text.size, index.text.size)
    with pytest.raises(IndexError):
        index.row(400_000)


def test_the_end_is_seen_as_the_end_even_if_it_was_looked_at_before_it_was_known(tmp_path: Path) -> None:
    data = b"x" * (BLOCK_BYTES - 1) + b"\r"
    (tmp_path / "t").write_bytes(data)
    index = LineIndex(TextFile.open(tmp_path / "t"))
    blocks = iter([False, True])
    assert not index.build(cancelled=lambda: next(blocks))
    assert not index.row(index.rows - 1).data.endswith(b"\r"), "a newline might follow"
    assert index.build()
    assert index.row(index.rows - 1).data.endswith(b"\r")


def test_a_waiting_thread_goes_on_as_soon_as_its_place_is_indexed(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"0123456789abcde\n" * 200_000)
    index = LineIndex(TextFile.open(path))
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(index.wait_for(3_000_000)))
    thread.start()
    assert index.build()
    thread.join(10)
    assert waited == [True]


def test_places_by_share_and_by_character(tmp_path: Path) -> None:
    index = indexed("αβγ\nδεζ\nηθι\nκλμ\n".encode(), tmp_path / "t")
    assert [index.row_at_fraction(share) for share in (0.0, 0.3, 0.99, 1.0, 7.0)] == [0, 1, 3, 3, 3]
    row = index.row(1)
    assert [row.column(row.start + byte) for byte in (-5, 0, 2, 4, 6, 99)] == [0, 0, 1, 2, 3, 3]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    index = indexed(b"", tmp_path / "t")
    assert (index.rows, index.lines, index.row_at(0), index.row_of_line(3)) == (0, 0, 0, 0)
    assert [*map(index.row, range(index.rows))] == []
