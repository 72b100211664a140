"""Where in the documents does a text stand that a model saw? Provenance is derived, by matching.

Every `stride` bytes of the documents, a short gram (24 bytes) is remembered in a compact table: its place and a few
bits of its hash, 4 bytes an entry. A seen text is looked up at each of its bytes until one of its grams is known; the
match is then confirmed in the document, grown in both directions as far as the two agree, and the search goes on after
it. So a prompt with a wrapper around a slice of a document costs about as much as comparing the two, and a slice is
found in full from `Locator.certain_bytes` on (55 bytes, up to 128 MB of documents), wherever it begins. Shorter ones
are found by luck, and below 32 bytes not at all: a few words stand everywhere.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet_rlm.documents.decode import utf8
from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.documents.work import BLOCK_BYTES, Cancelled, Progress, Stopped, Throttle, never

GRAM_BYTES = 24
MIN_STRIDE = 32
MAX_ANCHORS = 4_000_000
SHORTEST_BYTES = 32
FEWEST_DIFFERENT_BYTES = 8
MERGED_GAP_BYTES = 64
_FINGERPRINT_BITS = 10
_PROBES = 4
_LONG_ENOUGH = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a seen text and the place in a document where the same bytes stand."""

    document: int
    """Which of the locator's texts, from 0."""
    start: int
    """Offset in the document's text, in bytes of its UTF-8 (see `TextFile`)."""
    end: int
    seen_start: int
    """Characters of the seen text."""
    seen_end: int


class Locator:
    """`build` it once in a worker thread, then `locate` any number of texts, from any one thread at a time."""

    def __init__(self, texts: Sequence[TextFile], *, max_anchors: int = MAX_ANCHORS) -> None:
        """At `MAX_ANCHORS` the table takes 32 MB (at 40 MB of documents: 16 MB)."""
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
        block_bytes = max(1, BLOCK_BYTES // stride) * stride
        tell, done, number = Throttle(progress), 0, 0
        self._bases = []
        for text in self.texts:
            self._bases.append(number)
            for offset in range(0, text.size, block_bytes):
                if cancelled():
                    return False
                self._remember(text.read(block_bytes, offset), number + offset // stride, table, mask)
                tell(done + offset, total)
            number += -(-text.size // stride)
            done += text.size
        self._table, self._mask = table, mask
        tell(total, total)
        return True

    def locate(self, seen: str, cancelled: Cancelled = never) -> tuple[Span, ...]:
        """Where the pieces of a seen text stand, in the order in which it has them; () where none does.

        Pieces that follow each other with a small gap on both sides (quotes, escapes, line ends) come as one span. Of a
        text that stands in several places one is given. Raises `Stopped` when cancelled, `Unreadable` when the disk
        fails.
        """
        data = utf8(seen)
        spans, character, byte = [], 0, 0
        for piece in _merged(self._pieces(data, cancelled)):
            first = character + _characters(data[byte : piece.first])
            after = first + _characters(data[piece.first : piece.after])
            spans.append(Span(piece.document, piece.start, piece.end, first, after))
            character, byte = after, piece.after
        return tuple(spans)

    def _remember(self, block: bytes, number: int, table: array[int], mask: int) -> None:
        for place in range(0, len(block) - GRAM_BYTES + 1, self._stride):
            hashed = hash(block[place : place + GRAM_BYTES])
            slot = hashed & mask
            for _ in range(_PROBES):  # a gram that stands everywhere is remembered a few times only
                if not table[slot]:
                    table[slot] = (number + place // self._stride + 1) << _FINGERPRINT_BITS | _fingerprint(hashed)
                    break
                slot = (slot + 1) & mask

    def _pieces(self, data: bytes, cancelled: Cancelled) -> list[_Piece]:
        pieces: list[_Piece] = []
        table, mask = self._table, self._mask
        place, last = 0, len(data) - GRAM_BYTES
        while place <= last:
            if not place & 0xFFF and cancelled():
                raise Stopped("locating the text was cancelled.")
            hashed = hash(data[place : place + GRAM_BYTES])
            if table[hashed & mask] and (piece := self._grown(data, place, hashed)):
                while pieces and pieces[-1].first >= piece.first:  # a longer one explains it better
                    pieces.pop()
                if pieces and (overlap := pieces[-1].after - piece.first) > 0:
                    piece = replace(piece, start=piece.start + overlap, first=piece.first + overlap)
                pieces.append(piece)
                place = piece.after
            else:
                place += 1
        return pieces

    def _grown(self, data: bytes, place: int, hashed: int) -> _Piece | None:
        """The longest match through the gram at `place`, or None where none is long and telling enough."""
        best: _Piece | None = None
        slot = hashed & self._mask
        for _ in range(_PROBES):
            entry = self._table[slot]
            if not entry:
                break
            if entry & ((1 << _FINGERPRINT_BITS) - 1) == _fingerprint(hashed):
                piece = self._match(data, place, (entry >> _FINGERPRINT_BITS) - 1)
                if piece.length > (best.length if best else 0):
                    best = piece
                    if piece.length >= _LONG_ENOUGH:
                        break
            slot = (slot + 1) & self._mask
        if best is None or best.length < SHORTEST_BYTES:
            return None
        telling = len(set(data[best.first : best.first + min(best.length, _LONG_ENOUGH)])) >= FEWEST_DIFFERENT_BYTES
        return best if telling else None

    def _match(self, data: bytes, place: int, anchor: int) -> _Piece:
        document = bisect_right(self._bases, anchor) - 1
        text, offset = self.texts[document], (anchor - self._bases[document]) * self._stride
        right, step = 0, 256
        while True:
            ours = data[place + right : place + right + step]
            theirs = text.read(len(ours), offset + right)
            same = _same_prefix(ours, theirs)
            right += same
            if same < step:
                break
            step = min(step * 4, BLOCK_BYTES)
        left, step = 0, 256
        while right:
            span = min(step, place - left, offset - left)
            ours = data[place - left - span : place - left]
            theirs = text.read(span, offset - left - span)
            same = _same_prefix(ours[::-1], theirs[::-1])
            left += same
            if same < step:
                break
            step = min(step * 4, BLOCK_BYTES)
        first, after = place - left, place + right
        while first < after and data[first] & 0xC0 == 0x80:
            first += 1
        while after > first and after < len(data) and data[after] & 0xC0 == 0x80:
            after -= 1
        return _Piece(document, offset + first - place, offset + after - place, first, after)


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


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    """The same with small gaps closed."""
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


def _characters(data: bytes) -> int:
    return len(data) if data.isascii() else len(data.decode("utf-8", "replace"))


def _fingerprint(hashed: int) -> int:
    return hashed >> 40 & ((1 << _FINGERPRINT_BITS) - 1)


def _same_prefix(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common from their start."""
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
