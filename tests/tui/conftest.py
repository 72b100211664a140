"""Apps whose clock, memory and folders are their own, and a way to drive them until something holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot

from fleet_rlm.spec import RunSpec
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.person_settings import Settings
from fleet_rlm.tui.remembered import Memory

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
Scenario = Callable[[Pilot[list[str]]], Awaitable[None]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `FLEET_RLM_HOME`, a working folder of its own, and no model configured."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FLEET_RLM_HOME", str(folder))
    for name in ("DSPY_LM_MODEL", "DSPY_SUB_LM_MODEL", "DSPY_LM_API_BASE", "OPENAI_API_KEY", "NO_COLOR", "PAGER"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def make_app(home: Path) -> Callable[..., FleetApp]:
    """Makes apps at noon of 2 March 2026, which remember nothing."""

    def make(
        theme: str | None = "fleet-dark", memory: Memory | None = None, spec: RunSpec | None = None, **settings: object
    ) -> FleetApp:
        app = FleetApp(
            None, spec, settings=Settings(theme=theme, **settings), memory=memory or Memory(), now=lambda: NOON
        )
        app.animation_level = "none"
        return app

    return make


def drive(app: FleetApp, scenario: Scenario, size: tuple[int, int] = (120, 40)) -> None:
    """Run an app without a terminal through a scenario."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await scenario(pilot)

    asyncio.run(run())


async def settle(pilot: Pilot[list[str]], holds: Callable[[], object], what: str = "the condition") -> None:
    """Let the app work until something holds; fails after ten seconds."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, f"waited 10 s for {what}; on the screen:\n{screen_text(pilot.app)}"
        await pilot.pause(0.01)
    await pilot.pause()


def screen_text(app: object) -> str:
    """What a person would read, line by line."""
    assert isinstance(app, FleetApp)
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines[:height] if width)


def messages(app: FleetApp) -> list[str]:
    """What toasts say now."""
    return [notification.message for notification in app._notifications]
