"""The tools that come with fleet-rlm: functions that generated code calls by name and that run on the host."""

from __future__ import annotations

import re
import time
from typing import Any

import regex

SECONDS = 10.0
"""Longest search."""
PATTERN_CHARS = 20_000
MOST_MATCHES = 200_000
MOST_CHARS = 16 << 20
"""Most characters of all matches together."""
_FLAGS = {
    re.IGNORECASE: regex.IGNORECASE,
    re.MULTILINE: regex.MULTILINE,
    re.DOTALL: regex.DOTALL,
    re.VERBOSE: regex.VERBOSE,
    re.ASCII: regex.ASCII,
    re.UNICODE: regex.UNICODE,
}


def regex_extract(text: str, pattern: str, flags: int = 0) -> list[Any]:  # texts; tuples of them with several groups
    """Every match of a regular expression in a text, in order, as `re.findall` gives them: whole matches; the group,
    when the pattern has one; the groups together, when it has several. `flags` are those of `re`, such as
    `re.MULTILINE | re.IGNORECASE`. A pattern that takes longer than ten seconds is given up.
    """
    given: dict[str, object] = {"text": text, "pattern": pattern}
    for name, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"regex_extract: {name} must be text, not {type(value).__name__}")
    shape = _compiled(pattern, flags)
    end, chars = time.monotonic() + SECONDS, 0
    found: list[Any] = []
    try:
        for match in shape.finditer(text, timeout=SECONDS):
            groups = [group or "" for group in match.groups()]
            found.append(match[0] if not groups else groups[0] if len(groups) == 1 else tuple(groups))
            chars += sum(map(len, groups)) if groups else len(match[0])
            if len(found) > MOST_MATCHES or chars > MOST_CHARS:
                raise ValueError(
                    f"regex_extract: more than {MOST_MATCHES:,} matches or {MOST_CHARS:,} characters of them; "
                    "search a part of the text, or make the pattern narrower"
                )
            if time.monotonic() > end:
                raise TimeoutError
    except TimeoutError:
        raise TimeoutError(
            f"regex_extract: the pattern took longer than {SECONDS:g} seconds on {len(text):,} characters; "
            "make it simpler (no nested repetitions), or search a part of the text"
        ) from None
    return found


def _compiled(pattern: str, flags: int) -> regex.Pattern[str]:
    if type(flags) not in (int, re.RegexFlag) or flags < 0 or flags & ~sum(_FLAGS):
        names = ", ".join(f"re.{flag.name}" for flag in _FLAGS)
        raise ValueError(f"regex_extract: flags is {flags!r}; it takes those of {names}, put together with |")
    if len(pattern) > PATTERN_CHARS:
        raise ValueError(
            f"regex_extract: the pattern has {len(pattern):,} characters, and at most {PATTERN_CHARS:,} do"
        )
    ours = 0
    for flag, same in _FLAGS.items():
        ours |= same if flags & flag else 0
    try:
        return regex.compile(pattern, ours | regex.VERSION0)
    except regex.error as error:
        raise ValueError(f"regex_extract: {pattern[:200]!r} is no regular expression: {error}") from None


BUNDLED = {"regex_extract": "fleet_rlm.tasks.tools:regex_extract"}
"""Tools that go by a short name, with their references."""
