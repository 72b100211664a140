"""A passage in its own most central sentences.

Central is a sentence whose words the passage uses often, that stands early in its section, and that says something
which the sentences already taken do not (maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fleet_rlm.engine.offline.question import Term
from fleet_rlm.engine.offline.reading import Unit
from fleet_rlm.engine.offline.words import is_unspaced, spaced, stem, stopwords, unspaced_terms, words

_MOST = 600
"""Candidates that are compared with each other; comparing all of a long passage would take too long."""


def content(text: str, function_words: frozenset[str]) -> list[str]:
    """Stems of the words that carry meaning; pairs of characters in scripts without spaces."""
    found: list[str] = []
    for word in words(spaced(text)):
        if is_unspaced(word):
            found += unspaced_terms(word)
        elif len(word) > 2 and word.lower() not in function_words and not word.isdigit():
            found.append(stem(word))
    return found


def central(passage: Sequence[Unit], most: int, focus: Sequence[Term] = ()) -> list[Unit]:
    """At most `most` sentences, in the order of the passage; those that touch `focus` first when it is given."""
    candidates = [unit for unit in passage if unit.kind in {"sentence", "item"} and len(unit.text) >= 25]
    candidates = candidates or [unit for unit in passage if unit.kind in {"sentence", "item", "row"}]
    if not candidates:
        return []
    function_words = stopwords(" ".join(unit.text for unit in candidates[:40]))
    vocabulary = [set(content(unit.text, function_words)) for unit in candidates]
    often = Counter(word for held in vocabulary for word in held)
    scores: list[float] = []
    seen: set[tuple[tuple[str, ...], str]] = set()
    for unit, held in zip(candidates, vocabulary, strict=True):
        weight = sum(math.log1p(often[word]) for word in held) / math.sqrt(len(held) + 6)
        opens = (unit.path, unit.kind) not in seen and unit.kind == "sentence"
        seen.add((unit.path, unit.kind))
        weight *= 1.3 if opens else 0.8 if unit.kind == "item" else 1.0
        weight *= 1.4 if not scores and unit.kind == "sentence" else 1.0
        weight *= 0.5 if unit.text.endswith((":", "?")) or unit.text[:1].islower() else 1.0
        touched = sum(term.pattern.search(spaced(unit.text)) is not None for term in focus)
        scores.append(weight * (1 + 0.6 * touched))
    order = sorted(range(len(candidates)), key=lambda index: (-scores[index], index))[:_MOST]
    chosen: list[int] = []
    while order and len(chosen) < most:
        best = max(
            order,
            key=lambda index: (
                scores[index]
                * (1 - max((_same(vocabulary[index], vocabulary[other]) for other in chosen), default=0.0)),
                -index,
            ),
        )
        order.remove(best)
        if all(_same(vocabulary[best], vocabulary[other]) < 0.7 for other in chosen):
            chosen.append(best)
    return [candidates[index] for index in sorted(chosen)]


def _same(one: set[str], other: set[str]) -> float:
    return len(one & other) / (min(len(one), len(other)) or 1)
