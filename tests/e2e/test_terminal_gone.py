"""The terminal goes away while the app runs: everything ends within seconds, whoever started the app."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.state import fold_all
from tests.e2e.conftest import BIN, only_run
from tests.e2e.processes import alive, descendants
from tests.terminal import Terminal
from tests.waiting import until

SECONDS = 10
PARENTS = {
    "alone": "exec {tui}",
    "shell": "{tui}; true",
    "deaf shell": "trap '' HUP; {tui}; true",
    "make": "exec make -f Makefile tui",
    "hang-ups ignored": "trap '' HUP; exec {tui}",
}


def opened(how: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> Terminal:
    tui = shlex.join([str(BIN / "fleet-rlm-tui"), *arguments])
    (folder / "Makefile").write_text(f"tui:\n\t@{tui}\n")
    return Terminal(["sh", "-c", PARENTS[how].format(tui=tui)], 120, 40, environment, folder)


def end_of(home: Path) -> str:
    with RunFile(only_run(home)) as file:
        finished = fold_all(file.events()).finished
    return finished.status if finished else ""


@pytest.mark.parametrize("how", PARENTS)
def test_when_the_terminal_is_closed_the_app_and_its_run_end(
    how: str, environment: Mapping[str, str], report: Path, home: Path, tmp_path: Path
) -> None:
    with opened(how, tmp_path, environment, "--docs", str(report), "--question", "Why?", "--paused") as screen:
        screen.wait("PAUSED before the planner")
        processes = {**descendants(screen.pid)}
        assert any("fleet_rlm.engine" in command for command in processes.values())
        screen.hang_up()
        until(lambda: not alive(processes), SECONDS, "the end of all processes")
        until(lambda: end_of(home) == "aborted", SECONDS, "the end of the run")
        screen.wait_exit()


@pytest.mark.parametrize("by", ["config.toml", "variable", "option"])
def test_a_run_is_let_go_when_the_person_s_settings_say_so(
    by: str, environment: Mapping[str, str], report: Path, home: Path, tmp_path: Path
) -> None:
    home.mkdir()
    if by == "config.toml":
        (home / "config.toml").write_text('[run]\non_hang_up = "let-go"\n')
    there = {**environment, "FLEET_RLM_ON_HANG_UP": "let-go"} if by == "variable" else environment
    more = ["--on-hang-up", "let-go"] if by == "option" else []
    given = ["--docs", str(report), "--question", "Why?", "--paused", *more]
    with opened("make", tmp_path, there, *given) as screen:
        screen.wait("PAUSED before the planner")
        screen.hang_up()
        screen.wait_exit()
    until(lambda: end_of(home) == "submitted", 60, "the end of the run")


def test_a_pager_that_stays_is_ended_with_the_app(environment: Mapping[str, str], report: Path, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\ntrap '' HUP\necho; echo paging\nwhile :; do sleep 1 || :; done\n")
    pager.chmod(0o755)
    there = {**environment, "PAGER": str(pager)}
    with opened("make", tmp_path, there, "--docs", str(report), "--question", "Why?", "--paused") as screen:
        screen.wait("PAUSED before the planner")
        screen.press("o")
        screen.wait("paging")
        processes = {key: line for key, line in descendants(screen.pid).items() if not line.startswith("sleep")}
        screen.hang_up()
        until(lambda: not alive(processes), SECONDS, "the end of all processes")


def test_ctrl_c_in_the_pager_is_the_pager_s(environment: Mapping[str, str], report: Path, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\ntrap 'echo interrupted' INT\necho; echo paging\nread line; read line\n")
    pager.chmod(0o755)
    there = {**environment, "PAGER": str(pager)}
    with opened("alone", tmp_path, there, "--docs", str(report), "--question", "Why?", "--paused") as screen:
        screen.wait("PAUSED before the planner")
        screen.press("o")
        screen.wait("paging")
        screen.press("ctrl+c")
        screen.wait("interrupted")
        screen.press("enter", "enter")
        screen.wait("PAUSED before the planner")

        def answered(key: str, words: str) -> bool:  # until the app reads its keys again
            screen.press(key)
            end = time.monotonic() + 2
            while words not in screen.text() and time.monotonic() < end:
                screen.pump()
            return words in screen.text()

        until(lambda: answered("ctrl+c", "Abort the run"), 20, "the question")
        screen.press("n")
        screen.wait("Abort the run", absent=True)
        until(lambda: answered("ctrl+q", "still going"), 20, "the question at the end")
        screen.press("s")
        assert screen.wait_exit() == 0


def test_a_run_is_stopped_and_the_terminal_given_back_when_the_app_is_told_to_end(
    environment: Mapping[str, str], report: Path, home: Path, tmp_path: Path
) -> None:
    with opened("alone", tmp_path, environment, "--docs", str(report), "--question", "Why?", "--paused") as screen:
        screen.wait("PAUSED before the planner")
        os.kill(screen.pid, 15)
        screen.wait("The run is kept")
        assert screen.wait_exit() == 128 + 15
    assert end_of(home) == "aborted"
