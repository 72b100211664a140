"""Fixtures for tests of several folders: Modal's server on loopback, and hypothesis without limits of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from modal_server import ModalServer, NoModalServer

# A busy machine fails no property: neither for a slow example nor for examples that are made slowly.
settings.register_profile("any_load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_load")


@pytest.fixture(autouse=True)
def no_models_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is offered because some server happens to listen on this machine."""
    monkeypatch.setattr("fleet_rlm.config.offers.SERVERS", ())


@pytest.fixture(scope="session")
def loopback_modal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalServer]:
    """One server for all tests of a process: the client keeps the first address it was given."""
    try:
        server = ModalServer(tmp_path_factory.mktemp("modal") / "server")
    except NoModalServer as reason:
        pytest.skip(f"no Modal server here: {reason}")
    yield server
    server.stop()


@pytest.fixture
def modal_server(loopback_modal: ModalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModalServer]:
    """A Modal in which nothing exists yet, configured for this process and those it starts."""
    loopback_modal.reset()
    for name, value in loopback_modal.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))
    yield loopback_modal
    loopback_modal.reset()
