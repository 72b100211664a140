"""A passage as a reader sees it: headings, sentences, list items, table rows, code; each with what stands above it.

Works on plain text, Markdown, reStructuredText, logs and tables alike, by the shape of the lines. A unit keeps the
words of the text as they stand, with runs of white space made one blank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

UnitKind = Literal["heading", "sentence", "item", "row", "code"]

LONGEST = 480
"""Characters of a unit; a longer sentence (a line of a megabyte, a table without breaks) is cut at blanks."""

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([\w+#.-]*)")
_HASH = re.compile(r"^\s{0,3}(#{1,6})\s+(\S.*?)\s*#*\s*$")
_RULE = re.compile(r"^\s{0,3}(={3,}|-{3,}|~{3,}|\*{3,}|\^{3,}|\"{3,}|\+{3,}|#{3,})\s*$")
_BULLET = re.compile(r"^(\s*)(?:[-*+•‣▪–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+(?=\S)")
_NUMBERED = re.compile(
    r"^(?:(?:chapter|section|article|part|appendix|annex)\s+[\dIVXA-Z]+\b|\d+(?:\.\d+)*\.?\s+[^\W\d_])", re.I
)
_STAMPED = re.compile(r"^\W?\d{2,4}[-/:.]\d{1,2}")
_PAIR = re.compile(r"^\s*[\"'*`]*[\w][\w .\-/()]{0,40}[\"'*`]*\s*(?:[:=]|→|->)\s*\S")
_DIRECTIVE = re.compile(r"^\s*\.\. [\w:-]+::\s*")
_ENTRY = 10
"""Level of an entry that is opened by indentation alone: below any heading; its indentation is added."""
_BORDER = re.compile(r"^\s*={2,}(?:\s+={2,})+\s*$")
_RULED_ROW = re.compile(r"^[\s|:+\-=]+$")
_ENDS = re.compile(r"[.!?…]+[\"'”’)\]*_`]*(?=\s)|[。！？]+[」』）]?")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:e\.g|i\.e|etc|vs|cf|ca|al|approx|no|nos|fig|figs|eq|ch|sec|vol|pp?|ed|eds|mr|mrs|ms|dr|prof|st|"
    r"jr|sr|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|z\.b|d\.h|bzw|usw|nr|art|[A-Za-z])\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Unit:
    """The smallest piece that can be quoted."""

    text: str
    kind: UnitKind
    path: tuple[str, ...]
    """Headings above it, outermost first."""
    lead: str = ""
    """The line that introduces the list, or the table's header row."""
    block: int = 0
    """Units of the same paragraph, list or table share it."""
    level: int = 0
    """Of a heading, from 1; of an item, its indentation in characters."""


def units(text: str) -> list[Unit]:
    """The passage as units, in order."""
    return _Reader().read(text)


def squeeze(text: str) -> str:
    """Runs of white space as one blank."""
    return " ".join(text.split())


def sentences(text: str) -> list[str]:
    """Cut prose into sentences, each at most `LONGEST` characters."""
    text = squeeze(text)
    found, start = [], 0
    for match in _ENDS.finditer(text):
        end = match.end()
        following = text[end : end + 2].strip()
        if match[0][0] not in "。！？" and (
            (following[:1].islower()) or _ABBREVIATION.search(text[max(0, end - 12) : end])
        ):
            continue
        found.append(text[start:end].strip())
        start = end
    found.append(text[start:].strip())
    return [piece for sentence in found if sentence for piece in _bounded(sentence)]


def _bounded(sentence: str) -> list[str]:
    pieces = []
    while len(sentence) > LONGEST:
        cut = max(sentence.rfind(mark, LONGEST // 3, LONGEST) for mark in ("; ", ", ", " ", "，", "、"))
        cut = LONGEST if cut < 0 else cut + 1
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].lstrip()
    return [*pieces, sentence] if sentence else pieces


class _Reader:
    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.path: list[tuple[int, str]] = []
        self.block = 0
        self.lead = ""
        self.waiting: list[str] = []

    def read(self, text: str) -> list[Unit]:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        at = 0
        while at < len(lines):
            at = self._line(lines, at)
        self._paragraph()
        return self.units

    def _line(self, lines: list[str], at: int) -> int:
        line = lines[at]
        if not line.strip():
            self._paragraph()
            return at + 1
        indent = len(line) - len(line.lstrip())
        if any(level >= _ENTRY and level - _ENTRY >= indent for level, _ in self.path):
            self._paragraph()
            self.path = [(level, name) for level, name in self.path if level < _ENTRY + indent]
        fence = _FENCE.match(line)
        if fence:
            return self._fenced(lines, at, fence[1][:3])
        heading = self._heading(lines, at)
        if heading:
            self._paragraph()
            level, title, used = heading
            self._open(level, title)
            return at + used
        if _BORDER.match(line):
            return self._bordered(lines, at)
        if line.count("|") >= 2 or line.count("\t") >= 2:
            return self._table(lines, at)
        bullet = _BULLET.match(line)
        if bullet and (not self.waiting or not line[:1].isalpha()):
            return self._item(lines, at, len(bullet[1]))
        if not self.waiting and self._announces(lines, at, indent):
            self._open(_ENTRY + indent, squeeze(_DIRECTIVE.sub("", line)))
            return at + 1
        self.waiting.append(line)
        return at + 1

    def _announces(self, lines: list[str], at: int, indent: int) -> bool:
        """Whether a short line stands over a block that is indented further: an entry of a reference, an argument."""
        line = lines[at].strip()
        after = next((other for other in lines[at + 1 : at + 3] if other.strip()), "")
        deeper = len(after) - len(after.lstrip()) >= indent + (1 if _DIRECTIVE.match(line) else 2)
        return deeper and len(line) < 90 and bool(_DIRECTIVE.match(line) or line[-1] not in ".,;!?")

    def _heading(self, lines: list[str], at: int) -> tuple[int, str, int] | None:
        line = lines[at]
        after = lines[at + 1] if at + 1 < len(lines) else ""
        marked = _HASH.match(line)
        if marked:
            return len(marked[1]), squeeze(marked[2]), 1
        if _RULE.match(line):
            below = lines[at + 2] if at + 2 < len(lines) else ""
            if after.strip() and _RULE.match(below) and below.strip()[0] == line.strip()[0]:
                return 1, squeeze(after), 3
            self._paragraph()
            return (0, "", 1) if not after.strip() or not self.waiting else None
        stripped = line.strip()
        if (
            _RULE.match(after)
            and not self.waiting
            and len(stripped) < 120
            and not _BULLET.match(line)
            and "|" not in line
        ):
            return {"=": 1, "-": 2, "~": 3}.get(after.strip()[0], 3), squeeze(line), 2
        alone = not self.waiting and not after.strip()
        if (
            alone
            and len(stripped) < 90
            and stripped[-1] not in ".,;:!?。…"
            and (_NUMBERED.match(stripped) or (stripped.isupper() and len(stripped) > 3))
        ):
            return 2 + stripped.split(" ")[0].count("."), squeeze(line), 1
        return None

    def _open(self, level: int, title: str) -> None:
        if not level:
            return
        self.path = [(other, name) for other, name in self.path if other < level]
        self.lead = ""
        self._add(title, "heading", level=level)
        self.path.append((level, title))

    def _fenced(self, lines: list[str], at: int, mark: str) -> int:
        self._paragraph()
        end = at + 1
        while end < len(lines) and not lines[end].lstrip().startswith(mark):
            end += 1
        self._add("\n".join(lines[at + 1 : end]), "code")
        return end + 1

    def _table(self, lines: list[str], at: int) -> int:
        self._paragraph()
        header, end = "", at
        while end < len(lines) and (lines[end].count("|") >= 2 or lines[end].count("\t") >= 2):
            row = lines[end]
            if not _RULED_ROW.match(row):
                cells = [squeeze(cell) for cell in re.split(r"\||\t", row.strip().strip("|"))]
                ruled = end + 1 < len(lines) and _RULED_ROW.match(lines[end + 1]) is not None
                if end == at and ruled:
                    header = " | ".join(cells)
                else:
                    for piece in _bounded(" | ".join(cells)):
                        self._add(piece, "row", lead=header)
            end += 1
        self.block += 1
        return end

    def _bordered(self, lines: list[str], at: int) -> int:
        """A table of reStructuredText between rulers of equal signs; columns are two blanks apart."""
        self._paragraph()
        rulers = [index for index in range(at, min(len(lines), at + 400)) if _BORDER.match(lines[index])][:3]
        if len(rulers) < 2:
            return at + 1
        first, last = (rulers[1] + 1, rulers[2]) if len(rulers) > 2 else (rulers[0] + 1, rulers[1])
        header = " | ".join(re.split(r"\s{2,}|\s+(?=\|)", lines[rulers[1] - 1].strip())) if len(rulers) > 2 else ""
        for row in lines[first:last]:
            for piece in _bounded(" | ".join(re.split(r"\s{2,}", row.strip()))):
                self._add(piece, "row", lead=header)
        self.block += 1
        return last + 1

    def _item(self, lines: list[str], at: int, indent: int) -> int:
        if self.waiting:
            self._paragraph(keep_lead=True)
        body, end = [_BULLET.sub("", lines[at], count=1)], at + 1
        while end < len(lines) and lines[end].strip() and lines[end].startswith(" " * (indent + 1)):
            if _BULLET.match(lines[end]) or _FENCE.match(lines[end]):
                break
            body.append(lines[end])
            end += 1
        for piece in _bounded(squeeze(" ".join(body))):
            self._add(piece, "item", lead=self.lead, level=indent)
        return end

    def _paragraph(self, keep_lead: bool = False) -> None:
        if not self.waiting:
            return
        block, self.waiting = self.waiting, []
        self.block += 1
        pieces = block if _separate(block) else [" ".join(block)]
        found = [sentence for piece in pieces for sentence in sentences(piece)]
        for sentence in found:
            self._add(sentence, "sentence")
        self.lead = found[-1] if found and (keep_lead or found[-1].rstrip("*_").endswith((":", "："))) else ""
        self.block += 0 if self.lead else 1

    def _add(self, text: str, kind: UnitKind, lead: str = "", level: int = 0) -> None:
        if text.strip():
            path = tuple(title for _, title in self.path)
            self.units.append(Unit(text.strip(), kind, path, lead, self.block, level))


def _separate(lines: list[str]) -> bool:
    """Whether the lines of a block stand for themselves (a log, pairs, a sentence each) rather than being wrapped."""
    if len(lines) < 2:
        return False

    def share(hits: list[bool]) -> float:
        return sum(hits) / len(hits)

    ended = [bool(re.search(r"[.!?。！？;][\"')\]]*\s*$", line)) for line in lines]
    begun = [not line.lstrip()[:1].islower() for line in lines]
    return (
        share([a and b for a, b in zip(ended, begun, strict=True)]) >= 0.7
        or share([bool(_STAMPED.match(line)) for line in lines]) >= 0.5
        or share([bool(_PAIR.match(line)) for line in lines]) >= 0.7
        or max(map(len, lines)) > 200
    )
