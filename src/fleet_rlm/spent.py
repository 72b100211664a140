"""Add up what model calls cost: the one place that knows how usage and money become sums."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_rlm import events as ev


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
