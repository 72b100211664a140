from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.documents import select as selecting
from fleet_rlm.documents.decode import NotText
from fleet_rlm.documents.document_work import Stopped, Unreadable
from fleet_rlm.documents.select import NotFound, NothingToRead, Selection, TooMany, select, unique_names


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.md", "sub/a.md", "sub/deep/c.txt", ".hidden/x.txt", "sub/.secret", "other/a.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}\n")
    (tmp_path / "sub/pic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (tmp_path / "none").mkdir()
    return tmp_path


def names(selection: Selection) -> list[str]:
    return [file.name for file in selection.files]


def test_a_file_is_named_by_its_file_name(tree: Path) -> None:
    selection = select([tree / "sub/deep/c.txt"])
    assert [(f.path, f.name, f.bytes) for f in selection.files] == [(tree / "sub/deep/c.txt", "c.txt", 23)]
    assert (selection.bytes, selection.approximate_tokens, selection.notices) == (23, 5, ())


def test_a_folder_is_read_in_order_without_what_is_hidden_or_binary(tree: Path) -> None:
    selection = select([tree])
    assert names(selection) == ["a.md", "b.txt", "other/a.md", "sub/a.md", "sub/deep/c.txt"]
    assert any("pic.png" in n and "not text" in n for n in selection.notices)
    assert any(".hidden" in n and ".secret" in n and "hidden" in n for n in selection.notices)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.md", ["a.md"]),
        ("**/*.md", ["a.md", "other/a.md", "sub/a.md"]),
        ("sub/**", ["a.md", "deep/c.txt"]),
        ("s*", ["sub/a.md", "sub/deep/c.txt"]),
        ("**/c.txt", ["sub/deep/c.txt"]),
        ("?.txt", ["b.txt"]),
    ],
)
def test_globs(tree: Path, pattern: str, found: list[str]) -> None:
    assert names(select([pattern], cwd=tree)) == found
    assert names(select([f"{tree}/{pattern}"], cwd=Path("/"))) == found


def test_a_glob_works_below_a_folder_whose_name_looks_like_one(tree: Path) -> None:
    odd = tree / "odd[1]"
    odd.mkdir()
    (odd / "x[2].txt").write_text("x")
    assert names(select(["*.txt"], cwd=odd)) == ["x[2].txt"]
    assert names(select(["x[2].txt"], cwd=odd)) == ["x[2].txt"], "a file that is there is meant as it is written"


def test_what_is_named_twice_comes_once(tree: Path) -> None:
    (tree / "link.md").symlink_to(tree / "a.md")
    selection = select(["a.md", tree / "a.md", "./sub/../a.md", "*.md", "link.md"], cwd=tree)
    assert names(selection) == ["a.md"]


def test_names_that_would_be_the_same_are_told_apart_by_their_folders(tree: Path) -> None:
    assert names(select(["sub/a.md", "other/a.md", "b.txt"], cwd=tree)) == ["sub/a.md", "other/a.md", "b.txt"]
    assert names(select(["sub", "other"], cwd=tree)) == ["sub/a.md", "deep/c.txt", "other/a.md"]


part = st.sampled_from(["a", "b", "c", "a\x1b", "a\ud800"])


@given(st.lists(st.tuples(st.lists(part, min_size=2, max_size=4), st.integers(1, 3)), unique_by=lambda x: tuple(x[0])))
def test_names_are_unique_and_clean_whatever_the_paths(files: list[tuple[list[str], int]]) -> None:
    paths = [Path("/", *parts) for parts, _ in files]
    named = unique_names(
        [(path, path.parents[min(up, len(path.parents) - 1) - 1]) for path, (_, up) in zip(paths, files, strict=True)]
    )
    assert len(set(named)) == len(paths)
    assert all(name.isprintable() and name and not name.startswith("/") for name in named)


def test_a_missing_file_is_named_with_what_was_probably_meant(tree: Path) -> None:
    with pytest.raises(NotFound, match=r"no sub/deep/d\.txt.*did you mean c\.txt") as missing:
        select(["sub/deep/d.txt"], cwd=tree)
    assert missing.value.near == ("c.txt",)
    with pytest.raises(NotFound, match=rf"Looked for subb in {tree}; did you mean sub") as missing:
        select(["subb/deep/c.txt"], cwd=tree)
    with pytest.raises(NotFound, match=r"nothing matches \*\.rst"):
        select(["*.rst"], cwd=tree)
    with pytest.raises(NotFound, match="Looked for nowhere"):
        select(["nowhere/*.txt"], cwd=tree)


@pytest.mark.parametrize("argument", ["", " ", "a\0b", "~nobody-has-this-name/x", "x" * 5000])
def test_odd_arguments_are_refused_in_words(tree: Path, argument: str) -> None:
    with pytest.raises((NotFound, Unreadable)):
        select([argument], cwd=tree)


def test_a_binary_file_that_was_named_is_refused_and_one_in_a_glob_left_out(tree: Path) -> None:
    with pytest.raises(NotText, match="PNG image"):
        select(["sub/pic.png"], cwd=tree)
    assert names(select(["sub/*.*"], cwd=tree)) == ["a.md"]


def test_nothing_to_read_is_said_with_the_reason(tree: Path) -> None:
    with pytest.raises(NothingToRead, match=r"no text to read.*none is empty"):
        select(["none"], cwd=tree)
    with pytest.raises(NothingToRead, match=r"pic\.png.*not text"):
        select(["sub/*.png"], cwd=tree)
    with pytest.raises(NothingToRead):
        select([])


def test_empty_files_and_folders_are_said(tree: Path) -> None:
    (tree / "e.txt").touch()
    selection = select(["e.txt", "none", "a.md"], cwd=tree)
    assert names(selection) == ["e.txt", "a.md"]
    assert selection.notices == (f"the folder {tree}/none is empty", "e.txt is empty")


def test_links_out_of_a_folder_are_not_followed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "private.txt").write_text("private")
    (tree / "sub/out.txt").symlink_to(outside / "private.txt")
    (tree / "sub/inside.txt").symlink_to(tree / "sub/deep/c.txt")
    (tree / "sub/loop").symlink_to(tree)
    selection = select(["sub"], cwd=tree)
    assert names(selection) == ["a.md", "inside.txt"], "c.txt is the same file as inside.txt"
    assert any("loop and out.txt" in n and "links that lead out of it" in n for n in selection.notices)
    assert names(select(["sub/out.txt"], cwd=tree)) == ["out.txt"], "named by itself it is meant"


def test_a_folder_that_was_not_meant_is_stopped(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "MAX_FILES", 3)
    with pytest.raises(TooMany):
        select([tree])
    with pytest.raises(TooMany):
        select(["a.md", "b.txt", "sub/a.md", "other/a.md"], cwd=tree)
    with pytest.raises(Stopped):
        select([tree], cancelled=lambda: True)


def test_a_file_name_cannot_steer_a_terminal(tree: Path) -> None:
    evil = os.fsdecode(b"\x1b]0;owned\x07\xff.txt")
    (tree / evil).write_text("x")
    (tree / "none" / f"{evil}.png").write_bytes(bytes(1000))
    selection = select([tree / evil, tree / "none", tree / "a.md"])
    assert all(text.isprintable() for text in (*names(selection), *selection.notices))
    with pytest.raises(NotFound) as missing:
        select([tree / f"{evil}x"])
    assert str(missing.value).isprintable()


def test_what_may_not_be_read_is_said(tree: Path) -> None:
    (tree / "a.md").chmod(0)
    if os.access(tree / "a.md", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(Unreadable, match="permission"):
        select(["a.md"], cwd=tree)
    assert any("a.md" in notice and "not readable" in notice for notice in select([tree]).notices)


def test_known_answers_beside_a_text_are_left_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("text")
    (tmp_path / "c.answers.json").write_text("{}")
    selection = select([tmp_path])
    assert [file.name for file in selection.files] == ["c.txt"]
    assert "the known answers to a text" in selection.notices[0]
    assert [file.name for file in select([tmp_path / "c.answers.json"]).files] == ["c.answers.json"]


@pytest.fixture
def linked(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to a file and a folder elsewhere, to nothing, and round in circles."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "private.md").write_text("private")
    (tree / "sub/out.md").symlink_to(outside / "private.md")
    (tree / "sub/outdir").symlink_to(outside)
    (tree / "sub/broken.md").symlink_to(tree / "nothing.md")
    (tree / "sub/loop").symlink_to(tree / "sub")
    (tree / "sub/itself.md").symlink_to(tree / "sub/itself.md")
    return tree


@pytest.mark.parametrize(
    "argument", ["sub", "sub/*", "sub/*.md", "sub/**/*.md", "sub/**", "s*/**/*.md", "sub/o*", "sub/*/*.md"]
)
def test_no_glob_and_no_folder_leads_out_of_what_was_named_and_that_is_said(linked: Path, argument: str) -> None:
    selection = select([argument, "b.txt"], cwd=linked)
    assert not any("private" in file.path.resolve().name for file in selection.files)
    assert any("out" in notice and "out of it" in notice for notice in selection.notices)


@pytest.mark.parametrize("argument", ["sub", "sub/**", "sub/**/*.md", "**/*.md"])
def test_links_in_a_circle_give_every_file_once(linked: Path, argument: str) -> None:
    paths = [file.path.resolve() for file in select([argument], cwd=linked).files]
    assert len(set(paths)) == len(paths)
    assert linked / "sub/a.md" in paths


def test_a_folder_that_is_a_link_itself_is_read(linked: Path) -> None:
    (linked / "there").symlink_to(linked / "sub")
    assert "deep/c.txt" in names(select(["there"], cwd=linked))


@pytest.mark.parametrize("argument", [".", "*"])
def test_pipes_and_sockets_among_files_are_left_out_and_told(tree: Path, argument: str) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(tree):
        listener.bind("socket")
        selection = select([argument], cwd=tree)
        with pytest.raises(Unreadable):
            select(["socket"], cwd=tree)
    assert not {"pipe", "socket"} & set(names(selection))
    assert any("pipe and socket" in notice and "pipes, sockets or devices" in notice for notice in selection.notices)
    with pytest.raises(Unreadable, match="a pipe or a device, not a file"):
        select(["pipe"], cwd=tree)
