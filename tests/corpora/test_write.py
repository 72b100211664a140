"""Corpora on disk: whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fleet_rlm.corpora import docstrings, known_answers
from fleet_rlm.corpora.write_corpus import MOST_BYTES, Exists, NotASize, size_of, write_corpus
from fleet_rlm.documents.document_work import Stopped, Unreadable


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("40MB", 40_000_000),
        ("40 mb", 40_000_000),
        ("1.5GB", 1_500_000_000),
        ("200k", 200_000),
        ("64MiB", 67_108_864),
        ("5_000", 5_000),
        ("12,000 B", 12_000),
        ("1TB", MOST_BYTES),
    ],
)
def test_sizes_are_read_as_people_write_them(words: str, size: int) -> None:
    assert size_of(words) == size


@pytest.mark.parametrize("words", ["0", "-5MB", "3kB", "banana", "", "5XB", "2TB", "1e9", "∞", "9" * 400])
def test_what_is_no_size_is_refused(words: str) -> None:
    with pytest.raises(NotASize):
        size_of(words)


def test_a_corpus_and_its_answers_agree_until_one_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    made = write_corpus("needles", 20_000, 1, path)
    known = known_answers.read(path)
    assert known == made == known_answers.read(tmp_path / "c.answers.json")
    data = path.read_bytes()
    (document,) = known.documents
    assert (document.bytes, document.lines) == (len(data), data.count(b"\n"))
    assert document.sha256 == hashlib.sha256(data).hexdigest()
    assert [one.ok for one in known_answers.check(path)] == [True]
    path.write_bytes(data.replace(b"e", b"f", 1))
    assert known_answers.check(path)[0].problem == "has the right size and other content"
    path.write_bytes(data + b"x")
    assert "instead of" in known_answers.check(path)[0].problem
    path.unlink()
    assert known_answers.check(path)[0].problem == "is not there"


def test_nothing_is_replaced_unless_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("mine")
    with pytest.raises(Exists):
        write_corpus("logs", 10_000, 0, path)
    assert path.read_text() == "mine"
    write_corpus("logs", 10_000, 0, path, force=True)
    assert path.stat().st_size > 9_000
    path.unlink()
    with pytest.raises(Exists, match="answers"):
        write_corpus("logs", 10_000, 0, path)
    with pytest.raises(Exists, match="not a regular file"):
        write_corpus("logs", 10_000, 0, Path(os.devnull), force=True)


def test_what_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    turns = iter([False, True])
    with pytest.raises(Stopped):
        write_corpus("logs", 3_000_000, 0, tmp_path / "c.txt", cancelled=lambda: next(turns))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from fleet_rlm.corpora.write_corpus import write_corpus\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
        "try: write_corpus('logs', 5_000_000, 0, Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "c.txt"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Unreadable cannot write"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_on_the_disk_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="do not fit on the disk"):
        write_corpus("logs", MOST_BYTES, 0, tmp_path / "c.txt")
    with pytest.raises(Unreadable, match="there is no folder"):
        write_corpus("logs", 10_000, 0, tmp_path / "missing" / "c.txt")
    assert list(tmp_path.iterdir()) == []


def test_progress_grows_to_the_size(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_corpus("counts", 3_000_000, 0, tmp_path / "c.txt", progress=lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert told[-1] == (3_000_000, 3_000_000)


@pytest.mark.parametrize(
    "content",
    ["", "nonsense", "{}", '{"format": "other", "version": 1, "kind": "k", "documents": [], "questions": []}'],
)
def test_what_is_no_answers_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.answers.json").write_text(content)
    with pytest.raises(known_answers.NoAnswers):
        known_answers.read(tmp_path / "c.txt")


def test_an_answers_file_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    for name in ("../secret.txt", "/etc/hostname"):
        known = known_answers.KnownDocument(name=name, bytes=1, lines=1, sha256="")
        (tmp_path / "c.answers.json").write_bytes(
            known_answers.Answers(kind="k", documents=(known,), questions=()).encode()
        )
        with pytest.raises(known_answers.NoAnswers, match="outside"):
            known_answers.check(tmp_path / "c.txt")


def test_the_text_of_the_installed_dspy_comes_with_its_license_and_is_always_the_same() -> None:
    text, version = docstrings.build()
    assert text == docstrings.build()[0]
    assert text.index("Permission is hereby granted") < 1_000
    assert f"# DSPy {version}" in text
    assert 200_000 < len(text) < 600_000
    assert "### class dspy.predict.rlm.RLM(Module)" in text
    assert "/site-packages/" not in text


def test_building_it_imports_no_dspy() -> None:
    code = "import sys; from fleet_rlm.corpora import docstrings; docstrings.build(); print('dspy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_answers_are_json_that_names_its_format_first(tmp_path: Path) -> None:
    write_corpus("pairs", 8_000, 0, tmp_path / "c.txt")
    told = msgspec.json.decode((tmp_path / "c.answers.json").read_bytes())
    assert list(told)[:2] == ["format", "version"]
    assert told["kind"] == "pairs"
