"""How a model is reached, and how long its answers are waited for. Plain data, without dspy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_rlm.engine.model_clients import SyncEngine


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A model and how to reach it. `engine` replaces the network (scripted, in tests)."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    max_tokens: int | None = None
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
