from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None, max_examples=300)
@given(data=texts, chunk=st.integers(8, 40))
def test_rows_are_the_lines_with_long_ones_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk: int
) -> None:
    index = indexed(data, tmp_path_factory.mktemp("i") / "t", chunk)
    rows = index.rows_from(0, index.rows)
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


@settings(deadline=None, max_examples=200)
@given(data=texts, chunk=st.integers(8, 40))
def test_an_offset_leads_to_its_row_and_back(tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk: int) -> None:
    index = indexed(data, tmp_path_factory.mktemp("i") / "t", chunk)
    rows = index.rows_from(0, index.rows)
    for row, after in zip(rows, [*rows, None][1:], strict=True):
        end = after.start if after else len(data)
        for offset in range(row.start, end):
            assert index.row_at(offset) == row.number
    for line in range(index.lines):
        assert index.row_of_line(line) == next(r.number for r in rows if r.line == line)


@settings(deadline=None, max_examples=200)
@given(text=st.text("aé日🚀\n", max_size=200), chunk=st.integers(8, 20))
def test_no_row_cuts_a_character(tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int) -> None:
    index = indexed(text.encode(), tmp_path_factory.mktemp("i") / "t", chunk)
    assert "\ufffd" not in "".join(row.text for row in index.rows_from(0, index.rows))
