"""The command `fleet-rlm-tui` before its screen opens, and what its process never loads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet_rlm import __version__
from fleet_rlm.spec import Budgets
from fleet_rlm.tui.command_line import UsageError, first_to_open, parse
from fleet_rlm.tui.sources import EngineClient, FollowFile, ReplayFile
from tests.terminal import Terminal
from tests.tui.sample_runs import finished, run_started, write_run

TUI = (sys.executable, "-c", "import sys; from fleet_rlm.tui.launch import main; sys.exit(main())")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TUI, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
    )


def refused(arguments: Sequence[str]) -> str:
    with pytest.raises(UsageError) as error:
        first_to_open(parse(arguments))
    return str(error.value)


def test_help_and_version_need_no_terminal() -> None:
    assert run("--version").stdout.strip() == f"fleet-rlm {__version__}"
    done = run("--help")
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--docs", "--question", "--demo", "--follow", "--paused", "--keys"))


def test_without_a_terminal_there_is_one_clear_line_and_no_escape_sequence(home: Path) -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr == "fleet-rlm-tui: standard input is not a terminal; `fleet-rlm run` works without one.\n"
    assert done.stdout == ""


def test_a_dumb_terminal_is_refused(home: Path) -> None:
    done = run(TERM="dumb")
    assert done.returncode == 2
    assert "TERM=dumb" in done.stderr


def test_a_file_that_is_no_run_is_refused_before_the_screen_opens(tmp_path: Path) -> None:
    (tmp_path / "x\x1b[2J.jsonl").write_text("nonsense")
    done = run(str(tmp_path / "x\x1b[2J.jsonl"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is no run file" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["--doc", "x"], "--doc"),
        (["a.jsonl", "--demo"], "choose one"),
        (["--docs", "x", "--follow", "y"], "choose one"),
        (["--sample", "x"], "There are: ask-the-guide, ask-week-ten, list-endpoints"),
        (["--sample", "--demo"], "choose one"),
        (["--docs", ""], "it is empty"),
        (["--docs", "nowhere.txt", "--question", "Why?"], "nowhere.txt: there is no such file"),
        (["--question", "Why?", "--task", "aks"], "Did you mean ask?"),
        (["--question", "Why?", "--max-iterations", "none"], "it is 'none', not a whole number from 1 on"),
        (["--question", "Why?", "--max-cost", "-1"], "it is '-1', not a number from 0 on"),
        (["--question", "Why?", "--sandbox", "moon"], "it is 'moon'. There are: local, modal, auto."),
        (["--model", "offline"], "--model is for a new run"),
        (["--paused"], "--paused is for a new run"),
        (["--follow", "nowhere.jsonl"], "no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(home: Path, arguments: list[str], words: str) -> None:
    said = refused(arguments)
    assert words in said
    assert "\n" not in said


def test_options_become_the_run(home: Path) -> None:
    Path("a.txt").write_text("x")
    given = (
        "--docs a.txt --docs *.md --question Why? --task logs --model ollama/x --sub-model offline --max-iterations 3"
    )
    more = "--max-llm-calls 7 --max-tokens 5000 --max-seconds 90 --max-cost 0.5 --paused --record out.jsonl"
    source, spec = first_to_open(parse([*given.split(), *more.split()]))
    assert isinstance(source, EngineClient)
    assert spec is not None
    assert (spec.documents, spec.question, spec.task, spec.paused) == (("a.txt", "*.md"), "Why?", "logs", True)
    assert (spec.model, spec.sub_model, spec.cwd) == ("ollama/x", "offline", str(Path.cwd()))
    assert spec.budgets == Budgets(max_iterations=3, max_llm_calls=7, max_tokens=5000, max_seconds=90, max_cost_usd=0.5)
    assert source.path == str(Path("out.jsonl").absolute())


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (["--docs", "a.txt"], False),
        (["--docs", "a.txt", "--question", " "], False),
        (["--question", "Why?"], False),
        (["--docs", "a.txt", "--task", "architecture"], True),
        (["--question", "Why?", "--task", "basic"], True),
        (["--docs", "a.txt", "--signature", "context -> title"], True),
    ],
)
def test_a_run_that_lacks_its_question_or_documents_is_completed_in_new_run(
    home: Path, arguments: list[str], starts: bool
) -> None:
    Path("a.txt").write_text("x")
    source, spec = first_to_open(parse([*arguments, "--max-iterations", "3"]))
    assert (source is not None) is starts
    assert spec is not None
    assert spec.budgets.max_iterations == 3


def test_a_recorded_run_that_ships_is_opened_by_its_name_or_without_one() -> None:
    for arguments in (["--sample"], ["--sample", "ask-week-ten"]):
        source, spec = first_to_open(parse(arguments))
        assert isinstance(source, ReplayFile)
        assert spec is None
        assert Path(source.path or "").stem == (arguments[1:] or ["ask-the-guide"])[0]


def test_the_demo_is_a_run_on_the_bundled_guide(home: Path) -> None:
    source, spec = first_to_open(parse(["--demo", "--model", "offline"]))
    assert isinstance(source, EngineClient)
    assert spec is not None
    assert spec.question
    assert spec.model == "offline"
    assert all(Path(path).is_file() for path in spec.documents)


def test_a_recorded_run_is_replayed_and_a_growing_one_followed(tmp_path: Path) -> None:
    import fcntl

    path = write_run(tmp_path / "a.jsonl", [run_started(), finished()])
    assert isinstance(first_to_open(parse([str(path)]))[0], ReplayFile)
    assert isinstance(first_to_open(parse(["--follow", str(path)]))[0], FollowFile)
    with path.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert isinstance(first_to_open(parse([str(path)]))[0], FollowFile)


def test_the_printable_list_names_every_action_and_its_keys() -> None:
    done = run("--keys")
    assert done.returncode == 0
    assert "home.new_run" in done.stdout
    assert "ctrl+q" in done.stdout


PROBE = """
import sys
from fleet_rlm.tui.look import keys
keys.all_keys()                     # imports every screen, pane and dialog
import fleet_rlm.tui.launch, fleet_rlm.tui.command_line
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("dspy", "litellm", "modal", "openai")
      or (name + ".").startswith(("fleet_rlm.engine.", "fleet_rlm.sandbox."))))
"""
FIRST = """
import sys
from fleet_rlm.tui.app import FleetApp
FleetApp()
print(*(name for name in ("argparse", "msgspec", "sqlite3", "fleet_rlm.events", "fleet_rlm.state",
      "fleet_rlm.documents.search", "fleet_rlm.documents.document_work", "importlib.resources",
      "fleet_rlm.tui.screens.run.run_screen") if name in sys.modules))
"""


def test_no_part_of_the_screen_loads_dspy_litellm_modal_or_the_engine() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_before_its_first_frame_the_app_loads_nothing_it_can_do_without(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_home_opens_in_a_real_terminal_and_ctrl_q_leaves_it_as_it_was(home: Path) -> None:
    with Terminal(TUI, 100, 30) as terminal:
        terminal.wait("Nothing was run here yet")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
        assert b"\x1b[?1049l" in terminal.raw, "the alternate screen is left"


def test_a_recorded_run_opens_from_the_command_line_and_q_goes_home(home: Path) -> None:
    path = write_run(home / "runs" / "2026-03-02" / "a.jsonl", [run_started(), finished()])
    with Terminal((*TUI, str(path)), 120, 40) as terminal:
        terminal.wait("What are the main optimizers")
        terminal.wait("SUBMITTED")
        terminal.press("q")
        terminal.wait("1 run")
        terminal.press("enter")
        terminal.wait("SUBMITTED")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
