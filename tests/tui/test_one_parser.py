"""`fleet-rlm run` and `fleet-rlm-tui` read a run from the same options, described and refused in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fleet_rlm.cli.entry import app as shell
from fleet_rlm.engine.prepare.run_inputs import Documents, Wanted, bind
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.spec import RunSpec
from fleet_rlm.tui.command_line import UsageError, first_to_open, parse
from fleet_rlm.tui.command_line import app as screen

ONLY_THE_SHELL = {"--json", "--quiet", "--verbose", "--full-output"}
ONLY_THE_SCREEN = {"--follow", "--demo", "--sample", "--paused", "--keys", "--version", "--on-hang-up"}


def options(command: Any) -> dict[str, tuple[Any, ...]]:
    """The options of a command by their first names, with all that help says of them."""
    found = (one for one in command.params if one.opts[0].startswith("-"))
    return {one.opts[0]: (one.opts, one.metavar, one.help, one.rich_help_panel, one.multiple) for one in found}


def test_both_programs_have_the_same_options_in_the_same_words() -> None:
    shells: Any = typer.main.get_command(shell)
    of_run, of_screen = options(shells.commands["run"]), options(typer.main.get_command(screen))
    assert set(of_run) - set(of_screen) == ONLY_THE_SHELL
    assert set(of_screen) - set(of_run) == ONLY_THE_SCREEN
    both = set(of_run) & set(of_screen)
    assert {name: of_run[name] for name in both} == {name: of_screen[name] for name in both}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-cost", "much"], "Invalid value for '--max-cost': it is 'much', not a number from 0 on"),
        (["--sandbox", "moon"], "Invalid value for '--sandbox': it is 'moon'. There are: local, modal, auto."),
        (["--input", "limit"], "write it as NAME=VALUE, such as limit=5, not 'limit'"),
        (["--task", "aks"], "There is no task named 'aks'. Did you mean ask?"),
        (["--cpu", "2"], "--cpu is for a sandbox in Modal's cloud, and this run's is local."),
    ],
)
def test_a_wrong_value_is_refused_in_the_same_words(
    words: list[str], message: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    asked = ["--question", "Why?", *words]
    with pytest.raises(UsageError) as refused:
        first_to_open(parse(asked))
    assert message in str(refused.value)
    done = CliRunner().invoke(shell, ["run", *asked])
    assert done.exit_code == 2
    assert message in done.stderr


def test_inputs_and_instructions_reach_a_run_of_the_screen(home: Path) -> None:
    words = "--question q --signature x,n:int,question->a --input n=5 --input x=5 --instructions Short."
    _, spec = first_to_open(parse([*words.split(), "--model", "offline"]))
    assert spec is not None
    assert (spec.inputs, spec.instructions) == ({"n": "5", "x": "5"}, "Short.")


def test_the_engine_reads_the_text_of_an_input_by_its_type() -> None:
    types = {"text": "str", "limit": "int", "tags": "list[str]", "kind": "Literal['a', 'b']", "note": "str | None"}
    wanted = Wanted(types=types, document_field=None, question_field=None, needs_question=False)
    texts = {"text": "5", "limit": "5", "tags": '["x"]', "kind": "a", "note": "5"}
    bound = bind(RunSpec(inputs=dict(texts)), wanted, Documents())
    assert bound.values == {"text": "5", "limit": 5, "tags": ["x"], "kind": "a", "note": "5"}
    with pytest.raises(SetupError, match="The input limit must be int, written as JSON; 'many' is not"):
        bind(RunSpec(inputs={**texts, "limit": "many"}), wanted, Documents())
