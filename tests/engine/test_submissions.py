from __future__ import annotations

import subprocess
import sys

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.prepare import signature_notation
from fleet_rlm.engine.run_errors import SetupError
from tests.engine.conftest import Start
from tests.engine.scripted import EXTRACTED, Script, action

ODD_NAMES = [
    "config", "lm", "demos", "copy", "items", "keys", "values", "get", "labels", "inputs", "completions", "toDict",
    "json", "schema", "dict", "validate", "construct", "n", "temperature", "history", "iteration", "kwargs",
]  # fmt: skip
DEEP = "v = 'x'\nfor _ in range({}): v = [v]\nSUBMIT(v)"
HELD = [
    ("str", "SUBMIT({'answer': 'x'})", "x"),
    ("list", "SUBMIT({'answer': ['x']})", ["x"]),
    ("dict", "SUBMIT({'answer': {'a': 1}})", {"answer": {"a": 1}}),
    ("str | None", "SUBMIT(None)", None),
    ("int", "SUBMIT(2**70)", 2**70),
    ("int", "SUBMIT(10**4000)", 10**4000),
    ("list", "SUBMIT((1, (2, 3)))", [1, [2, 3]]),
    ("set[int]", "SUBMIT({3, 1})", [1, 3]),
    ("dict[int, str]", "SUBMIT({1: 'a'})", {"1": "a"}),
    ("list", "SUBMIT({'a': 1}.items())", [["a", 1]]),
    ("str", "SUBMIT('a\\ud800b')", "a\ufffdb"),
    ("dict", "import dataclasses\n@dataclasses.dataclass\nclass A: x: tuple\nSUBMIT(A((1, 2)))", {"x": [1, 2]}),
]
REFUSED = [
    ("str", "SUBMIT(None)", "None was submitted"),
    ("list[str]", "SUBMIT(None)", "expected list"),
    ("list", DEEP.format(91), "more than 90 levels deep"),
    ("list", DEEP.format(330), "more than 90 levels deep"),
    ("list", DEEP.format(5000), "nested too deeply"),
    ("int", "import sys\nsys.set_int_max_str_digits(0)\nSUBMIT(10**5000)", "more than 4,300 digits"),
    ("int", "SUBMIT(10**5000)", "more than 4,300 digits"),
    ("float", "SUBMIT(10**400)", "a float 308"),
    ("list[float]", "SUBMIT([10**400])", "a float 308"),
    ("float", "SUBMIT('1' * 400)", "a float 308"),
    ("int", "SUBMIT('1' * 4301)", "at most 4,300 digits"),
    ("float", "SUBMIT(float('nan'))", "no JSON numbers"),
    ("list", "SUBMIT([float('inf')])", "no JSON numbers"),
    ("float", "SUBMIT('nan')", "NaN and infinity are no JSON numbers"),
    ("list[float]", "SUBMIT('[1.5, Infinity]')", "NaN and infinity are no JSON numbers"),
    ("set[float]", "SUBMIT(['nan'])", "NaN and infinity are no JSON numbers"),
    ("dict", "SUBMIT({1: 'a', '1': 'b'})", "two keys of a dict are the same"),
    ("dict", "SUBMIT({(1, 2): 'a'})", "keys must be text or numbers"),
    ("list", "v = []\nv.append(v)\nSUBMIT(v)", "contains itself"),
    ("str", "SUBMIT(b'abc')", "a value of type bytes can't leave"),
    ("str", "class A: pass\nSUBMIT(A())", "a value of type A can't leave"),
]


@pytest.mark.parametrize(("kind", "code", "value"), [*HELD, ("list", DEEP.format(90), 90)])
def test_a_submitted_value_is_the_answer(start: Start, kind: str, code: str, value: object) -> None:
    if value == 90:
        value = "x"
        for _ in range(90):
            value = [value]
    run = start(Script([action("a", code)]), signature=f"context, question -> answer: {kind}")
    assert run.finished().outputs == {"answer": value}
    written = ev.decode(ev.encode(run.of(ev.RunFinished)[0]))
    assert isinstance(written, ev.RunFinished)
    assert written.outputs == {"answer": value}


@pytest.mark.parametrize(("kind", "code", "words"), REFUSED)
def test_a_submitted_value_that_no_answer_can_hold_is_an_error_for_the_code(
    start: Start, kind: str, code: str, words: str
) -> None:
    script = Script([action("a", code), action("b", "SUBMIT(answer=None)")], extract=EXTRACTED)
    run = start(script, signature=f"context, question -> answer: {kind}", budgets=spec.Budgets(max_iterations=2))
    run.finished()
    failed = run.of(ev.ExecutionFinished)[0].error
    said = [event.rejected for event in run.of(ev.Submitted)][:1]
    assert words in (failed.message if failed else said[0] or "")
    assert words in script.prompts[1]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "9" * 4000, int("9" * 4000)), ("list[int]", f"[1, {2**70}]", [1, 2**70]), ("str", "NaN", "NaN"),
        ("dict[int, str]", '{"1": "a"}', {"1": "a"}),
    ],
)  # fmt: skip
def test_an_extracted_value_is_the_answer(start: Start, kind: str, text: str, value: object) -> None:
    script = Script([action("a", "print(1)")], extract=EXTRACTED.replace("extracted", text))
    run = start(script, signature=f"context, question -> answer: {kind}", budgets=spec.Budgets(max_iterations=1))
    assert run.finished().outputs == {"answer": value}


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("float", "NaN", "answer: NaN and infinity"), ("float", "-Infinity", "answer: NaN and infinity"),
        ("list[float]", "[1.0, NaN]", "answer: NaN and infinity"), ("dict", '{"a": [Infinity]}', "answer: NaN"),
        ("list", "[" * 200 + "]" * 200, "more than 90 levels deep"), ("float", "9" * 400, "a float 308"),
        ("int", "9" * 5000, "at most 4,300 digits"), ("int", "null", "lacks the fields"),
    ],
)  # fmt: skip
def test_an_extracted_value_that_no_answer_can_hold_is_refused(start: Start, kind: str, text: str, words: str) -> None:
    script = Script([action("a", "print(1)")], extract=EXTRACTED.replace("extracted", text))
    run = start(script, signature=f"context, question -> answer: {kind}", budgets=spec.Budgets(max_iterations=1))
    done = run.finished()
    assert (done.status, done.outputs) == ("failed", {})
    assert done.error is not None
    assert words in done.error.message


def test_a_submitted_dictionary_of_all_outputs_is_taken_as_the_outputs(start: Start) -> None:
    script = Script([action("a", "SUBMIT({'answer': 'x', 'pages': [1]})")])
    run = start(script, signature="context, question -> answer, pages: list[int]")
    assert run.finished().outputs == {"answer": "x", "pages": [1]}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_outputs_are_read_by_name_whatever_they_are_called(start: Start, name: str) -> None:
    run = start(Script([action("a", f"SUBMIT(**{{'{name}': 'VALUE'}})")]), signature=f"context, question -> {name}")
    assert run.finished().outputs == {name: "VALUE"}


@pytest.mark.parametrize("name", [*ODD_NAMES, "base"])
def test_inputs_are_bound_by_name_whatever_they_are_called(start: Start, name: str) -> None:
    script = Script([action("a", f"SUBMIT({name})")])
    run = start(script, signature=f"context, question, {name} -> answer", inputs={name: "VALUE"})
    assert run.finished().outputs == {"answer": "VALUE"}


def test_names_that_pydantic_models_have_too_are_taken_without_its_warning() -> None:
    code = f"from fleet_rlm.engine.prepare import signature_notation as s; s.parse('context -> {', '.join(ODD_NAMES)}')"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert "shadows" not in done.stderr


@pytest.mark.parametrize("notation", ["context -> self", "self -> answer", "context -> base", "context -> signature"])
def test_names_that_dspy_needs_are_refused_with_the_list(notation: str) -> None:
    with pytest.raises(SetupError, match=r"dspy needs the name \w+ for itself. Names that no field can have: fields"):
        signature_notation.parse(notation)
