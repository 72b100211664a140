"""The Run screen on scripted runs, with a clock that only a test moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.screens.run.run_screen import RunScreen
from tests.tui.conftest import settle
from tests.tui.synthetic import GUIDE, ScriptedSource


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Show = Callable[..., object]


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A document of some hundred lines, with the sections that the scripted calls ask about."""
    path = tmp_path / "dspy-guide.txt"
    filler = "\n".join(f"Line {n} of filler about nothing in particular, so that the text is long." for n in range(40))
    path.write_text(f"{GUIDE}\n{filler}\n" * 4)
    return path


async def show(
    pilot: Pilot[list[str]], source: ScriptedSource, clock: Clock | None = None, later: float = 0.0, **options: object
) -> RunScreen:
    """Open a run and wait until all of it is drawn, its documents are indexed, and what was seen is known."""
    app = pilot.app
    assert isinstance(app, FleetApp)
    clock = clock or Clock()
    screen = RunScreen(source, clock=clock, **options)  # type: ignore[arg-type]
    await app.push_screen(screen)
    await settle(pilot, lambda: not source.waiting and screen.focused is not None, "the events")
    clock.now += later
    screen.draw()
    await still(pilot, screen)
    return screen


async def still(pilot: Pilot[list[str]], screen: RunScreen) -> None:
    """Wait until nothing works in the background any more."""
    document = screen.document

    def quiet() -> bool:
        working = [worker for worker in pilot.app.workers if not worker.is_finished and worker.group != "settings"]
        return not working and not document.busy

    await settle(pilot, quiet, "the workers")
    screen.draw()
    await pilot.pause()
