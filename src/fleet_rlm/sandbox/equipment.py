"""The helpers of `toolbox.py` on their way into a sandbox, and what a planner is told of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

TOOLBOX = Path(__file__).with_name("toolbox.py")
INSTRUCTIONS = (
    " Helpers are there as plain functions: peek(text, start, length); grep(text, pattern, context) gives whole lines; "
    "chunk_by_size(text, size, overlap) gives texts; chunk_by_headers(text), chunk_by_timestamps(text, same=13) and "
    "chunk_by_json_keys(text) give dicts with `content`; add_buffer(name, value), get_buffer(name) and "
    "clear_buffer(name) keep values. Each also takes documents as a dict."
)
VOLUME_INSTRUCTIONS = (
    " save_to_volume(path, content) and load_from_volume(path) keep files between runs, in a volume at {volume}."
)


def instructions(volume: str | None) -> str:
    """What a planner is told of the helpers, as a part of a paragraph."""
    return INSTRUCTIONS + (VOLUME_INSTRUCTIONS.format(volume=volume) if volume else "")


def setup(volume: str | None) -> tuple[str, dict[str, str | None]]:
    """Code that installs the helpers, with its variables; it leaves no name behind."""
    code = (
        "exec(compile(_raw_toolbox, '<helpers>', 'exec'), {'__name__': 'fleet_toolbox', 'volume': _raw_volume})\n"
        "del _raw_toolbox, _raw_volume"
    )
    return code, {"_raw_toolbox": _source(), "_raw_volume": volume}


@cache
def _source() -> str:
    return TOOLBOX.read_text(encoding="utf-8")
