"""`fleet-rlm config`: one precedence, the source of every value, no secret, mistakes with their range."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.shell import Shell
from fleet_rlm.cli.config_command import masked
from fleet_rlm.config import SETTINGS, load

KEY = "sk-proj-4711abcdefghijklmnopqrstuvwx"


def settings(fleet: Shell, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    done = fleet.inside("config", "show", "--json", *arguments)
    assert done.returncode == code, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["settings"]}


def test_without_configuration_everything_is_the_default(fleet: Shell) -> None:
    shown = settings(fleet)
    own = {name: one for name, one in shown.items() if not name.startswith("folder.")}
    assert {one["source"] for one in own.values()} == {"default"}
    assert (shown["model.name"]["value"], shown["run.sandbox"]["value"]) == ("offline", "local")
    assert shown["model.max_tokens"]["value"] == "what the model allows"
    assert shown["folder.runs"] == {
        "name": "folder.runs",
        "value": str(fleet.folder / "home" / "runs"),
        "source": "environment",
        "where": "FLEET_RLM_HOME",
        "ways": ["FLEET_RLM_HOME"],
        "secret": False,
    }


def test_option_environment_config_file_env_file_default_in_this_order(fleet: Shell) -> None:
    """Take them away one after the other: the next one shows."""
    file = fleet.folder / "home" / "config.toml"
    file.parent.mkdir()
    file.write_text("[run]\nmax_iterations = 4\n")
    (fleet.folder / ".env").write_text("FLEET_RLM_MAX_ITERATIONS=3\n")
    fleet.variables["FLEET_RLM_MAX_ITERATIONS"] = "2"

    def now(*arguments: str) -> tuple[str, str, str | None]:
        one = settings(fleet, *arguments)["run.max_iterations"]
        assert one["ways"] == ["--max-iterations", "FLEET_RLM_MAX_ITERATIONS", "run.max_iterations"]
        return one["value"], one["source"], one["where"]

    assert now("--max-iterations", "1") == ("1", "option", "--max-iterations")
    assert now() == ("2", "environment", "FLEET_RLM_MAX_ITERATIONS")
    del fleet.variables["FLEET_RLM_MAX_ITERATIONS"]
    assert now() == ("4", "config file", "run.max_iterations")
    file.unlink()
    assert now() == ("3", ".env", f"FLEET_RLM_MAX_ITERATIONS in {fleet.folder / '.env'}")
    (fleet.folder / ".env").unlink()
    assert now() == ("the task's", "default", None)


def test_what_is_shown_is_what_a_run_gets(fleet: Shell) -> None:
    environment = {f"FLEET_RLM_{name}": value for name, value in (("MAX_ITERATIONS", "7"), ("MAX_COST_USD", "0.5"))}
    found = load(fleet.folder, environment)
    assert (found.get("run.max_iterations"), found.get("run.max_cost_usd"), found.get("run.max_tokens")) == (
        7,
        0.5,
        None,
    )


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_secret_is_shown(fleet: Shell, arguments: tuple[str, ...]) -> None:
    (fleet.folder / ".env").write_text(f'DSPY_LM_MODEL=openai/x\nDSPY_LLM_API_KEY="{KEY}"\n')
    fleet.variables.update(
        DSPY_LM_API_BASE="http://me:hunter22secret@127.0.0.1:8000/v1",
        MODAL_TOKEN_ID="ak-1234567890abcdefghij",
        MODAL_TOKEN_SECRET="as-0987654321abcdefghij",
    )
    done = fleet.inside("config", "show", *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for secret in (KEY, "hunter22secret", "ak-1234567890abcdefghij", "as-0987654321abcdefghij"):
        assert secret[4:] not in said
        assert secret[:6] not in said
    assert "DSPY_LLM_API_KEY" in said
    assert "127.0.0.1:8000/v1" in said


def test_a_short_secret_shows_not_even_its_beginning() -> None:
    assert masked("hunter22") == "•" * 8
    assert masked(KEY) == f"sk-{'•' * 8}"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DSPY_LM_MAX_TOKENS", "lots", "'lots', not a whole number from 1 to 10,000,000"),
        ("FLEET_RLM_MAX_ITERATIONS", "0", "'0', not a whole number from 1 on"),
        ("FLEET_RLM_MAX_SECONDS", "soon", "'soon', not a number from 0 on"),
        ("FLEET_RLM_MAX_COST_USD", "nan", "'nan', not a number from 0 on"),
        ("FLEET_RLM_SANDBOX", "moon", "There are: local, modal, auto"),
        ("DSPY_LM_API_BASE", "localhost", "must begin with http:// or https://"),
        ("DSPY_LLM_API_KEY", "", "needs a key: DSPY_LLM_API_KEY or OPENAI_API_KEY is not set"),
    ],
)
def test_a_mistake_names_its_variable_and_what_it_takes(fleet: Shell, variable: str, value: str, words: str) -> None:
    fleet.variables.update({"DSPY_LM_MODEL": "openai/x", "DSPY_LLM_API_KEY": KEY, variable: value})
    done = fleet.inside("config", "show")
    assert done.returncode == 2
    (problem,) = (line for line in done.stderr.splitlines() if line.startswith("Problem: "))
    assert variable in problem
    assert words in problem
    assert settings(fleet, code=2)


def test_a_mistake_in_config_toml_names_the_file_and_the_entry(fleet: Shell) -> None:
    (fleet.folder / "home").mkdir()
    file = fleet.folder / "home" / "config.toml"
    file.write_text("[run]\nmax_iterations = 'many'\n")
    done = fleet.inside("config", "show")
    assert f"{file}: run.max_iterations must be a whole number from 1 on, not 'many'" in done.stderr


def test_path_names_the_file_and_with_json_all_places(fleet: Shell) -> None:
    assert fleet.inside("config", "path").stdout == f"{fleet.folder / 'home' / 'config.toml'}\n"
    said = json.loads(fleet.inside("config", "path", "--json").stdout)
    assert said["exists"] is False
    assert said["env_searched"][0] == str(fleet.folder / ".env")
    assert said["runs"] == str(fleet.folder / "home" / "runs")


def test_the_example_names_every_variable_and_only_those_that_are_read(fleet: Shell) -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    shown = settings(fleet).values()
    read = {way for one in shown for way in one["ways"] if way.isupper()}
    assert named == {one.variables[0] for one in SETTINGS if one.variables and one.env_file}
    assert named <= read
