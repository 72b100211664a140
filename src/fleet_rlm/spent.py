"""Add up what model calls cost: the one place that knows how usage and money become sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fleet_rlm import events as ev
from fleet_rlm.figures import count, dollars


@dataclass(slots=True)
class Share:
    """What one part of a run has spent."""

    usage: ev.Usage = field(default_factory=ev.Usage)
    cost_usd: float | None = None
    """None when no call's price is known."""
    unpriced: int = 0
    """Calls whose price is not known: `cost_usd` is without them."""

    @property
    def tokens(self) -> int:
        return self.usage.input + self.usage.output

    def add(self, usage: ev.Usage | None, cost_usd: float | None) -> None:
        """Count one call; nothing is known of a call that was never answered."""
        if usage is not None:
            self.usage += usage
            self.unpriced += cost_usd is None
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd


@dataclass(slots=True)
class Spent:
    """What a run has spent: its planner (with the final answer that is forced), and its sub-models."""

    planner: Share = field(default_factory=Share)
    sub: Share = field(default_factory=Share)

    def add(self, usage: ev.Usage | None, cost_usd: float | None, *, sub: bool) -> None:
        """Count one call."""
        (self.sub if sub else self.planner).add(usage, cost_usd)

    @property
    def usage(self) -> ev.Usage:
        return self.planner.usage + self.sub.usage

    @property
    def tokens(self) -> int:
        return self.planner.tokens + self.sub.tokens

    @property
    def cost_usd(self) -> float | None:
        known = [share.cost_usd for share in (self.planner, self.sub) if share.cost_usd is not None]
        return sum(known) if known else None

    @property
    def unpriced(self) -> int:
        return self.planner.unpriced + self.sub.unpriced

    def token_words(self, *, cached: bool = True) -> str:
        """`41k tok`, `~41k tok (30k cached)`; `cached` False leaves those out."""
        usage = self.usage
        cached_words = f" ({count(usage.cached)} cached)" if usage.cached and cached else ""
        return f"{'~' if usage.estimated else ''}{count(self.tokens)} tok{cached_words}"

    def dollars(self, share: Share) -> str:
        """What a share has cost, rounded as the sum is; empty when no price is known."""
        return "" if share.cost_usd is None else dollars(share.cost_usd, self.cost_usd or 0.0)

    @property
    def has_two_parts(self) -> bool:
        """True when both the planner and the sub-models have cost money."""
        return bool(self.planner.cost_usd and self.sub.cost_usd)

    def money_words(self, limit: float | None = None, *, apart: bool = False) -> str:
        """`$0.15 of $0.50`; `apart` tells the planner's and the sub-models' too. Empty when nothing is known."""
        cost = self.cost_usd
        if cost is None:
            return f"price unknown, {dollars(limit)} can't be held" if limit is not None and self.unpriced else ""
        words = f"{'at least ' if self.unpriced else ''}{dollars(cost)}"
        if limit is not None:
            words += f" of {dollars(limit)}"
        if apart and self.has_two_parts:
            words += f" (planner {self.dollars(self.planner)}, sub-LLM {self.dollars(self.sub)})"
        return words

    def as_totals(self) -> dict[str, Any]:
        """The sums as fields of `Totals`."""
        usage = self.usage
        return {
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "cached_tokens": usage.cached,
            "tokens_estimated": usage.estimated,
            "cost_usd": self.cost_usd,
            "unpriced_calls": self.unpriced,
            "planner_cost_usd": self.planner.cost_usd,
            "sub_tokens": self.sub.tokens,
            "sub_cost_usd": self.sub.cost_usd,
        }
