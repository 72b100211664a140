"""Add up a run from its own events."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Any

from fleet_rlm import events as ev
from fleet_rlm.spent import Spent


class Meter:
    """Adds up what a run has spent, from its events. Thread-safe."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._sums: defaultdict[str, float] = defaultdict(int)
        """Fields of `Totals`, but for those that `Spent` adds up."""
        self._spent = Spent()
        self._open: set[str | None] = set()
        self._sub_since = 0.0
        self._run: str | None = None
        self._root_iterations: set[str | None] = set()
        self._root_cells: dict[str | None, tuple[float, float]] = {}
        """Executions of the run's own planner: when they began, and the sub-call seconds until then."""

    def hear(self, event: ev.Event) -> None:
        with self._lock:
            self._hear(event, time.monotonic())

    def _hear(self, event: ev.Event, now: float) -> None:
        sums = self._sums
        if isinstance(event, ev.RunStarted):
            self._run = event.span
        elif isinstance(event, ev.IterationStarted) and event.parent == self._run:
            self._root_iterations.add(event.span)
            sums["iterations"] += 1
        elif isinstance(event, ev.PlannerFinished):
            own = event.parent in self._root_iterations
            self._spent.add(event.usage, event.cost_usd, sub=not own)
            if own:
                sums["planner_seconds"] += event.seconds
        elif isinstance(event, ev.ExtractionFinished):
            self._spent.add(event.usage, event.cost_usd, sub=event.parent not in (None, self._run))
            sums["planner_seconds"] += event.seconds
        elif isinstance(event, ev.CallStarted) and event.type == "sub_llm":
            if not self._open:
                self._sub_since = now
            self._open.add(event.span)
            sums["calls"] += 1
        elif isinstance(event, ev.CallFinished):
            self._spent.add(event.usage, event.cost_usd, sub=True)
            if event.span in self._open:
                self._open.discard(event.span)
                if event.origin == "recorded":  # counted when it was made
                    sums["calls"] -= 1
                if event.error:
                    sums["failed_calls"] += 1
                if not self._open:
                    sums["sub_llm_seconds"] += now - self._sub_since
        elif isinstance(event, ev.ExecutionStarted) and event.parent in self._root_iterations:
            self._root_cells[event.span] = (now, self._sub_seconds(now))
        elif isinstance(event, ev.ExecutionFinished) and event.span in self._root_cells:
            began, sub_before = self._root_cells.pop(event.span)
            alone = (now - began) - (self._sub_seconds(now) - sub_before)
            sums["sandbox_seconds"] += max(0.0, alone)

    def _sub_seconds(self, now: float) -> float:
        return self._sums.get("sub_llm_seconds", 0.0) + (now - self._sub_since if self._open else 0.0)

    def totals(self) -> ev.Totals:
        with self._lock:
            fields: dict[str, Any] = {**self._sums, **self._spent.as_totals()}  # typed by their names
            return ev.Totals(seconds=time.monotonic() - self._began, **fields)
