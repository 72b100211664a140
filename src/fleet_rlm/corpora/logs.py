"""A log of several machines: questions about ranges of time, and one incident in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import BLOCK_BYTES
from fleet_rlm.corpora.known_answers import Question

_START = datetime(2031, 3, 2, 4, 0, tzinfo=UTC)
_MINUTE = "%Y-%m-%dT%H:%M:"
_STEPS = range(1, 380)
"""Milliseconds from a line to the next."""
_AT_ONCE = 1_000
_HOSTS = ("quay-1", "quay-2", "gate-1", "gate-2", "gate-3", "scale-1", "crane-1", "crane-2")
_SERVICES = ("booking", "tracking", "manifest", "webhook", "ledger", "customs")
_CODES = ("E-1107", "E-2203", "E-3310", "E-4402", "E-5519", "E-7001")
_MESSAGES = (
    "took the request of {who} in {n} ms", "wrote {n} rows for {who}", "answered {who} from the cache, {n} ms",
    "sent {n} bytes to {who}", "{who} logged in", "the queue holds {n} jobs", "renewed the token of {who}",
    "{who} asked for page {n}", "the lease of job {n} went to {who}", "closed {n} idle connections",
)  # fmt: skip
_WARNINGS = ("the queue holds {n} jobs, that is many", "{who} asked again after {n} ms", "the disk is {p} % full")
_ERRORS = (
    "{code} no answer from {who} within {n} ms", "{code} job {n} of {who} was given up", "{code} refused by {who}",
    "{code} could not write row {n}", "{code} the connection to {who} broke",
)  # fmt: skip
_WHO = (
    "northline", "kestrel", "halyard", "tern", "acme", "hollis", "fenn", "brook", "mallard", "osprey", "plover",
    "stint",
)  # fmt: skip
_RARE = "E-9090"
_POOL, _ERRORS_IN_POOL = 20_000, 500
_GAP_MINUTES = 17


class Logs:
    """Lines with times that only grow; some errors, a burst of a rare one, and a silence of some minutes."""

    def __init__(self, dice: Dice, size: int) -> None:
        self._dice, self._size = dice, size
        pool = min(_POOL, 200 + size // 200)
        errors = max(5, pool * _ERRORS_IN_POOL // _POOL)
        self._tails = [self._error(dice.pick(_CODES)) for _ in range(errors)]
        self._tails += [self._usual() for _ in range(pool - errors)]
        self._errors = errors
        self._seen: list[tuple[int, str]] = []  # (ms since the start, tail) of every error of the pool
        burst, gap = dice.random() * 0.3 + 0.15, dice.random() * 0.3 + 0.6
        self._burst = (int(size * burst), int(size * (burst + 0.02)))
        self._gap_at = int(size * gap)
        self._rare: list[tuple[int, str]] = []
        self._gap = (0, 0)
        self._last = 0

    def blocks(self) -> Iterator[bytes]:
        dice, errors = self._dice, frozenset(self._tails[: self._errors])
        together = max(2, min(_AT_ONCE, self._size // 5_000))
        now = minute = written = batched = 0
        prefix = _START.strftime(_MINUTE)
        batch: list[str] = []
        while written + batched < self._size:
            here = written + batched
            tails = dice.picks(self._tails, together)
            steps = dice.picks(_STEPS, together)
            if not self._gap[1] and here >= self._gap_at:
                steps[0] += _GAP_MINUTES * 60_000
                self._gap = (now, now + steps[0])
            rare = here >= self._burst[0] and (here < self._burst[1] or not self._rare)
            if rare:
                tails = [self._error(_RARE) if number % 3 == 0 else tail for number, tail in enumerate(tails)]
            for step, tail in zip(steps, tails, strict=True):
                now += step
                if now - minute >= 60_000:
                    minute = now // 60_000 * 60_000
                    prefix = (_START + timedelta(milliseconds=minute)).strftime(_MINUTE)
                line = f"{prefix}{(now - minute) // 1000:02}.{now % 1000:03}Z {tail}"
                batch.append(line)
                batched += len(line) + 1
                if tail in errors:
                    self._seen.append((now, tail))
                elif rare and _RARE in tail:
                    self._rare.append((now, tail))
            if batched >= BLOCK_BYTES:
                yield ("\n".join(batch) + "\n").encode("ascii")
                written, batched, batch = written + batched, 0, []
        self._last = now
        if batch:
            yield ("\n".join(batch) + "\n").encode("ascii")

    def questions(self) -> tuple[Question, ...]:
        round_to = 60_000 if self._last > 3_600_000 else 1_000
        start, end = (share // round_to * round_to for share in (self._last // 5, self._last * 3 // 5))
        window = [(ms, tail) for ms, tail in (*self._seen, *self._rare) if start <= ms < end]
        between = f"from {_when(start)} (included) to {_when(end)} (not included)"
        codes = Counter(tail.split()[3] for _, tail in window)
        services = Counter(tail.split()[2] for _, tail in window)
        hosts = sorted({tail.split()[0] for _, tail in self._rare})
        first, last = self._rare[0][0], self._rare[-1][0]
        questions = [
            _number("errors", f"How many lines of level ERROR are there {between}?", len(window)),
            Question(
                id="burst",
                question=f"When did {_RARE} occur first, and when last? Answer with both times as the log has them.",
                answer=f"{_when(first)} and {_when(last)}",
                match="facts",
                expected=((_when(first),), (_when(last),)),
            ),
            Question(
                id="hosts",
                question=f"Which machines logged {_RARE}?",
                answer=", ".join(hosts),
                match="items",
                expected=tuple((host,) for host in hosts),
                pattern=r"\b(?:quay|gate|scale|crane)-\d\b",
            ),
            Question(
                id="silence",
                question="Between which two times did no machine log anything for more than a quarter of an hour? "
                "Answer with the times of the last line before and of the first line after it.",
                answer=f"{_when(self._gap[0])} and {_when(self._gap[1])}",
                match="facts",
                expected=((_when(self._gap[0]),), (_when(self._gap[1]),)),
            ),
        ]
        if (code := _leader(codes)) is not None:
            questions.append(_number("code", f"How often does {code} occur {between}?", codes[code]))
        if (service := _leader(services)) is not None:
            questions.append(
                Question(
                    id="service",
                    question=f"Which service logged the most lines of level ERROR {between}?",
                    answer=service,
                    match="items",
                    expected=((service,),),
                    pattern=rf"\b(?:{'|'.join(_SERVICES)})\b",
                )
            )
        return tuple(questions)

    def _usual(self) -> str:
        dice = self._dice
        warns = dice.below(12) == 0
        said = self._filled(dice.pick(_WARNINGS if warns else _MESSAGES), "")
        return f"{dice.pick(_HOSTS)} {'WARN' if warns else 'INFO'} {dice.pick(_SERVICES)} {said}"

    def _error(self, code: str) -> str:
        dice = self._dice
        return f"{dice.pick(_HOSTS)} ERROR {dice.pick(_SERVICES)} {self._filled(dice.pick(_ERRORS), code)}"

    def _filled(self, message: str, code: str) -> str:
        dice = self._dice
        said = message.format(who=dice.pick(_WHO), n=dice.between(2, 9000), p=dice.between(80, 99), code=code)
        return f"{said} trace={dice.below(1 << 32):08x}"


def _when(ms: int) -> str:
    return (_START + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"


def _number(name: str, question: str, answer: int) -> Question:
    return Question(id=name, question=question, answer=str(answer), match="number", expected=((str(answer),),))


def _leader(counts: Counter[str]) -> str | None:
    best = counts.most_common(2)
    return best[0][0] if best and (len(best) == 1 or best[0][1] > best[1][1]) else None
