"""Chains: the answer stands at the end of several sentences, each of which only leads to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import PLACES, Filler, Plant, avoiding, listed
from fleet_rlm.corpora.known_answers import Question

LENGTHS = (2, 3, 4, 5)
"""Sentences that an answer needs, for each of the questions."""
MOST_DISTRACTORS = 400
_BYTES_PER_DISTRACTOR = 4_000

_FIRST = listed(
    """Ottilie, Anselm, Beatrix, Corin, Delphine, Eskil, Fenella, Gideon, Hedda, Ignace, Jessamy, Kaspar, Linnea,
Magnus, Nerys, Osric, Petra, Quentin, Rosalind, Sverre, Tamsin, Ulrik, Viola, Wilfred, Xanthe, Yorick, Zelda, Ambrose,
Briony, Cedric"""
)
_LAST = listed(
    """Farrow, Birkett, Cobham, Drewitt, Eastlake, Fairclough, Garrick, Hollis, Inglis, Jellicoe, Kinross, Larkham,
Merriden, Netherby, Orchard, Pomfret, Quayle, Radley, Sandford, Tregear, Underhill, Vickery, Wadham, Yelland, Aldous,
Bracken, Carlyon, Dunmore, Ellery, Fitch"""
)
_COLOURS = listed("green, amber, black, ivory, scarlet, azure, copper, violet")
_KEEPS = (
    "The {seal} seal of {place} is kept by {one}.",
    "{one} has the {seal} seal of {place} in a drawer.",
    "Whoever wants something stamped with {place}'s {seal} seal must ask {one}.",
)
_DEPUTY = (
    "{one}'s deputy is {two}.",
    "When {one} is away, {two} is the deputy.",
    "{two} was named deputy to {one} last spring.",
    "As the deputy of {one} the board chose {two}.",
)
_LOCKER = (
    "The locker of {one} has the number {number}.",
    "{one} keeps boots and a lamp in locker {number}.",
    "Locker {number} belongs to {one}.",
)


@dataclass(frozen=True, slots=True)
class _Chain:
    seal: str
    place: str
    people: tuple[str, ...]
    number: int


class Chains:
    """From a seal to its keeper, from deputy to deputy, and to the number of a locker."""

    def __init__(self, dice: Dice, size: int, lengths: Sequence[int] = LENGTHS) -> None:
        distractors = min(MOST_DISTRACTORS, size // _BYTES_PER_DISTRACTOR)
        names = dice.shuffled([f"{first} {last}" for first in _FIRST for last in _LAST])
        seals = dice.shuffled([(colour, place) for colour in _COLOURS for place in PLACES])
        lockers = dice.some(range(1000, 9999), len(lengths) + distractors)
        self._chains = [
            _Chain(*seals.pop(), tuple(names.pop() for _ in range(length - 1)), lockers.pop()) for length in lengths
        ]
        self._sentences = [_sentences(dice, chain) for chain in self._chains]
        others: list[str] = []
        while len(others) < distractors:
            length = 2 + len(others) % 4
            people = tuple(dice.pick(names) for _ in range(length - 1))
            if len(set(people)) == len(people):
                others += _sentences(dice, _Chain(*dice.pick(seals), people, lockers[len(others)]))
        own = [text for sentences in self._sentences for text in sentences]
        plants = [Plant(text, dice.random()) for text in [*own, *others]]
        codes = avoiding(*(str(chain.number) for chain in self._chains))
        self._filler = Filler(dice, size, plants, codes)

    def blocks(self) -> Iterator[bytes]:
        return self._filler.blocks()

    def questions(self) -> tuple[Question, ...]:
        places, questions = iter(self._filler.places), []
        for number, (chain, sentences) in enumerate(zip(self._chains, self._sentences, strict=True), 1):
            whose = f"the keeper of the {chain.seal} seal of {chain.place}"
            for _ in chain.people[1:]:
                whose = f"the deputy of {whose}"
            questions.append(
                Question(
                    id=f"chain-{number}-of-{len(sentences)}",
                    question=f"Which number has the locker of {whose}?",
                    answer=f"{chain.number}, by way of {', '.join(chain.people)}",
                    match="number",
                    expected=((str(chain.number),),),
                    evidence=tuple(next(places) for _ in sentences),
                )
            )
        return tuple(questions)


def _sentences(dice: Dice, chain: _Chain) -> list[str]:
    """Each step of a chain, in one of its wordings."""
    found = [dice.pick(_KEEPS).format(seal=chain.seal, place=chain.place, one=chain.people[0])]
    found += [
        dice.pick(_DEPUTY).format(one=one, two=two) for one, two in zip(chain.people, chain.people[1:], strict=False)
    ]
    return [*found, dice.pick(_LOCKER).format(one=chain.people[-1], number=chain.number)]
