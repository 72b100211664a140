"""The planner's instructions for the helpers (`inside/toolbox.py`)."""

from __future__ import annotations

HELPERS = (
    "search(text, words, most=12): the passages that fit best, as dicts {document, line, heading, score, text, start}",
    "grep(text, pattern, context=0): the whole lines in which a regular expression is found",
    "peek(text, start=0, length=2000): a part of the text",
    "chunk_by_headers(text): dicts {header, content, start}, one for each Markdown section",
    "chunk_by_size(text, size=4000, overlap=0): texts",
    "chunk_by_timestamps(text, same=13): dicts {timestamp, content, start}, one for each entry of a log",
    "chunk_by_json_keys(text): dicts {key, content, value_type}, one for each member, element or line of JSON",
    "add_buffer(name, value), get_buffer(name), clear_buffer(name): keep values by name",
)
"""Each helper with its result, one line each, as the planner reads it."""
VOLUME_HELPERS = (
    "save_to_volume(path, content), load_from_volume(path): keep files between runs, in the volume at {volume}",
)


def instructions(volume: str | None) -> str:
    """Return the list of helpers that a planner is given."""
    lines = [*HELPERS, *(line.format(volume=volume) for line in VOLUME_HELPERS if volume)]
    listed = "\n".join(f"- {line}" for line in lines)
    return f"\nThese helpers are plain functions; a `text` may also be a dict of documents by name:\n{listed}"
