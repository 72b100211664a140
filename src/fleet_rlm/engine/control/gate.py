"""The gate, where a run waits for a person: before the planner, before code runs, before a fan-out, after an error.

The run's threads ask the gate at each boundary and go on at once unless a pause, a step or a breakpoint says
otherwise. Commands come from other threads. The callers of the gate carry out the person's decision.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fleet_rlm import breakpoints as rules
from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.control.cancel import CancelToken

Emit = Callable[[ev.Event], object]
Evaluate = Callable[[str], str]
"""Evaluate an expression in the paused sandbox: its result as text, or an error that says why not."""

STEP_FANOUT = 2
"""While stepping or pausing, a batch of this many sub-calls is a boundary even without a breakpoint."""

PATTERN_SECONDS = 0.5
"""Longest search of a breakpoint's pattern in a cell; then the run waits, rather than miss the breakpoint."""

_STARTED, _PAUSED, _STEPPED = "started paused", "you paused", "step"
_BY_PERSON = frozenset({_STARTED, _PAUSED, _STEPPED})
_GOES_ON_STEPPING: frozenset[ev.Decision] = frozenset({"retry", "skip", "sample", "restart"})
"""Decisions after which a person who was stepping keeps stepping."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's decision at a boundary."""

    decision: ev.Decision
    code: str = ""
    text: str = ""
    count: int = 0


GO_ON = Answer("continue")


class Gate:
    """The one place where a run waits for a person. Thread-safe."""

    def __init__(
        self,
        emit: Emit,
        token: CancelToken,
        breakpoints: spec.Breakpoints,
        *,
        paused: bool,
        watched: bool = True,
        cost: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._emit = emit
        self._token = token
        self._cost = cost
        self._change = threading.Condition()
        self._one_at_a_time = threading.Lock()
        self._stop_next = paused
        self._why = _STARTED if paused else ""
        self._spend_seen = False
        self._held = 0.0
        self._since: float | None = None
        self._waiting: ev.Boundary | None = None
        self._lost = False
        self._answers: deque[Answer] = deque()
        self._to_evaluate: deque[str] = deque()
        self._hints: deque[str] = deque()
        self.watched = watched
        """False when nobody watches the run, and the gate must not ask."""
        self.finish: str | None = None
        """The reason why the run is to be finished, once it is; boundaries then no longer wait."""
        self.finish_by_person = False
        self.evaluate: Evaluate | None = None
        self.set_breakpoints(breakpoints)
        token.on_end(self._wake)

    # -- from the person -------------------------------------------------------------------------------------------

    def set_breakpoints(self, breakpoints: spec.Breakpoints) -> None:
        """Set the breakpoints. Raises `ValueError` when one can't be used; the old ones then stay."""
        pattern = rules.check(breakpoints)
        with self._change:
            self._breakpoints, self._pattern, self._spend_seen = breakpoints, pattern, False

    def pause(self) -> None:
        with self._change:
            self._stop_next, self._why = True, _PAUSED

    def go_on(self) -> None:
        with self._change:
            self._stop_next = False
            if self._waiting:
                self._answers.append(GO_ON)
            self._change.notify_all()

    def step(self) -> None:
        with self._change:
            if self._waiting:
                self._answers.append(Answer("step"))
                self._change.notify_all()
            else:
                self._stop_next, self._why = True, _PAUSED

    def answer(self, answer: Answer, *, step: bool = False) -> str | None:
        """Leave the boundary with this decision, or return why it is not possible now."""
        with self._change:
            if self._waiting is None:
                return "the run is not waiting"
            if not spec.is_allowed(answer.decision, self._waiting):
                return f"the run waits at `{self._waiting}`, where this does nothing"
            if answer.decision == "restart" and not self._lost:
                return "the sandbox is not lost"
            self._answers.append(answer)
            if step:
                self._stop_next, self._why = True, _STEPPED
            self._change.notify_all()
        return None

    def hint(self, text: str) -> None:
        with self._change:
            self._hints.append(text)

    def take_hints(self) -> list[str]:
        with self._change:
            hints = list(self._hints)
            self._hints.clear()
        return hints

    def ask_to_evaluate(self, expression: str) -> str | None:
        """Evaluate an expression while the run waits, or return why it is not possible now."""
        with self._change:
            if self._waiting is None:
                return "the run is not waiting: pause it first"
            if not spec.is_allowed("eval", self._waiting):
                return "a cell is executing: evaluate at another boundary"
            if self._lost:
                return "the sandbox is lost: restart it first"
            self._to_evaluate.append(expression)
            self._change.notify_all()
        return None

    def request_finish(self, reason: str, *, by_person: bool) -> None:
        with self._change:
            if self.finish is None:
                self.finish, self.finish_by_person = reason, by_person
            self._change.notify_all()

    def finishing(self) -> bool:
        return self.finish is not None

    def _wake(self) -> None:
        with self._change:
            self._change.notify_all()

    # -- from the run ----------------------------------------------------------------------------------------------

    def at_planner(self, parent: str | None, iteration: int | None) -> Answer:
        return self._wait_at("planner", self._reason, parent, iteration)

    def at_error(self, parent: str | None, iteration: int | None, error: ev.Failure) -> Answer:
        def why() -> str:
            return "the last step failed" if self._breakpoints.on_error else self._reason()

        return self._wait_at("error", why, parent, iteration, error=error)

    def at_lost(self, parent: str | None, iteration: int | None, error: ev.Failure) -> Answer:
        """Wait after the sandbox was lost, always. To continue or step means to restart it."""
        return self._wait_at("error", lambda: "the sandbox is lost", parent, iteration, error=error, lost=True)

    def at_code(self, parent: str | None, iteration: int | None, reasoning: str, code: str) -> Answer:
        def why() -> str:
            if reason := self._reason():
                return reason
            if self._breakpoints.every_cell:
                return "breakpoint: every cell"
            try:
                found = self._pattern.search(code, timeout=PATTERN_SECONDS) if self._pattern else None
            except TimeoutError:
                return f"/{self._breakpoints.code_pattern}/ takes too long on this code"
            return f"breakpoint: the code has `{found.group()[:60]}`" if found else ""

        return self._wait_at("code", why, parent, iteration, reasoning=reasoning, code=code)

    def at_fanout(
        self, parent: str | None, iteration: int | None, size: int, fanout: Callable[[], ev.FanOut]
    ) -> Answer:
        def why() -> str:
            limit = self._breakpoints.fanout
            if limit is not None and size >= limit:
                return f"breakpoint: a batch of {size} sub-calls"
            return self._reason() if size >= STEP_FANOUT else ""

        return self._wait_at("fanout", why, parent, iteration, fanout=fanout)

    def _reason(self) -> str:
        if self._stop_next:
            return self._why
        limit = self._breakpoints.spend_usd
        if limit is not None and not self._spend_seen and (self._cost() or 0.0) >= limit:
            return f"breakpoint: the run has cost ${limit:g}"
        return ""

    def _wait_at(
        self,
        at: ev.Boundary,
        why: Callable[[], str],
        parent: str | None,
        iteration: int | None,
        *,
        reasoning: str = "",
        code: str = "",
        fanout: Callable[[], ev.FanOut] | None = None,
        error: ev.Failure | None = None,
        lost: bool = False,
    ) -> Answer:
        self._token.check()
        if self.finishing() or not why():
            return GO_ON
        with self._one_at_a_time:
            if self.finishing() or not (reason := why()):
                return GO_ON  # the person let the run go on while it waited here for another thread
            began = time.monotonic()
            with self._change:
                self._waiting, self._lost, self._stop_next, self._why, self._since = at, lost, False, "", began
                limit = self._breakpoints.spend_usd
                self._spend_seen |= limit is not None and (self._cost() or 0.0) >= limit
                self._answers.clear()
            self._emit(
                ev.GateWaiting(
                    at=at, why=reason, reasoning=reasoning, code=code, fanout=fanout() if fanout else None,
                    error=error, parent=parent, iteration=iteration,
                )
            )  # fmt: skip
            answer = self._wait()
            seconds = time.monotonic() - began
            with self._change:
                self._held, self._since = self._held + seconds, None
                stepping = reason in _BY_PERSON and answer.decision in _GOES_ON_STEPPING
                if answer.decision == "step" or stepping:
                    self._stop_next, self._why = True, _STEPPED
                stepping = self._stop_next
            if lost and answer.decision in ("continue", "step"):
                answer = Answer("restart")
            self._emit(
                ev.GateResumed(
                    at=at, decision=answer.decision, code=answer.code, text=answer.text, seconds=seconds,
                    stepping=stepping, parent=parent, iteration=iteration,
                )
            )  # fmt: skip
        self._token.check()
        return answer

    def held_seconds(self) -> float:
        """Return the seconds that the run has waited for the person, which no budget counts."""
        with self._change:
            return self._held + (time.monotonic() - self._since if self._since is not None else 0.0)

    def _wait(self) -> Answer:
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: self._answers or self._to_evaluate or self.finish is not None or self._token.ended
                )
                if self._token.ended or self.finish is not None or self._answers:
                    self._waiting = None
                    self._to_evaluate.clear()
                    if self._token.ended:
                        return Answer("abort")
                    return Answer("finish") if self.finish is not None else self._answers.popleft()
                expression = self._to_evaluate.popleft()
            self._run_evaluation(expression)

    def _run_evaluation(self, expression: str) -> None:
        if self.evaluate is None:
            failure = ev.Failure(type="NotPossible", message="this sandbox cannot evaluate apart from the run")
            self._emit(ev.Operator(action="eval", text=expression, error=failure))
            return
        try:
            result = self.evaluate(expression)
        except Exception as error:  # noqa: BLE001 - a person typed the expression: its error is shown as its result
            failure = getattr(error, "failure", None) or ev.Failure(type=type(error).__name__, message=str(error))
            self._emit(ev.Operator(action="eval", text=expression, error=failure))
        else:
            self._emit(ev.Operator(action="eval", text=expression, result=result))
