"""The text of a recorded run's row: its sign, its day, its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

from fleet_rlm.terminal_text import clean_line

if TYPE_CHECKING:
    from fleet_rlm.runs.summary import RowStatus

NAME_CHARS = 120

MARKS: Mapping[RowStatus, tuple[str, str]] = {
    "submitted": ("✓", "success"),
    "extracted": ("◆", "sub_llm"),
    "stopped": ("■", "muted"),
    "aborted": ("■", "muted"),
    "failed": ("✗", "error"),
    "running": ("◐", "accent"),
    "waiting": ("◐", "operator"),
    "interrupted": ("◐", "muted"),
}
"""Sign and colour (a name of the palette) of each status."""

STATUS_WORDS: Mapping[RowStatus, str] = {
    "submitted": "submitted",
    "extracted": "extracted at a limit",
    "stopped": "finished early",
    "aborted": "aborted",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting for you",
    "interrupted": "interrupted",
}

GOING_ON: frozenset[RowStatus] = frozenset(("running", "waiting"))


def when(started_at: str, now: datetime) -> str:
    """`10:42` today, `yesterday`, `Fri 08:58` within six days, else the date; empty when it is no date."""
    try:
        moment = datetime.fromisoformat(started_at).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        return ""
    days = (now.date() - moment.date()).days
    if days == 0:
        return f"{moment:%H:%M}"
    if days == 1:
        return "yesterday"
    if 1 < days < 7:
        return f"{moment:%a %H:%M}"
    return f"{moment:%d %b}" if moment.year == now.year else f"{moment:%d %b %y}"


def documents(names: Sequence[str]) -> str:
    """One document by its name, several by their common folder and number."""
    if not names:
        return ""
    paths = [PurePath(name).parts for name in names[:1000]]
    first = paths[0][-1] if paths[0] else names[0]
    if len(names) == 1:
        return clean_line(first, NAME_CHARS)
    common = paths[0][0] if len(paths[0]) > 1 and all(parts[:1] == paths[0][:1] for parts in paths) else ""
    return clean_line(f"{common}/ · {len(names)} files" if common else f"{first} +{len(names) - 1}", NAME_CHARS)
