"""Make the pictures in `docs/images` again: real screens of a real run with the offline model (`make screenshots`).

Nothing is drawn by hand: the bundled document is asked the bundled question, and the app is photographed while it
works. The wall clock, the run ids and the person's folders are kept out of the pictures.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.person_settings import Settings
from fleet_rlm.tui.remembered import Memory
from fleet_rlm.tui.screens.run.run_screen import RunScreen

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = (132, 38)
NOON = datetime.fromisoformat("2026-03-02T12:00:00+00:00")


def app(theme: str = "fleet-dark") -> FleetApp:
    made = FleetApp(settings=Settings(theme=theme), memory=Memory(), now=lambda: NOON)
    made.animation_level = "none"
    return made


def save(of: FleetApp, name: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / f"{name}.svg").write_text(of.export_screenshot(title="fleet-rlm-tui"), encoding="utf-8")
    print(f"docs/images/{name}.svg")


async def until(holds: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.05)


def run_screen(of: FleetApp) -> RunScreen:
    if not isinstance(of.screen, RunScreen):
        raise TypeError(f"{of.screen} is shown, not a run")
    return of.screen


async def live() -> None:
    """A run from its first moment to its answer, with the gate in between."""
    of = app()
    async with of.run_test(size=SIZE) as pilot:
        await until(lambda: of.screen.is_mounted, "Home")
        await pilot.pause(0.5)
        save(of, "start")
        await pilot.press("t")
        await until(lambda: isinstance(of.screen, RunScreen), "the run")
        screen = run_screen(of)
        await until(lambda: len(screen.state.iterations) >= 2, "iteration 2")
        await pilot.press("space")
        await until(lambda: screen.state.gate, "the gate")
        while screen.state.gate is None or screen.state.gate.at != "code":
            left = screen.state.gate
            await pilot.press("s")
            await until(lambda left=left: screen.state.gate not in (None, left), "the next gate")
        await pilot.pause(0.5)
        save(of, "gate")
        await pilot.press("space")
        await until(lambda: screen.state.is_over, "the end")
        await pilot.press("4")
        await pilot.pause(1.0)
        save(of, "run")
        await pilot.press("6")
        await pilot.pause(0.5)
        save(of, "answer")
        await pilot.press("q")
        await pilot.pause(1.5)
        save(of, "home")
        await pilot.press("n")
        await pilot.pause(2.0)
        save(of, "new-run")


async def again(path: Path) -> None:
    """The same run, replayed, in the light theme and on a small terminal."""
    from fleet_rlm.tui.sources import ReplayFile

    for theme, size, name in (("fleet-light", SIZE, "replay-light"), ("fleet-dark", (80, 24), "replay-80x24")):
        of = app(theme)
        of._first = (ReplayFile(str(path)), None)
        async with of.run_test(size=size) as pilot:
            await until(lambda of=of: isinstance(of.screen, RunScreen) and run_screen(of).state.is_over, "the record")
            await pilot.press("0", "]", "]", "]", "]")
            await pilot.pause(1.5)
            save(of, name)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["FLEET_RLM_HOME"] = home
        for name in [name for name in os.environ if name.startswith("DSPY_") or name.endswith("_API_KEY")]:
            del os.environ[name]
        asyncio.run(live())
        (path,) = Path(home, "runs").rglob("*.jsonl")
        asyncio.run(again(path))


if __name__ == "__main__":
    main()
