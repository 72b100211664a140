"""Whose word counts: a key goes only where it was configured to go, and a `.env` adds without redirecting."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet_rlm import config
from fleet_rlm.config import ModelChoice, ownership

EVIL = "http://192.0.2.1/v1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FLEET_RLM_HOME", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def choose(
    project: Path, env_file: str = "", asked: dict[str, str] | None = None, **environ: str
) -> config.ModelChoice:
    (project / ".env").write_text(env_file)
    return config.model_choice(config.load(project, {"HOME": str(project), **environ}, asked))


def keys_of(choice: ModelChoice) -> set[str | None]:
    return {choice.planner.api_key, choice.sub.api_key}


# Where a key may go


def test_a_generic_key_stays_with_its_models_provider(project: Path) -> None:
    environ = {"DSPY_LLM_API_KEY": "openai-key", "ANTHROPIC_API_KEY": "own"}
    chosen = choose(project, asked={"model.name": "openai/a", "model.sub": "anthropic/b"}, **environ)
    assert (chosen.planner.api_key, chosen.sub.api_key) == ("openai-key", "own")
    del environ["ANTHROPIC_API_KEY"]
    chosen = choose(project, asked={"model.name": "openai/a", "model.sub": "anthropic/b"}, **environ)
    assert chosen.sub.api_key is None
    assert chosen.problem is not None
    assert "DSPY_SUB_LM_API_KEY or ANTHROPIC_API_KEY is not set" in chosen.problem.message


def test_the_sub_models_own_address_gets_no_key_of_the_planners(project: Path) -> None:
    environ = {"DSPY_LM_MODEL": "openai/a", "DSPY_LLM_API_KEY": "generic", "OPENAI_API_KEY": "own"}
    sub = {"DSPY_SUB_LM_MODEL": "openai/b", "DSPY_SUB_LM_API_BASE": "http://127.0.0.1:1/v1"}
    chosen = choose(project, **environ, **sub)
    assert (chosen.planner.api_key, chosen.planner.api_base) == ("generic", None)
    assert (chosen.sub.api_key, chosen.sub.api_base) == (None, "http://127.0.0.1:1/v1")
    assert choose(project, **environ, **sub, DSPY_SUB_LM_API_KEY="subs").sub.api_key == "subs"


def test_an_option_names_the_variable_that_holds_the_key(project: Path) -> None:
    asked = {"model.name": "anthropic/a", "model.api_key": "MY_KEY"}
    assert choose(project, asked=asked, MY_KEY="mine", DSPY_LM_MODEL="openai/b").planner.api_key == "mine"
    missing = choose(project, asked=asked).problem
    assert missing is not None
    assert "--key-from MY_KEY" in missing.message
    redirected = choose(project, f"DSPY_LM_API_BASE={EVIL}\n", asked, MY_KEY="mine")
    assert "mine" not in keys_of(redirected)


@pytest.mark.parametrize(
    ("env_file", "environ"),
    [
        (f"DSPY_LM_API_BASE={EVIL}", {"DSPY_LM_MODEL": "openai/a", "DSPY_LLM_API_KEY": "victim"}),
        (f"DSPY_LM_API_BASE={EVIL}\nDSPY_LM_MODEL=openai/a", {"OPENAI_API_KEY": "victim"}),
        (f"DSPY_LM_API_BASE={EVIL}\nDSPY_LM_MODEL=openai/a", {"DSPY_LLM_API_KEY": "victim"}),
        (f"DSPY_LM_API_BASE={EVIL}\nDSPY_LM_MODEL=anthropic/a", {"ANTHROPIC_API_KEY": "victim"}),
        ("DSPY_LM_MODEL=deepseek/a", {"DSPY_LLM_API_KEY": "victim"}),
        (f"OPENAI_BASE_URL={EVIL}", {"DSPY_LM_MODEL": "openai/a", "OPENAI_API_KEY": "victim"}),
        (f"OPENAI_API_BASE={EVIL}", {"DSPY_LM_MODEL": "openai/a", "DSPY_LLM_API_KEY": "victim"}),
        (f"ANTHROPIC_BASE_URL={EVIL}", {"DSPY_LM_MODEL": "anthropic/a", "ANTHROPIC_API_KEY": "victim"}),
        (f"GROQ_API_BASE={EVIL}", {"DSPY_LM_MODEL": "groq/a", "GROQ_API_KEY": "victim"}),
        (f"HOSTED_VLLM_API_BASE={EVIL}", {"DSPY_LM_MODEL": "hosted_vllm/a", "HOSTED_VLLM_API_KEY": "victim"}),
        (
            f"DSPY_SUB_LM_MODEL=openai/b\nDSPY_SUB_LM_API_BASE={EVIL}",
            {"DSPY_LM_MODEL": "openai/a", "DSPY_LLM_API_KEY": "mine", "DSPY_SUB_LM_API_KEY": "victim"},
        ),
        (f"DSPY_LM_API_BASE={EVIL}/${{OPENAI_API_KEY}}\nDSPY_LM_MODEL=ollama/a", {"OPENAI_API_KEY": "victim"}),
    ],
)
def test_an_env_file_sends_no_key_of_the_environment_elsewhere(
    project: Path, env_file: str, environ: dict[str, str]
) -> None:
    chosen = choose(project, f"{env_file}\n", **environ)
    for model in (chosen.planner, chosen.sub):
        assert model.api_key != "victim"
        assert "victim" not in (model.api_base or "")
    if "ollama" not in env_file:
        problem = chosen.problem
        assert problem is not None
        assert "victim" not in str(problem)
        assert str(project / ".env") in str(problem)
        assert "in the environment" in str(problem)


def test_an_env_file_sends_no_key_of_config_toml_elsewhere(project: Path, home: Path) -> None:
    (home / "config.toml").write_text('[model]\nname = "openai/a"\napi_key = "victim"\n')
    chosen = choose(project, f"DSPY_LM_API_BASE={EVIL}\n")
    assert "victim" not in keys_of(chosen)
    assert chosen.problem is not None
    assert str(home / "config.toml") in str(chosen.problem)


def test_a_key_stays_out_of_an_address_that_config_toml_has_for_another_model(project: Path, home: Path) -> None:
    (home / "config.toml").write_text('[model]\nname = "openai/a"\napi_base = "http://127.0.0.1:1/v1"\n')
    assert choose(project, DSPY_LLM_API_KEY="k").planner.api_key == "k"
    both = choose(project, DSPY_LLM_API_KEY="k", DSPY_LM_MODEL="openai/b")
    assert both.planner.api_key is None
    assert both.problem is not None


def test_what_one_source_says_whole_works(project: Path, home: Path) -> None:
    three = f"DSPY_LM_MODEL=openai/a\nDSPY_LM_API_BASE={EVIL}\nDSPY_LLM_API_KEY=of-the-file\n"
    for environ in ({}, {"OPENAI_API_KEY": "victim"}, {"DSPY_LLM_API_KEY": "victim"}):
        chosen = choose(project, three, **environ)
        assert chosen.problem is None
        assert (chosen.planner.api_key, chosen.planner.api_base) == ("of-the-file", EVIL)
    theirs = choose(project, f"OPENAI_BASE_URL={EVIL}\nOPENAI_API_KEY=of-the-file\nDSPY_LM_MODEL=openai/a\n")
    assert (theirs.planner.api_key, theirs.planner.api_base) == ("of-the-file", EVIL)
    (home / "config.toml").write_text('[model]\nname = "groq/a"\napi_key = "kept"\n')
    assert choose(project).planner.api_key == "kept"


def test_a_provider_that_an_env_file_chose_gets_its_own_key_at_its_own_address(project: Path) -> None:
    chosen = choose(project, "DSPY_LM_MODEL=anthropic/a\n", ANTHROPIC_API_KEY="own")
    assert (chosen.planner.api_key, chosen.planner.api_base, chosen.problem) == ("own", None, None)


# What a `.env` may say


@pytest.mark.parametrize(
    "name",
    [
        *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *("CURL_CA_BUNDLE", "FLEET_RLM_ISOLATION", "FLEET_RLM_HOME", "MODAL_SERVER_URL", "MODAL_CONFIG_PATH"),
        *("MODAL_PROFILE",),
    ],
)
def test_what_redirects_or_weakens_stops_a_run_and_names_both_places(project: Path, name: str) -> None:
    (project / ".env").write_text(f"{name}=/somewhere/else\n")
    settings = config.load(project, {})
    assert settings.stopping is not None
    assert name in settings.stopping.message
    assert f"{project / '.env'}" in settings.stopping.message
    assert "the real environment" in settings.stopping.message
    assert "/somewhere/else" not in str(settings.problems)
    assert config.load(project, {name: "of the person"}).stopping is None


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "HOME", "EDITOR", "PAGER", "BROWSER"),
        *("BASH_ENV", "GIT_SSH_COMMAND", "XDG_DATA_HOME", "TMPDIR", "SSLKEYLOGFILE", "OPENSSL_CONF", "LITELLM_MODE"),
        *("AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS", "HF_ENDPOINT", "LITELLM_PROXY_API_BASE"),
        *("OPENAI_BASE_URL", "ANTHROPIC_API_BASE", "OTEL_EXPORTER_OTLP_ENDPOINT", "VERTEXAI_LOCATION", "AWS_REGION"),
    ],
)
def test_nothing_that_steers_programs_reaches_the_process(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text(f"{name}=evil.example/#\n")
    monkeypatch.delenv(name, raising=False)
    config.load(project).export()
    assert name not in os.environ


def test_keys_and_what_providers_want_beside_them_reach_the_process(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"SEARCH_API_KEY": "a/b", "HF_TOKEN": "t", "AZURE_API_VERSION": "2024-10-21", "AWS_REGION": "eu-west-1"}
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    for name in values:
        monkeypatch.setenv(name, "")  # so that monkeypatch takes the variable away again
        monkeypatch.delenv(name)
    config.load(project).export()
    assert {name: os.environ.get(name) for name in values} == values


def test_a_variable_of_the_same_file_may_be_used_in_another(project: Path) -> None:
    chosen = choose(project, "HOST=127.0.0.1:9\nDSPY_LM_API_BASE=http://${HOST}/v1\nDSPY_LM_MODEL=ollama/a\n")
    assert chosen.planner.api_base == "http://127.0.0.1:9/v1"


def test_litellm_does_not_read_an_env_file_by_itself(project: Path) -> None:
    """Its own import would put the whole file that lies above it into the environment."""
    code = "import os, fleet_rlm.engine; print(os.environ['LITELLM_MODE'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project)
    assert done.stdout.strip() == "PRODUCTION"


def test_a_person_who_is_logged_in_at_modal_stays_in_their_account(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "modal.toml"
    file.write_text('[default]\ntoken_id = "ak-mine"\ntoken_secret = "as-mine"\n')
    (project / ".env").write_text("MODAL_TOKEN_ID=ak-theirs\nMODAL_TOKEN_SECRET=as-theirs\nMODAL_ENVIRONMENT=prod\n")
    settings = config.load(project, {"MODAL_CONFIG_PATH": str(file)})
    assert not {name for name in settings.environment if name.startswith("MODAL_")} - {"MODAL_CONFIG_PATH"}
    assert str(file) in "\n".join(map(str, settings.problems))
    alone = config.load(project, {"MODAL_CONFIG_PATH": str(tmp_path / "none.toml")})
    assert alone.environment["MODAL_TOKEN_ID"] == "ak-theirs"


# Whose files are read


@pytest.mark.parametrize("mode", [stat.S_IWOTH, stat.S_IWGRP])
@pytest.mark.parametrize("name", [".env", "config.toml"])
def test_a_file_that_others_may_write_is_not_read_and_that_is_said(
    project: Path, home: Path, name: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts(monkeypatch, group="staff", members=[])
    path = project / ".env" if name == ".env" else home / name
    path.write_text("DSPY_LM_MODEL=openai/a\n" if name == ".env" else '[model]\nname = "openai/a"\n')
    path.chmod(0o600 | mode)
    settings = config.load(project, {})
    assert config.model_choice(settings).offline
    (problem,) = settings.problems
    assert f"{path} was not read: others may write it" in problem.message
    assert "chmod go-w" in problem.hint
    path.chmod(0o600)
    assert not config.model_choice(config.load(project, {})).offline


def accounts(monkeypatch: pytest.MonkeyPatch, *, group: str, members: list[str], others: Sequence[str] = ()) -> None:
    """The machine's users: `ada`, whose first group this process has, and `others` with the same first group."""
    uid, gid = os.geteuid(), os.getegid()
    ada = pwd.struct_passwd(("ada", "x", uid, gid, "", "/home/ada", "/bin/sh"))
    more = [pwd.struct_passwd((name, "x", uid + 1, gid, "", "/", "/bin/sh")) for name in others]
    monkeypatch.setattr(ownership.pwd, "getpwuid", {uid: ada}.__getitem__)
    monkeypatch.setattr(ownership.pwd, "getpwall", lambda: [ada, *more])
    monkeypatch.setattr(ownership.grp, "getgrgid", {gid: grp.struct_group((group, "x", gid, members))}.__getitem__)


@pytest.mark.parametrize("members", [[], ["ada"]])
def test_a_file_made_under_umask_002_is_read_where_the_group_is_the_persons_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, members: list[str]
) -> None:
    accounts(monkeypatch, group="ada", members=members)
    before = os.umask(0o002)
    try:
        (project / ".env").write_text("DSPY_LM_MODEL=openai/a\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o664
    settings = config.load(project, {})
    assert not settings.problems
    assert not config.model_choice(settings).offline


@pytest.mark.parametrize(
    ("group", "members", "others"),
    [("staff", [], []), ("ada", ["ada", "bob"], []), ("ada", [], ["bob"])],
    ids=["not named for the person", "a second member", "the first group of a second user"],
)
def test_a_file_that_a_shared_group_may_write_is_not_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, group: str, members: list[str], others: list[str]
) -> None:
    accounts(monkeypatch, group=group, members=members, others=others)
    (project / ".env").write_text("DSPY_LM_MODEL=openai/a\n")
    (project / ".env").chmod(0o664)
    (problem,) = config.load(project, {}).problems
    assert "others may write it, by its group" in problem.message
    assert "chmod go-w" in problem.hint


def test_a_group_that_is_not_the_persons_first_or_an_access_list_is_not_trusted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts(monkeypatch, group="ada", members=[])
    path = project / ".env"
    path.touch()
    path.chmod(0o664)
    assert not ownership.why_not_trusted(path)
    monkeypatch.setattr(ownership.os, "listxattr", lambda _: ["system.posix_acl_access"], raising=False)
    assert "by its group" in ownership.why_not_trusted(path)
    monkeypatch.setattr(ownership.os, "listxattr", lambda _: [], raising=False)
    second = grp.struct_group(("ada", "x", os.getegid() + 1, []))
    monkeypatch.setattr(ownership.grp, "getgrgid", lambda _: second)
    assert not ownership.why_not_trusted(path)
    assert not ownership._is_private_group(second.gr_gid)


def test_a_file_or_a_link_of_another_user_is_not_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "real").write_text("DSPY_LM_MODEL=openai/a\n")
    (project / ".env").symlink_to("real")
    assert not config.model_choice(config.load(project, {})).offline
    if os.geteuid() == 0:
        os.chown(project / ".env", 4321, 4321, follow_symlinks=False)
    else:
        monkeypatch.setattr(ownership.os, "geteuid", lambda: 4321)
    settings = config.load(project, {})
    assert config.model_choice(settings).offline
    assert "belongs to another user" in settings.problems[0].message


def test_a_project_marker_that_others_may_write_brings_no_env_file(project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    (project / "deep").mkdir()
    (project / ".env").write_text("DSPY_LM_MODEL=openai/a\n")
    assert not config.model_choice(config.load(project / "deep", {})).offline
    (project / "pyproject.toml").chmod(0o666)
    settings = config.load(project / "deep", {})
    assert config.model_choice(settings).offline
    assert str(project / "pyproject.toml") in settings.problems[0].message


# Names


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("gpt", "openai/gpt-5-mini"),
        ("openai", "openai/gpt-5-mini"),
        ("openai/", "openai/gpt-5-mini"),
        ("opnai/gpt-4o", "openai/gpt-4o"),
        ("OpenAI/gpt-4o", "openai/gpt-4o"),
        ("openai:gpt-4o", "openai/gpt-4o"),
        ("gpt4o", "openai/gpt-4o"),
        ("openai/gpt 4o", "openai/gpt-4o"),
        ("claude", "anthropic/claude-sonnet-4-5"),
        ("llama3:8b", "ollama_chat/llama3:8b"),
        ("offlin", "offline"),
        ("https://api.openai.com/gpt-4o", "openai/gpt-4o"),
        ("meta-llama/Llama-3.3-70B", "openai/meta-llama/Llama-3.3-70B"),
    ],
)
def test_a_malformed_name_is_refused_with_the_closest_right_form(project: Path, name: str, right: str) -> None:
    problem = choose(project, DSPY_LM_MODEL=name, DSPY_LLM_API_KEY="k").problem
    assert problem is not None
    assert f"Did you mean {right}?" in problem.hint
    assert "DSPY_LM_MODEL in the environment" in problem.message


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "o3-mini", "openai/responses/gpt-5", "openrouter/meta-llama/llama-3.3-70b-instruct", "azure/mine",
     "bedrock/us.anthropic.claude-x-v1:0", "hosted_vllm/Qwen/Qwen3", "ollama_chat/llama3.2:3b", "claude-haiku-4-5"],
)  # fmt: skip
def test_a_right_name_is_taken_as_it_is(project: Path, name: str) -> None:
    assert choose(project, DSPY_LM_MODEL=name, DSPY_LLM_API_KEY="k").problem is None
