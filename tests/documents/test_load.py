from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from fleet_rlm.documents.decode import NotText
from fleet_rlm.documents.document_work import Stopped, Unreadable
from fleet_rlm.documents.load import TooLarge, load, load_all
from fleet_rlm.documents.select import select


def test_a_document_says_what_it_is(tmp_path: Path) -> None:
    data = "Größe\r\nzwei\n".encode()
    (tmp_path / "t.txt").write_bytes(data)
    document = load(tmp_path / "t.txt", "short name")
    assert document.text == "Größe\r\nzwei\n"
    assert (document.path, document.name) == (str(tmp_path / "t.txt"), "short name")
    assert (document.bytes, document.chars, document.encoding) == (len(data), 12, "utf-8")
    assert document.sha256 == hashlib.sha256(data).hexdigest()
    assert document.notices == ()


def test_a_byte_order_mark_is_hashed_but_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfhello")
    document = load(tmp_path / "t.txt")
    assert (document.text, document.bytes) == ("hello", 8)


def test_an_old_encoding_comes_with_a_notice(tmp_path: Path) -> None:
    text = "Die Größe der Fässer überraschte Jürgen sehr, und er maß sie erneut.\n"
    (tmp_path / "t.txt").write_bytes(b"plain\n" * 500_000 + text.encode("cp1252") * 5 + b"plain\n" * 500_000)
    document = load(tmp_path / "t.txt")
    assert text * 5 in document.text
    assert document.encoding == "cp1252"
    assert document.notices == ("t.txt: decoded as cp1252 (a guess: it is not UTF-8)",)


def test_broken_bytes_are_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("é".encode() * 100 + b"\xff\xed\xa0\x80" + "é".encode() * 100)
    document = load(tmp_path / "t.txt")
    document.text.encode()
    assert document.encoding == "utf-8"
    assert document.notices == ("t.txt: 4 invalid bytes replaced by U+FFFD",)


def test_a_codec_that_makes_lone_surrogates_does_not_get_them_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_bytes(b"\\ud800 " * 9 + b"\xff" * 200)
    monkeypatch.setattr("fleet_rlm.documents.decode.guess", lambda _: "raw_unicode_escape")
    load(tmp_path / "t.txt").text.encode()


def test_reading_tells_how_far_it_is_and_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"x" * 3_500_000)
    told: list[tuple[int, int]] = []
    load(tmp_path / "t.txt", progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (3_500_000, 3_500_000)
    assert told == sorted(told)
    answers = iter([False, True])
    with pytest.raises(Stopped):
        load(tmp_path / "t.txt", cancelled=lambda: next(answers))


def test_loading_needs_no_more_than_the_file_on_top_of_the_text(tmp_path: Path) -> None:
    size = 8_000_000
    (tmp_path / "t.txt").write_bytes(b"0123456789abcde\n" * (size // 16))
    tracemalloc.start()
    try:
        document = load(tmp_path / "t.txt")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert document.chars == size
    assert peak < size * 2.2


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"x" * 3_000_000)

    def grow(done: int, of: int) -> None:
        if done < of:
            with path.open("ab") as file:
                file.write(b"more")

    grown = load(path, progress=grow)
    assert grown.text.endswith("xmore")
    assert "changed while it was read" in grown.notices[0]
    path.write_bytes(b"x" * 3_000_000)
    shrunk = load(path, progress=lambda done, of: os.truncate(path, 2_000_000))
    assert shrunk.bytes == shrunk.chars == 2_000_000
    assert "changed while it was read" in shrunk.notices[0]


def test_what_does_not_fit_in_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    (tmp_path / "t.txt").write_bytes(b"x" * 1000)
    monkeypatch.setattr("fleet_rlm.documents.load._read", no_room)
    with pytest.raises(TooLarge, match=r"t\.txt \(1\.0 kB\) does not fit"):
        load(tmp_path / "t.txt")


def test_several_are_loaded_with_one_progress(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name * 100_000)
    told: list[tuple[int, int]] = []
    documents = load_all(select([tmp_path]).files, progress=lambda done, of: told.append((done, of))).documents
    assert [(d.name, d.text[:5]) for d in documents] == [("a.txt", "a.txt"), ("b.txt", "b.txt")]
    assert told[-1] == (1_000_000, 1_000_000)
    assert told == sorted(told)


def test_missing_and_binary_files_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        load(tmp_path / "missing.txt")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n ...")
    with pytest.raises(NotText, match="OCR"):
        load(tmp_path / "p.png")


def test_what_was_selected_can_be_loaded_even_where_it_turns_odd_later(tmp_path: Path) -> None:
    (tmp_path / "odd.log").write_bytes(b"a plain line\n" * 100_000 + b"\0\1\xff\2" * 300 + b"a plain line\n" * 100_000)
    (tmp_path / "half.bin").write_bytes(b"a plain line\n" * 100_000 + bytes(range(256)) * 20_000)
    selection = select([tmp_path])
    assert [document.name for document in load_all(selection.files).documents] == ["odd.log"]
    assert any("half.bin" in notice for notice in selection.notices)


def test_an_empty_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.txt").touch()
    document = load(tmp_path / "t.txt")
    assert (document.text, document.notices) == ("", ("t.txt is empty",))
