"""Find where in the documents a text stands that a model saw, by matching the two.

Every `stride` bytes of the documents, a short gram (24 bytes) is remembered in a compact table: its place and a few
bits of its hash, 4 bytes an entry. A seen text is looked up at each of its bytes until one of its grams is known; the
match is then confirmed in the document, grown in both directions as far as the two agree, and the search goes on after
it. So a prompt with a wrapper around a slice of a document costs about as much as comparing the two, and a slice is
found in full from `Locator.certain_bytes` on (39 bytes, up to 64 MB of documents), wherever it begins. Shorter ones
are found by luck, and below 32 bytes not at all: a few words stand everywhere. Where a match ends, the two are tried
for going on a few bytes further, so that escapes, quotes and changed line ends cost those bytes only.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from fleet_rlm.documents.decode import utf8
from fleet_rlm.documents.document_work import BLOCK_BYTES, Cancelled, Progress, Stopped, Throttle, Turns, never
from fleet_rlm.documents.textfile import TextFile

GRAM_BYTES = 24
MIN_STRIDE = 16
MAX_ANCHORS = 4_000_000
SHORTEST_BYTES = 32
FEWEST_DIFFERENT_BYTES = 8
MERGED_GAP_BYTES = 64
RESUMED_BYTES = 12
_SKIPPED_SEEN, _SKIPPED_THERE = 24, 96
MAX_COPIES = 4
_PROBES = 48
_FINGERPRINT_BITS = 10
_FINGERPRINT_SHIFT = 32 - _FINGERPRINT_BITS
_FINGERPRINT = (1 << _FINGERPRINT_BITS) - 1
_LONG_ENOUGH = 4096
_CANCELLED = "locating the text was cancelled."


@dataclass(frozen=True, slots=True)
class Span:
    """The place in a document where a piece of a seen text stands."""

    document: int
    """The number of the locator's text, from 0."""
    start: int
    """Offset in the document's text, in bytes of its UTF-8 (see `TextFile`)."""
    end: int


class Locator:
    """`build` it once in a worker thread, then `locate` any number of texts, from any one thread at a time."""

    def __init__(self, texts: Sequence[TextFile], *, max_anchors: int = MAX_ANCHORS) -> None:
        """At most `max_anchors` grams are remembered; 4,000,000 of them take 32 MB."""
        self.texts = tuple(texts)
        self._max_anchors = max_anchors
        self._stride = MIN_STRIDE
        self._bases: list[int] = []
        self._table = array("I", [0])
        self._mask = 0

    @property
    def certain_bytes(self) -> int:
        """A verbatim slice of at least this many bytes is always found; grows with the documents' size."""
        return max(SHORTEST_BYTES, self._stride + GRAM_BYTES - 1)

    def build(self, progress: Progress | None = None, cancelled: Cancelled = never) -> bool:
        """Read all documents once; False when cancelled. Raises `Unreadable` when the disk fails.

        Texts that are not UTF-8 must be `ready` (their index built).
        """
        total = sum(text.size for text in self.texts)
        self._stride = max(MIN_STRIDE, -(-total // self._max_anchors))
        anchors = total // self._stride + len(self.texts)
        slots = 1 << max(4, (2 * anchors - 1).bit_length())
        table = array("I", bytes(4 * slots))
        mask, stride = slots - 1, self._stride
        block_bytes = max(1, BLOCK_BYTES // 4 // stride) * stride  # some milliseconds of work
        tell, turns, done, number = Throttle(progress), Turns(cancelled), 0, 0
        self._bases = []
        for text in self.texts:
            self._bases.append(number)
            for offset in range(0, text.size, block_bytes):
                if turns():
                    return False
                self._remember(text.read(block_bytes, offset), number + offset // stride, table, mask)
                tell(done + offset, total)
            number += -(-text.size // stride)
            done += text.size
        self._table, self._mask = table, mask
        tell(total, total)
        return True

    def locate(self, seen: str, cancelled: Cancelled = never) -> tuple[Span, ...]:
        """Find where the pieces of a seen text stand, in its own order; () where none does.

        Pieces that follow each other with a small gap on both sides (quotes, escapes, line ends) come as one span. Of a
        text that stands in several places one is given. Raises `Stopped` when cancelled, `Unreadable` when the disk
        fails.
        """
        pieces = _merged(self._pieces(utf8(seen), cancelled))
        return tuple(Span(piece.document, piece.start, piece.end) for piece in pieces)

    def _remember(self, block: bytes, number: int, table: array[int], mask: int) -> None:
        for place in range(0, len(block) - GRAM_BYTES + 1, self._stride):
            hashed = crc32(block[place : place + GRAM_BYTES])
            slot, fingerprint, copies = hashed & mask, hashed >> _FINGERPRINT_SHIFT, 0
            for _ in range(_PROBES):
                entry = table[slot]
                if not entry:
                    table[slot] = (number + place // self._stride + 1) << _FINGERPRINT_BITS | fingerprint
                    break
                copies += entry & _FINGERPRINT == fingerprint
                if copies >= MAX_COPIES:  # a gram that stands everywhere is remembered a few times only
                    break
                slot = (slot + 1) & mask

    def _pieces(self, data: bytes, cancelled: Cancelled) -> list[_Piece]:
        pieces: list[_Piece] = []
        table, mask = self._table, self._mask
        turns = Turns(cancelled)
        place, last = 0, len(data) - GRAM_BYTES
        while place <= last:
            if not place & 0x3FF and turns():
                raise Stopped(_CANCELLED)
            hashed = crc32(data[place : place + GRAM_BYTES])
            if table[hashed & mask] and (piece := self._grown(data, place, hashed)):
                # A gram over the match's end may tell more: of what stands in many places, one was taken.
                place = max(place + 1, piece.after - GRAM_BYTES + 1)
                while pieces and pieces[-1].first >= piece.first:  # a longer one explains it better
                    pieces.pop()
                if piece := piece.clipped(pieces[-1].after if pieces else 0, len(data)):
                    pieces.append(piece)
            else:
                place += 1
        return self._resumed(data, pieces, turns)

    def _grown(self, data: bytes, place: int, hashed: int) -> _Piece | None:
        """The longest match through the gram at `place`, or None where none is long and telling enough."""
        best: _Piece | None = None
        slot = hashed & self._mask
        for _ in range(_PROBES):
            entry = self._table[slot]
            if not entry:
                break
            if entry & _FINGERPRINT == hashed >> _FINGERPRINT_SHIFT:
                anchor = (entry >> _FINGERPRINT_BITS) - 1
                document = bisect_right(self._bases, anchor) - 1
                piece = self._match(data, place, document, (anchor - self._bases[document]) * self._stride)
                if piece.length > (best.length if best else 0):
                    best = piece
                    if piece.length >= _LONG_ENOUGH:
                        break
            slot = (slot + 1) & self._mask
        if best is None or best.length < SHORTEST_BYTES:
            return None
        telling = len(set(data[best.first : best.first + min(best.length, _LONG_ENOUGH)])) >= FEWEST_DIFFERENT_BYTES
        return best if telling else None

    def _resumed(self, data: bytes, pieces: list[_Piece], turns: Turns) -> list[_Piece]:
        """The pieces, and between them those that go on within a few bytes of one's end or lead up to one's start."""
        filled: list[_Piece] = []
        for piece, following in zip(pieces, [*pieces, None][1:], strict=True):
            first, leading = piece, []
            floor = filled[-1].after if filled else 0
            while (before := self._before(data, first)) and (before := before.clipped(floor, first.first)):
                if turns():
                    raise Stopped(_CANCELLED)
                leading.append(before)
                first = before
            filled += [*reversed(leading), piece]
            limit = following.first if following else len(data)
            while (after := self._after(data, filled[-1])) and (after := after.clipped(0, limit)):
                if turns():
                    raise Stopped(_CANCELLED)
                filled.append(after)
        return filled

    def _after(self, data: bytes, piece: _Piece) -> _Piece | None:
        there = self.texts[piece.document].read(_SKIPPED_THERE, piece.end)
        for skipped in range(_SKIPPED_SEEN):
            gram = data[piece.after + skipped : piece.after + skipped + RESUMED_BYTES]
            if len(gram) < RESUMED_BYTES:
                break
            found = there.find(gram)
            if found >= 0:
                place, offset = piece.after + skipped, piece.end + found
                length = self._agree(data, place, piece.document, offset)
                return _whole_characters(data, _Piece(piece.document, offset, offset + length, place, place + length))
        return None

    def _before(self, data: bytes, piece: _Piece) -> _Piece | None:
        back = min(_SKIPPED_THERE, piece.start)
        there = self.texts[piece.document].read(back, piece.start - back)
        for skipped in range(min(_SKIPPED_SEEN, piece.first - RESUMED_BYTES)):
            after = piece.first - skipped
            found = there.rfind(data[after - RESUMED_BYTES : after])
            if found >= 0:
                end = piece.start - back + found + RESUMED_BYTES
                length = self._agree_before(data, after, piece.document, end)
                return _whole_characters(data, _Piece(piece.document, end - length, end, after - length, after))
        return None

    def _match(self, data: bytes, place: int, document: int, offset: int) -> _Piece:
        right = self._agree(data, place, document, offset)
        left = self._agree_before(data, place, document, offset) if right else 0
        return _whole_characters(data, _Piece(document, offset - left, offset + right, place - left, place + right))

    def _agree(self, data: bytes, place: int, document: int, offset: int) -> int:
        """Count the bytes after these two places on which the seen text and the document agree."""
        agreed, step = 0, 256
        while True:
            ours = data[place + agreed : place + agreed + step]
            same = _same_prefix(ours, self.texts[document].read(len(ours), offset + agreed))
            agreed += same
            if same < step:
                return agreed
            step = min(step * 4, BLOCK_BYTES)

    def _agree_before(self, data: bytes, place: int, document: int, offset: int) -> int:
        """Count the bytes before these two places on which the seen text and the document agree."""
        agreed, step = 0, 256
        while True:
            span = min(step, place - agreed, offset - agreed)
            ours = data[place - agreed - span : place - agreed]
            theirs = self.texts[document].read(span, offset - agreed - span)
            same = _same_prefix(ours[::-1], theirs[::-1]) if len(ours) == len(theirs) else 0
            agreed += same
            if same < step:
                return agreed
            step = min(step * 4, BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes [first, after) of the seen text, and [start, end) of a document."""

    document: int
    start: int
    end: int
    first: int
    after: int

    @property
    def length(self) -> int:
        return self.after - self.first

    def clipped(self, first: int, after: int) -> _Piece | None:
        """Return the part that lies within [first, after) of the seen text; None if hardly anything."""
        head, tail = max(0, first - self.first), max(0, self.after - after)
        if self.length - head - tail < RESUMED_BYTES:
            return None
        return _Piece(self.document, self.start + head, self.end - tail, self.first + head, self.after - tail)


def _whole_characters(data: bytes, piece: _Piece) -> _Piece:
    """The piece without the parts of characters at its ends."""
    first, after = piece.first, piece.after
    while first < after and data[first] & 0xC0 == 0x80:
        first += 1
    while after > first and after < len(data) and data[after] & 0xC0 == 0x80:
        after -= 1
    return replace(
        piece, start=piece.start + first - piece.first, first=first, end=piece.end + after - piece.after, after=after
    )


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    """Join pieces with only a small gap between them."""
    merged: list[_Piece] = []
    for piece in pieces:
        if merged:
            last = merged[-1]
            near = piece.first - last.after <= MERGED_GAP_BYTES and 0 <= piece.start - last.end <= MERGED_GAP_BYTES
            if near and piece.document == last.document:
                merged[-1] = replace(last, end=piece.end, after=piece.after)
                continue
        merged.append(piece)
    return merged


def _same_prefix(one: bytes, other: bytes) -> int:
    """Count the bytes that two texts have in common from their start."""
    least, most = 0, min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    while most - least > 1:
        middle = (least + most) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle
    return least
