"""What a text lists: the members of something named in a question (`the optimizers`, `which errors`).

A text says what belongs to a thing by its shape before it says it in words: headings under a heading, bullets under
a lead-in, rows under a header, `X is a Y`, `the Ys are A, B and C`. These are tried in that order; the first that
yields is taken for each passage, so that a well-kept section isn't drowned by chance mentions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleet_rlm.engine.offline.question import Question, Term
from fleet_rlm.engine.offline.reading import Unit
from fleet_rlm.engine.offline.words import spaced

LONGEST_NAME = 80
"""Characters of a member's name."""
_NAMED = (
    re.compile(r"[*_]{2}([^*]{1,80}?)[*_]{2}[:.]?"),
    re.compile(r"(`[^`]{1,80}`(?:\s*(?:[,/|]|and|or)\s*`[^`]{1,80}`)*)"),
    re.compile(r"\[([^\]]{1,80})\]\([^)]*\)"),
    re.compile(r"([^\s:–—][^:–—\n]{0,60}?)(?:\s*[:：]\s+|\s+[-–—]+\s+|\s*$)"),
)
_ENUMERATION = re.compile(
    r"(?:\b(?:are|include|includes|including|such as|namely|like|offers?|provides?|supports?|of)\b\s*:?|:)\s*"
    r"((?:[^,;.:()]{1,60},\s+)+(?:and|or|und|et|y|e|и)?\s*[^,;.:()]{1,60}|[^,;.:()]{1,60}\s(?:and|or)\s[^,;.:()]{1,60})"
)
_IS_A = re.compile(
    r"^\W*(?:the\s+)?(?P<name>[`*\w][\w`*.\-/()]*(?:\s[A-Z\d`*][\w`*.\-/]*){0,3})\s(?:is|are)\s(?:an?|the|one of)\b"
)


@dataclass(frozen=True)
class Member:
    """One of the things listed."""

    name: str
    text: str
    """What the passage says of it, without the name; may be empty."""
    how: int
    """Strength of the sign that it is one: 0 a heading or entry of its section … 3 an enumeration in a sentence."""

    @property
    def line(self) -> str:
        return f"{self.name}: {self.text}" if self.text else self.name


def members(question: Question, passage: Sequence[Unit]) -> list[Member]:
    """The members of what the question asks to list, in the order of the passage, no name twice."""
    head = head_term(question)
    if head is None:
        return []
    for found in (
        _of_section(head, passage),
        _of_lead(head, passage),
        _by_definition(head, passage),
        _enumerated(head, passage),
    ):
        unique: dict[str, Member] = {}
        for member in found:
            known = unique.get(member.name.lower())
            if member.name and (known is None or len(known.text) < 20 < len(member.text)):
                unique[member.name.lower()] = member
        if unique:
            return list(unique.values())
    return []


def head_term(question: Question) -> Term | None:
    """The noun whose members are wanted: the last plural of what is asked for, else its last word."""
    focus = question.focus or tuple(term for term in question.terms if not term.key) or question.terms
    plural = [term for term in focus if term.word.lower().endswith("s") and not term.word.lower().endswith("ss")]
    found = plural or list(focus)
    return found[-1] if found else None


def split_name(text: str) -> tuple[str, str]:
    """An entry's name and what it says of it: `**A** does x` → `A`, `does x`; no name: an empty one and the text."""
    for pattern in _NAMED:
        met = pattern.match(text)
        if met:
            return _plain(met[1]), text[met.end() :].strip(" *:–—-")
    return "", text


def _plain(text: str) -> str:
    return re.sub(r"[`*]{1,3}", "", text).strip()


def _matches(head: Term, text: str) -> bool:
    return head.pattern.search(spaced(text)) is not None


def _first_words(passage: Sequence[Unit], start: int, end: int) -> str:
    for unit in passage[start:end]:
        if unit.kind in {"sentence", "item"}:
            return unit.text
    return ""


def _of_section(head: Term, passage: Sequence[Unit]) -> Iterator[Member]:
    """Headings below a heading that names the thing; else the entries of that section."""
    at = 0
    while at < len(passage):
        unit = passage[at]
        at += 1
        if unit.kind != "heading" or not _matches(head, unit.text):
            continue
        end = at
        while end < len(passage) and not (passage[end].kind == "heading" and passage[end].level <= unit.level):
            end += 1
        below = [index for index in range(at, end) if passage[index].kind == "heading"]
        if below:
            top = min(passage[index].level for index in below)
            tops = [index for index in below if passage[index].level == top]
            for index, following in zip(tops, [*tops[1:], end], strict=True):
                yield Member(_plain(passage[index].text)[:LONGEST_NAME], _first_words(passage, index + 1, following), 0)
        elif any(inner.kind in {"item", "row"} for inner in passage[at:end]):
            yield from _entries(passage[at:end])
        else:
            prose = [inner.text for inner in passage[at:end] if inner.kind == "sentence"]
            yield from (Member(text, "", 1) for text in prose[:6])
        at = end


def _entries(block: Sequence[Unit]) -> Iterator[Member]:
    outer = min((unit.level for unit in block if unit.kind == "item"), default=0)
    for unit in block:
        if unit.kind == "item" and unit.level == outer:
            name, text = split_name(unit.text)
            yield Member(_plain(name or unit.text)[: LONGEST_NAME if name else 240], text if name else "", 1)
        elif unit.kind == "row":
            cells = [cell for cell in unit.text.split(" | ") if cell]
            if cells:
                yield Member(_plain(cells[0])[:LONGEST_NAME], " | ".join(cells[1:]), 1)


def _of_lead(head: Term, passage: Sequence[Unit]) -> Iterator[Member]:
    """Entries under a line or a table header that names the thing."""
    chosen = [unit for unit in passage if unit.kind in {"item", "row"} and unit.lead and _matches(head, unit.lead)]
    yield from _entries(chosen)


def _by_definition(head: Term, passage: Sequence[Unit]) -> Iterator[Member]:
    """`X is a … Y …`."""
    for unit in passage:
        met = _IS_A.match(unit.text) if unit.kind in {"sentence", "item"} else None
        if met and not _matches(head, met["name"]) and _matches(head, unit.text[met.end() : met.end() + 80]):
            yield Member(_plain(met["name"]), unit.text[met.end("name") :].strip(), 2)


def _enumerated(head: Term, passage: Sequence[Unit]) -> Iterator[Member]:
    """`The Ys are A, B and C`."""
    for unit in passage:
        named = head.pattern.search(unit.text) if unit.kind in {"sentence", "item"} else None
        met = _ENUMERATION.search(unit.text, named.start()) if named else None
        if met:
            for piece in re.split(r",\s*(?:and|or|und|et|y|e|и)?\s*|\s(?:and|or|und|et)\s", met[1]):
                name = _plain(piece).strip(" .\"'")
                if 1 < len(name) <= LONGEST_NAME and len(name.split()) <= 6:
                    yield Member(name, "", 3)
