"""Nothing that a terminal could act on passes; everything else stays as it was."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.terminal_text import clean, clean_line

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "clear": "\x1b[2J\x1b[H",
    "C1 CSI": "\x9b2J",
    "backspaces": "rm -rf\x08\x08\x08",
    "carriage return": "harmless\rharmful",
    "delete": "\x7f",
    "bidi override": "\u202egnp.exe",
    "bidi isolate": "\u2066x\u2069",
    "arabic letter mark": "\u061c",
    "line separator": "a\u2028b\u2029c",
    "byte order mark": "\ufeff",
    "lone surrogate": "a\ud800b",
    "annotation": "\ufff9",
}
ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()))


def acts_on_a_terminal(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in (
        *("LRE", "RLE", "LRO", "RLO", "PDF"),
        *("LRI", "RLI", "FSI", "PDI"),
    )


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_hostile_payload_passes(payload: str) -> None:
    for cleaned in (clean(f"before {payload} after"), clean_line(f"before {payload} after")):
        assert not any(map(acts_on_a_terminal, cleaned))
        assert not set(cleaned) & set("\u061c\u200e\u200f\ufeff\ufff9")
        assert cleaned.encode()


@given(ANY_TEXT)
def test_nothing_a_terminal_acts_on_is_left_of_any_text(text: str) -> None:
    assert not any(map(acts_on_a_terminal, clean(text)))
    line = clean_line(text, len(text))
    assert not any(map(acts_on_a_terminal, line))
    assert len(line) == len(text)
    assert "\n" not in line
    assert "\t" not in line


@given(ANY_TEXT)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize("text", ["plain", "línea\twith tab\nand more", "日本語 — 🦊", "[b]not markup[/b] [/nope]"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_windows_line_ends_are_no_noise_but_a_lone_return_is_shown() -> None:
    assert clean("one\r\ntwo\rthree") == "one\ntwo␍three"


def test_a_long_line_is_cut_and_says_so() -> None:
    assert clean_line("x" * 50, limit=10) == "x" * 9 + "…"
    assert clean_line("x" * 10, limit=10) == "x" * 10
