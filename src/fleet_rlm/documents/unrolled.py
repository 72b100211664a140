"""Measure how large a regular expression becomes when its counted repeats are written out.

The `regex` package does write them out when it compiles: 25 characters with three nested `{1000}` took 23 GB of memory,
and a compilation has no time limit. So a pattern is measured before.
"""

from __future__ import annotations

import re

MAX_ITEMS = 100_000
"""Some 40 MB when compiled."""

_TOKEN = re.compile(
    r"""
    (?P<escape> \\(?:[pPN]\{[^}]*\}|.) )
    | (?P<set> \[\^?\]?(?:\\.|[^\]\\])*\] )
    | (?P<repeat> \{(?P<least>\d*)(?:,\d*)?\} )
    | (?P<open> \( )
    | (?P<close> \) )
    | (?P<suffix> [*+?|] )
    | (?P<character> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def unrolled_items(pattern: str) -> int:
    """Characters, sets and escapes of a pattern, each counted as often as the repeats around it demand at least.

    Comes close enough to tell a large one from a small one; says nothing on whether the pattern is valid.
    """
    outer: list[int] = []
    total = last = 0  # of the group so far; of the item that a repeat would repeat
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "open":
                outer.append(total)
                total = last = 0
            case "close":
                last = total
                total = last + (outer.pop() if outer else 0)
            case "repeat":
                times = max(1, int(token["least"][:12] or 1))
                total += last * (times - 1)
                last *= times
            case "suffix":
                pass
            case _:
                last = 1
                total += 1
    return total + sum(outer)
