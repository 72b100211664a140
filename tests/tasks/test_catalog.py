from __future__ import annotations

import subprocess
import sys

import dspy
import pytest

from fleet_rlm import signatures
from fleet_rlm.engine.prepare import own_code
from fleet_rlm.tasks import TASKS, UnknownTask, get
from fleet_rlm.tasks.references import is_reference


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_signature_that_dspy_accepts_and_every_field_of_it_is_described(name: str) -> None:
    task = get(name)
    signature = dspy.Signature(task.signature, task.instructions)
    assert tuple(signature.input_fields) == task.inputs
    assert tuple(signature.output_fields) == task.outputs
    assert set(task.fields) == {*task.inputs, *task.outputs}
    dspy.RLM(signature, interpreter_factory=dspy.LocalInterpreter)  # refuses reserved names


@pytest.mark.parametrize("name", TASKS)
def test_documents_and_question_are_bound_to_inputs_that_the_signature_has(name: str) -> None:
    task = get(name)
    assert {task.document_field, task.question_field} - {None} == set(task.inputs)
    assert task.document_field or task.name == "basic"
    assert task.needs_question or task.question_field is None or task.default_question


@pytest.mark.parametrize("name", TASKS)
def test_the_planner_is_told_what_every_output_holds(name: str) -> None:
    task = get(name)
    assert all(f"- `{output}`: {task.fields[output]}" in task.instructions for output in task.outputs)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("api_endpoint", "api-endpoints"), ("sumarise", "summarize"), ("endpoints", "api-endpoints"), ("Logs", "logs")],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(typo: str, meant: str) -> None:
    with pytest.raises(UnknownTask) as caught:
        get(typo)
    assert caught.value.near[0] == meant
    assert meant in str(caught.value)


def test_a_name_that_is_nothing_like_any_is_answered_with_all_of_them() -> None:
    with pytest.raises(UnknownTask, match="There are: ask, summarize"):
        get("zzz")


PROMISED = {
    "ExtractArchitecture": (["docs", "query"], {"modules": list, "optimizers": list, "design_principles": str}),
    "ExtractAPIEndpoints": (["docs"], {"api_endpoints": list}),
    "FindErrorPatterns": (["docs"], {"error_categories": dict, "total_errors_found": int}),
    "ExtractWithCustomTool": (["docs"], {"headers": list, "code_blocks": list, "structure_summary": str}),
    "AnalyzeLongDocument": (["document", "query"], {"findings": list, "answer": str, "sections_examined": int}),
    "SummarizeLongDocument": (["document", "focus"], {"summary": str, "key_points": list, "coverage_pct": int}),
    "ExtractFromLogs": (["logs", "query"], {"matches": list, "patterns": dict, "time_range": str}),
}


@pytest.mark.parametrize("name", PROMISED)
def test_every_task_is_a_class_of_fleet_rlm_signatures_with_the_fields_and_types_promised(name: str) -> None:
    signature = getattr(signatures, name)
    inputs, outputs = PROMISED[name]
    assert signature.__name__ == name
    assert {field: one.annotation for field, one in signature.input_fields.items()} == dict.fromkeys(inputs, str)
    assert {field: one.annotation for field, one in signature.output_fields.items()} == outputs
    assert list(signature.output_fields) == list(outputs)
    assert any(how in signature.instructions for how in ("sub-quer", "llm_query_batched", "regex_extract"))


def test_no_task_lacks_its_class() -> None:
    assert {task.class_name for task in TASKS.values()} == set(signatures.__all__)


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].tools])
def test_the_tools_of_a_task_can_be_found(name: str) -> None:
    assert [tool.reference for tool in own_code.tools(TASKS[name].tools, ".")] == list(TASKS[name].tools)


@pytest.mark.parametrize("text", ["my_tasks:Invoice", "a.b.c:D", " a:B ", "a:B.C"])
def test_a_reference_is_known_by_its_form(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize("text", ["docs -> a: str", "docs", "a:", ":B", "a/b:C", "a:B -> c", "1a:B", "a: B"])
def test_dspys_notation_and_paths_are_no_references(text: str) -> None:
    assert not is_reference(text)


def test_the_catalogue_can_be_read_without_dspy() -> None:
    code = "import sys, fleet_rlm.tasks; print([m for m in ('dspy', 'textual', 'modal') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
