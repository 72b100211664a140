from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from fleet_rlm.documents import textfile
from fleet_rlm.documents.document_work import DocumentError, Unreadable
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.load import load
from fleet_rlm.documents.search import Query, search
from fleet_rlm.documents.textfile import TextFile

TEXT = "Größe\r\nzwei – drei\n\nvier 🚀 fünf\n" * 50


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be", "utf-32"])
def test_rows_and_hits_are_the_same_in_every_encoding(tmp_path: Path, codec: str) -> None:
    text = TEXT.replace("🚀", "") if codec == "cp1252" else TEXT
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode(codec))
    index = LineIndex(TextFile.open(path))
    assert index.build()
    assert [row.text for row in [*map(index.row, range(index.rows))]] == text.replace("\r", "").split("\n")[:-1]
    *_, found = search(index, Query("fünf"))
    assert found.total == 50
    assert load(path).text == text, "what a screen shows and what the engine sends are the same characters"


def test_half_a_character_at_the_end_shows_as_broken_on_screen_and_in_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("Größe".encode("utf-16") + b"\x41")
    text = TextFile.open(path)
    assert text.fill_all()
    assert text.text(0, text.size) == load(path).text == "Größe\ufffd"


def test_a_recorded_encoding_is_taken_and_a_wrong_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("слово\n".encode("cp1251"))
    text = TextFile.open(path, encoding="cp1251")
    assert text.fill_all()
    assert text.text(0, text.size) == "слово\n"
    with pytest.raises(DocumentError, match="no text encoding"):
        TextFile.open(path, encoding="zlib")


def test_text_that_is_no_file_opens_too_and_loses_its_lone_surrogates() -> None:
    text = TextFile.of_text("a\ud800b\n\ud83d\ude80", "context")
    index = LineIndex(text)
    assert index.build()
    assert [row.text for row in [*map(index.row, range(index.rows))]] == ["a\ufffdb", "🚀"]
    assert text.change() is None


@pytest.mark.parametrize("what", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(Unreadable, match=what):
        TextFile.open(path)


def test_a_file_that_grows_shows_what_it_was_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("one\ntwo")
    index = LineIndex(TextFile.open(path))
    assert index.text.change() is None
    with path.open("a") as file:
        file.write(" and more\nthree\n")
    assert index.build()
    assert [row.text for row in [*map(index.row, range(index.rows))]] == ["one", "two"]
    assert index.text.change() == "grew"


def test_a_truncated_file_shows_what_is_left_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a line of text\n" * 10_000)
    index = LineIndex(TextFile.open(path))
    assert index.build()
    os.truncate(path, 30)
    assert index.text.change() == "truncated"
    rows = [index.row(number) for number in (0, 1, 5_000, 9_999)]
    assert [row.data for row in rows] == [b"a line of text"] * 2 + [b""] * 2
    assert [row.gone for row in rows] == [False, False, True, True]
    assert index.row_at(149_000) <= index.rows
    *_, found = search(index, Query("line"))
    assert found.total == 2
    path.write_text("")
    assert index.row(0).data == b"a line of text", "from the cache, as long as that lasts"


def test_a_file_truncated_before_it_was_indexed_ends_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a line of text\n" * 10_000)
    index = LineIndex(TextFile.open(path))
    os.truncate(path, 20)
    assert index.build()
    assert [row.text for row in [*map(index.row, range(index.rows))]] == ["a line of text", "a lin"]


def test_a_deleted_or_replaced_file_goes_on_being_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("first\n")
    index = LineIndex(TextFile.open(path))
    path.unlink()
    assert index.text.change() == "deleted"
    assert index.build()
    assert index.row(0).text == "first"
    path.write_text("another\n")
    assert index.text.change() == "replaced"


def test_a_file_rewritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("first\n")
    text = TextFile.open(path)
    with path.open("r+") as file:
        file.write("other\n")
    os.utime(path, ns=(1, 1))
    assert text.change() == "rewritten"


def test_a_document_closes_itself(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("Größe\n".encode("utf-16"))
    gc.collect()  # what other tests left
    before = len(list(Path("/dev/fd").iterdir()))
    text = TextFile.open(path)
    assert len(list(Path("/dev/fd").iterdir())) == before + 2, "the file and its spool"
    del text
    gc.collect()
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("Größe\n".encode("utf-16"))
    monkeypatch.setattr(textfile, "spool", lambda _: os.open("/dev/full", os.O_RDWR))
    text = TextFile.open(path)
    with pytest.raises(Unreadable, match=r"No space left.*TMPDIR"):
        LineIndex(text).build()
