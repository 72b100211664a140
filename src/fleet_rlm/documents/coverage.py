"""Keep the parts of the documents that a model has seen: printed to the planner, or sent to a sub-LLM.

A `Coverage` collects the spans that `locate` found, as disjoint intervals, and answers for a row, for a whole document
and for the few cells of a minimap. Fill it in a worker thread, read it from any thread.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from fleet_rlm.documents.locate import Span

MAX_INTERVALS = 20_000


class Seen(IntEnum):
    """The model that saw a piece of text: none, the planner, or a sub-LLM. A sub-LLM counts more than the planner."""

    UNREAD = 0
    PRINTED = 1
    SENT = 2


@dataclass(frozen=True, slots=True)
class Bucket:
    """A cell of a minimap: what share of its bytes was printed, and what share sent to a sub-LLM, 0.0 … 1.0."""

    printed: float
    sent: float

    @property
    def strongest(self) -> Seen:
        return Seen.SENT if self.sent else Seen.PRINTED if self.printed else Seen.UNREAD


class Intervals:
    """A set of bytes as disjoint [start, end) intervals in order; past `limit` of them the smallest gaps are closed."""

    def __init__(self, limit: int = MAX_INTERVALS) -> None:
        self._limit = limit
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def add(self, start: int, end: int) -> None:
        """Add [start, end); touching intervals become one."""
        if start >= end:
            return
        first, after = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < after:
            start, end = min(start, self._starts[first]), max(end, self._ends[after - 1])
        self._starts[first:after], self._ends[first:after] = [start], [end]
        if len(self._starts) > self._limit:
            self._coarsen()

    def within(self, start: int, end: int) -> int:
        """Count the bytes of [start, end) that are in the set."""
        first, after = bisect_right(self._ends, start), bisect_left(self._starts, end)
        return sum(
            min(e, end) - max(s, start) for s, e in zip(self._starts[first:after], self._ends[first:after], strict=True)
        )

    def _coarsen(self) -> None:
        gaps = sorted(s - e for s, e in zip(self._starts[1:], self._ends[:-1], strict=True))
        widest = gaps[len(gaps) // 2]
        starts, ends = self._starts[:1], self._ends[:1]
        for start, end in zip(self._starts[1:], self._ends[1:], strict=True):
            if start - ends[-1] <= widest:
                ends[-1] = end
            else:
                starts.append(start)
                ends.append(end)
        self._starts, self._ends = starts, ends


class Coverage:
    """The map of what was seen, for each of a locator's documents."""

    def __init__(self, sizes: Iterable[int]) -> None:
        """`sizes` are the documents' lengths in bytes (`TextFile.size`)."""
        self.sizes = tuple(sizes)
        self._printed = tuple(Intervals() for _ in self.sizes)
        self._sent = tuple(Intervals() for _ in self.sizes)

    def add(self, spans: Iterable[Span], seen: Seen) -> None:
        """Mark spans as printed or sent."""
        marked = {Seen.PRINTED: self._printed, Seen.SENT: self._sent}[seen]
        for span in spans:
            marked[span.document].add(span.start, min(span.end, self.sizes[span.document]))

    def at(self, document: int, start: int, end: int) -> Seen:
        """The strongest mark on any byte of [start, end): what to paint beside a row."""
        if self._sent[document].within(start, end):
            return Seen.SENT
        return Seen.PRINTED if self._printed[document].within(start, end) else Seen.UNREAD

    def share(self, document: int, seen: Seen) -> float:
        """Return the share of a document that was printed, or sent; for UNREAD, that was neither. 0.0 … 1.0."""
        size = self.sizes[document]
        if not size:
            return 0.0
        if seen is Seen.PRINTED:
            return self._printed[document].within(0, size) / size
        if seen is Seen.SENT:
            return self._sent[document].within(0, size) / size
        either = Intervals()
        for kind in (self._printed, self._sent):
            for start, end in kind[document]:
                either.add(start, end)
        return 1 - either.within(0, size) / size

    def minimap(self, document: int, cells: int) -> tuple[Bucket, ...]:
        """The document in `cells` equal parts, from its start to its end."""
        size = self.sizes[document]
        buckets = []
        for cell in range(cells):
            start, end = size * cell // cells, size * (cell + 1) // cells
            length = max(1, end - start)
            buckets.append(
                Bucket(
                    self._printed[document].within(start, end) / length,
                    self._sent[document].within(start, end) / length,
                )
            )
        return tuple(buckets)
