"""Hostile code runs only where it can't hurt: see `harness.enter_private_mounts`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_rlm.sandbox.local import DEFAULT_ORDER

from .harness import SMALL, Sandbox, enter_private_mounts, not_offered, start


@pytest.fixture(scope="session", autouse=True)
def private_mounts() -> None:
    if reason := enter_private_mounts():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def parent(private_mounts: None) -> Iterator[Path]:
    """A folder for scratch folders that any user id may pass through; pytest's own is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="isolation-tests-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        assert not list(folder.glob("fleet-rlm-sandbox-*")), "a sandbox left its folder behind"


@pytest.fixture(params=DEFAULT_ORDER)
def mode(request: pytest.FixtureRequest, parent: Path) -> str:
    """Each mode that this machine offers."""
    name: str = request.param
    if reason := not_offered(name, parent):
        pytest.skip(reason)
    return name


@pytest.fixture
def sandbox(mode: str, parent: Path) -> Iterator[Sandbox]:
    hostile = start(mode, parent, SMALL)
    yield hostile
    hostile.process.close()
