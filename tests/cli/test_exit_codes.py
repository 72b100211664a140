"""One cause, one exit status, whatever the command: 2 for what was asked or configured, 1 for what happened, 130."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from rich.text import Text

from cli.shell import Shell
from fleet_rlm.cli.entry import app
from fleet_rlm.tui.command_line import UsageError, first_to_open, parse
from modal_server import ModalServer
from model_server import ModelServer

RUN = ("run", "Why?", "--docs", "a.txt")
BASIC = ("run-basic", "--question", "Why?", "--docs", "a.txt")
SCREEN = ("--question", "Why?", "--docs", "a.txt")
ASKS_MODELS = (RUN, BASIC, ("config", "show"), ("doctor",))
ASK_MODAL = (("check-secret",), ("check-secret-key",), ("doctor", "--sandbox", "modal"), (*RUN, "--sandbox", "modal"))


@pytest.fixture
def machine(fleet: Shell) -> Shell:
    """A document, and no account at Modal."""
    (fleet.folder / "a.txt").write_text("Because.\n")
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROFILE", "MODAL_SERVER_URL"):
        fleet.variables[name] = ""
    fleet.variables["MODAL_CONFIG_PATH"] = str(fleet.folder / "none.toml")
    return fleet


CONFIGURED: dict[str, dict[str, str]] = {
    "no key": {"DSPY_LM_MODEL": "openai/m"},
    "no such model's name": {"DSPY_LM_MODEL": "gpt"},
    "no number": {"FLEET_RLM_MAX_COST_USD": "much"},
    "no address": {"DSPY_LM_MODEL": "openai/m", "DSPY_LM_API_BASE": "nowhere"},
    "no such sandbox": {"FLEET_RLM_SANDBOX": "moon"},
}


@pytest.mark.parametrize("variables", CONFIGURED.values(), ids=CONFIGURED)
@pytest.mark.parametrize("command", ASKS_MODELS, ids=lambda words: words[0])
def test_a_configuration_that_can_t_be_used_is_2(
    machine: Shell, command: tuple[str, ...], variables: dict[str, str]
) -> None:
    machine.variables.update(variables)
    done = machine.inside(*command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variables", CONFIGURED.values(), ids=CONFIGURED)
def test_it_is_wrong_usage_for_the_screen_too(
    machine: Shell, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.folder)
    for name, value in {**machine.environment, **variables}.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError):
        first_to_open(parse(SCREEN))


@pytest.mark.parametrize("command", ASK_MODAL, ids=lambda words: words[0])
def test_modal_without_a_token_is_2(machine: Shell, command: tuple[str, ...]) -> None:
    done = machine.inside(*command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Modal has no token here" in done.stdout + done.stderr


@pytest.mark.parametrize("command", [*ASKS_MODELS, *ASK_MODAL], ids=lambda words: words[0])
def test_an_env_file_that_would_redirect_is_2(machine: Shell, command: tuple[str, ...]) -> None:
    (machine.folder / ".env").write_text("HTTPS_PROXY=http://192.0.2.1\n")
    machine.variables.update(MODAL_TOKEN_ID="ak-x", MODAL_TOKEN_SECRET="as-x", FLEET_RLM_SECRET_NAME="s")
    done = machine.inside(*command)
    assert done.returncode == 2
    assert "HTTPS_PROXY" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("run", "Why?", "--docs", "nowhere.txt"),
        ("run-basic", "--question", "Why?", "--docs", "nowhere.txt"),
        ("runs", "show", "nowhere"),
        ("runs", "verify", "nowhere"),
        ("runs", "path", "latest"),
        ("corpus", "check", "nowhere.txt"),
        ("corpus", "score", "nowhere.txt", "latest"),
        ("tasks", "show", "nowhere"),
        ("run", "Why?", "--docs", "a.txt", "--task", "nowhere"),
    ],
    ids=" ".join,
)
def test_what_was_named_and_is_not_there_is_2(machine: Shell, command: tuple[str, ...]) -> None:
    done = machine.inside(*command)
    assert done.returncode == 2, done.stdout + done.stderr


def test_a_model_that_refuses_is_1_whoever_asks_it(machine: Shell) -> None:
    with ModelServer(lambda asked: 401) as server:
        machine.variables.update(DSPY_LM_MODEL="openai/m", DSPY_LM_API_BASE=server.url, DSPY_LLM_API_KEY="k" * 20)
        for command in (RUN, BASIC, ("doctor", "--probe")):
            done = machine.inside(*command)
            assert done.returncode == 1, (command, done.stdout + done.stderr)


def test_a_modal_that_refuses_is_1_whoever_asks_it(modal_server: ModalServer, fleet: Shell) -> None:
    (fleet.folder / "a.txt").write_text("Because.\n")
    modal_server.fault("SecretGetOrCreate", "fail", status="UNAUTHENTICATED", message="no", times=-1)
    modal_server.fault("AppGetOrCreate", "fail", status="UNAUTHENTICATED", message="no", times=-1)
    for command in ASK_MODAL:
        assert fleet.inside(*command).returncode == 1, command


# Help


def commands(group: object = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command that there is, groups too, with the words that call it."""
    from typer.main import get_command

    group = group or get_command(app)
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[" ".join(path) or "-" for path, _ in commands()])
def test_no_help_loses_brackets(fleet: Shell, path: tuple[str, ...], command: object) -> None:
    texts = [getattr(command, "help", None), *(getattr(one, "help", None) for one in command.params)]  # type: ignore[attr-defined]
    bracketed = {found for text in texts if text for found in re.findall(r"\[[^\]\n]+\]", text)}
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", fleet.inside(*path, "--help").stdout).split())
    plain = Text.from_ansi(shown).plain
    assert not [found for found in bracketed if " ".join(found.split()) not in plain]
