"""Text without end that reads like the minutes of a shipping company, and sentences planted in it.

Varied words, numbers, headings, and distractors for what is planted: codes of other depots, other news of the same
ones. The text is ASCII, so that a byte is a character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.known_answers import Place

BLOCK_BYTES = 1 << 20
POOL = 30_000
"""Different sentences."""
_AT_ONCE = 6_000


def listed(text: str) -> list[str]:
    """The words between the commas."""
    return " ".join(text.split()).split(", ")


PLACES = listed(
    """Harrow, Brackley, Thornbury, Kelso, Penrith, Alford, Whitby, Ludlow, Oakham, Settle, Wick, Tenby, Callander,
Hexham, Totnes, Bruton, Crail, Diss, Fowey, Garstang, Helston, Ilkley, Jarrow, Keswick, Lydd, Minehead, Nairn,
Oban, Pickering, Quorn, Romsey, Selby, Thirsk, Ulverston, Ventnor, Wantage, Yarm, Marlow, Ashbourne, Bideford,
Chard, Dunster, Evesham, Frome"""
)
PEOPLE = listed(
    """Ines, Okafor, Tomasz, Wren, Aiko, Lindqvist, Bram, Castellan, Dara, Quill, Emeka, Voss, Farida, Nolan, Gwen,
Ashdown, Henrik, Salt, Isla, Moreau, Jonas, Peel, Katya, Brandt, Leon, Hargreave, Mina, Strand"""
)
THINGS = listed(
    """ledger, pallet, manifest, crane, invoice, tarpaulin, lorry, gatehouse, weighbridge, seal, barge, forklift,
container, ferry, timetable, customs-form, roster, padlock, generator, beacon, warehouse, conveyor, label,
scale, trolley, winch, skip, quay, dispatch, refund, claim, contract, tariff, survey, audit, memo, bulletin,
rehearsal, drill, inspection"""
)
ADJECTIVES = listed(
    """late, sealed, damp, spare, broken, northern, mislabelled, empty, borrowed, second, heavy, quiet, provisional,
repainted, narrow, overdue, insured, temporary, frozen, unclaimed, bonded, returned, half-loaded, uncounted"""
)
VERBS = listed(
    """arrived, waited, vanished, doubled, failed, reopened, cleared, stalled, passed, expired, overran, returned,
settled, improved, slipped"""
)
TIMES = listed(
    """before dawn, after the storm, on a Tuesday, during the audit, at the second bell, in the third week, without
notice, over the holidays, while the scales were down, by the northern road, as the tide turned, under the old
tariff"""
)
DEVICES = listed("access, alarm, gate, safe, radio, lift")


@dataclass(frozen=True, slots=True)
class Plant:
    """A sentence to hide, as close to a depth (0.0 … 1.0) as paragraphs allow."""

    text: str
    depth: float


class Filler:
    """Paragraphs with sentences planted in them. Take all of `blocks`; then `places` says where those stand."""

    def __init__(
        self, dice: Dice, size: int, plants: Sequence[Plant] = (), avoid: Callable[[str], bool] = lambda _: False
    ) -> None:
        """About `size` bytes. No sentence of the filler is one that `avoid` is true of, nor are its digits there."""
        self._dice, self._size, self._avoid = dice, size, avoid
        self._plants = sorted(enumerate(plants), key=lambda each: each[1].depth)
        self._found: dict[int, tuple[int, int, int]] = {}
        self.bytes = 0

    @property
    def places(self) -> tuple[Place, ...]:
        """The place of each planted sentence, in the order in which they were given."""
        found = (self._found[number] for number in sorted(self._found))
        return tuple(
            Place(start=start, end=end, line=line, depth=round(start / max(self.bytes, 1), 4))
            for start, end, line in found
        )

    def blocks(self) -> Iterator[bytes]:
        """The text, about a MiB at a time."""
        waiting = list(reversed(self._plants))
        batch: list[str] = []
        batched = line = 0
        for paragraph in self._paragraphs():
            here = self.bytes + batched
            while waiting and here >= waiting[-1][1].depth * self._size:
                number, plant = waiting.pop()
                start = here + len(paragraph) + 1
                self._found[number] = (start, start + len(plant.text), line + 1)
                paragraph = f"{paragraph} {plant.text}"
                here = self.bytes + batched  # several may share a paragraph in a short text
            batch.append(paragraph)
            batched += len(paragraph) + 2
            line += 2
            if batched >= BLOCK_BYTES or self.bytes + batched >= self._size:
                while waiting and self.bytes + batched >= self._size:
                    number, plant = waiting.pop()
                    self._found[number] = (self.bytes + batched, self.bytes + batched + len(plant.text), line + 1)
                    batch.append(plant.text)
                    batched += len(plant.text) + 2
                    line += 2
                yield ("\n\n".join(batch) + "\n\n").encode("ascii")
                self.bytes += batched
                batch, batched = [], 0
                if self.bytes >= self._size:
                    return

    def _paragraphs(self) -> Iterator[str]:
        dice = self._dice
        pool = [
            one for one in (_sentence(dice) for _ in range(min(POOL, 200 + self._size // 30))) if not self._avoid(one)
        ]
        number = 0
        while True:
            sentences = dice.picks(pool, min(_AT_ONCE, 100 + self._size // 30))
            taken = 0
            while taken < len(sentences):
                number += 1
                while self._avoid(f"[{number}]"):
                    number += 1
                if number % 250 == 1:
                    title = f"{dice.pick(PLACES)}, {dice.pick(ADJECTIVES)} {dice.pick(THINGS)}s"
                    yield f"## Minutes {number // 250 + 1}: {title}"
                length = 3 + number * 7 % 5
                yield f"[{number}] " + " ".join(sentences[taken : taken + length])
                taken += length


def avoiding(*words: str) -> Callable[[str], bool]:
    """True of a sentence that holds one of the words, as a word."""
    if not words:
        return lambda _: False
    found = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)").search
    return lambda sentence: found(sentence) is not None


def _sentence(dice: Dice) -> str:
    place, thing, other = dice.pick(PLACES), dice.pick(THINGS), dice.pick(THINGS)
    person, adjective, when = dice.pick(PEOPLE), dice.pick(ADJECTIVES), dice.pick(TIMES)
    number = dice.between(2, 9989)
    match dice.below(10):
        case 0:
            return f"The {adjective} {thing} from {place} {dice.pick(VERBS)} {when}."
        case 1:
            return f"{person} counted {number} {thing}s in {place} and signed for the {other}."
        case 2:
            return f"Nobody could say why the {thing} of lot {number} {dice.pick(VERBS)} {when}."
        case 3:
            return f"{when[0].upper()}{when[1:]}, {person} moved the {adjective} {thing} to bay {number % 97}."
        case 4:
            return f"The {place} depot asked for {number % 60} more {adjective} {thing}s; {person} agreed."
        case 5:
            return f"A {adjective} {thing} costs {number / 100:.2f} marks, the {other} included."
        case 6:
            return f"See entry {number} for the {thing} that {person} lent to {dice.pick(PEOPLE)}."
        case 7:
            return f"The {thing} and the {other} {dice.pick(VERBS)} together {when}, {person} wrote."
        case 8:
            return f"The {dice.pick(DEVICES)} code of the {place} depot is {1000 + number % 8990}."
        case _:
            return f"In {place} the {adjective} {other} {dice.pick(VERBS)} twice, once {when}."
