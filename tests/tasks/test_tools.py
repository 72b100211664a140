"""`regex_extract`: what `re.findall` finds, in bounded time and size."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.tasks import tools
from fleet_rlm.tasks.tools import regex_extract

PATTERNS = [r"\w+", r"(\w)=(\d)", r"^(a)|b$", r"(a)?b", r"", r"a.b", r"(?P<x>a)(b)?(c)?", r"[^a\n]*"]
FLAGS = [0, re.I, re.M, re.S, re.I | re.M | re.S, re.A, re.X]


@given(st.text(alphabet="abcAB=1 \né", max_size=60), st.sampled_from(PATTERNS), st.sampled_from(FLAGS))
def test_it_finds_what_findall_finds(text: str, pattern: str, flags: int) -> None:
    assert regex_extract(text, pattern, flags) == re.findall(pattern, text, flags)
    assert regex_extract(text, pattern, int(flags)) == re.findall(pattern, text, flags)


def test_a_pattern_that_would_take_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"longer than 0\.3 seconds on 30,001 characters; make it simpler"):
        regex_extract("a" * 30_000 + "b", r"(a|aa)+$")
    assert time.monotonic() - began < 5


def test_a_flood_of_matches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "MOST_MATCHES", 100)
    assert len(regex_extract("a" * 100, "a")) == 100
    with pytest.raises(ValueError, match="more than 100 matches"):
        regex_extract("a" * 101, "a")
    monkeypatch.setattr(tools, "MOST_CHARS", 50)
    with pytest.raises(ValueError, match="50 characters of them"):
        regex_extract("a" * 60, "a{30}")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("a", "("), ValueError, "'\\(' is no regular expression: missing"),
        (("a", "a", 1 << 20), ValueError, "flags is 1048576"),
        (("a", "a", "i"), ValueError, "it takes those of re.IGNORECASE, re.MULTILINE"),
        (("a", "a", True), ValueError, "flags is True"),
        (("a", "a" * 20_001), ValueError, "20,001 characters"),
        ((5, "a"), TypeError, "text must be text, not int"),
        (("a", None), TypeError, "pattern must be text, not NoneType"),
    ],
)
def test_what_it_cannot_use_it_names(arguments: tuple[object, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        regex_extract(*arguments)  # type: ignore[arg-type]
