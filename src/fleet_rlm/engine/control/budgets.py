"""The budgets of a run, checked while it spends: calls, tokens, seconds and dollars.

Iterations are dspy's own limit. The possible cost of a sub-call is reserved before it is sent, so that many at once
can't overdraw a budget that each alone would fit into; one that does not fit is refused with a message to the planner.
A run over its tokens, dollars or seconds is finished by the forced extraction, for which some budget is kept back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from fleet_rlm import events as ev
from fleet_rlm.engine.control.cancel import Scope
from fleet_rlm.figures import dollars, plural
from fleet_rlm.spec import Budgets
from fleet_rlm.spent import Spent

CHARS_PER_TOKEN = 4
UNLIMITED_CALLS = 1_000_000
"""The limit of calls that dspy gets when there is none: it needs a number."""
FIRST_ANSWER_TOKENS = 400
"""Assumed length of the first answers; later ones are assumed to be as long as those before."""
REQUEST_TOKENS = 400
"""Longer than the request for the final outputs, which stands at the end of the planner's prompt."""
PRINTED_TOKENS = 10_000 // CHARS_PER_TOKEN
"""Most tokens of a cell's output that the planner is shown (dspy's limit)."""
SUBMIT = "Submit the best answer you have."


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected and the highest spending of a call, before it is sent."""

    tokens: int = 0
    most_tokens: int = 0
    cost_usd: float | None = None
    """None when the price is not known."""
    most_cost_usd: float | None = None


class Spending:
    """Counts a run's spending and the reservations of calls in flight. Thread-safe."""

    def __init__(self, budgets: Budgets, notice: Callable[[str], None] = lambda _: None) -> None:
        self.budgets = budgets
        self.calls = 0
        self.spent = Spent()
        self.held_seconds: Callable[[], float] = lambda: 0.0
        """Returns the seconds that the run has waited for a person, which do not count."""
        self._notice = notice
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._noticed = False
        self._reserved: dict[object, Estimate] = {}
        self._answers = 0
        """Sub-calls that were answered."""
        self._final = Estimate()
        """Return the spending of the forced final answer: expected, and highest if the running cell prints the most."""
        self._changed: Future[None] = Future()
        """Done when a reservation ends."""

    def seconds_left(self) -> float | None:
        """Return the seconds until the budget of time is spent, None without one."""
        limit = self.budgets.max_seconds
        return None if limit is None else limit + self.held_seconds() - (time.monotonic() - self._began)

    def add(self, usage: ev.Usage, cost_usd: float | None, *, sub_call: bool, input_price: float | None = None) -> None:
        """Count an answer; `input_price` is what a token of a prompt costs, in dollars."""
        with self._lock:
            self.spent.add(usage, cost_usd, sub=sub_call)
            self._answers += sub_call
            if not sub_call:
                self._final = _final_answer(usage, cost_usd, input_price)

    def cost_per_char(self) -> float | None:
        """Return the dollars per character of a sub-call's prompt so far (answers included), or None if unknown."""
        sub = self.spent.sub
        return sub.cost_usd / (sub.usage.input * CHARS_PER_TOKEN) if sub.cost_usd and sub.usage.input else None

    def usual_answer(self) -> int:
        """Return the likely tokens of a sub-call's answer."""
        return self.spent.sub.usage.output // self._answers if self._answers else FIRST_ANSWER_TOKENS

    def exhausted(self, *, planning: bool = False) -> str | None:
        """Return why the run must be finished, or None. Keeps the cost of a final answer, twice while `planning`."""
        limits, spent, ahead = self.budgets, self.spent, 1 + planning
        if limits.max_tokens is not None and spent.tokens + ahead * self._final.tokens >= limits.max_tokens:
            return _spent(f"{limits.max_tokens:,} tokens", over=spent.tokens >= limits.max_tokens)
        if limits.max_cost_usd is not None:
            cost = spent.cost_usd or 0.0
            if cost and cost + ahead * (self._final.cost_usd or 0.0) >= limits.max_cost_usd:
                return _spent(f"${limits.max_cost_usd:g}", over=cost >= limits.max_cost_usd)
        left = self.seconds_left()
        if left is not None and left <= 0:
            return f"the budget of {limits.max_seconds:g} s is spent"
        return None

    def refusal(self, calls: int = 1) -> str | None:
        """Return the refusal of `calls` more sub-calls for the planner, or None when they fit the budget."""
        if why := self.exhausted():
            return f"Refused: {why}. {SUBMIT}"
        limit = self.budgets.max_llm_calls
        if limit is None or self.calls + calls <= limit:
            return None
        with self._lock:
            noticed, self._noticed = self._noticed, True
        left = max(limit - self.calls, 0)
        if not noticed:
            more = f"does not hold {plural(calls, 'more call')}" if left else "is spent"
            self._notice(f"the budget of {limit} sub-LLM calls {more}; further calls are refused")
        if not left:
            return _calls_made(limit)
        return (
            f"Refused: a batch of {calls} exceeds the {plural(left, 'call')} left of the budget of {limit}. "
            "Nothing was sent: send fewer prompts, or use Python for what remains."
        )

    def admit(self, call: object, estimate: Callable[[], Estimate], scope: Scope) -> str | None:
        """Count a sub-call and reserve its possible cost, or return why it is refused.

        Waits for calls in flight when only their reservations are in the way, and estimates again after each. A call
        whose scope ends meanwhile is refused. `settle` gives the reservation back.
        """
        while True:
            costs = estimate()
            with self._lock:
                refused, waits = self._verdict(costs)
                if refused is None and not waits:
                    self.calls += 1
                    self._reserved[call] = costs
                    return None
                changed = self._changed
            if refused is not None:
                return refused
            if not scope.wait(changed):
                return "Refused: the call was interrupted before it was sent."

    def settle(self, call: object) -> None:
        """End the reservation of a call, after its real cost was added."""
        with self._lock:
            self._reserved.pop(call, None)
            changed, self._changed = self._changed, Future()
        changed.set_result(None)

    def _verdict(self, estimate: Estimate) -> tuple[str | None, bool]:
        """Return why a call is refused, and whether it must wait for others. The caller holds the lock."""
        limits = self.budgets
        if limits.max_llm_calls is not None and self.calls >= limits.max_llm_calls:
            return _calls_made(limits.max_llm_calls), False
        if why := self.exhausted():
            return f"Refused: {why}. {SUBMIT}", False
        held, spent, kept = self._reserved.values(), self.spent, self._final
        checks: list[tuple[float, float, float, float, Callable[[float], str]]] = []
        if limits.max_tokens is not None:
            tokens = limits.max_tokens - spent.tokens - kept.most_tokens
            in_flight = sum(one.most_tokens for one in held)
            checks.append((tokens, estimate.tokens, estimate.most_tokens, in_flight, "{:,.0f} tokens".format))
        if limits.max_cost_usd is not None and estimate.cost_usd is not None:
            money = limits.max_cost_usd - (spent.cost_usd or 0.0) - (kept.most_cost_usd or 0.0)
            reserved = sum(one.most_cost_usd or 0.0 for one in held)
            checks.append((money, estimate.cost_usd, estimate.most_cost_usd or 0.0, reserved, dollars))
        for room, about, most, elsewhere, figure in checks:
            if held and most + elsewhere > room:
                return None, True  # alone it may fit
            if about > room:
                left = figure(max(room, 0.0))
                return f"Refused: a call of about {figure(about)} does not fit into the {left} left. {SUBMIT}", False
        return None, False


def _final_answer(planner: ev.Usage, cost_usd: float | None, input_price: float | None) -> Estimate:
    """Return what a final answer is going to spend after this answer of the planner's.

    It is asked for with the planner's prompt, longer by this answer, by what its cell prints, and by the request.
    """
    tokens = planner.input + planner.output
    more = planner.output + REQUEST_TOKENS
    if cost_usd is None:
        return Estimate(tokens + more, tokens + more + PRINTED_TOKENS)
    price = input_price if input_price is not None else cost_usd / max(1, tokens)
    about = cost_usd + more * price
    return Estimate(tokens + more, tokens + more + PRINTED_TOKENS, about, about + PRINTED_TOKENS * price)


def _calls_made(limit: int) -> str:
    return f"Refused: the budget of {limit} sub-LLM calls is spent. Use Python for what remains. {SUBMIT}"


def _spent(budget: str, *, over: bool) -> str:
    return f"the budget of {budget} is spent" + ("" if over else " but for the final answer")
