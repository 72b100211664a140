"""Helpers that generated code may call by name in every sandbox: look into texts, cut them up, keep things.

The same bytes run everywhere: standard library only, Python 3.10 or newer. `Interpreter` runs this file in a sandbox
once, as a set-up; the functions then stand among the builtins, so that they are no variables of the run. A step may
give a name of theirs to something else: that lasts to the end of the step, and `del` brings the helper back at once.

Where a text is wanted, documents by name (a dict) or in a list will do as well; what is found then says which one it
is from.
"""

from __future__ import annotations

import builtins
import heapq
import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

Text: TypeAlias = "str | dict[str, str] | list[str]"
Chunk: TypeAlias = "dict[str, Any]"  # by field: texts, and the offset `start`

STAMP = (
    r"^\W{0,2}(\d{4}[-/.]\d{2}[-/.]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?|[A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2}"
    r"|\d{2}:\d{2}:\d{2})"
)
NO_VOLUME = (
    "this sandbox has no volume, so nothing can be kept between runs. Keep it in a variable or with add_buffer; "
    "a run that is started with --sandbox modal --volume-name NAME has a volume."
)


def named(text: Text) -> Iterator[tuple[str, str]]:
    """(name, text) of each document; the name is empty when there is only one text."""
    if isinstance(text, str):
        yield "", text
    elif isinstance(text, dict):
        yield from ((str(name), str(part)) for name, part in text.items())
    elif isinstance(text, (list, tuple)):
        yield from ((str(number), str(part)) for number, part in enumerate(text))
    else:
        raise TypeError(f"a text, or a dict or list of texts, is wanted; this is {type(text).__name__}")


def of_document(name: str, chunk: Chunk) -> Chunk:
    return {"document": name, **chunk} if name else chunk


def peek(text: Text, start: int = 0, length: int = 2000) -> str:
    """`length` characters from `start` on (negative: from the end); of several documents, of each under its name."""
    parts = []
    for name, one in named(text):
        begin = max(0, len(one) + start) if start < 0 else start
        part = one[begin : begin + max(0, length)]
        parts.append(f"--- {name} ({len(one):,} characters)\n{part}" if name else part)
    return "\n".join(parts)


def grep(text: Text, pattern: str, context: int = 0, ignore_case: bool = True) -> list[str]:
    """The lines in which a regular expression is found, whole, each with `context` lines before and after it.

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


_COMMON = (
    "a about all also am an and any are as at be been being but by can could did do does for from had has have having "
    "he her his how i if in into is it its just long many may me might much must my no nor not of on one or our out "
    "shall she should so some such tell than that the their them then there these they this those to too us very was "
    "we were what when where which while who whom whose why will with would you your"
)
COMMON_WORDS = frozenset(_COMMON.split())
"""Words that say nothing of what is searched; they count when there are no others."""
PASSAGE_CHARS = 1000
MOST_PLACES = 300_000
"""Places of one word that `search` counts in one document."""
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+(?:[-.'’/:@][^\W{_CJK}]+)*")
_HEADING = re.compile(r"^#{1,6}[ \t]+\S.*$", re.M)
_FENCE = re.compile(r"^ {0,3}(?:`{3}|~{3})", re.M)


def word_patterns(words: str | list[str]) -> dict[str, re.Pattern[str]]:
    """A pattern for each word that is searched, for a text in lower case. Inflected forms of a plain word match too;
    numbers and identifiers match whole. Scripts without spaces are cut into pairs of characters.
    """
    given = [word.lower() for text in ([words] if isinstance(words, str) else words) for word in _WORD.findall(text)]
    telling = [word for word in given if word not in COMMON_WORDS] or given
    patterns = {}
    for word in telling:
        word = re.sub(r"['’]s?$", "", word)
        if re.match(f"[{_CJK}]", word):
            pairs = [word[at : at + 2] for at in range(max(1, len(word) - 1))]
            patterns.update({pair: re.compile(re.escape(pair)) for pair in pairs})
        elif word.isalpha():
            stem = re.sub(r"(?:ies|ied|ying|ing|ed|es|s|e|y)$", "", word) if len(word) > 4 else word
            stem = stem if len(stem) > 2 else word
            patterns[word] = re.compile(rf"(?<!\w){re.escape(stem)}\w{{0,4}}(?!\w)")
        elif word:
            patterns[word] = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)")
    return patterns


def passage_starts(text: str) -> list[int]:
    """Where passages begin: after blank lines and at headings; a heading stays with what follows it."""
    edges, begin = [0], 0
    for met in re.finditer(r"\n[ \t\r]*\n|\n(?=#{1,6}[ \t])", text):
        if text.startswith("#", begin) and "\n" not in text[begin : met.start()].strip():
            continue
        begin = met.end()
        edges.append(begin)
    return [*edges, len(text)]


def passage_at(text: str, edges: list[int], at: int, known: int) -> tuple[int, int, int]:
    """(start, end, number of its edge) of the passage around an offset at or after edge number `known`. A long
    paragraph is cut where a line, a sentence or a word ends after each thousand characters.
    """
    while edges[known + 1] <= at and known + 2 < len(edges):
        known += 1
    start, end = edges[known], edges[known + 1]
    if end - start <= 1.5 * PASSAGE_CHARS:
        return start, end, known
    block = start + (at - start) // PASSAGE_CHARS * PASSAGE_CHARS
    cuts = [start if mark == start else cut_after(text, mark, end) for mark in (block, block + PASSAGE_CHARS)]
    if at < cuts[0]:
        before = block - PASSAGE_CHARS
        return (start if before == start else cut_after(text, before, end)), cuts[0], known
    return cuts[0], cuts[1], known


def cut_after(text: str, mark: int, end: int) -> int:
    """Where the line, else the sentence, else the word ends within 300 characters after an offset."""
    if mark >= end:
        return end
    near = text[mark : min(mark + 300, end)]
    for shape in (r"\n", r"[.!?。！？](?:\s|(?=[^\x00-\x7f]))", r"\s"):
        met = re.search(shape, near)
        if met:
            return mark + met.end()
    return mark


def lowered(text: str) -> str:
    """The text in lower case with every offset kept: the few letters that would grow stay as they are."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
    return lower


def count_words(text: str, lower: str, shapes: list[re.Pattern[str]]) -> tuple[dict[int, tuple[int, list[int]]], int]:
    """From the start of each passage that holds a word to its end and how often it holds each; the number of passages
    that the text has.
    """
    edges = passage_starts(text)
    passages: dict[int, tuple[int, list[int]]] = {}
    for number, shape in enumerate(shapes):
        known, end = 0, -1
        counts: list[int] = []
        for met in itertools.islice(shape.finditer(lower), MOST_PLACES):
            if met.start() >= end:
                start, end, known = passage_at(text, edges, met.start(), known)
                counts = passages.setdefault(start, (end, [0] * len(shapes)))[1]
            counts[number] += 1
    return passages, max(len(edges) - 1, len(text) // PASSAGE_CHARS, 1)


def search(text: Text, words: str | list[str], most: int = 12) -> list[Chunk]:
    """The passages that fit the words best, best first: `{document, line, heading, score, text, start}`. The score is
    BM25's (Robertson and Zaragoza 2009), and a word's weight more for two words that stand together as in the
    question: rare words weigh most, numbers and identifiers count as whole words only.
    """
    patterns = word_patterns(words)
    shapes = list(patterns.values())
    texts = dict(named(text))
    lower = {name: lowered(one) for name, one in texts.items()}
    passages: dict[tuple[str, int], tuple[int, list[int]]] = {}
    total = 0
    for name, one in texts.items():
        counted, number = count_words(one, lower[name], shapes)
        passages.update({(name, start): passage for start, passage in counted.items()})
        total += number
    holding = [sum(1 for _, counts in passages.values() if counts[number]) for number in range(len(shapes))]
    weights = [math.log(1 + (max(total, met) - met + 0.5) / (met + 0.5)) for met in holding]

    def score(key: tuple[str, int]) -> float:
        end, counts = passages[key]
        long = 1.2 * (0.25 + 0.75 * (end - key[1]) / (PASSAGE_CHARS / 2))
        return sum(weight * 2.2 * count / (count + long) for weight, count in zip(weights, counts, strict=True))

    pairs = [
        (re.compile(f"{one}.{{0,24}}{other}|{other}.{{0,24}}{one}", re.S), sum(weights[at : at + 2]))
        for at, (one, other) in enumerate(itertools.pairwise(shape.pattern for shape in shapes))
    ]
    scores = {
        key: score(key) + sum(weight for pair, weight in pairs if pair.search(lower[key[0]], key[1], passages[key][0]))
        for key in heapq.nlargest(20 * max(0, most), passages, key=score)
    }
    best = heapq.nlargest(max(0, most), scores, key=lambda key: scores[key])
    hits: dict[tuple[str, int], Chunk] = {}
    for name, one in texts.items():
        line = at = 0
        mine = sorted(key for key in best if key[0] == name)
        for key, path in zip(mine, heading_paths(one, [passages[key][0] - 1 for key in mine])):  # noqa: B905 - one each
            start, end = key[1], passages[key][0]
            start += len(one[start:end]) - len(one[start:end].lstrip())
            line, at = line + one.count("\n", at, start), start
            found = {"document": name, "line": line + 1, "heading": path, "score": round(scores[key], 2)}
            hits[key] = {**found, "text": one[start:end].rstrip(), "start": start}
    return [hits[key] for key in best]


def heading_paths(text: str, places: list[int]) -> list[str]:
    """The Markdown headings above each offset, outermost first, joined by ` > `; offsets in ascending order."""
    if not places or ("\n#" not in text and not text.startswith("#")):
        return [""] * len(places)
    fences = [met.start() for met in _FENCE.finditer(text)]
    path: list[tuple[int, str]] = []
    paths, inside = [], 0
    heads = iter([*_HEADING.finditer(text), None])
    head = next(heads)
    for place in places:
        while head is not None and head.start() <= place:
            while inside < len(fences) and fences[inside] < head.start():
                inside += 1
            if inside % 2 == 0:
                level = len(head[0]) - len(head[0].lstrip("#"))
                path = [*(one for one in path if one[0] < level), (level, head[0].strip("# \t\r"))]
            head = next(heads)
        paths.append(" > ".join(title for _, title in path))
    return paths


def chunk_by_size(text: Text, size: int = 4000, overlap: int = 0) -> list[str]:
    """Pieces of at most `size` characters, cut at the end of a line where one is near; each repeats `overlap` of the
    one before it.
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


def chunk_by_headers(text: Text, pattern: str = r"^#{1,6}[ \t]+\S.*$") -> list[Chunk]:
    """`{header, content, start}` for each line that the pattern finds (Markdown headings outside of code blocks), with
    what stands below it; what stands before the first has an empty header.
    """
    chunks = []
    for name, one in named(text):
        fences = [met.start() for met in re.finditer(r"^ {0,3}(?:`{3}|~{3})", one, re.M)]
        inside = list(zip(fences[::2], [*fences[1::2], len(one)]))  # noqa: B905 - an odd fence is open to the end
        heads, block = [], 0
        for met in re.finditer(pattern, one, re.M):
            while block < len(inside) and inside[block][1] < met.start():
                block += 1
            if block >= len(inside) or not inside[block][0] <= met.start() < inside[block][1]:
                heads.append(met)
        if one[: heads[0].start() if heads else len(one)].strip():
            content = one[: heads[0].start() if heads else len(one)]
            chunks.append(of_document(name, {"header": "", "content": content, "start": 0}))
        for met, end in zip(heads, [*(later.start() for later in heads[1:]), len(one)]):  # noqa: B905 - the same length
            header = met[0].strip().strip("#").strip() or met[0].strip()
            content = one[met.end() : end].strip("\n")
            chunks.append(of_document(name, {"header": header, "content": content, "start": met.start()}))
    return chunks


def chunk_by_timestamps(text: Text, pattern: str = STAMP, same: int | None = None) -> list[Chunk]:
    """`{timestamp, content, start}` for each entry of a log, which begins with a line that begins with a time stamp.

    `same`: entries whose stamps share that many first characters make one chunk (13 of `2026-03-01T12:40`: an hour).
    """
    chunks: list[Chunk] = []
    for name, one in named(text):
        done = len(chunks)
        stamps = list(re.finditer(pattern, one, re.M))
        if one[: stamps[0].start() if stamps else len(one)].strip():
            content = one[: stamps[0].start() if stamps else len(one)]
            chunks.append(of_document(name, {"timestamp": "", "content": content, "start": 0}))
        before = None
        for met, end in zip(stamps, [*(later.start() for later in stamps[1:]), len(one)]):  # noqa: B905 - the same length
            stamp = met[1] if met.re.groups else met[0]
            key = stamp[:same] if same else None
            if key is not None and key == before:
                chunks[-1]["end"] = end
            else:
                chunks.append(of_document(name, {"timestamp": stamp, "start": met.start(), "end": end}))
            before = key
        for chunk in chunks[done:]:
            if "content" not in chunk:
                chunk["content"] = one[chunk["start"] : chunk.pop("end")].rstrip("\n")
    return chunks


def chunk_by_json_keys(text: Text) -> list[Chunk]:
    """`{key, content, value_type}` for each member of a JSON object, element of an array, or line of JSON Lines."""
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
            chunks.append(of_document(name, {"key": str(key), "content": content, "value_type": type(value).__name__}))
    return chunks


def install(volume: str | None) -> None:
    """Put the helpers among the builtins, with buffers that are empty; `volume` is where one is mounted."""
    buffers: dict[str, list[Any]] = {}

    def add_buffer(name: str, value: Any) -> int:
        """Keep a value at the end of the buffer of this name; how many it holds now."""
        held = buffers.setdefault(str(name), [])
        held.append(value)
        return len(held)

    def get_buffer(name: str) -> list[Any]:
        """What was kept under this name, in order; an empty list when nothing was."""
        return list(buffers.get(str(name), ()))

    def clear_buffer(name: str | None = None) -> None:
        """Forget what was kept under this name; without one, everything."""
        if name is None:
            buffers.clear()
        else:
            buffers.pop(str(name), None)

    def in_volume(path: str) -> str:
        """Where a path of the volume is in the sandbox. ValueError when it leaves the volume."""
        if volume is None:
            raise RuntimeError(NO_VOLUME)
        root = os.path.realpath(volume)
        place = os.path.realpath(os.path.join(root, str(path)))
        if "\0" in str(path) or place == root or os.path.commonpath([root, place]) != root:
            raise ValueError(f"{path!r} is no file of the volume: write it like 'notes/sections.json'")
        return place

    def save_to_volume(path: str, content: Any) -> str:
        """Keep a text, bytes, or anything else as JSON in the volume, where later runs find it; its full path."""
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
        """The text of a file of the volume."""
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

    helpers = (peek, grep, search, chunk_by_size, chunk_by_headers, chunk_by_timestamps, chunk_by_json_keys)
    kept = (add_buffer, get_buffer, clear_buffer, save_to_volume, load_from_volume)
    vars(builtins).update({helper.__name__: helper for helper in (*helpers, *kept)})


NAMES = (
    *("peek", "grep", "search", "chunk_by_size", "chunk_by_headers", "chunk_by_timestamps", "chunk_by_json_keys"),
    *("add_buffer", "get_buffer", "clear_buffer", "save_to_volume", "load_from_volume"),
)

if __name__ == "fleet_toolbox":
    install(globals()["volume"])
