"""The kinds of corpora, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from fleet_rlm.corpora.chains import Chains
from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.known_answers import Question
from fleet_rlm.corpora.letters import Counts, Pairs
from fleet_rlm.corpora.logs import Logs
from fleet_rlm.corpora.needles import Needles, Nothing
from fleet_rlm.documents.document_work import DocumentError


class UnknownKind(DocumentError):
    """There is no kind of corpus by that name."""


class Making(Protocol):
    """A corpus that is being made: take all of `blocks`, then its questions are known."""

    def blocks(self) -> Iterator[bytes]:
        """The text, piece by piece."""

    def questions(self) -> tuple[Question, ...]:
        """The questions that can be asked, with their answers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of corpus."""

    name: str
    summary: str
    make: Callable[[Dice, int], Making]
    """Makes the corpus from the dice and the size in bytes."""


KINDS = MappingProxyType({
    kind.name: kind
    for kind in (
        Kind("needles", "one sentence that answers, at 10 %, 50 % and 90 % of the text", Needles),
        Kind("nothing", "the same text and questions, and no answer in it", Nothing),
        Kind("chains", "answers at the end of 2 to 5 sentences that stand far apart", Chains),
        Kind("counts", "lines whose kind must be judged, to be counted (as OOLONG)", Counts),
        Kind("pairs", "lines whose kind must be judged, to be joined (as OOLONG-Pairs)", Pairs),
        Kind("logs", "a log: ranges of time, an incident, a silence", Logs),
    )
})  # fmt: skip


def get(name: str) -> Kind:
    """A kind by its name. Raises `UnknownKind`."""
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1)
    meant = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(KINDS)}."
    raise UnknownKind(f"there is no corpus of the kind {name!r}.", meant)
