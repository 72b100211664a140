"""What a run may spend, checked while it spends: calls, tokens, seconds and dollars.

Iterations are dspy's own limit. A sub-call over budget is refused with words that the planner reads; a run over its
tokens, dollars or seconds is finished by the forced extraction, which may cost one more call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fleet_rlm import events as ev
from fleet_rlm.spec import Budgets

CHARS_PER_TOKEN = 4
UNLIMITED_CALLS = 1_000_000
"""What dspy is told when there is no limit of calls: it needs a number."""


class Spending:
    """Counts what the run has spent. Thread-safe."""

    def __init__(self, budgets: Budgets, notice: Callable[[str], None] = lambda _: None) -> None:
        self.budgets = budgets
        self.calls = 0
        self.tokens = 0
        self.cost_usd: float | None = None
        self._sub_cost, self._sub_input = 0.0, 0
        self.held_seconds: Callable[[], float] = lambda: 0.0
        """How long the run has waited for a person, which is not its own time."""
        self._notice = notice
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._told = False

    def seconds_left(self) -> float | None:
        limit = self.budgets.max_seconds
        return None if limit is None else limit + self.held_seconds() - (time.monotonic() - self._began)

    def add(self, usage: ev.Usage, cost_usd: float | None, *, sub_call: bool) -> None:
        with self._lock:
            self.tokens += usage.input + usage.output
            if cost_usd is None:
                return
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd
            if sub_call:
                self._sub_cost += cost_usd
                self._sub_input += usage.input

    def cost_per_char(self) -> float | None:
        """What a character of a sub-call's prompt has cost so far (its answer included), in dollars; None: unknown."""
        return self._sub_cost / (self._sub_input * CHARS_PER_TOKEN) if self._sub_input else None

    def exhausted(self) -> str | None:
        """Why the run must be finished, or None."""
        limits = self.budgets
        if limits.max_tokens is not None and self.tokens >= limits.max_tokens:
            return f"the budget of {limits.max_tokens:,} tokens is spent"
        if limits.max_cost_usd is not None and (self.cost_usd or 0.0) >= limits.max_cost_usd:
            return f"the budget of ${limits.max_cost_usd:g} is spent"
        left = self.seconds_left()
        if left is not None and left <= 0:
            return f"the budget of {limits.max_seconds:g} s is spent"
        return None

    def refusal(self, calls: int = 1) -> str | None:
        """What to tell the planner instead of making `calls` more sub-calls, or None when they fit."""
        if why := self.exhausted():
            return f"Refused: {why}. Submit the best answer you have."
        limit = self.budgets.max_llm_calls
        if limit is None or self.calls + calls <= limit:
            return None
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._notice(f"the budget of {limit} sub-LLM calls is spent; further calls are refused")
        return (
            f"Refused: {calls} more sub-LLM call{'s' if calls != 1 else ''} would exceed the budget of {limit} "
            f"({self.calls} made). Use Python for what remains, or send fewer prompts."
        )

    def count_call(self) -> str | None:
        """Count one sub-call, or say why it is refused."""
        with self._lock:
            limit = self.budgets.max_llm_calls
            if limit is None or self.calls < limit:
                self.calls += 1
                counted = True
            else:
                counted = False
        if counted:
            return f"Refused: {why}. Submit the best answer you have." if (why := self.exhausted()) else None
        return self.refusal()
