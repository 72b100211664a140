"""The helper `search`, which finds the passages of texts that fit a question's words best."""

from __future__ import annotations

import collections
import heapq
import itertools
import math
import re
from bisect import bisect
from collections.abc import Iterator
from typing import Any, TypeAlias

Text: TypeAlias = "str | dict[str, str] | list[str]"
Chunk: TypeAlias = "dict[str, Any]"
"""By field: texts, and the offset `start`."""

_COMMON = (
    "a about all also am an and any are as at be been being but by can could did do does for from had has have having "
    "he her his how i if in into is it its just long many may me might much must my no nor not of on one or our out "
    "shall she should so some such tell than that the their them then there these they this those to too us very was "
    "we were what when where which while who whom whose why will with would you your"
)
COMMON_WORDS = frozenset(_COMMON.split())
"""Words that say nothing about a question; they count if it has no others."""
PASSAGE_CHARS = 1000
MOST_PLACES = 300_000
"""The most places of one word that `search` counts in one document."""
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+(?:[-.'’/:@][^\W{_CJK}]+)*")
HEADING = r"^#{1,6}[ \t]+\S.*$"


def named(text: Text) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each document; the name is empty when there is only one text."""
    if isinstance(text, str):
        yield "", text
    elif isinstance(text, dict):
        yield from ((str(name), str(part)) for name, part in text.items())
    elif isinstance(text, (list, tuple)):
        yield from ((str(number), str(part)) for number, part in enumerate(text))
    else:
        raise TypeError(f"a text, or a dict or list of texts, is wanted; this is {type(text).__name__}")


def word_patterns(words: str | list[str]) -> dict[str, re.Pattern[str]]:
    """Return a pattern for each word that is searched, for a text in lower case. Inflected forms of a plain word match
    too; numbers and identifiers match whole. Scripts without spaces are cut into pairs of characters.
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
    """Return where passages begin: after blank lines and at headings; a heading stays with what follows it."""
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
    """Return where the line, else the sentence, else the word ends within 300 characters after an offset."""
    if mark >= end:
        return end
    near = text[mark : min(mark + 300, end)]
    for shape in (r"\n", r"[.!?。！？](?:\s|(?=[^\x00-\x7f]))", r"\s"):
        met = re.search(shape, near)
        if met:
            return mark + met.end()
    return mark


def lowered(text: str) -> str:
    """Return the text in lower case with every offset kept: the few letters that would grow stay as they are."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
    return lower


def count_words(text: str, lower: str, shapes: list[re.Pattern[str]]) -> tuple[dict[int, tuple[int, list[int]]], int]:
    """Return, by its start, the end of each passage that holds a word and how often it holds each word; and the number
    of passages in the text.
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
    """Return the passages that fit the words best, best first: `{document, line, heading, score, text, start}`.

    The score is BM25's (Robertson and Zaragoza 2009), and a word's weight more for two words that stand together as in
    the question: rare words weigh most, numbers and identifiers count as whole words only.
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
        for key, path in zip(mine, heading_paths(one, [passages[key][0] - 1 for key in mine]), strict=True):
            start, end = key[1], passages[key][0]
            start += len(one[start:end]) - len(one[start:end].lstrip())
            line, at = line + one.count("\n", at, start), start
            found = {"document": name, "line": line + 1, "heading": path, "score": round(scores[key], 2)}
            hits[key] = {**found, "text": one[start:end].rstrip(), "start": start}
    return [hits[key] for key in best]


def headings(text: str, pattern: str = HEADING) -> list[re.Match[str]]:
    """Return what a pattern finds outside of Markdown's code blocks."""
    fences = [met.start() for met in re.finditer(r"^ {0,3}(?:`{3}|~{3})", text, re.M)]
    return [met for met in re.finditer(pattern, text, re.M) if bisect(fences, met.start()) % 2 == 0]


def heading_paths(text: str, places: list[int]) -> list[str]:
    """Return the Markdown headings above each offset (ascending), outermost first, joined by ` > `."""
    path: list[tuple[int, str]] = []
    paths = []
    heads = collections.deque(headings(text) if places and "#" in text else ())
    for place in places:
        while heads and heads[0].start() <= place:
            head = heads.popleft()[0]
            level = len(head) - len(head.lstrip("#"))
            path = [*(one for one in path if one[0] < level), (level, head.strip("# \t\r"))]
        paths.append(" > ".join(title for _, title in path))
    return paths
