"""`fleet_rlm.lm`: the configured model in a program of one's own."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

import fleet_rlm
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.runs.run_reader import RunFile
from tests.model_server import ModelServer


def test_without_any_configuration_it_is_the_offline_model_and_the_record_says_so(tmp_path: Path) -> None:
    rlm = dspy.RLM("context, question -> answer: str", interpreter_factory=fleet_rlm.LocalInterpreter)
    with dspy.context(lm=fleet_rlm.lm()), fleet_rlm.record(tmp_path / "mine.jsonl"):
        said = rlm(context="The access code of the Marlow depot is 7741.\n", question="What is the access code?")
    assert "7741" in said.answer
    with RunFile(tmp_path / "mine.jsonl") as run:
        assert run.header is not None
        assert run.header.models.offline


def test_a_configured_model_is_asked_with_its_key_and_its_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(lambda asked: "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]") as server:
        for name, value in (
            ("DSPY_LM_MODEL", "openai/some"),
            ("DSPY_LM_API_BASE", server.url),
            ("DSPY_LLM_API_KEY", "the-key"),
            ("DSPY_LM_MAX_TOKENS", "4096"),
        ):
            monkeypatch.setenv(name, value)
        with dspy.context(lm=fleet_rlm.lm()):
            question = f"Are you at {server.url} in {Path.cwd()}?"  # asked never before, by dspy's cache
            assert dspy.Predict("question -> answer")(question=question).answer == "yes"
        (asked,) = server.asked
    assert asked.model == "some"
    assert {name.lower(): value for name, value in asked.headers.items()}["authorization"] == "Bearer the-key"
    assert 4096 in asked.body.values()


def test_a_model_without_its_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(SetupError, match="OPENAI_API_KEY"):
        fleet_rlm.lm("openai/some")


def test_a_reasoning_model_needs_nothing_but_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for name in ("DSPY_LM_MODEL", "DSPY_LM_MAX_TOKENS", "DSPY_LM_TEMPERATURE", "DSPY_LM_API_BASE", "DSPY_LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert fleet_rlm.lm("openai/gpt-5-mini").kwargs["max_completion_tokens"] is None
    assert fleet_rlm.lm("openai/responses/gpt-5-mini").model_type == "responses"
    assert fleet_rlm.lm("openai/gpt-4o").kwargs["max_tokens"] == 8192
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "100")
    with pytest.raises(fleet_rlm.SetupError, match="16000"):
        fleet_rlm.lm("openai/gpt-5-mini")
