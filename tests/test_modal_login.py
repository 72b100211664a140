"""Whether Modal is configured here: the same answer as its own client gives, without importing it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_rlm.config.modal_login import modal_login, shadowed

ONE = '[default]\ntoken_id = "ak-1"\ntoken_secret = "as-1"\n'
NAMED = '[work]\ntoken_id = "ak-1"\ntoken_secret = "as-1"\n'
BOTH_IN_ENVIRONMENT = {"MODAL_TOKEN_ID": "ak-2", "MODAL_TOKEN_SECRET": "as-2"}
CASES: dict[str, tuple[str | None, dict[str, str], bool]] = {
    "nothing": (None, {}, False),
    "the environment": (None, BOTH_IN_ENVIRONMENT, True),
    "half a token": (None, {"MODAL_TOKEN_ID": "ak-2"}, False),
    "a file": (ONE, {}, True),
    "half from each": (ONE, {"MODAL_TOKEN_ID": "ak-2"}, True),
    "an empty variable hides the file": (ONE, {"MODAL_TOKEN_SECRET": ""}, False),
    "a profile that is not active": (NAMED, {}, False),
    "an active profile": (NAMED + "active = true\n", {}, True),
    "a profile by name": (ONE + NAMED, {"MODAL_PROFILE": "work"}, True),
    "a profile that is not there": (ONE, {"MODAL_PROFILE": "play"}, False),
    "two profiles, none active": (NAMED + NAMED.replace("work", "play"), {}, False),
    "two active profiles": (NAMED + "active = true\n" + ONE + "active = true\n", BOTH_IN_ENVIRONMENT, False),
    "a file that is not TOML": ("[default\n", BOTH_IN_ENVIRONMENT, False),
    "a value outside of a profile": ("loose = 1\n" + ONE, {}, False),
}
ASK_THE_CLIENT = """
import importlib, json, os, sys
import modal
found = {}
for name, variables in json.load(sys.stdin).items():
    for variable in [variable for variable in os.environ if variable.startswith("MODAL_")]:
        del os.environ[variable]
    os.environ.update(variables)
    modal.client._Client._client_from_env = None
    try:
        importlib.reload(modal.config)
        modal.Client.from_env()
    except modal.Error as error:
        found[name] = str(error)
    else:
        found[name] = ""
print(json.dumps(found))
"""


def environment_of(name: str, folder: Path, server: str) -> dict[str, str]:
    content, variables, _ = CASES[name]
    path = folder / f"{name.replace(' ', '-')}.toml"
    if content is not None:
        path.write_text(content)
    return {"MODAL_CONFIG_PATH": str(path), "MODAL_SERVER_URL": server, **variables}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Takes connections, which is all that a client wants before its first call."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(scope="module")
def refusals(server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the client itself says to each case; empty: it is content."""
    folder = tmp_path_factory.mktemp("asked")
    asked = {name: environment_of(name, folder, server) for name in CASES}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    done = subprocess.run(
        [sys.executable, "-c", ASK_THE_CLIENT],
        input=json.dumps(asked),
        env={**clean, "MODAL_CONFIG_PATH": str(folder / "none")},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", CASES)
def test_it_is_ready_exactly_when_the_client_finds_a_token(
    tmp_path: Path, server: str, refusals: dict[str, str], name: str
) -> None:
    ready = CASES[name][2]
    assert (not refusals[name]) is ready, refusals[name]
    login = modal_login(environment_of(name, tmp_path, server))
    assert login.ready is ready
    assert bool(login.source) is ready
    if login.problem is not None:
        assert login.problem.hint
        assert "as-1" not in str(login.problem)


def test_the_words_name_the_file_and_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "modal.toml"
    path.write_text(ONE)
    source = modal_login({"MODAL_CONFIG_PATH": str(path)}).source
    assert source == f"{path} [default]"
    unknown = modal_login({"MODAL_CONFIG_PATH": str(path), "MODAL_PROFILE": "play"}).problem
    assert "'play', which MODAL_PROFILE names" in str(unknown)


def test_a_file_that_can_not_be_read_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "modal.toml").mkdir()
    problem = modal_login({"MODAL_CONFIG_PATH": str(tmp_path / "modal.toml")}).problem
    assert "can't be read" in str(problem)


def test_a_file_named_modal_before_the_package_is_reported_and_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "modal.py"
    own.write_text("raise SystemExit('it was imported')\n")
    code = "from fleet_rlm.config.modal_login import shadowed; print(shadowed())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"{own} hides the installed package" in done.stdout
    assert own.exists()


def test_the_installed_package_is_not_hidden() -> None:
    assert shadowed() is None
