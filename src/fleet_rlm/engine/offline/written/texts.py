"""Texts as the planner's cells hold them: by name, with their headings, cut into passages and sections."""

from __future__ import annotations

import bisect
import re
from typing import Any

Docs = dict[str, str]
Heads = dict[str, list[tuple[int, int, str]]]
Terms = dict[str, tuple[list[str], bool]]
Places = dict[str, list[tuple[str, int]]]
Entry = dict[str, Any]
# Docs: texts by name. Heads: (offset, level, title) by document. Terms: beginnings of words, and whether to match them
# anywhere, by word. Places: (document, offset) by word. Entry: a passage or a thing found, by field (any value).


def as_documents(value: object, name: str) -> dict[str, str]:
    """Any input as texts by name: a string, a dict, a list, or whatever it prints as."""
    if isinstance(value, str):
        return {name: value}
    if isinstance(value, dict):
        return {str(key): part if isinstance(part, str) else repr(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"{name}[{at}]": part if isinstance(part, str) else repr(part) for at, part in enumerate(value)}
    return {name: str(value)}


def headings(text: str, most: int = 20000) -> list[tuple[int, int, str]]:
    """(offset, level, title) of Markdown and underlined headings; of numbered and capital ones in short texts."""
    fences = [met.start() for met in re.finditer(r"^[ ]{0,3}(?:`{3}|~~~)", text, re.M)] if len(text) < 5_000_000 else []
    found: dict[int, tuple[int, str]] = {}
    at = 0 if text.startswith("#") else text.find("\n#") + 1
    while at or text.startswith("#"):
        end = text.find("\n", at)
        line = text[at : end if end >= 0 else at + 200][:200]
        marked = re.match(r"(#{1,6})\s+(\S.*?)[\s#]*$", line)
        if marked and bisect.bisect(fences, at) % 2 == 0:
            found[at] = (len(marked[1]), marked[2])
        following = text.find("\n#", max(at, 0) + 1)
        if following < 0 or len(found) >= most:
            break
        at = following + 1
    for level, rule in ((1, "\n===="), (2, "\n----"), (3, "\n~~~~"), (1, "\n****"), (4, "\n^^^^")):
        at = text.find(rule)
        while at >= 0 and len(found) < most:
            begin = text.rfind("\n", 0, at) + 1
            title, below = text[begin:at].strip(), text[at + 1 : at + 200].split("\n", 1)[0].strip()
            same = set(below) == {rule[1]} and re.match(r"[\w`\"'(<¿]", title) and not re.search(r"\|", title)
            if same and len(title) < 120 and abs(len(below) - len(title)) < 60 and bisect.bisect(fences, at) % 2 == 0:
                found[begin] = (level, title)
            at = text.find(rule, at + len(below) + 1)
    if len(found) < 3 and len(text) < 5_000_000:
        plain = r"(?:^|\n\n)((?:(?i:chapter|section|article|part|appendix)) [\dIVXA-Z]+\b[^\n]{0,80}"
        plain += r"|\d+(?:\.\d+)*\.? [A-Z][^\n.;,]{2,70}|[A-Z][A-Z0-9 ,'&-]{4,60})(?=\n)"
        for met in re.finditer(plain, text):
            found.setdefault(met.start(1), (1 + met[1].split(" ")[0].rstrip(".").count("."), met[1].strip()))
    return [(at, *found[at]) for at in sorted(found)][:most]


def under(heads: list[tuple[int, int, str]], at: int) -> str:
    """The headings above an offset, outermost first."""
    path: list[str] = []
    level = 99
    for position in range(bisect.bisect(heads, (at, 99, "")) - 1, -1, -1):
        if heads[position][1] < level:
            level = heads[position][1]
            path.insert(0, heads[position][2][:80])
        if level <= 1 or len(path) > 3:
            break
    return " › ".join(path)


def passage(docs: Docs, heads: Heads, doc: str, at: int, score: float = 0.0, size: int = 1500) -> Entry:
    """The whole paragraphs around an offset (sentences, where a paragraph is too long), with where they stand."""
    text = docs[doc]
    floor = max(0, at - size)
    start = text.rfind("\n\n", floor, at)
    if start >= 0 and at - start < size // 3:  # a short run-up: take the paragraph before too
        before = text.rfind("\n\n", floor, start)
        start = before if before >= 0 else start
    if start < 0 and floor:
        ends = [met.end() for met in re.finditer(r"[.!?。！？][\"')]*\s", text[max(floor, at - size // 2) : at])]
        start = max(floor, at - size // 2) + ends[0] if ends else max(text.rfind("\n", floor, at), at - size // 3)
    begin = max(start, 0)
    begin += len(text[begin : begin + 80]) - len(text[begin : begin + 80].lstrip("\n"))
    limit = min(len(text), at + size)
    stops = (text.rfind("\n\n", at + size // 3, limit), text.rfind("\n", at + size // 2, limit), limit)
    end = limit if limit == len(text) else next(stop for stop in stops if stop > 0)
    where = {"doc": doc, "begin": begin, "end": end, "line": text.count("\n", 0, begin) + 1}
    return {**where, "under": under(heads.get(doc, []), begin), "score": score, "text": text[begin:end]}


def titled(docs: Docs, heads: Heads, forms: list[str], most: int = 8, size: int = 8000) -> list[Entry]:
    """Whole sections whose heading holds one of the word beginnings, each up to `size` characters."""
    found: list[Entry] = []
    done = ("", -1)
    for doc, text in docs.items():
        for position, (at, level, title) in enumerate(heads.get(doc, [])):
            if len(found) >= most or (doc == done[0] and at < done[1]):
                continue
            if any(re.search(r"(?<![^\W_])" + re.escape(form), title, re.I) for form in forms):
                later = (begin for begin, other, _ in heads[doc][position + 1 :] if other <= level)
                end = min(next(later, len(text)), at + size)
                line = text.count("\n", 0, at) + 1
                where = under(heads[doc][:position], at)
                part = {"doc": doc, "begin": at, "end": end, "line": line, "under": where, "text": text[at:end]}
                found.append({**part, "score": 100.0 - level})
                done = (doc, end)
    return found


def sections(docs: Docs, heads: Heads, size: int = 6000) -> list[Entry]:
    """The texts cut at headings, short neighbours joined and long parts cut at paragraphs: about `size` characters."""
    found = []
    for doc, text in docs.items():
        cuts, begin, line = [at for at, _, _ in heads.get(doc, [])], 0, 1
        while begin < len(text):
            limit = begin + size
            fitting = bisect.bisect(cuts, limit) - 1
            end = cuts[fitting] if fitting >= 0 and cuts[fitting] > begin + size // 4 else -1
            if end < 0:
                end = (
                    max(
                        text.rfind("\n\n", begin + size // 2, limit),
                        text.rfind("\n", begin + size // 2, limit),
                        text.rfind(" ", begin + size // 2, limit),
                    )
                    + 1
                )
            if limit >= len(text) or end <= begin:
                end = min(limit, len(text))
            found.append(
                {
                    "doc": doc,
                    "begin": begin,
                    "end": end,
                    "line": line,
                    "under": under(heads.get(doc, []), begin),
                    "score": 0.0,
                    "text": text[begin:end],
                }
            )
            line += text.count("\n", begin, end)
            begin = end
    return found


def with_lines(docs: Docs, entries: list[Entry]) -> list[Entry]:
    """The entries with the number of the line that each offset `at` is in; counted once through each text."""
    for doc, text in docs.items():
        line, before = 1, 0
        for entry in sorted((entry for entry in entries if entry["doc"] == doc), key=lambda entry: entry["at"]):
            line, before = line + text.count("\n", before, entry["at"]), entry["at"]
            entry["line"] = line
    return [{key: value for key, value in entry.items() if key != "at"} for entry in entries]


def lines_with(text: str, needles: list[str], most: int = 200000) -> list[tuple[int, str]]:
    """(offset, line) of the lines that hold one of the needles, as they are written; quick on any size."""
    found: dict[int, str] = {}
    for needle in needles:
        at = text.find(needle)
        while at >= 0 and len(found) < most:
            begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
            end = len(text) if end < 0 else end
            found[begin] = text[begin : min(end, begin + 2000)]
            at = text.find(needle, end)
    return sorted(found.items())
