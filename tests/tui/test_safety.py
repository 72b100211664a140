"""No byte of a record, a file's name or a setting acts on the terminal: Home, New run and dialogs in a real one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleet_rlm import events as ev
from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.safe_output import harmless
from fleet_rlm.tui.terminal_hangup import PasteFilter
from tests.terminal import Terminal
from tests.tui.sample_runs import finished, iteration, run_started, write_run

TUI = (sys.executable, "-c", "import sys; from fleet_rlm.tui.launch import main; sys.exit(main())")
CONTROLS = (
    "\x1b]0;OWNED\x07\x1b]52;c;T1dORUQ=\x07\x1b[99;99HOWNED\x1b[5mBLINK\x1b[2J\x1bPOWNED\x1b\\\x1b_OWNED\x1b\\"
    "\x9b99;98H\x9d0;OWNED\x9c\x90OWNED\x9c\x08\x08\x0b\x0c\x0e\x0f\x7f\u202egpj.exe\u2066\u061c\u2028\ufeff"
)
MARKUP = "[b]bold[/b] df[cols] [/nope] [@click=app.exit]click[/] [link=file:///etc/passwd]x[/link] \\[escaped"
WIDE = "日本語🦊 a\u200db\u200dc ❤\ufe0f e\u0301 \u200b\u2060 ﷽ \t tab\r\nnewline"
HOSTILE = f"{CONTROLS} {MARKUP} {WIDE} \ud800 end"

OWN = re.compile(
    r"\x1b\[[0-9;]*[Hm]"  # go to a cell, set a colour
    r"|\x1b\[\?[0-9;]+[hl]|\x1b\[\?[0-9]+\$p|\x1b\[[<>=][0-9]*u"  # modes, queries, keyboard protocol
    r"|\x1b\]22;[a-z-]*\x07|\r\n"  # the mouse pointer's shape, and the end of a line
)
ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def assert_nothing_acted(terminal: Terminal) -> None:
    """What came is Textual's own sequences and harmless text, whole frames stand, and nothing was taken for markup."""
    text = terminal.raw.decode()
    left = ACTING.search(OWN.sub("", text))
    assert left is None, f"{left.group()!r} in {text[max(0, left.start() - 80) : left.end() + 80]!r}" if left else ""
    assert not re.search(r"\x1b\[(99;|5m|[0-9;]*;5;?m)", text.replace("38;5;", "").replace("48;5;", ""))
    assert "\x1b]0;" not in text
    assert "\x1b]52" not in text


def assert_frames_stand(terminal: Terminal, first: int, last: int) -> None:
    """Between these lines every line begins and ends with a frame."""
    width = terminal.screen.columns
    for number in range(first, last + 1):
        line = terminal.screen.display[number]
        assert line[0] in "│╭╰", f"line {number} is pushed: {line!r}"
        assert line[width - 1] in "│╮╯", f"line {number} is pushed: {line!r}"


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_every_character_that_is_shown_has_a_width_of_its_own(text: str) -> None:
    for cleaned in (clean(text), clean_line(text)):
        assert cell_len(cleaned) == sum(map(cell_len, cleaned))


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_the_last_gate_lets_nothing_through_and_keeps_the_width(text: str) -> None:
    passed = harmless(text)
    assert ACTING.search(passed) is None
    passed.encode()
    assert sum(map(cell_len, passed)) == sum(map(cell_len, text))


@pytest.fixture
def hostile_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = HOSTILE.replace("/", "∕").replace("\ud800", "").replace("\0", "")[:80]
    started = run_started("0000000001", HOSTILE, task=HOSTILE, document=HOSTILE, planner=HOSTILE)
    failure = ev.Failure(type=HOSTILE, message=HOSTILE)
    call = ev.CallFinished(span="c", error=failure)
    events = [started, *iteration(1, error=HOSTILE), *iteration(2), call, finished(answer=HOSTILE * 20)]
    write_run(home / "runs" / f"{name}.jsonl", events)
    write_run(home / "runs" / "b.jsonl", [run_started("0000000002", HOSTILE, "2026-03-01T09:00:00Z"),
                                          finished("failed", error=failure)])  # fmt: skip
    (home / "themes").mkdir(parents=True)
    (home / "themes" / f"{name}.toml").write_text("dark = ")
    (home / "config.toml").write_text('[keys]\n"\\u001b]0;OWNED\\u0007[/nope]" = "x"\n')
    Path(name).mkdir()
    Path(name, f"{name}.txt").write_text("x")
    Path(f"{name}.bin").write_bytes(bytes(range(256)))
    monkeypatch.setenv("DSPY_LM_MODEL", f"openai/{HOSTILE}".replace("\ud800", ""))
    return home


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (80, 24)])
def test_a_hostile_record_acts_on_nothing_at_home(hostile_home: Path, columns: int, lines: int) -> None:
    with Terminal(TUI, columns, lines) as terminal:
        terminal.wait("2 runs")
        terminal.wait("remarks|submitted")
        terminal.press("down")
        terminal.wait("✗ failed")
        terminal.press("up")
        terminal.wait("✓ submitted")
        terminal.press("/", *"df[cols]", "enter")
        terminal.wait("found")
        assert_frames_stand(terminal, 1, 5)
        assert "[/nope]" in terminal.text() or columns == 80
        terminal.press("ctrl+p")
        terminal.wait("Search for commands")
        terminal.press("esc")
        terminal.wait("Search for commands", absent=True)
        terminal.press("?")
        terminal.wait("Keys of this screen")
        terminal.press("q")
        terminal.wait("Keys of this screen", absent=True)
        terminal.press("\x1b[3~")
        terminal.wait("Delete this run's record")
        terminal.press("n", "ctrl+q")
        assert terminal.wait_exit() == 0
        assert_nothing_acted(terminal)


def test_hostile_names_act_on_nothing_in_new_run_and_its_picker(hostile_home: Path) -> None:
    with Terminal(TUI, 120, 40) as terminal:
        terminal.wait("2 runs")
        terminal.press("r")
        terminal.wait("Documents")
        terminal.wait("there is no ")
        terminal.press("ctrl+o")
        terminal.wait("Add a file or a folder")
        terminal.wait(r"\.\./")
        terminal.press("down", "enter")
        terminal.wait(r"\.txt")
        terminal.press("ctrl+r")
        terminal.wait("Add a file or a folder", absent=True)
        terminal.press("ctrl+r")
        terminal.wait("Not started")
        terminal.press("esc", "ctrl+q")
        assert terminal.wait_exit() == 0
        assert_nothing_acted(terminal)


def test_a_hostile_path_on_the_command_line_is_told_harmlessly(hostile_home: Path) -> None:
    path = next(hostile_home.joinpath("runs").glob("*OWNED*"))
    with Terminal((*TUI, str(path)), 120, 40) as terminal:
        terminal.wait("SUBMITTED")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
        assert_nothing_acted(terminal)
    with Terminal((*TUI, str(path) + "x"), 120, 40) as terminal:
        assert terminal.wait_exit() == 2
        assert not re.search("[\x1b\x07\x9b\u202e]", terminal.raw.decode())


@given(st.lists(st.integers(1, 30), max_size=12))
def test_pasted_text_loses_its_controls_wherever_it_is_cut_and_keys_stay(lengths: list[int]) -> None:
    sent = "a\x1b[A\x12" + "\x1b[200~one\x1b[A\x12\x00 \x1b[20\ttwo\r\n\x1b[201~" + "\x1bb\x1b[200~\x1b\x1b[201~\x11"
    filtered, got = PasteFilter(), ""
    for length in lengths:
        got += filtered(sent[:length])
        sent = sent[length:]
    got += filtered(sent)
    pasted = "\x1b[200~one[A [20\ttwo\r\n\x1b[201~"
    assert got == "a\x1b[A\x12" + pasted + "\x1bb\x1b[200~\x1b[201~\x11"


def test_what_is_pasted_or_is_no_text_presses_no_key_and_the_app_goes_on_listening(hostile_home: Path) -> None:
    with Terminal(TUI, 100, 30) as terminal:
        terminal.wait("Runs")
        terminal.press("n")
        terminal.wait("What do you want to know")
        os.write(terminal.fd, b"\xff\xfe")
        terminal.paste("\x1b[Zfirst\x1b\x12words\x1b[2J\x00 end")
        terminal.wait(r"\[Zfirstwords\[2J end")
        terminal.press("esc", "ctrl+q")
        assert terminal.wait_exit() == 0
