from __future__ import annotations

import subprocess
import sys

import dspy
import pytest

from fleet_rlm.tasks import TASKS, UnknownTask, get


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


def test_the_catalogue_can_be_read_without_dspy() -> None:
    code = "import sys, fleet_rlm.tasks; print([m for m in ('dspy', 'textual', 'modal') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
