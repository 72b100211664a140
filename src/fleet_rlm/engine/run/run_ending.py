"""The ending of a run, as driving it gives it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_rlm import events as ev


@dataclass(frozen=True, slots=True)
class Ending:
    """The fields of `run.finished` beside the totals."""

    status: ev.Status
    outputs: dict[str, ev.Json] = field(default_factory=dict)
    reason: str = ""
    error: ev.Failure | None = None
