"""The live runs that this app started: they go on while their screens are not shown.

The seam with the Run screen (`tui/screens/run/run_screen.py`):

- `RunScreen(source: RunSource, *, spec: RunSpec | None = None)` opens its source when it is mounted, drains it on
  every wake, shown or not, and has `source` and `state` (the newest folded state, not a scrubbed one): `RunView`.
- `FleetApp.open_run(source, spec=…)` makes the screen and pushes it. The screen of a live run is installed, so that
  going back (`app.back`, bound to `q`) hides it and keeps it working; others are closed with their screen.
- A run whose screen is closed for good has its source closed by the app, never by the screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.state import RunState
    from fleet_rlm.tui.sources.event_source import RunSource


class RunView(Protocol):
    """The part of a run's screen that the app uses."""

    @property
    def source(self) -> RunSource: ...

    @property
    def state(self) -> RunState:
        """The run as it stands now, wherever the screen's playhead is."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One engine that this app started."""

    name: str
    """The name under which its screen is installed."""
    view: RunView
    spec: RunSpec | None = None

    @property
    def running(self) -> bool:
        return self.view.source.end is None and not self.view.state.is_over

    @property
    def run_id(self) -> str | None:
        started = self.view.state.started
        return started.run_id if started else None


class LiveRuns:
    """All live runs of this app, oldest first."""

    def __init__(self) -> None:
        self._runs: list[LiveRun] = []
        self._made = 0

    def add(self, view: RunView, spec: RunSpec | None = None) -> LiveRun:
        self._made += 1
        run = LiveRun(f"live-{self._made}", view, spec)
        self._runs.append(run)
        return run

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(tuple(self._runs))

    def __len__(self) -> int:
        return len(self._runs)

    def running(self) -> list[LiveRun]:
        return [run for run in self._runs if run.running]

    def of(self, view: object) -> LiveRun | None:
        return next((run for run in self._runs if run.view is view), None)

    def with_path(self, path: str) -> LiveRun | None:
        return next((run for run in self._runs if run.view.source.path == path), None)

    def forget(self, run: LiveRun) -> None:
        """Drop a run from the list; its source is closed by whoever calls."""
        self._runs = [other for other in self._runs if other is not run]

    def stop_all(self) -> None:
        """Abort what still runs. Never blocks: engines end on their own, or are ended, within a second or two."""
        for run in self._runs:
            run.view.source.close()

    def let_go(self) -> None:
        """Leave what still runs to itself: its file can be followed later."""
        from fleet_rlm.spec import Detach

        for run in self._runs:
            if run.running:
                run.view.source.send(Detach())
            run.view.source.close()
