"""What is configured, where it came from, and what a person is told when something is missing or wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_rlm import config
from fleet_rlm.config import settings_reference

PROJECT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    return folder


def choice(folder: Path, environ: dict[str, str] | None = None, **asked: str) -> config.ModelChoice:
    return config.model_choice(config.load(folder, environ or {}), **asked)


def test_nothing_configured_is_the_offline_model_and_no_problem(project: Path) -> None:
    chosen = choice(project)
    assert chosen.offline
    assert chosen.planner.source == "nothing configured"
    assert chosen.problem is None


def test_the_env_file_beside_pyproject_counts_from_a_folder_below(project: Path) -> None:
    (project / ".env").write_text(
        'export DSPY_LM_MODEL="openai/gpt-5-mini"  # a comment\nDSPY_LLM_API_KEY=k-from-file\n'
    )
    planner = choice(project / "deep" / "er").planner
    assert (planner.model, planner.api_key) == ("openai/gpt-5-mini", "k-from-file")
    assert str(project / ".env") in planner.source
    assert str(project / ".env") in planner.key_source


def test_the_env_file_of_the_working_folder_wins_over_the_projects(project: Path) -> None:
    (project / ".env").write_text("DSPY_LM_MODEL=groq/far\nDSPY_LLM_API_KEY=far\n")
    (project / "deep" / ".env").write_text("DSPY_LM_MODEL=groq/near\n")
    planner = choice(project / "deep").planner
    assert (planner.model, planner.api_key) == ("groq/near", "far")


def test_the_real_environment_wins_over_every_file(project: Path, own_home: Path) -> None:
    (project / ".env").write_text("DSPY_LM_MODEL=ollama/file\n")
    (own_home / "config.toml").write_text('[model]\nname = "ollama/config"\n')
    assert choice(project, {"DSPY_LM_MODEL": "ollama/real"}).planner.model == "ollama/real"
    planner = choice(project).planner
    assert planner.model == "ollama/config"
    assert str(own_home / "config.toml") in planner.source
    (own_home / "config.toml").unlink()
    assert choice(project).planner.model == "ollama/file"


def test_an_option_wins_over_everything_and_says_so(project: Path) -> None:
    planner = choice(project, {"DSPY_LM_MODEL": "groq/real", "DSPY_LLM_API_KEY": "k"}, model="offline").planner
    assert planner.offline
    assert planner.source == "--model"


@pytest.mark.parametrize("variable", ["DSPY_LLM_API_KEY", "DSPY_LM_API_KEY", "OPENAI_API_KEY"])
def test_each_of_these_variables_is_a_key_for_openai(project: Path, variable: str) -> None:
    planner = choice(project, {"DSPY_LM_MODEL": "openai/x", variable: "the-key"}).planner
    assert planner.problem is None
    assert planner.api_key == "the-key"
    assert variable in planner.key_source


def test_a_missing_key_names_variables_the_file_and_the_line_to_add(project: Path) -> None:
    (project / ".env").write_text("DSPY_LM_MODEL=openai/x\n")
    problem = choice(project).problem
    assert problem is not None
    assert "DSPY_LLM_API_KEY or OPENAI_API_KEY" in problem.message
    assert str(project / ".env") in problem.message
    assert f"Add this line to {project / '.env'}: DSPY_LLM_API_KEY=" in problem.hint


def test_without_any_env_file_it_says_where_one_was_looked_for(project: Path) -> None:
    problem = choice(project / "deep", {"DSPY_LM_MODEL": "anthropic/x"}).problem
    assert problem is not None
    assert str(project / "deep" / ".env") in problem.message
    assert str(project / ".env") in problem.message


def test_a_server_of_ones_own_needs_no_key(project: Path) -> None:
    chosen = choice(project, {"DSPY_LM_MODEL": "openai/x", "DSPY_LM_API_BASE": "http://127.0.0.1:1/v1"})
    assert chosen.problem is None
    assert chosen.planner.api_base == "http://127.0.0.1:1/v1"


def test_a_key_is_never_sent_to_another_provider_than_its_own(project: Path) -> None:
    environ = {"DSPY_LM_MODEL": "openai/x", "DSPY_LLM_API_KEY": "openai-key", "DSPY_LM_API_BASE": "http://127.0.0.1:1"}
    chosen = choice(project, environ, sub_model="anthropic/y")
    assert chosen.planner.api_key == "openai-key"
    assert (chosen.sub.api_key, chosen.sub.api_base) == (None, None)
    assert chosen.problem is not None
    assert "ANTHROPIC_API_KEY" in chosen.problem.message
    assert "DSPY_LLM_API_KEY" not in chosen.problem.message
    assert choice(project, {**environ, "ANTHROPIC_API_KEY": "a"}, sub_model="anthropic/y").sub.api_key == "a"
    assert choice(project, environ, sub_model="openai/small").sub.api_key == "openai-key"


def test_a_sub_model_can_be_configured_and_does_not_apply_offline(project: Path) -> None:
    environ = {"DSPY_LM_MODEL": "openai/x", "OPENAI_API_KEY": "k", "DSPY_SUB_LM_MODEL": "openai/small"}
    assert choice(project, environ).sub.model == "openai/small"
    assert choice(project, environ, model="offline").sub.offline


@pytest.mark.parametrize("value", ["many", "0", "-5", "1.5", "10000001", "1e3"])
def test_a_bad_number_of_tokens_names_the_variable_and_the_range(project: Path, value: str) -> None:
    problem = choice(project, {"DSPY_LM_MODEL": "ollama/x", "DSPY_LM_MAX_TOKENS": value}).problem
    assert problem is not None
    assert "DSPY_LM_MAX_TOKENS in the environment" in problem.message
    assert "from 1 to 10,000,000" in problem.message
    assert value in problem.message


def test_a_good_number_of_tokens_is_taken(project: Path) -> None:
    planner = choice(project, {"DSPY_LM_MODEL": "ollama/x", "DSPY_LM_MAX_TOKENS": "4096"}).planner
    assert (planner.max_tokens, planner.problem) == (4096, None)


def test_a_bad_address_is_named(project: Path) -> None:
    problem = choice(project, {"DSPY_LM_MODEL": "ollama/x", "DSPY_LM_API_BASE": "localhost:8000"}).problem
    assert problem is not None
    assert "DSPY_LM_API_BASE" in problem.message


def test_faulty_files_are_problems_not_errors(project: Path, own_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / ".env").write_text("DSPY_LM_MODEL=ollama/x\n=what is this\n")
    (project / "deep" / ".env").write_bytes(b"\xff\xfe\x00")
    (own_home / "config.toml").write_text('[model]\nnam = "x"\n[run]\nmax_iterations = "three"\nmax_seconds = 9\n')
    settings = config.load(project / "deep", {})
    words = "\n".join(map(str, settings.problems))
    assert config.model_choice(settings).planner.model == "ollama/x"
    assert "could not parse" in words
    assert "not UTF-8" in words
    assert "'nam'" in words
    assert "run.max_iterations must be a whole number from 1 on, not 'three'" in words
    assert settings.number("run.max_seconds") == 9.0
    assert settings.stopping is not None
    assert capfd.readouterr() == ("", "")


def test_a_config_file_that_is_no_toml_is_a_problem(project: Path, own_home: Path) -> None:
    (own_home / "config.toml").write_text("[model\n")
    (problem,) = config.load(project, {}).problems
    assert "is not TOML" in problem.message


def test_values_never_show_in_a_repr(project: Path) -> None:
    (project / ".env").write_text("DSPY_LM_MODEL=openai/x\nDSPY_LLM_API_KEY=do-not-print-me\n")
    settings = config.load(project, {})
    assert "do-not-print-me" not in repr((settings, config.model_choice(settings), settings.value("model.api_key")))


def test_exporting_completes_the_environment_and_overrides_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("OPENAI_API_KEY=from-file\nFLEET_TEST_REAL=from-file\n")
    monkeypatch.setenv("FLEET_TEST_REAL", "real")
    monkeypatch.setenv("OPENAI_API_KEY", "x")  # so that monkeypatch takes the variable away again
    monkeypatch.delenv("OPENAI_API_KEY")
    config.load(project).export()
    assert (os.environ["OPENAI_API_KEY"], os.environ["FLEET_TEST_REAL"]) == ("from-file", "real")


def test_everything_lies_under_fleet_rlm_home_when_it_is_set(own_home: Path) -> None:
    places = (config.runs_dir(), config.config_file(), config.themes_dir(), config.state_file())
    assert all(path.is_relative_to(own_home) for path in places)


def test_without_it_the_platforms_folders_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEET_RLM_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert config.runs_dir().is_relative_to(tmp_path)
    assert config.runs_dir().name == "runs"
    assert config.config_file().name == "config.toml"


def test_the_example_file_is_true_to_the_code(tmp_path: Path) -> None:
    text = (PROJECT / ".env.example").read_text()
    filled = tmp_path / ".env"
    filled.write_text(
        "\n".join(line.removeprefix("#") if line.startswith("#") and "=" in line else "" for line in text.splitlines())
    )
    settings = config.load(tmp_path, {"HOME": str(tmp_path)})
    chosen = config.model_choice(settings)
    assert settings.problems == ()
    assert chosen.problem is None
    said = {one.variables[0] for one in config.SETTINGS if one.variables and one.env_file}
    assert set(settings.from_files) == said
    assert (chosen.planner.model, chosen.sub.model) == ("openai/gpt-5-mini", "openai/gpt-5-nano")


def test_what_is_made_from_the_table_is_as_the_table_says() -> None:
    """After a change: python scripts/write_settings.py"""
    assert (PROJECT / ".env.example").read_text("utf-8") == settings_reference.env_example()
    assert settings_reference.settings_table() in (PROJECT / "docs" / "settings.md").read_text("utf-8")


def test_reading_the_configuration_loads_nothing_heavy() -> None:
    code = (
        "import sys; from fleet_rlm import config; config.model_choice(config.load());"
        "print([m for m in ('dspy', 'textual', 'rich', 'msgspec', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
