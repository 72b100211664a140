"""Which breakpoints can be set: checked here for the screen that offers them and for the engine that obeys them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fleet_rlm.documents.search import BadPattern, Matcher, Query
from fleet_rlm.events import Breakpoints

if TYPE_CHECKING:
    import regex


def check(breakpoints: Breakpoints) -> regex.Pattern[str] | None:
    """Return the compiled code pattern, if there is one. Raises `ValueError` that says what can't be used."""
    if breakpoints.fanout is not None and breakpoints.fanout < 1:
        raise ValueError(f"a breakpoint can't wait for a batch of {breakpoints.fanout}: give 1 or more, such as 10")
    cost = breakpoints.spend_usd
    if cost is not None and not 0 <= cost < math.inf:
        raise ValueError(f"a breakpoint can't wait for a cost of {cost:g}: give dollars, such as 0.50")
    if not breakpoints.code_pattern:
        return None
    try:  # this one refuses patterns that fill the memory, and each of its matches can be timed
        return Matcher(Query(breakpoints.code_pattern, regex=True, case="exact")).pattern
    except BadPattern as error:
        raise ValueError(f"code pattern: {error.message}") from error


def in_words(breakpoints: Breakpoints) -> str:
    """Return where a run waits, for its record: `every cell, batches of 10 or more`; `none` without breakpoints."""
    words = [
        "every cell" if breakpoints.every_cell else "",
        "errors" if breakpoints.on_error else "",
        f"code with /{breakpoints.code_pattern}/" if breakpoints.code_pattern else "",
        f"batches of {breakpoints.fanout} or more" if breakpoints.fanout is not None else "",
        f"spending ${breakpoints.spend_usd:g}" if breakpoints.spend_usd is not None else "",
    ]
    return ", ".join(word for word in words if word) or "none"
