"""Restores a sandbox by running its cells again with the recorded replies of their calls.

A `Journal` holds the steps of one agent. Running them again in order, with every call answered from its step's
`CallReplies`, gives a fresh sandbox the same state: no call is made or paid for twice. Differences (a clock, chance, a
step that had been interrupted) are found by comparing, and reported.
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
"""Characters of a step's output that are kept to report where another run of it differs."""
MOST_DIFFERENCES = 5
_QUOTED = 60
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_REPEATABLE = frozenset({"ok", "error", "submitted"})
_NOT_AN_ANSWER = (CallInterrupted, AgentStopped)
"""Calls that ended with one of these got no reply and are asked again."""


# -- calls ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Call:
    """A call made by generated code; its future holds a function that returns or raises the recorded reply."""

    key: bytes
    reply: Future[Callable[[], Any]] = field(default_factory=Future)


class CallReplies:
    """The recorded host-call replies of one cell, by function and arguments, in the order of the calls.

    A call that is still under way when its cell runs again is waited for, not made twice. Thread-safe.
    """

    def __init__(
        self, wait: Callable[[Future[Any]], bool], recalls: Callable[[], None], before: Iterable[_Call] = ()
    ) -> None:
        """`wait` waits for a future and returns False when the run ended first; `recalls` is called, in the call's own
        context, for each recorded reply that is used.
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

    def again(self) -> CallReplies:
        """Return the replies for another execution of the same cell."""
        with self._lock:
            return CallReplies(self._wait, self._recalls, self._calls)

    @property
    def unclaimed(self) -> int:
        """Answers that an earlier execution got and this one did not ask for."""
        with self._lock:
            return sum(map(len, self._known.values()))

    def answer(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], function: Tool) -> Any:
        """Return (or raise) the recorded reply; without one, call `function` and record its reply."""
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
    """Make an exception with the same name and message, without the frames that the original would keep alive."""
    like: type[RuntimeError] = type(kind.__name__, (RuntimeError,), {})
    return like(words)


CURRENT_REPLIES: ContextVar[CallReplies | None] = ContextVar("fleet_rlm_replies", default=None)
"""The replies of the cell that is executing; the host functions that it calls run in a copy of its context."""


def with_recorded_replies(name: str, function: Tool) -> Tool:
    """Wrap a host function: it uses the recorded replies of the cell that calls it, and records new ones there."""
    if name == CONSTRUCT_TOOL:  # it asks nobody, and what it makes must be there
        return function

    @functools.wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        replies = CURRENT_REPLIES.get()
        return function(*args, **kwargs) if replies is None else replies.answer(name, args, kwargs, function)

    return answer


# -- steps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputFingerprint:
    """An execution's outcome and output, for comparing; memory addresses, which differ each time, are replaced."""

    outcome: str
    error: str
    digest: bytes
    head: str

    @classmethod
    def of(cls, outcome: ExecutionOutcome) -> OutputFingerprint:
        text = _ADDRESS.sub("0x…", outcome.output)
        error = f"{outcome.error.type}: {_ADDRESS.sub('0x…', outcome.error.message)}" if outcome.error else ""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return cls(outcome.outcome, error, digest, text[:COMPARED_CHARS])

    def difference(self, now: OutputFingerprint) -> str:
        """Say how another execution differs from this one; empty when it does not."""
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
    replies: CallReplies | None = None
    """None for our own code, which prepares the sandbox and makes no calls."""
    number: int = 0
    """The number of the cell in its tracebacks."""
    iteration: int = 0
    iteration_span: str | None = None
    fingerprint: OutputFingerprint | None = None

    @property
    def repeatable(self) -> bool:
        """False for a step that was interrupted or that ended its Python process."""
        return self.fingerprint is None or self.fingerprint.outcome in _REPEATABLE


@dataclass(slots=True)
class Journal:
    """The steps of one agent, in order."""

    steps: list[Step] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """Name → digest, after the newest step."""
    variables_complete: bool = True
    """False if the list of variables is incomplete."""

    @property
    def cells(self) -> list[Step]:
        """The steps that the planner wrote."""
        return [step for step in self.steps if step.replies is not None]


@dataclass(slots=True)
class RebuildReport:
    """The result of running a journal again: counts, differences and duration."""

    cells: int = 0
    recalled: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def compare(self, step: Step, replies: CallReplies, now: OutputFingerprint) -> None:
        """Record how a step's second execution differs from the first."""
        self.cells += 1
        self.recalled += replies.recalled
        what = [step.fingerprint.difference(now) if step.fingerprint is not None else ""]
        if replies.asked:
            what.append(f"it made {plural(replies.asked, 'call')} that it had not made before")
        if replies.unclaimed:
            what.append(f"it did not use {plural(replies.unclaimed, 'answer')} that it had got before")
        if words := "; ".join(filter(None, what)):
            self.differences.append(f"step {step.iteration}: {words}")

    def note_left_out(self, step: Step) -> None:
        """Record that a step was not run again, and why."""
        outcome = step.fingerprint.outcome if step.fingerprint is not None else ""
        why = {"lost": "took its Python process with it", "timeout": "ran for too long"}.get(outcome, "was interrupted")
        self.differences.append(f"step {step.iteration}: it {why}, and was not run again")

    def compare_variables(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Record which variables differ from before, by their digests."""
        missing = sorted(name for name in before if name not in now)
        other = sorted(name for name in before if name in now and before[name] != now[name])
        for words, names in (("missing", missing), ("different", other)):
            if names:
                shown = ", ".join(clean_line(name, 40) for name in names[:8])
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                self.differences.append(f"variables that are {words}: {shown}{more}")

    def words(self) -> str:
        """Say in one line what was run again."""
        calls = f", {plural(self.recalled, 'call')} answered from the record" if self.recalled else ""
        return f"{plural(self.cells, 'step')} ran again{calls}"

    def differences_in_words(self) -> str:
        """List the differences in one line; empty when there are none."""
        shown = self.differences[:MOST_DIFFERENCES]
        left = len(self.differences) - len(shown)
        return " · ".join([*shown, *([f"and {left} more differences"] if left else [])])
