"""Helpers that generated code may call by name in every sandbox: search texts, cut them up, keep values.

They stand among the builtins, so that they are no variables of the run. A step may give a name of theirs to something
else: that lasts to the end of the step, and `del` brings the helper back at once. Where a text is wanted, documents by
name (a dict) or in a list will do as well; what is found then says which one it is from.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from .passages import HEADING, Chunk, Text, headings, named, search

STAMP = (
    r"^\W{0,2}(\d{4}[-/.]\d{2}[-/.]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?|[A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2}"
    r"|\d{2}:\d{2}:\d{2})"
)
NO_VOLUME = (
    "this sandbox has no volume, so nothing can be kept between runs. Keep it in a variable or with add_buffer; "
    "a run that is started with --sandbox modal --volume-name NAME has a volume."
)


def _of_document(name: str, chunk: Chunk) -> Chunk:
    return {"document": name, **chunk} if name else chunk


def peek(text: Text, start: int = 0, length: int = 2000) -> str:
    """Return `length` characters from `start` (negative: from the end); of several documents, each under its name."""
    parts = []
    for name, one in named(text):
        begin = max(0, len(one) + start) if start < 0 else start
        part = one[begin : begin + max(0, length)]
        parts.append(f"--- {name} ({len(one):,} characters)\n{part}" if name else part)
    return "\n".join(parts)


def grep(text: Text, pattern: str, context: int = 0, ignore_case: bool = True) -> list[str]:
    """Return the lines in which a regular expression is found, whole, each with `context` lines before and after it.

    A pattern that is no regular expression is searched as it stands. Lines of several documents begin with the name.
    """
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    try:
        shape = re.compile(pattern, flags)
    except re.error:
        shape = re.compile(re.escape(pattern), flags)
    found = []
    for name, one in named(text):
        at = 0
        while at <= len(one) and (met := shape.search(one, at)):
            begin, end = one.rfind("\n", 0, met.start()) + 1, one.find("\n", max(met.start(), met.end() - 1))
            end = at = len(one) if end < 0 else end
            for _ in range(context):
                begin = one.rfind("\n", 0, max(0, begin - 1)) + 1
                after = one.find("\n", end + 1)
                end = len(one) if after < 0 else after
            found.append(f"{name}: {one[begin:end]}" if name else one[begin:end])
            at += 1
    return found


def chunk_by_size(text: Text, size: int = 4000, overlap: int = 0) -> list[str]:
    """Return pieces of at most `size` characters, cut at the end of a line where one is near; each repeats `overlap`
    characters of the one before it.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"size must be 1 or more, and overlap from 0 to below size; not {size} and {overlap}")
    pieces = []
    for _, one in named(text):
        start = 0
        while start < len(one):
            end = start + size
            if end < len(one):
                line = one.rfind("\n", start + max(overlap, size // 2), end) + 1
                end = line or end
            pieces.append(one[start:end])
            start = max(start + 1, end - overlap) if end < len(one) else len(one)
    return pieces


def chunk_by_headers(text: Text, pattern: str = HEADING) -> list[Chunk]:
    """Return `{header, content, start}` for each line that the pattern finds (Markdown headings outside of code blocks)
    with the text below it; the text before the first has an empty header.
    """
    chunks = []
    for name, one in named(text):
        for met, start, end in _sections(one, headings(one, pattern)):
            header = "" if met is None else met[0].strip().strip("#").strip() or met[0].strip()
            content = one[start:end] if met is None else one[met.end() : end].strip("\n")
            chunks.append(_of_document(name, {"header": header, "content": content, "start": start}))
    return chunks


def chunk_by_timestamps(text: Text, pattern: str = STAMP, same: int | None = None) -> list[Chunk]:
    """Return `{timestamp, content, start}` for each entry of a log: a line that begins with a time stamp, and the rest.

    `same`: entries whose stamps share that many first characters make one chunk (13 of `2026-03-01T12:40`: an hour).
    """

    def stamp(section: tuple[re.Match[str] | None, int, int]) -> str:
        met = section[0]
        return "" if met is None else met[met.re.groups and 1]

    chunks = []
    for name, one in named(text):
        entries = _sections(one, list(re.finditer(pattern, one, re.M)))
        for _, group in itertools.groupby(entries, lambda entry: stamp(entry)[:same] if same else entry[1]):
            together = list(group)
            (met, start, _), end = together[0], together[-1][2]
            content = one[start:end] if met is None else one[start:end].rstrip("\n")
            chunks.append(_of_document(name, {"timestamp": stamp(together[0]), "content": content, "start": start}))
    return chunks


def _sections(text: str, marks: list[re.Match[str]]) -> Iterator[tuple[re.Match[str] | None, int, int]]:
    """Yield each mark with the start and the end of its part of the text, first None for what stands before them all,
    unless that is blank.
    """
    starts = [met.start() for met in marks]
    before = starts[0] if starts else len(text)
    if text[:before].strip():
        yield None, 0, before
    yield from zip(marks, starts, [*starts[1:], len(text)], strict=False)


def chunk_by_json_keys(text: Text) -> list[Chunk]:
    """Return `{key, content, value_type}` for each member of a JSON object, element of an array, or JSON line."""
    chunks = []
    for name, one in named(text):
        try:
            whole = json.loads(one)
        except ValueError as error:
            try:
                whole = [json.loads(line) for line in one.splitlines() if line.strip()]
            except ValueError:
                whole = None
            if not whole:
                where = f" in {name}" if name else ""
                raise ValueError(f"no JSON and no JSON Lines{where}: {error}") from None
        members = whole.items() if isinstance(whole, dict) else enumerate(whole) if isinstance(whole, list) else ()
        for key, value in members or [("", whole)]:
            content = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
            chunks.append(_of_document(name, {"key": str(key), "content": content, "value_type": type(value).__name__}))
    return chunks


def install(volume: str | None) -> dict[str, FunctionType]:
    """Return the helpers by name, with buffers that are empty; `volume` is where one is mounted."""
    buffers: dict[str, list[Any]] = {}

    def add_buffer(name: str, value: Any) -> int:
        """Keep a value at the end of the buffer of this name; return how many it holds now."""
        held = buffers.setdefault(str(name), [])
        held.append(value)
        return len(held)

    def get_buffer(name: str) -> list[Any]:
        """Return what was kept under this name, in order; an empty list if nothing was."""
        return list(buffers.get(str(name), ()))

    def clear_buffer(name: str | None = None) -> None:
        """Forget what was kept under this name; without one, everything."""
        if name is None:
            buffers.clear()
        else:
            buffers.pop(str(name), None)

    def in_volume(path: str) -> str:
        """Return the path in the sandbox of a path of the volume. Raises ValueError if it leaves the volume."""
        if volume is None:
            raise RuntimeError(NO_VOLUME)
        root = os.path.realpath(volume)
        place = os.path.realpath(os.path.join(root, str(path)))
        if "\0" in str(path) or place == root or os.path.commonpath([root, place]) != root:
            raise ValueError(f"{path!r} is no file of the volume: write it like 'notes/sections.json'")
        return place

    def save_to_volume(path: str, content: Any) -> str:
        """Keep a text, bytes, or anything else as JSON in the volume for later runs; return its full path."""
        place = in_volume(path)
        if isinstance(content, (bytes, bytearray)):
            data = bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
            data = text.encode("utf-8", "surrogatepass")
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(f"{place}.part", "wb") as file:
            file.write(data)
        os.replace(f"{place}.part", place)
        return place

    def load_from_volume(path: str) -> str:
        """Return the text of a file of the volume."""
        place = in_volume(path)
        if not os.path.isfile(place):
            root = os.path.realpath(str(volume))
            paths = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
            held = sorted(os.path.relpath(one, root) for one in paths)
            more = f" and {len(held) - 20} more" if len(held) > 20 else ""
            holds = f"it holds {', '.join(held[:20])}{more}" if held else "it is empty"
            raise FileNotFoundError(f"there is no {path!r} in the volume; {holds}")
        with open(place, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()

    looking = (peek, grep, search, chunk_by_size, chunk_by_headers, chunk_by_timestamps, chunk_by_json_keys)
    keeping = (add_buffer, get_buffer, clear_buffer, save_to_volume, load_from_volume)
    return {helper.__name__: helper for helper in (*looking, *keeping)}  # type: ignore[misc] # functions are callables
