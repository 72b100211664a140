"""ctrl+z and `fg` while a cell is executing: the sandbox stays, and the run goes on to its answer."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.state import fold_all
from tests.e2e.conftest import BIN, only_run
from tests.model_server import ModelServer, planner
from tests.terminal import Terminal
from tests.waiting import until

CELL = "import time\nfor n in range(40): time.sleep(0.1)\nprint('the cell is done', 'x' * 200_000)"
"""Prints more than the pipe between engine and app holds."""
STEPS = [f"[[ ## reasoning ## ]]\nr\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n[[ ## completed ## ]]"
         for code in (CELL, "SUBMIT(answer='it went on')")]  # fmt: skip
SECONDS_STOPPED = 6.0


@pytest.fixture
def shell(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Terminal]:
    """A shell with job control, in which the models of a server are configured."""
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash here")
    with ModelServer(planner(STEPS)) as server:
        there = {**environment, **server.environment(), "PS1": "shell> "}
        with Terminal([bash, "--norc", "--noprofile", "-i"], 120, 40, there, tmp_path) as screen:
            screen.wait("shell>")
            yield screen


def executing(home: Path, screen: Terminal) -> bool:
    screen.pump()
    if not list((home / "runs").rglob("*.jsonl")):
        return False
    return b'"kind":"execution.started"' in only_run(home).read_bytes()


def over(home: Path, screen: Terminal) -> bool:
    screen.pump()
    return b'"kind":"run.finished"' in only_run(home).read_bytes()


def stop_and_go_on(screen: Terminal, home: Path | None = None) -> None:
    """Stop for some seconds; with `home`, beyond the end of the run, with which the engine of the app goes on."""
    screen.press("ctrl+z")
    screen.wait("Stopped")
    if home:
        until(lambda: over(home, screen), 60, "the end of the run")
    end = time.monotonic() + SECONDS_STOPPED
    until(lambda: screen.pump() and time.monotonic() > end, 30, "the time in which it stands")
    screen.write("fg\r")


def assert_went_on(home: Path) -> None:
    with RunFile(only_run(home)) as file:
        events = list(file.events())
    assert not [event.kind for event in events if event.kind in ("sandbox.lost", "state.lost")]
    finished = fold_all(events).finished
    assert finished is not None
    assert finished.status == "submitted"


def test_the_command_line_keeps_its_sandbox(shell: Terminal, home: Path, report: Path) -> None:
    command = [str(BIN / "fleet-rlm"), "run", "what?", "--docs", str(report)]
    shell.write(shlex.join(command) + "\r")
    until(lambda: executing(home, shell), 60, "a cell that executes")
    stop_and_go_on(shell)
    shell.wait("it went on", 60)
    assert_went_on(home)


@pytest.mark.parametrize("how", ["alone", "make"])
def test_the_app_goes_to_the_shell_and_comes_back(
    shell: Terminal, home: Path, report: Path, tmp_path: Path, how: str
) -> None:
    tui = shlex.join([str(BIN / "fleet-rlm-tui"), "--docs", str(report), "--question", "what?"])
    (tmp_path / "Makefile").write_text(f"tui:\n\t@{tui}\n")
    shell.write(("make tui" if how == "make" else tui) + "\r")
    until(lambda: executing(home, shell), 60, "a cell that executes")
    stop_and_go_on(shell, home)
    shell.wait("it went on", 60)
    shell.press("ctrl+q")
    shell.wait("The run is kept|shell>")
    assert_went_on(home)


def test_where_no_shell_waits_the_app_says_so_and_goes_on(environment: Mapping[str, str]) -> None:
    with Terminal([str(BIN / "fleet-rlm-tui")], 120, 40, environment) as screen:
        screen.wait("New run")
        screen.press("ctrl+z")
        screen.wait("No shell waits")
        screen.press("ctrl+q")
        assert screen.wait_exit() == 0
