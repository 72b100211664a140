"""Needles in a haystack: one sentence each that answers a question, and text around it that doesn't."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import PLACES, Filler, Plant, avoiding
from fleet_rlm.corpora.known_answers import Question

DEPTHS = (0.1, 0.5, 0.9)
_SAYINGS = (
    "The access code of the {place} depot is {code}.",
    "To get into the {place} depot at night one dials {code}.",
    "Whoever stands before the {place} depot's door needs the digits {code}.",
    "Since the autumn the door of the {place} depot opens with {code}.",
    "{code} is what the keypad at the {place} depot's entrance wants.",
)
_CODE = r"(?<!\d)\d{4}(?!\d)"
_ASKED = "What is the access code of the {place} depot?"


class Needles:
    """Access codes of depots, one at each of the depths."""

    def __init__(self, dice: Dice, size: int, depths: Sequence[float] = DEPTHS) -> None:
        places = dice.some(PLACES, len(depths))
        codes = dice.some(range(1000, 9999), len(depths))
        self._known = [(place, str(code)) for place, code in zip(places, codes, strict=True)]
        plants = [
            Plant(dice.pick(_SAYINGS).format(place=place, code=code), depth)
            for (place, code), depth in zip(self._known, depths, strict=True)
        ]
        self._filler = Filler(dice, size, plants, _codes_of(places, [code for _, code in self._known]))

    def blocks(self) -> Iterator[bytes]:
        return self._filler.blocks()

    def questions(self) -> tuple[Question, ...]:
        return tuple(
            Question(
                id=f"needle-{number}",
                question=_ASKED.format(place=place),
                answer=code,
                match="number",
                expected=((code,),),
                evidence=(where,),
            )
            for number, ((place, code), where) in enumerate(zip(self._known, self._filler.places, strict=True), 1)
        )


class Nothing:
    """The text and questions of `Needles` without an answer in it: only codes of other doors and of other depots."""

    def __init__(self, dice: Dice, size: int, count: int = 3) -> None:
        self._places = dice.some(PLACES, count)
        self._filler = Filler(dice, size, (), _codes_of(self._places, []))

    def blocks(self) -> Iterator[bytes]:
        return self._filler.blocks()

    def questions(self) -> tuple[Question, ...]:
        return tuple(
            Question(
                id=f"absent-{number}",
                question=_ASKED.format(place=place),
                answer="The text does not say.",
                match="absent",
                pattern=_CODE,
            )
            for number, place in enumerate(self._places, 1)
        )


def _codes_of(places: Sequence[str], codes: Sequence[str]) -> Callable[[str], bool]:
    """True of sentences that give an answer away, or hold a code that is one."""
    taken = avoiding(*codes)
    return lambda sentence: taken(sentence) or any(f"access code of the {place} depot" in sentence for place in places)
