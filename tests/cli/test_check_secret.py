"""`fleet-rlm check-secret` and `check-secret-key`, asked of Modal's own client on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.shell import Shell
from fleet_rlm.cli import modal_access
from modal_server import ModalServer

VALUE = "the-value-that-nobody-may-see"


@pytest.fixture
def secret(modal_server: ModalServer) -> ModalServer:
    modal_server.add_secret("LITELLM", DSPY_LM_MODEL="openai/x", DSPY_LLM_API_KEY=VALUE)
    return modal_server


def test_each_key_is_present_or_not_and_no_value_is_shown(secret: ModalServer, fleet: Shell) -> None:
    done = fleet.inside("check-secret")
    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["✓", "DSPY_LM_MODEL", "present"],
        ["✓", "DSPY_LLM_API_KEY", "present"],
        ["–", "DSPY_LM_API_KEY", "not"],
        ["–", "DSPY_LM_API_BASE", "not"],
        ["–", "DSPY_LM_MAX_TOKENS", "not"],
    ]
    said = json.loads(fleet.inside("check-secret", "--json").stdout)
    assert said["ok"] is True
    assert said["keys"]["DSPY_LM_API_KEY"] is False
    assert VALUE not in done.stdout + done.stderr + str(said)
    assert not secret.sandboxes()
    assert not secret.calls("SandboxCreateV2")


def test_either_name_of_the_key_will_do(modal_server: ModalServer, fleet: Shell) -> None:
    modal_server.add_secret("mine", DSPY_LM_MODEL="m", DSPY_LM_API_KEY=VALUE)
    done = fleet.inside("check-secret", "--secret-name", "mine")
    assert done.returncode == 0
    assert "not set (DSPY_LM_API_KEY is)" in done.stdout


def test_what_is_missing_is_status_1_and_named_with_the_way_to_add_it(modal_server: ModalServer, fleet: Shell) -> None:
    modal_server.add_secret("LITELLM", DSPY_LM_API_BASE="http://x")
    done = fleet.inside("check-secret")
    assert done.returncode == 1
    assert "Missing: DSPY_LM_MODEL, DSPY_LLM_API_KEY or DSPY_LM_API_KEY." in done.stderr
    assert "modal secret create --force LITELLM" in done.stderr
    said = json.loads(fleet.inside("check-secret", "--json").stdout)
    assert said["missing"] == ["DSPY_LM_MODEL", "DSPY_LLM_API_KEY or DSPY_LM_API_KEY"]


def test_one_key_is_present_or_missing(secret: ModalServer, fleet: Shell) -> None:
    assert fleet.inside("check-secret-key").returncode == 0
    done = fleet.inside("check-secret-key", "--key", "DSPY_LM_API_BASE")
    assert (done.returncode, "MISSING" in done.stdout) == (1, True)
    said = json.loads(fleet.inside("check-secret-key", "--key", "DSPY_LM_MODEL", "--json").stdout)
    assert said == {"secret": "LITELLM", "key": "DSPY_LM_MODEL", "present": True}


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"])
def test_a_refused_key_is_missing_however_the_server_refuses(secret: ModalServer, fleet: Shell, status: str) -> None:
    words = "Secret is missing key(s): DSPY_LLM_API_KEY"
    secret.fault("SecretGetOrCreate", "fail", status=status, message=words, skip=1)
    done = fleet.inside("check-secret-key")
    assert (done.returncode, "MISSING" in done.stdout) == (1, True)


def test_the_secret_is_the_option_else_the_variable_else_the_first_of_the_config_file(
    modal_server: ModalServer, fleet: Shell
) -> None:
    for name in ("one", "two", "three"):
        modal_server.add_secret(name, **{name.upper(): "x"})

    def asked(*options: str) -> str:
        return str(json.loads(fleet.inside("check-secret-key", "--key", "ONE", "--json", *options).stdout)["secret"])

    home = fleet.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('[modal]\nsecrets = ["three", "two"]\n')
    assert asked() == "three"
    fleet.variables["FLEET_RLM_SECRET_NAME"] = "two"
    assert asked() == "two"
    assert asked("--secret-name", "one") == "one"


@pytest.mark.parametrize("options", [["--secret-name", "a b"], ["--secret-name", ""], ["--key", "NO=PE"]], ids=str)
def test_what_can_t_be_a_name_is_wrong_usage(fleet: Shell, options: list[str]) -> None:
    done = fleet.inside("check-secret-key", *options)
    assert done.returncode == 2
    assert "can't be the name" in done.stderr


def test_a_secret_that_is_not_there_is_named_with_the_command_that_makes_it(
    modal_server: ModalServer, fleet: Shell
) -> None:
    done = fleet.inside("check-secret", "--secret-name", "nobody")
    assert done.returncode == 1
    assert "There is no secret named 'nobody' in this Modal workspace." in done.stderr
    assert "modal secret create nobody" in done.stderr
    assert (
        "nobody"
        in json.loads(fleet.inside("check-secret", "--secret-name", "nobody", "--json").stdout)["error"]["message"]
    )


REFUSALS = {
    "a wrong token": ("UNAUTHENTICATED", "Token validation failed", "Modal refused the token", "modal token new"),
    "an expired token": ("UNAUTHENTICATED", "Token expired", "token has expired", "modal token new"),
    "no permission": ("PERMISSION_DENIED", "not yours", "Modal does not permit it", "workspace member"),
    "a quota": ("RESOURCE_EXHAUSTED", "too many", "A limit of the Modal workspace is reached", "raise the limit"),
    "a fault at Modal": ("DATA_LOSS", "oh no", "Modal failed", "status page"),
}


@pytest.mark.parametrize(("status", "said", "words", "hint"), REFUSALS.values(), ids=REFUSALS)
def test_each_refusal_has_its_own_words_and_says_what_to_do(
    secret: ModalServer, fleet: Shell, status: str, said: str, words: str, hint: str
) -> None:
    secret.fault("SecretGetOrCreate", "fail", status=status, message=said, times=-1)
    done = fleet.inside("check-secret")
    assert done.returncode == 1
    assert words in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_does_not_answer_is_given_up(
    secret: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert modal_access.ANSWER_SECONDS == 10.0
    monkeypatch.setattr(modal_access, "ANSWER_SECONDS", 0.3)
    secret.fault("SecretGetOrCreate", "hang", times=-1)
    done = fleet.inside("check-secret")
    assert done.returncode == 1
    assert "Modal did not answer within 0.3 s" in done.stderr
    assert "Check the network" in done.stderr


def test_without_a_token_nobody_is_asked(secret: ModalServer, fleet: Shell) -> None:
    fleet.variables["MODAL_TOKEN_ID"] = fleet.variables["MODAL_TOKEN_SECRET"] = ""
    done = fleet.inside("check-secret")
    assert done.returncode == 2
    assert "Modal has no token here: MODAL_TOKEN_ID and MODAL_TOKEN_SECRET are not set" in done.stderr
    assert "modal token new" in done.stderr
    assert not secret.calls()


def test_a_token_in_an_env_file_is_used(secret: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")
    Path(fleet.folder, ".env").write_text("".join(f"{name}={os.environ[name]}\n" for name in names))
    for name in names:
        monkeypatch.delenv(name)
    assert fleet("check-secret-key").returncode == 0


def test_a_file_named_modal_on_the_path_is_reported_and_not_run(secret: ModalServer, fleet: Shell) -> None:
    Path(fleet.folder, "modal.py").write_text("raise SystemExit('it was imported')\n")
    done = fleet("check-secret")  # python -c: the working folder is on the path
    assert done.returncode == 2
    assert "modal.py hides the installed package" in done.stderr
    assert "Rename it" in done.stderr
    assert "it was imported" not in done.stdout + done.stderr


def test_a_broken_file_of_modal_s_is_named(secret: ModalServer, fleet: Shell) -> None:
    broken = fleet.folder / "modal.toml"
    broken.write_text("[default\n")
    fleet.variables["MODAL_CONFIG_PATH"] = str(broken)
    done = fleet("check-secret")
    assert done.returncode == 2
    assert f"{broken} can't be read" in done.stderr
    assert "Traceback" not in done.stderr
