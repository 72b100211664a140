"""What New run's form means, and back again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet_rlm import events as ev
from fleet_rlm.spec import Budgets, ModalOptions, RunSpec
from fleet_rlm.tasks.catalog import TASKS
from fleet_rlm.tui.screens.new_run.again import NotAgain, spec_of_record
from fleet_rlm.tui.screens.new_run.ask_engine import CannotDescribe, ask
from fleet_rlm.tui.screens.new_run.draft import (
    Budget,
    Draft,
    Incomplete,
    command_line,
    draft_of,
    join_paths,
    paths,
    spec_of,
)
from fleet_rlm.tui.screens.new_run.modal_fields import CloudDraft
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


def test_inputs_stay_as_typed_for_the_engine_to_read_by_their_types() -> None:
    spec = spec_of(Draft(documents="a", signature="x -> y", inputs="n=3 who='new staff' list='[1, 2]'"), ".")
    assert spec.inputs == {"n": "3", "who": "new staff", "list": "[1, 2]"}


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


def test_a_record_s_settings_are_asked_again_but_none_that_says_where_a_key_goes(tmp_path: Path) -> None:
    settings = {"model.temperature": 0.5, "model.api_base": "http://192.0.2.1", "model.api_key": "AWS_KEY",
                "model.retries": 10**9, "no.such": 1}  # fmt: skip
    started = replace(run_started(), settings=settings)
    spec = spec_of_record(str(write_run(tmp_path / "a.jsonl", [started, finished()])))
    assert spec.settings == {"model.temperature": 0.5}


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


def test_a_signature_and_tools_of_ones_own_go_into_the_run_and_the_command() -> None:
    draft = Draft(documents="a", question="b", signature="my_tasks:Invoice", tools="my_tasks:rate regex_extract")
    spec = spec_of(draft, ".")
    assert (spec.signature, spec.tools) == ("my_tasks:Invoice", ("my_tasks:rate", "regex_extract"))
    assert draft_of(spec).tools == draft.tools
    told = shlex.split(command_line(draft))
    assert told[-4:] == ["--tool", "my_tasks:rate", "--tool", "regex_extract"]
    assert "my_tasks:Invoice" in told


def test_a_task_without_documents_needs_none() -> None:
    assert spec_of(Draft(question="What is 2 + 2?", task="basic"), ".").documents == ()


def test_a_record_of_ones_own_signature_and_tools_names_them_again(tmp_path: Path) -> None:
    tools = (
        ev.Tool(name="rate", reference="my_tasks:rate"),
        ev.Tool(name="regex_extract", reference="fleet_rlm.tasks.tools:regex_extract"),
    )
    task = ev.Task(name="Invoice", signature="docs -> total: float", reference="my_tasks:Invoice", tools=tools)
    inputs = (ev.Input(name="docs", type="str", chars=10, first_chars=10),)
    path = write_run(tmp_path / "a.jsonl", [replace(run_started(), task=task, inputs=inputs), finished()])
    spec = spec_of_record(str(path))
    assert (spec.signature, spec.tools, spec.first_chars) == (
        *("my_tasks:Invoice", ("my_tasks:rate", "fleet_rlm.tasks.tools:regex_extract"), 10),
    )
    assert "--chars 10" in command_line(draft_of(spec))


def test_the_tools_of_a_preset_are_not_named_twice(tmp_path: Path) -> None:
    preset = TASKS["custom-tool"]
    tools = (ev.Tool(name="regex_extract", reference=preset.tools[0]),)
    task = ev.Task(name=preset.name, signature=preset.signature, tools=tools)
    spec = spec_of_record(str(write_run(tmp_path / "a.jsonl", [replace(run_started(), task=task), finished()])))
    assert (spec.task, spec.signature, spec.tools) == ("custom-tool", None, ())


def test_a_record_with_a_function_that_only_its_program_had_says_so(tmp_path: Path) -> None:
    task = ev.Task(name="ask", signature="context, question -> answer: str", tools=(ev.Tool(name="inner"),))
    path = write_run(tmp_path / "a.jsonl", [replace(run_started(), task=task), finished()])
    with pytest.raises(NotAgain, match="only the program which recorded it has: inner"):
        spec_of_record(str(path))


def test_the_engine_describes_signatures_and_tools_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "tasks_of_this_test.py").write_text(
        "import dspy\nclass Codes(dspy.Signature):\n    docs: str = dspy.InputField()\n"
        "    codes: list[str] = dspy.OutputField()\ndef rate(day: str) -> float:\n    'Rate of a day.'\n"
    )
    answer = ask(signature="tasks_of_this_test:Codes", tools=["tasks_of_this_test:rate"], cwd=str(tmp_path))
    assert answer is not None
    assert answer.signature is not None
    assert [(one.name, one.type) for one in answer.signature.outputs] == [("codes", "list[str]")]
    assert answer.tools is not None
    assert [(tool.name, tool.description) for tool in answer.tools.found] == [("rate", "Rate of a day.")]
    answer = ask(signature="tasks_of_this_test:Nothing", tools=["nowhere_at_all:rate"], cwd=str(tmp_path))
    assert answer is not None
    assert answer.signature is not None
    assert "has no 'Nothing'" in answer.signature.error
    assert answer.tools is not None
    assert "There is no module 'nowhere_at_all'" in answer.tools.error


CLOUD = CloudDraft(volume="results", secrets="db mail", packages="numpy 'pandas>=2'", cpu="2", memory="4096")


def test_a_sandbox_in_the_cloud_goes_into_the_run_and_the_command() -> None:
    draft = Draft(documents="a.txt", question="why?", sandbox="modal", cloud=CLOUD)
    spec = spec_of(draft, "/here")
    assert (spec.sandbox, spec.modal.volume, spec.modal.secrets) == ("modal", "results", ("db", "mail"))
    assert (spec.modal.packages, spec.modal.cpu, spec.modal.memory_mb) == (("numpy", "pandas>=2"), 2.0, 4096)
    assert command_line(draft).endswith(
        "--sandbox modal --volume-name results --secret-name db --secret-name mail --image-package numpy "
        "--image-package 'pandas>=2' --cpu 2 --memory 4096"
    )
    assert spec_of(draft_of(spec), "/here") == spec


def test_what_is_typed_for_the_cloud_is_nothing_to_a_local_run() -> None:
    draft = Draft(documents="a.txt", question="why?", sandbox="local", cloud=replace(CLOUD, cpu="none"))
    assert spec_of(draft, ".").modal == ModalOptions()
    assert "--cpu" not in command_line(draft)


def test_what_is_configured_holds_where_nothing_is_typed_and_keeps_what_has_no_field() -> None:
    usual = ModalOptions(app="mine", network=True, volume="kept", cpu=4.0)
    draft = Draft(documents="a.txt", question="why?", usual_sandbox="auto", usual_cloud=usual)
    spec = spec_of(replace(draft, cloud=CloudDraft(cpu="1")), ".")
    assert (spec.sandbox, spec.modal) == ("auto", replace(usual, cpu=1.0))
    assert "--sandbox local" in command_line(replace(draft, sandbox="local"))


@pytest.mark.parametrize(
    ("cloud", "field"),
    [
        (CloudDraft(volume="no spaces"), "volume"),
        (CloudDraft(secrets="-x"), "secrets"),
        (CloudDraft(packages="'open"), "packages"),
        (CloudDraft(packages="--index-url"), "packages"),
        (CloudDraft(cpu="many"), "cpu"),
        (CloudDraft(cpu="9000"), "cpu"),
        (CloudDraft(memory="0.5"), "memory"),
        (CloudDraft(memory="nan"), "memory"),
    ],
)
def test_what_can_not_be_used_in_the_cloud_is_named_by_its_field(cloud: CloudDraft, field: str) -> None:
    with pytest.raises(Incomplete) as wrong:
        spec_of(Draft(documents="a.txt", question="why?", sandbox="modal", cloud=cloud), ".")
    assert wrong.value.field == field
