"""Rows of a text of any size, without holding it: a sparse line index.

The text is seen as chunks of 16 KiB. For each chunk the index keeps two numbers, the rows and the lines before it,
which is 1 MB for 1 GB of text; a row is found by reading its chunk and the one before. A *line* ends at a newline. A
*row* is what a screen shows as one: a line, or, where a whole chunk holds no newline, a piece of a long line, cut
between two characters. So no row is longer than two chunks, and one line of 1 GB scrolls like any other text.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass

from fleet_rlm.documents.document_work import BLOCK_BYTES, Cancelled, Progress, Throttle, Turns, never
from fleet_rlm.documents.textfile import TextFile

CHUNK_BYTES = 16 * 1024
CACHED_CHUNKS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a document."""

    number: int
    """The row's number within the document, from 0."""
    line: int
    """The line that it is (a piece of), from 0."""
    start: int
    """Offset of its first byte."""
    data: bytes
    """UTF-8, without the newline and the carriage return before it."""
    continued: bool = False
    """True when it is not the first piece of its line."""
    gone: bool = False
    """True when the file no longer holds it (truncated since it was indexed)."""

    @property
    def end(self) -> int:
        """Offset after its last byte (of the newline, or of the row that continues it)."""
        return self.start + len(self.data)

    @property
    def text(self) -> str:
        """The row as text, as it is: tabs and control characters are the screen's to handle."""
        return self.data.decode("utf-8", "replace")

    def column(self, offset: int) -> int:
        """The character of `text` at an offset of the document (clamped to the row)."""
        return len(self.data[: max(0, offset - self.start)].decode("utf-8", "replace"))


class LineIndex:
    """`build` it in a worker thread; all else may be called from any thread, before it is complete as well."""

    def __init__(self, text: TextFile, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """`chunk_bytes` (8 at least) is for tests: small chunks find at 100 bytes what large ones find at 1 MB."""
        self.text = text
        self._chunk = chunk_bytes
        self._rows_before = array("Q")
        self._lines_before = array("Q")
        self._rows = 0
        self._newlines = 0
        self._open_line = self._open_row = False  # text after the last newline; after the last row that is counted
        self._indexed = 0
        self._complete = False
        self._over = False
        self._moved = threading.Condition()
        self._cache: OrderedDict[int, tuple[list[int], list[bytes]]] = OrderedDict()
        self._cache_lock = threading.Lock()

    @property
    def rows(self) -> int:
        """Rows that can be asked for now."""
        return self._rows

    @property
    def lines(self) -> int:
        """Lines that are known now: newlines, and the last line where no newline ends it."""
        return self._newlines + self._open_line

    @property
    def indexed(self) -> int:
        """Bytes of the text that are indexed."""
        return self._indexed

    @property
    def complete(self) -> bool:
        """True when all of the text is indexed."""
        return self._complete

    def build(self, progress: Progress | None = None, cancelled: Cancelled = never) -> bool:
        """Index to the end, or on from where a cancelled `build` stopped; False when cancelled.

        Transcodes as it goes where the text is not UTF-8. Raises `Unreadable` when the disk fails; what is indexed so
        far goes on working.
        """
        self._over = False
        tell, turns = Throttle(progress), Turns(cancelled)
        try:
            while not self._complete:
                if turns():
                    return False
                over = self._advance()
                tell(self._indexed, self._indexed if over else self.text.expected)
            return True
        finally:
            with self._moved:
                self._over = True
                self._moved.notify_all()

    def wait_for(self, offset: int, cancelled: Cancelled = never) -> bool:
        """Wait until `offset` is indexed; False when that will not be (cancelled, or no `build` goes on)."""
        with self._moved:
            while not (self._complete or self._indexed > offset):
                if cancelled() or self._over:
                    return False
                self._moved.wait(0.05)
        return True

    def row(self, number: int) -> Row:
        """One row, in microseconds. Raises `IndexError` outside of `range(rows)`, `Unreadable` when the disk fails."""
        if not 0 <= number < self._rows:
            raise IndexError(f"row {number} of {self._rows}")
        chunk = bisect_right(self._rows_before, number) - 1
        starts, parts = self._parts(chunk)
        place = number - self._rows_before[chunk]
        line = self._lines_before[chunk] + place
        if place >= len(parts):
            return Row(number, line, starts[-1] + len(parts[-1]), b"", gone=True)
        data = parts[place]
        ends_in_newline = place < len(parts) - 1 and starts[place + 1] == starts[place] + len(data) + 1
        if ends_in_newline and data.endswith(b"\r"):
            data = data[:-1]
        continued = place == 0 and chunk > 0 and self._is_forced(chunk - 1)
        return Row(number, line, starts[place], data, continued)

    def row_at(self, offset: int) -> int:
        """The number of the row that holds an offset (a newline belongs to the row that it ends); clamped."""
        if offset >= self._indexed:
            return max(0, self._rows - 1)
        chunk = max(0, offset) // self._chunk
        starts, _ = self._parts(chunk)
        # Rows that begin in this chunk but end in a later one are the later chunk's first.
        place = max(0, bisect_right(starts, offset) - 1)
        return min(self._rows_before[chunk] + place, max(0, self._rows - 1))

    def row_of_line(self, line: int) -> int:
        """The first row of a line (from 0); clamped."""
        if not self._lines_before:
            return 0
        chunk = max(0, bisect_left(self._lines_before, line) - 1)
        number = self._rows_before[chunk] + max(0, line - self._lines_before[chunk])
        return max(0, min(number, self._rows - 1))

    def row_at_fraction(self, fraction: float) -> int:
        """The row at a share of the whole text, 0.0 … 1.0, by bytes."""
        return self.row_at(int(fraction * max(self._indexed, 0)))

    def _advance(self) -> bool:
        """Index the next MiB; true when that was the last."""
        block_bytes = max(BLOCK_BYTES // self._chunk, 1) * self._chunk
        while not self.text.ready and self.text.size < self._indexed + block_bytes:
            self.text.fill()
        block = self.text.read(block_bytes, self._indexed)
        rows, lines, newlines = self._rows, self._newlines, 0
        for start in range(0, len(block), self._chunk):
            self._rows_before.append(rows)
            self._lines_before.append(lines)
            newlines = block.count(b"\n", start, start + self._chunk)
            rows += newlines or 1
            lines += newlines
        with self._moved:
            self._newlines, self._rows = lines, rows
            self._indexed += len(block)
            if block:
                self._open_line = not block.endswith(b"\n")
                self._open_row = self._open_line and newlines > 0
            if len(block) < block_bytes:
                self._rows += self._open_row
                with self._cache_lock:
                    self._complete = True
                    self._cache.clear()
            self._moved.notify_all()
        return len(block) < block_bytes

    def _is_forced(self, chunk: int) -> bool:
        return self._lines_before[chunk + 1] == self._lines_before[chunk]

    def _parts(self, chunk: int) -> tuple[list[int], list[bytes]]:
        """Return where the rows that end in a chunk start, and their bytes; the last part is the rest."""
        with self._cache_lock:
            if found := self._cache.get(chunk):
                self._cache.move_to_end(chunk)
                return found
        complete = self._complete
        begin = chunk * self._chunk
        before = min(self._chunk, begin)
        data = self.text.read(before + self._chunk, begin - before)
        previous, own = data[:before], data[before:]
        newline = previous.rfind(b"\n")
        carried = previous[newline + 1 :] if newline >= 0 else previous[len(previous) - cut_short(previous) :]
        parts = (carried + own).split(b"\n")
        starts = [begin - len(carried)]
        for part in parts[:-1]:
            starts.append(starts[-1] + len(part) + 1)
        if len(parts) == 1 and not (complete and begin + len(own) >= self._indexed):
            cut = len(parts[0]) - cut_short(own)
            parts = [parts[0][:cut], parts[0][cut:]]
            starts.append(starts[0] + cut)
        found = (starts, parts)
        with self._cache_lock:
            if complete or not self._complete:  # what was the end a moment ago may be cut differently now
                self._cache[chunk] = found
                while len(self._cache) > CACHED_CHUNKS:
                    self._cache.popitem(last=False)
        return found


def cut_short(data: bytes) -> int:
    """Count the bytes at the end that belong to what follows: an unfinished character, or a CR whose LF may come."""
    if data.endswith(b"\r"):
        return 1
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if needed > back else 0
        if byte < 0x80:
            return 0
    return 0
