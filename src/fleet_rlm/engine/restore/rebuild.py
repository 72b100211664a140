"""The state of a sandbox as what made it: the cells that ran and what their calls were answered, to be run again.

A `Journal` holds the steps of one agent. Running them again in order, with every call answered from its step's `Tape`,
gives a fresh sandbox the same state: nothing is asked twice, nothing is paid for twice. What can't be the same again
(a clock, chance, a step that had been interrupted) is found by comparing, and said.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from dspy.primitives.facade import CONSTRUCT_TOOL

from fleet_rlm.engine.models.observed_engine import CallInterrupted
from fleet_rlm.engine.run_errors import AgentStopped
from fleet_rlm.figures import plural
from fleet_rlm.sandbox.host.outcomes import ExecutionOutcome
from fleet_rlm.sandbox.host.protocol import to_json
from fleet_rlm.terminal_text import clean_line

Tool = Callable[..., Any]  # a host function of any shape: dspy's, or a tool of the person's

COMPARED_CHARS = 20_000
"""Of a step's output, kept to say where another run of it differs."""
MOST_DIFFERENCES = 5
_QUOTED = 60
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_REPEATABLE = frozenset({"ok", "error", "submitted"})
_NOT_AN_ANSWER = (CallInterrupted, AgentStopped)
"""What these end was never answered: it is asked again."""


# -- calls ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Call:
    """A call of generated code's, and what came of it; the future holds a value that can be given again."""

    key: bytes
    reply: Future[Callable[[], Any]] = field(default_factory=Future)


class Tape:
    """What the host's functions answered one cell, by function and arguments, in the order in which they were asked.

    A call that is still under way when its cell is run again is waited for, not made twice. Thread-safe.
    """

    def __init__(
        self, wait: Callable[[Future[Any]], bool], recalls: Callable[[], None], before: Iterable[_Call] = ()
    ) -> None:
        """`wait` returns when a future is done, with False when the run ended first; `recalls` is told, in the call's
        own context, of each answer that is given again.
        """
        self._wait, self._recalls = wait, recalls
        self._lock = threading.Lock()
        self._calls = list(before)
        self._known: defaultdict[bytes, deque[_Call]] = defaultdict(deque)
        for call in self._calls:
            self._known[call.key].append(call)
        self.recalled = 0
        """Calls answered from an earlier execution of the cell."""
        self.asked = 0
        """Calls that were made."""

    def again(self) -> Tape:
        """For another execution of the same cell."""
        with self._lock:
            return Tape(self._wait, self._recalls, self._calls)

    @property
    def unclaimed(self) -> int:
        """Answers that an earlier execution got and this one did not ask for."""
        with self._lock:
            return sum(map(len, self._known.values()))

    def answer(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], function: Tool) -> Any:
        """The answer as it was, else as `function` gives it now. Raises what it raised."""
        key = _key(name, args, kwargs)
        with self._lock:
            call = self._known[key].popleft() if self._known.get(key) else None
        if call is not None and self._wait(call.reply) and call.reply.exception() is None:
            with self._lock:
                self.recalled += 1
            self._recalls()
            return call.reply.result()()
        call = _Call(key)
        with self._lock:
            self._calls.append(call)
            self.asked += 1
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            _keep_failure(call, error)
            raise
        if inspect.isawaitable(value):
            return _kept_later(call, value)
        return _kept(call, value)


def _key(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    text = json.dumps([name, args, kwargs], sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _kept(call: _Call, value: Any) -> Any:
    if isinstance(value, str):
        call.reply.set_result(lambda: value)
        return value
    try:
        text = to_json(value, "the answer")  # as it is now: a tool may change what it returned
    except TypeError as error:
        call.reply.set_exception(error)
    else:
        call.reply.set_result(lambda: json.loads(text))
    return value


async def _kept_later(call: _Call, value: Any) -> Any:
    try:
        return _kept(call, await value)
    except BaseException as error:
        _keep_failure(call, error)
        raise


def _keep_failure(call: _Call, error: BaseException) -> None:
    if call.reply.done():
        return
    if isinstance(error, _NOT_AN_ANSWER) or not isinstance(error, Exception):
        call.reply.set_exception(CallInterrupted("never answered"))
        return
    kind, words = type(error), str(error)

    def fail() -> Any:
        raise _same(kind, words)

    call.reply.set_result(fail)


def _same(kind: type[Exception], words: str) -> Exception:
    """An exception that reads like the one that was raised, without the frames that it would keep alive."""
    like: type[RuntimeError] = type(kind.__name__, (RuntimeError,), {})
    return like(words)


CURRENT_TAPE: ContextVar[Tape | None] = ContextVar("fleet_rlm_tape", default=None)
"""The tape of the cell that runs; the host functions that it calls run in a copy of its context."""


def taped(name: str, function: Tool) -> Tool:
    """A host function that answers from the tape of the cell that calls it, and keeps there what it answers."""
    if name == CONSTRUCT_TOOL:  # it asks nobody, and what it makes must be there
        return function

    @functools.wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        tape = CURRENT_TAPE.get()
        return function(*args, **kwargs) if tape is None else tape.answer(name, args, kwargs, function)

    return answer


# -- steps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What an execution came to, for comparing: addresses in memory, which differ each time, are left out."""

    outcome: str
    error: str
    digest: bytes
    head: str

    @classmethod
    def of(cls, outcome: ExecutionOutcome) -> Said:
        text = _ADDRESS.sub("0x…", outcome.output)
        error = f"{outcome.error.type}: {_ADDRESS.sub('0x…', outcome.error.message)}" if outcome.error else ""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return cls(outcome.outcome, error, digest, text[:COMPARED_CHARS])

    def difference(self, now: Said) -> str:
        """What is otherwise now, in words; empty when nothing is."""
        if self.outcome != now.outcome or self.error != now.error:
            return f"it ended with {now.error or now.outcome}, before with {self.error or self.outcome}"
        if self.digest == now.digest:
            return ""
        before, after = self.head.splitlines(), now.head.splitlines()
        for old, new in zip(before, after, strict=False):
            if old != new:
                return f"it printed {_quote(new)}, before {_quote(old)}"
        if len(before) != len(after):
            return f"it printed {len(after):,} lines, before {len(before):,}"
        return f"what it printed differs after {COMPARED_CHARS:,} characters"


def _quote(line: str) -> str:
    return f"`{clean_line(line, _QUOTED)}`"


@dataclass(slots=True)
class Step:
    """One execution that made the state what it is. `variables` are dspy's: inputs of any kind, by reference."""

    code: str
    variables: dict[str, Any] | None
    tape: Tape | None = None
    """None: code of ours that prepares the sandbox, and calls nobody."""
    number: int = 0
    """Of the cell, as its tracebacks have it."""
    iteration: int = 0
    iteration_span: str | None = None
    said: Said | None = None

    @property
    def repeatable(self) -> bool:
        """False for what was interrupted, or took its process with it."""
        return self.said is None or self.said.outcome in _REPEATABLE


@dataclass(slots=True)
class Journal:
    """The steps of one agent, in order."""

    steps: list[Step] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """Name → digest, after the newest step."""
    saw_all: bool = True
    """Whether these are all."""

    @property
    def cells(self) -> list[Step]:
        """The planner's."""
        return [step for step in self.steps if step.tape is not None]


@dataclass(slots=True)
class Rebuilt:
    """What running a journal again came to."""

    cells: int = 0
    recalled: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def compare(self, step: Step, tape: Tape, now: Said) -> None:
        """Note what a step did otherwise than before."""
        self.cells += 1
        self.recalled += tape.recalled
        what = [step.said.difference(now) if step.said is not None else ""]
        if tape.asked:
            what.append(f"it made {plural(tape.asked, 'call')} that it had not made before")
        if tape.unclaimed:
            what.append(f"it did not ask for {plural(tape.unclaimed, 'answer')} that it had got before")
        if words := "; ".join(filter(None, what)):
            self.differences.append(f"step {step.iteration}: {words}")

    def left_out(self, step: Step) -> None:
        """A step that can't be repeated."""
        outcome = step.said.outcome if step.said is not None else ""
        why = {"lost": "took its Python process with it", "timeout": "ran for too long"}.get(outcome, "was interrupted")
        self.differences.append(f"step {step.iteration}: it {why}, and did not run again")

    def compare_variables(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Note which variables are not as they were, by their digests."""
        missing = sorted(name for name in before if name not in now)
        other = sorted(name for name in before if name in now and before[name] != now[name])
        for words, names in (("missing", missing), ("different", other)):
            if names:
                shown = ", ".join(clean_line(name, 40) for name in names[:8])
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                self.differences.append(f"variables that are {words}: {shown}{more}")

    def words(self) -> str:
        """One line of what was done, for a person."""
        calls = f", {plural(self.recalled, 'call')} answered from the record" if self.recalled else ""
        return f"{plural(self.cells, 'step')} ran again{calls}"

    def told_differences(self) -> str:
        """What is not as it was; empty when everything is."""
        shown = self.differences[:MOST_DIFFERENCES]
        left = len(self.differences) - len(shown)
        return " · ".join([*shown, *([f"and {left} more differences"] if left else [])])
