"""Chance that is the same on every machine and for every version of Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws from `random.Random.random` alone: Python promises that its numbers stay the same for a seed, and not for
    `choices` or `shuffle`.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self.random() * limit)

    def between(self, least: int, most: int) -> int:
        """A whole number from `least` to `most`, both included."""
        return least + self.below(most - least + 1)

    def pick(self, from_: Sequence[T]) -> T:
        """One of them."""
        return from_[int(self.random() * len(from_))]

    def picks(self, from_: Sequence[T], count: int) -> list[T]:
        """`count` of them, the same one possibly several times."""
        draw, size = self.random, len(from_)
        return [from_[int(draw() * size)] for _ in range(count)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of them in another order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed

    def some(self, from_: Sequence[T], count: int) -> list[T]:
        """`count` different ones."""
        return self.shuffled(from_)[:count]
