"""How a model is reached, and how long its answers are waited for. Plain data, without dspy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_rlm.engine.models.model_clients import SyncEngine


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A model and how to reach it. `engine` replaces the network (scripted, in tests)."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    max_tokens: int | None = None
    """Longest answer in tokens, as the person set it; None: nothing is set, so the model's own metadata decides."""
    temperature: float | None = None
    """None: the provider's default."""
    reasoning_effort: str | None = None
    """`none`, `minimal`, `low`, `medium`, `high` or `xhigh`; None: the provider's default."""
    context_window: int | None = None
    """In tokens, where the person set it; None: the model's own metadata decides."""
    price_in: float | None = None
    """US dollars per million input tokens, where the person set it; else the known price counts."""
    price_out: float | None = None
    """US dollars per million output tokens."""
    engine: SyncEngine | None = None
    offline: bool = False
    """The built-in model without weights, whose calls cost nothing."""
    watched: bool = True
    """Whether the offline model writes at a pace that can be read."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds a model may take."""

    connect: float = 10.0
    first_token: float = 180.0
    idle: float = 60.0
    """Between two pieces of a streamed answer."""
    total: float = 900.0
    extraction: float | None = None
    """For the final answer that is forced when the run's seconds are spent; None: as long as one planner call."""

    @property
    def extraction_seconds(self) -> float:
        """The longest that the forced final answer may take: at least as long as a planner's call is allowed."""
        return self.total if self.extraction is None else self.extraction


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long apart a model call is tried again."""

    attempts: int = 4
    timeouts: int = 2
    """Attempts when it is the time that ran out."""
    first_delay: float = 1.0
    """Seconds; doubled from one attempt to the next."""
    longest_delay: float = 60.0
    """Bounds a server's Retry-After too."""
