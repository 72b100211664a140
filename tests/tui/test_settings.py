"""The config file and what is remembered: never a reason not to open."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fleet_rlm.tui.person_settings import Settings, load_settings, unknown_keys
from fleet_rlm.tui.remembered import Memory
from tests.waiting import until


def settings(tmp_path: Path, text: str | bytes) -> Settings:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_settings(path)


def test_a_missing_file_is_fine(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "config.toml") == Settings()


def test_theme_mouse_and_keys_are_read(tmp_path: Path) -> None:
    found = settings(
        tmp_path, 'theme = "nord"\nmouse = false\n[keys]\n"home.new_run" = "f2,insert"\n[model]\nname = "x"'
    )
    assert found == Settings("nord", False, {"home.new_run": "f2,insert"}, ())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("theme = ", "not TOML"),
        (b"\xff", "not TOML"),
        pytest.param("#" * 70_000, "larger than 64 KiB", id="huge"),
        ("theme = 3", "theme must be"),
        ("mouse = 1", "mouse must be"),
        ('keys = "n"', "keys must be a table"),
        ('[keys]\n"home.new_run" = 3', "the keys of home.new_run"),
        ('[keys]\n"home.new_run" = "n,,m"', "the keys of home.new_run"),
        ('[keys]\n"home.new_run" = "ctrl+m"', "terminals send it as enter"),
        ('[keys]\n"home.new_run" = "f2,ctrl+Enter"', "most terminals send nothing"),
    ],
)
def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path, text: str | bytes, fault: str) -> None:
    found = settings(tmp_path, text)
    assert len(found.faults) == 1
    assert fault in found.faults[0]
    assert (found.theme, found.mouse, found.keys) == (None, True, {})


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    assert "cannot be read" in load_settings(tmp_path / "config.toml").faults[0]


def test_an_unknown_action_is_named_with_the_one_that_was_meant() -> None:
    assert unknown_keys(["home.newrun", "home.open"], {"home.new_run", "home.open"}) == [
        "there is no action home.newrun; did you mean home.new_run?"
    ]


def test_what_was_remembered_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    memory = Memory(path)
    memory.set("theme", "nord")
    memory.set("sizes", (1, 2))
    until(lambda: path.exists() and set(msgspec.json.decode(path.read_bytes())) == {"theme", "sizes"})
    again = Memory(path)
    assert again.get("theme", str, "") == "nord"
    assert again.get("sizes", tuple[int, int], (0, 0)) == (1, 2)
    assert until(lambda: list(path.parent.iterdir()) == [path])


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"theme": 3}', pytest.param(b" " * 300_000, id="huge")]
)
def test_a_damaged_memory_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert Memory(path).get("theme", str, "none") == "none"


def test_a_memory_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "state.json")
    memory.set("theme", "nord")
    assert memory.get("theme", str, "") == "nord"
