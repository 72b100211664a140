"""Search a text of any size, in a worker thread: hits come as they are found, and any pattern can be stopped.

Plain text is found by `bytes.find` in blocks of 1 MiB. Regular expressions are searched within lines, as in grep, by
the `regex` package: it gives other threads their turn while it matches and gives up at a deadline, so that a pattern
that would need longer than the universe lasts cannot hang anything.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fleet_rlm.documents.document_work import BLOCK_BYTES, Cancelled, DocumentError, Turns, never
from fleet_rlm.documents.index import LineIndex, cut_short
from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.documents.unrolled import MAX_ITEMS, unrolled_items

Case: TypeAlias = Literal["smart", "exact", "ignore"]
"""`smart` ignores case unless the query has a capital letter."""

KEPT_HITS = 10_000
BLOCK_SECONDS = 0.25
LINE_SECONDS = 0.05
ROW_SECONDS = 0.02
MAX_SLOW_LINES = 50
MAX_QUERY_CHARS = 10_000
_REPORT_SECONDS = 0.05
# What can see past a line's end, or behave differently there: such patterns are matched line by line.
_SEES_PAST_THE_LINE = re.compile(r"\(\?(?!:|P<|<[A-Za-z]|[imx]+\))|\\[ABZGKRX]|[*+?}]\+|\(\*|\{[a-z]")


class BadPattern(DocumentError):
    """The query is empty, too long or no regular expression. `position` is where, in characters, if that is known."""

    def __init__(self, message: str, hint: str = "", position: int | None = None) -> None:
        super().__init__(message, hint)
        self.position = position


@dataclass(frozen=True, slots=True)
class Query:
    """A search: its text, and how it is matched."""

    text: str
    regex: bool = False
    case: Case = "smart"

    @property
    def ignores_case(self) -> bool:
        if self.case != "smart":
            return self.case == "ignore"
        letters = re.sub(r"\\.", "", self.text) if self.regex else self.text  # the S of \S is no capital letter
        return letters == letters.lower()


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where the query was found."""

    start: int
    """Offset of its first byte in the text."""
    end: int
    row: int
    column: int
    """The place of its first character within the row."""
    width: int
    """Characters of it within the row (a hit in a long line may go on in the next row)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A report of a search under way: new hits and progress."""

    hits: tuple[Hit, ...]
    """New since the last report, in order; none after `keep` of them."""
    total: int
    """Hits so far, all of them counted."""
    done: int
    """Bytes searched, of `size`."""
    size: int
    notices: tuple[str, ...] = ()
    """Notices for the person: lines that were given up, a search that was cut short."""
    finished: bool = False


class Matcher:
    """A compiled query. Raises `BadPattern`."""

    def __init__(self, query: Query) -> None:
        if not query.text:
            raise BadPattern("there is nothing to search for.")
        if len(query.text) > MAX_QUERY_CHARS:
            raise BadPattern(f"the query has {len(query.text):,} characters; {MAX_QUERY_CHARS:,} is the most.")
        import regex  # some 40 ms, which a screen's first paint should not wait for

        if query.regex and unrolled_items(query.text) > MAX_ITEMS:
            raise BadPattern("the repeats of this regular expression multiply to something too large.", "Use * or +.")
        self.query = query
        literal = None if query.regex else query.text.encode("utf-8", "replace")
        ascii_only = literal is not None and literal.isascii()
        flags = regex.MULTILINE | regex.VERSION0
        if query.ignores_case:
            flags |= regex.IGNORECASE
        if ascii_only:
            flags |= regex.ASCII  # so that case is ignored as `bytes.lower` does it
        try:
            self.pattern = regex.compile(query.text if query.regex else regex.escape(query.text), flags)
        except regex.error as error:
            # the package's stubs don't name what its errors carry
            position: int | None = getattr(error, "pos", None)
            where = "" if position is None else f" at character {position + 1}"
            hint = "Search for it as plain text, or escape it with \\."
            raise BadPattern(
                f"not a regular expression: {getattr(error, 'msg', error)}{where}.", hint, position
            ) from error
        except (RecursionError, MemoryError, OverflowError, ValueError) as error:
            raise BadPattern(f"this regular expression is too large ({type(error).__name__}).") from error
        self.needle = literal
        self.lowers = query.ignores_case and literal is not None and literal.lower() != literal.upper()
        if literal is not None and query.ignores_case:
            if ascii_only:
                self.needle = literal.lower()
            elif query.text.lower() != query.text.upper():
                self.needle = None  # letters beyond ASCII: their case is the pattern's business
        self.line_by_line = query.regex and bool(_SEES_PAST_THE_LINE.search(query.text))

    def in_row(self, text: str, limit: int = 1_000) -> list[tuple[int, int]]:
        """Character spans of the hits in one row, for painting it; at most `limit`, in at most `ROW_SECONDS`."""
        spans: list[tuple[int, int]] = []
        try:
            for match in self.pattern.finditer(text, timeout=ROW_SECONDS):
                if match.end() > match.start():
                    spans.append(match.span())
                    if len(spans) >= limit:
                        break
        except (TimeoutError, MemoryError):
            return spans
        return spans


@dataclass(slots=True)
class _Search:
    """A search under way."""

    index: LineIndex
    matcher: Matcher
    keep: int
    cancelled: Turns
    total: int = 0
    kept: int = 0
    done: int = 0
    slow_lines: int = 0
    cut_lines: int = 0
    stopped: str = ""
    line_by_line: bool = False
    fresh: list[Hit] = field(default_factory=list)

    @property
    def text(self) -> TextFile:
        return self.index.text

    def found(self, start: int, end: int) -> bool:
        """Count a hit, and keep it while there is room; False when the search was cancelled."""
        self.total += 1
        if self.kept >= self.keep:
            return bool(self.total & 0xFF) or not self.cancelled()
        if self.cancelled() or not self.index.wait_for(start, self.cancelled):
            return False
        row = self.index.row(self.index.row_at(start))
        column = row.column(start)
        self.fresh.append(Hit(start, end, row.number, column, max(0, row.column(end) - column)))
        self.kept += 1
        return True

    def report(self, finished: bool = False) -> Found:
        notices = []
        if self.total > self.kept:
            notices.append(f"showing the first {self.kept:,} of {self.total:,} hits")
        if self.slow_lines:
            notices.append(f"gave up on {self.slow_lines:,} line(s) where the pattern took over {LINE_SECONDS:g} s")
        if self.cut_lines:
            notices.append("lines longer than 1 MiB were searched in pieces")
        if self.stopped:
            notices.append(self.stopped)
        hits, self.fresh = tuple(self.fresh), []
        return Found(hits, self.total, self.done, self.text.size, tuple(notices), finished)

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """(bytes, their offset): whole lines, about 1 MiB of them; a longer line comes in pieces."""
        offset = 0
        while True:
            if not self.text.ready and not self.index.wait_for(offset + BLOCK_BYTES, self.cancelled):
                return
            block = self.text.read(BLOCK_BYTES, offset)
            if not block:
                return
            if offset + len(block) < self.text.size:
                newline = block.rfind(b"\n")
                if newline < 0:
                    self.cut_lines += 1
                block = block[: newline + 1] if newline >= 0 else block[: len(block) - cut_short(block)]
            yield block, offset
            offset += len(block)
            self.done = offset

    def literal(self, needle: bytes) -> Iterator[None]:
        """Plain text: non-overlapping, from left to right, as `bytes.count` counts. Yields after each block."""
        offset = skip = 0
        borderless = all(needle[:n] != needle[-n:] for n in range(1, len(needle)))
        overlap = len(needle) - 1
        while True:
            if not self.text.ready and not self.index.wait_for(offset + BLOCK_BYTES + overlap, self.cancelled):
                return
            block = self.text.read(BLOCK_BYTES + overlap, offset)
            if not block:
                return
            if self.matcher.lowers:
                block = block.lower()
            place = block.find(needle, skip)
            while place >= 0:
                if self.kept >= self.keep and borderless:
                    self.total += block.count(needle, place)
                    break
                if not self.found(offset + place, offset + place + len(needle)):
                    return
                skip = place + len(needle)
                place = block.find(needle, skip)
            skip = max(0, skip - BLOCK_BYTES)
            offset += BLOCK_BYTES
            self.done = min(offset, self.text.size)
            yield

    def pattern(self) -> Iterator[None]:
        """A regular expression, within lines. Yields after each block."""
        for block, offset in self.blocks():
            text = block.decode("utf-8", "surrogateescape")  # so that characters lead back to bytes exactly
            whole = None if self.line_by_line else self._whole(text)
            if whole is not None and self.kept >= self.keep:
                self.total += len(whole)
                whole = []
            spans = self._by_line(text) if whole is None else iter(whole)
            character = byte = 0
            plain = len(text) == len(block) and text.isascii()
            for start, end in spans:
                if plain:
                    first, last = start, end
                else:
                    first = byte + len(text[character:start].encode("utf-8", "surrogateescape"))
                    last = first + len(text[start:end].encode("utf-8", "surrogateescape"))
                    character, byte = end, last
                if not self.found(offset + first, offset + last):
                    return
            yield
            if self.slow_lines > MAX_SLOW_LINES:
                share = 100 * (offset + len(block)) // max(1, self.text.size)
                self.stopped = f"stopped at {share}%: the pattern is too slow on this text"
                return

    def _whole(self, text: str) -> list[tuple[int, int]] | None:
        """Matches in a block of lines; None where one reached over a line's end, or time was up."""
        spans: list[tuple[int, int]] = []
        returns = text.count("\r\n")
        if returns and returns != text.count("\n"):
            return None
        if returns:
            text = text.replace("\r\n", "\n")
        counted = shift = 0
        try:
            for match in self.matcher.pattern.finditer(text.removesuffix("\n"), timeout=BLOCK_SECONDS, concurrent=True):
                start, end = match.span()
                if start == end:
                    if start and text[start - 1] != "\n":
                        continue
                elif "\n" in match.group():
                    return None
                if returns:
                    shift += text.count("\n", counted, start)
                    counted = start
                spans.append((start + shift, end + shift))
        except (TimeoutError, MemoryError):
            self.line_by_line = True
            return None
        return spans

    def _by_line(self, text: str) -> Iterator[tuple[int, int]]:
        start = 0
        for whole_line in _lines(text):
            line = whole_line.removesuffix("\n")
            if len(line) < len(whole_line):
                line = line.removesuffix("\r")
            try:
                for match in self.matcher.pattern.finditer(line, timeout=LINE_SECONDS, concurrent=True):
                    first, last = match.span()
                    if last > first or first == 0:
                        yield start + first, start + last
            except (TimeoutError, MemoryError):
                self.slow_lines += 1
                if self.slow_lines > MAX_SLOW_LINES:
                    return
            if self.cancelled():
                return
            start += len(whole_line)


def _lines(text: str) -> Iterator[str]:
    """Lines with their newlines; `str.splitlines` would split at much else."""
    *lines, tail = text.split("\n")
    yield from (line + "\n" for line in lines)
    if tail:
        yield tail


def search(
    index: LineIndex, query: Query | Matcher, *, keep: int = KEPT_HITS, cancelled: Cancelled = never
) -> Iterator[Found]:
    """Search all of a text; run it in a worker thread. Yields reports some twenty times a second, the last `finished`.

    Hits are counted to the end, the first `keep` come with their places. An empty match counts at the start of a line
    only (so that `^$` finds empty lines). The index may still be under way in another thread: hits come as fast as it
    does. When cancelled, or when the index was, it ends without a `finished` report. Raises `BadPattern` at once, and
    `Unreadable` when the disk fails.
    """
    matcher = query if isinstance(query, Matcher) else Matcher(query)
    return _reports(_Search(index, matcher, keep, Turns(cancelled), line_by_line=matcher.line_by_line))


def _reports(under_way: _Search) -> Iterator[Found]:
    needle = under_way.matcher.needle
    due = 0.0
    for _ in under_way.pattern() if needle is None else under_way.literal(needle):
        if under_way.cancelled():
            return
        if time.monotonic() >= due:
            yield under_way.report()
            due = time.monotonic() + _REPORT_SECONDS
    if (
        under_way.text.ready
        and (under_way.done >= under_way.text.size or under_way.stopped)
        and not under_way.cancelled()
    ):
        yield under_way.report(finished=True)
