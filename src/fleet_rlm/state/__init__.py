"""Fold events into what screens show.

`fold(state, event)` is the only way a `RunState` changes; it grows in place (a copy an event would be quadratic) and
only forward: to see an earlier moment, fold a fresh state up to it (`state_at`). Screens read, they never write.
"""

from __future__ import annotations

from fleet_rlm.state.fold import fold, fold_all, state_at
from fleet_rlm.state.run_state import (
    CallState,
    ExecutionState,
    IterationState,
    OutputChunk,
    PlannerState,
    RetryState,
    RunState,
    VariableState,
)

__all__ = [
    "CallState",
    "ExecutionState",
    "IterationState",
    "OutputChunk",
    "PlannerState",
    "RetryState",
    "RunState",
    "VariableState",
    "fold",
    "fold_all",
    "state_at",
]
