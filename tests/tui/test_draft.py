"""What New run's form means, and back again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.spec import Budgets, RunSpec
from fleet_rlm.tasks.catalog import TASKS
from fleet_rlm.tui.new_run.again import NotAgain, spec_of_record
from fleet_rlm.tui.new_run.describe import CannotDescribe, ask
from fleet_rlm.tui.new_run.draft import Budget, Draft, Incomplete, command_line, draft_of, join_paths, paths, spec_of
from tests.tui.sample_runs import QUESTION, finished, run_started, write_run

FULL = Draft(
    documents="minutes/*.md 'my notes.txt'",
    question="Why?\nAnd how?",
    model="openai/gpt-5-mini",
    sub_model="offline",
    budget=Budget(iterations="7", calls="1,000", seconds="90", dollars="$0.5"),
)


def test_the_form_becomes_a_run() -> None:
    spec = spec_of(FULL, "/work")
    assert spec.documents == ("minutes/*.md", "my notes.txt")
    assert spec.budgets == Budgets(max_iterations=7, max_llm_calls=1000, max_seconds=90, max_cost_usd=0.5)
    assert (spec.cwd, spec.question, spec.model, spec.sub_model) == ("/work", FULL.question, FULL.model, "offline")


@pytest.mark.parametrize("task", TASKS)
def test_limits_that_were_left_empty_are_the_task_s(task: str) -> None:
    assert spec_of(Draft(documents="a", question="b", task=task), ".").budgets == TASKS[task].budgets


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (Draft(question="Why?"), "documents"),
        (Draft(documents="'a", question="Why?"), "documents"),
        (Draft(documents="a"), "question"),
        (Draft(documents="a", question="b", budget=Budget(iterations="0")), "iterations"),
        (Draft(documents="a", question="b", budget=Budget(iterations="many")), "iterations"),
        (Draft(documents="a", question="b", budget=Budget(calls="²")), "calls"),
        (Draft(documents="a", question="b", budget=Budget(dollars="-1")), "dollars"),
        (Draft(documents="a", question="b", budget=Budget(seconds="nan")), "seconds"),
        (Draft(documents="a", signature="a -> b", inputs="7"), "inputs"),
        (Draft(documents="a", signature="a -> b", inputs="x='"), "inputs"),
    ],
)
def test_what_is_missing_or_wrong_is_named_by_its_field(draft: Draft, field: str) -> None:
    with pytest.raises(Incomplete) as found:
        spec_of(draft, ".")
    assert found.value.field == field


def test_a_task_without_a_question_sends_none() -> None:
    assert spec_of(Draft(documents="a", question="left over", task="api-endpoints"), ".").question is None
    assert spec_of(Draft(documents="a", task="summarize"), ".").question is None


def test_inputs_are_json_where_they_are_some_and_text_elsewhere() -> None:
    spec = spec_of(Draft(documents="a", signature="x -> y", inputs="n=3 who='new staff' list='[1, 2]'"), ".")
    assert spec.inputs == {"n": 3, "who": "new staff", "list": [1, 2]}


def test_the_form_of_a_run_asks_for_the_same_run() -> None:
    spec = spec_of(FULL, ".")
    assert spec_of(draft_of(spec), ".") == spec
    own = RunSpec(signature="a, b -> c", inputs={"b": "it's"}, documents=("x",), paused=True)
    assert spec_of(draft_of(own), ".") == own


@given(st.lists(st.text(min_size=1), max_size=5))
def test_any_paths_survive_the_line_they_are_written_in(several: list[str]) -> None:
    assert paths(join_paths(several)) == several


def test_the_command_does_the_same_as_the_form() -> None:
    assert shlex.split(command_line(FULL)) == [
        "fleet-rlm", "run", FULL.question, "--docs", "minutes/*.md", "--docs", "my notes.txt", "--model",
        "openai/gpt-5-mini", "--sub-model", "offline", "--max-iterations", "7", "--max-llm-calls", "1,000",
        "--max-seconds", "90", "--max-cost", "0.5",
    ]  # fmt: skip
    paused = Draft(documents="a", question="b", task="logs", paused=True)
    assert command_line(paused) == "fleet-rlm-tui --docs a --question b --task logs --paused"


def test_a_record_says_what_to_ask_again(tmp_path: Path) -> None:
    spec = spec_of_record(str(write_run(tmp_path / "a.jsonl", [run_started(), finished()])))
    assert (spec.question, spec.documents, spec.task) == (QUESTION, ("/docs/dspy-guide.txt",), "ask")
    assert (spec.signature, spec.inputs, spec.model, spec.sub_model) == (None, {}, "openai/gpt-5-mini", None)
    offline = write_run(tmp_path / "b.jsonl", [run_started(planner="offline/extractive", offline=True)])
    assert spec_of_record(str(offline)).model == "offline"


def test_a_file_that_is_no_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotAgain, match="no such file"):
        spec_of_record(str(tmp_path / "nothing.jsonl"))


def test_the_engine_s_command_line_tells_a_signature_s_fields() -> None:
    answer = ask(signature="context, question -> answer: str, sources: list[str]")
    assert answer is not None
    assert answer.signature is not None
    assert [field.name for field in answer.signature.inputs] == ["context", "question"]
    assert [field.type for field in answer.signature.outputs] == ["str", "list[str]"]


def test_an_engine_that_says_nothing_is_told_of() -> None:
    with pytest.raises(CannotDescribe, match="cannot be read"):
        ask(command=("true",))
    with pytest.raises(CannotDescribe, match="did not start"):
        ask(command=("/nowhere/at/all",))


def test_a_question_to_the_engine_can_be_taken_back() -> None:
    assert ask(command=("sh", "-c", "sleep 60"), cancelled=lambda: True) is None
