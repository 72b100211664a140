"""Lines whose kind must be judged, to be counted or to be joined: the tasks of OOLONG and OOLONG-Pairs.

`2031-04-17 | U042 | Once more: the paper says seven pieces, six were handed to me.` The kind is written nowhere.
Questions that have no single answer (two kinds that are equally frequent) are not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import combinations

from fleet_rlm.corpora.customer_remarks import KINDS, meanings, remarks
from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import BLOCK_BYTES
from fleet_rlm.corpora.known_answers import Question

USERS = 40
_SHARES = (30, 22, 17, 13, 10, 8)
"""The frequencies of the kinds in percent, from the most frequent to the rarest; which is which is drawn."""
_REMARKS_PER_KIND = 3_000
_AT_ONCE = 4_000
_FIRST_DAY, _DAYS = date(2031, 1, 6), 180
_USER = r"U\d{3}"


class _Letters:
    """The lines, and how often each user wrote each kind in each month."""

    def __init__(self, dice: Dice, size: int, allowed: Mapping[str, tuple[str, ...]]) -> None:
        self._dice, self._size = dice, size
        self.lines = 0
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """Lines by (user, kind, month)."""
        drawn = dict(zip(dice.shuffled(list(KINDS)), _SHARES, strict=True))
        pools = {kind: remarks(dice, kind, min(_REMARKS_PER_KIND, 50 + size // 600)) for kind in KINDS}
        # Everything that a line may say, once for each percent that it should come up: one draw makes a line.
        self._choices = [
            (user, kind, f" | {user} | ", pools[kind])
            for user, kinds in allowed.items()
            for kind in kinds
            for _ in range(drawn[kind])
        ]

    def blocks(self) -> Iterator[bytes]:
        dice, written, day = self._dice, 0, -1
        random, choices, counts = dice.random, self._choices, self.counts
        batch: list[str] = []
        batched, stamp, month = 0, "", ""
        while True:
            reached = min(_DAYS - 1, (written + batched) * _DAYS // self._size)
            if reached != day:
                day = reached
                stamp = (_FIRST_DAY + timedelta(days=day)).isoformat()
                month = stamp[:7]
            # A day's lines at once, but never so many that the size or the block is overshot by much.
            left = min(self._size - written - batched, BLOCK_BYTES, (day + 1) * self._size // _DAYS - written - batched)
            for user, kind, between, pool in dice.picks(choices, max(1, min(_AT_ONCE, left // 120))):
                line = stamp + between + pool[int(random() * len(pool))]
                counts[user, kind, month] += 1
                batch.append(line)
                batched += len(line) + 1
                self.lines += 1
            over = written + batched >= self._size
            if over or batched >= BLOCK_BYTES:
                yield ("\n".join(batch) + "\n").encode("ascii")
                written += batched
                batch, batched = [], 0
                if over:
                    return

    def of(self, field: int) -> Counter[str]:
        """Count the lines of each user (0), kind (1) or month (2)."""
        found: Counter[str] = Counter()
        for key, count in self.counts.items():
            found[key[field]] += count
        return found


class Counts(_Letters):
    """Questions whose answers are counts over all lines."""

    def __init__(self, dice: Dice, size: int) -> None:
        super().__init__(dice, size, {user: tuple(KINDS) for user in _users()})

    def questions(self) -> tuple[Question, ...]:
        kinds, users = self.of(1), self.of(0)
        ordered = [kind for kind, _ in kinds.most_common()]
        questions = []
        for place, kind in ((1, ordered[min(1, len(ordered) - 1)]), (2, ordered[-1])):
            questions.append(_number(f"count-{place}", f"How many lines are of the kind {kind}?", kinds[kind]))
        if (most := _single(kinds, max)) is not None:
            questions.append(_name("most-frequent", "Which kind is the most frequent?", most, list(KINDS)))
        if (least := _single(kinds, min)) is not None:
            questions.append(_name("rarest", "Which kind is the rarest?", least, list(KINDS)))
        if (writer := _single(users, max)) is not None:
            questions.append(_name("writer", "Which user wrote the most lines? Answer with the user's id.", writer))
            kind = ordered[0]
            own = sum(count for (user, one, _), count in self.counts.items() if (user, one) == (writer, kind))
            questions.append(_number("count-of-user", f"How many lines of the kind {kind} did {writer} write?", own))
        months: Counter[str] = Counter()
        for (_, kind, month), count in self.counts.items():
            if kind == ordered[0]:
                months[month] += count
        if (best := _single(months, max)) is not None:
            asked = f"In which month (YYYY-MM) are there most lines of the kind {ordered[0]}?"
            questions.append(_name("month", asked, best, pattern=r"2031-\d\d"))
        return tuple(questions)


class Pairs(_Letters):
    """Questions whose answers are pairs of users: every line of both must be judged."""

    def __init__(self, dice: Dice, size: int) -> None:
        users = _users()
        self._rare = dice.some(list(KINDS), 3)
        usual = tuple(kind for kind in KINDS if kind not in self._rare)
        groups = [dice.some(users, USERS // 4) for _ in self._rare]
        allowed = {
            user: usual + tuple(kind for kind, group in zip(self._rare, groups, strict=True) if user in group)
            for user in users
        }
        super().__init__(dice, size, allowed)

    def questions(self) -> tuple[Question, ...]:
        wrote = {kind: {user for (user, one, _) in self.counts if one == kind} for kind in self._rare}
        first, second, third = self._rare
        both = set(combinations(sorted(wrote[first]), 2))
        mixed = {
            (min(a, b), max(a, b)) for a in wrote[second] - wrote[third] for b in wrote[third] - wrote[second] if a != b
        }
        order = "List them all, each pair once, as (U001, U002)."
        return (
            _pairs("both", f"Which pairs of users both wrote at least one line of the kind {first}? {order}", both),
            _pairs(
                "one-each",
                f"Which pairs of users are such that one wrote at least one line of the kind {second} and none of the "
                f"kind {third}, and the other at least one of the kind {third} and none of the kind {second}? {order}",
                mixed,
            ),
        )


def _users() -> list[str]:
    return [f"U{number:03}" for number in range(1, USERS + 1)]


def _asked(question: str) -> str:
    return (
        "Each line of the text holds a date, a user's id and a customer's remark. Each remark is of exactly one kind: "
        f"{meanings()}. {question}"
    )


def _number(name: str, question: str, answer: int) -> Question:
    return Question(id=name, question=_asked(question), answer=str(answer), match="number", expected=((str(answer),),))


def _name(name: str, question: str, answer: str, among: list[str] | None = None, pattern: str = _USER) -> Question:
    found = rf"\b(?:{'|'.join(among)})\b" if among else pattern
    return Question(
        id=name, question=_asked(question), answer=answer, match="items", expected=((answer,),), pattern=found
    )


def _pairs(name: str, question: str, pairs: set[tuple[str, str]]) -> Question:
    listed = tuple(sorted(pairs))
    words = ", ".join(f"({one}, {other})" for one, other in listed) or "There are none."
    return Question(id=name, question=_asked(question), answer=words, match="pairs", expected=listed, pattern=_USER)


def _single(counts: Counter[str], best: Callable[[Iterable[int]], int]) -> str | None:
    """The name with the highest (lowest) count; None where two share it."""
    wanted = best(counts.values())
    names = [name for name, count in counts.items() if count == wanted]
    return names[0] if len(names) == 1 else None
