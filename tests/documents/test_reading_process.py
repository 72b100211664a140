"""The process that reads documents ends over a bomb, in words, and whoever asked it stays as small as before."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from documents.office_files import pdf
from fleet_rlm.documents import reading_process
from fleet_rlm.documents.formats import Unextractable
from fleet_rlm.documents.load import load, load_all
from fleet_rlm.documents.select import select

_REQUEST = {"do": "read", "member": "", "seconds": 60.0, "memory": 1_500_000_000}


@pytest.fixture(autouse=True)
def a_process_of_its_own() -> None:
    reading_process._reader.end()


def peak_of_reading(path: Path, kind: str) -> int:
    """The most memory, in MB, that a reading process took for one file, its own start included."""
    request = json.dumps({**_REQUEST, "path": str(path), "name": path.name, "kind": kind}) + "\n"
    measured = (
        "import resource; from fleet_rlm.documents.formats.__main__ import main; main();"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", measured], input=request.encode(), capture_output=True, check=True)
    return int(done.stdout.split()[-1]) // 1000


def test_a_mail_with_a_subject_of_420_kb_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "m.eml"
    path.write_bytes(b"From: a@b\nSubject: x\n\nhi\n")
    small = peak_of_reading(path, "mail")
    path.write_bytes(b"From: a@b\nSubject: " + b"=?utf-8?q?x?= " * 30_000 + b"\n\nhi\n")
    assert peak_of_reading(path, "mail") < small + 40


def test_a_page_that_needs_more_memory_than_it_may_take_is_refused_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_process, "MEMORY_BYTES", 260_000_000)
    monkeypatch.setattr(reading_process, "MEMORY_TIMES", 0)
    (tmp_path / "bomb.html").write_bytes(b"<p>a<b>b" * 2_000_000)
    (tmp_path / "page.html").write_text("<p>words")
    (tmp_path / "notes.txt").write_text("notes")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unextractable, match=r"bomb\.html (needs more than .* of memory|could not be read: its reader)"):
        load(tmp_path / "bomb.html")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    loaded = load_all(select([tmp_path]).files)
    assert [document.name for document in loaded.documents] == ["notes.txt", "page.html"]
    assert any("left out: " in notice and "bomb.html" in notice for notice in loaded.notices)
    assert load(tmp_path / "page.html").text == "words\n"


def test_a_page_that_takes_longer_than_it_may_is_refused_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_process, "BYTES_A_SECOND", 10**12)
    (tmp_path / "slow.html").write_bytes(b"<div><b>" * 60_000)
    (tmp_path / "page.html").write_text("<p>words")
    assert load(tmp_path / "page.html").text == "words\n"
    monkeypatch.setattr(reading_process, "SECONDS", 0.2)
    monkeypatch.setattr(reading_process, "_PATIENCE", 1)
    with pytest.raises(Unextractable, match=r"slow\.html could not be read in 0 seconds"):
        load(tmp_path / "slow.html")
    monkeypatch.undo()
    assert load(tmp_path / "page.html").text == "words\n"


def test_the_process_gets_none_of_the_person_s_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-parsers")
    (tmp_path / "a.pdf").write_bytes(pdf(["words"]))
    assert "words" in load(tmp_path / "a.pdf").text
    process = reading_process._reader._process
    assert process is not None
    assert b"sk-not-for-parsers" not in Path(f"/proc/{process.pid}/environ").read_bytes()
