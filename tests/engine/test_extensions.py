"""Signatures and tools of a person's own module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

import fleet_rlm
from fleet_rlm import events as ev
from fleet_rlm.engine.prepare import own_code
from fleet_rlm.engine.prepare.signature_notation import notation_of
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.runs.run_reader import open_run

MODULE = '''
import dspy

class Codes(dspy.Signature):
    """Find the access codes with `lookup`."""
    ledger: str = dspy.InputField(desc="The depot's ledger.")
    wish: str = dspy.InputField()
    codes: list[str] = dspy.OutputField()

class Outer:
    class Inner(Codes):
        """Inner."""

def lookup(word: str) -> str:
    """Say a word of the ledger aloud."""
    return word.upper()

tool = dspy.Tool(lookup, name="named", desc="Named.")
number = 5
'''
NAME = "own_tasks_of_the_tests"


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    (tmp_path / f"{NAME}.py").write_text(MODULE)
    (tmp_path / "broken_tasks_of_the_tests.py").write_text("import dspy\nraise RuntimeError('no luck\\nat all')\n")
    (tmp_path / "torn_tasks_of_the_tests.py").write_text("def f(:\n")
    (tmp_path / "needy_tasks_of_the_tests.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "ending_tasks_of_the_tests.py").write_text("raise SystemExit(3)\n")
    before = list(sys.path)
    yield str(tmp_path)
    sys.path[:] = before
    for name in [name for name in sys.modules if name.endswith("_tasks_of_the_tests")]:
        del sys.modules[name]


def test_a_signature_and_tools_are_found_in_the_working_folder(module: str) -> None:
    assert own_code.signature_class(f"{NAME}:Codes", module).__name__ == "Codes"
    assert own_code.signature_class(f"{NAME}:Outer.Inner", module).instructions == "Inner."
    found = own_code.tools([f"{NAME}:lookup", f"{NAME}:tool", "regex_extract", "regex_extract"], module)
    assert [(tool.name, tool.record.description.split(".")[0]) for tool in found] == [
        ("lookup", "Say a word of the ledger aloud"),
        ("named", "Named"),
        ("regex_extract", "Every match of a regular expression in a text, in order, as `re"),
    ]


def test_a_file_of_the_folder_never_stands_before_a_library(module: str) -> None:
    Path(module, "json.py").write_text("raise RuntimeError('shadowed')\n")
    own_code.tools([f"{NAME}:lookup"], module)
    assert sys.path[-1] == module


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere_at_all:Codes", "There is no module 'nowhere_at_all'"),
        (f"{NAME}:Nothing", f"{NAME} has no 'Nothing'"),
        (f"{NAME}:lookup", "is no dspy.Signature but a function"),
        (f"{NAME}.py:Codes", "not of the form module:name"),
        ("broken_tasks_of_the_tests:X", "RuntimeError: no luck (broken_tasks_of_the_tests.py, line 2)"),
        ("torn_tasks_of_the_tests:X", "SyntaxError"),
        ("needy_tasks_of_the_tests:X", "No module named 'nothing_of_that_name'"),
        ("ending_tasks_of_the_tests:X", "SystemExit: 3"),
    ],
)
def test_a_signature_that_cannot_be_had_is_named_with_the_reason(module: str, reference: str, words: str) -> None:
    with pytest.raises(SetupError) as caught:
        own_code.signature_class(reference, module)
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["grepp"], "There is no tool named 'grepp'"),
        ([f"{NAME}:number"], "a int, not a function"),
        ([f"{NAME}:Codes"], "the class Codes, not a function"),
        ([lambda x: x], "no name that code could call"),
        ([f"{NAME}:lookup", lambda: None], "no name that code could call"),
    ],
)
def test_a_tool_that_is_not_callable_is_refused_by_name(module: str, given: list[str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        own_code.tools(given, module)


def test_two_tools_of_one_name_are_refused(module: str) -> None:
    def lookup() -> None:
        """Another."""

    with pytest.raises(SetupError, match="Two tools are named 'lookup'"):
        own_code.tools([f"{NAME}:lookup", lookup], module)


def test_a_class_is_written_in_dspys_notation(module: str) -> None:
    assert notation_of(own_code.signature_class(f"{NAME}:Codes", module)) == "ledger, wish -> codes: list[str]"


class Depots(dspy.Signature):
    """Which depots are there?"""

    docs: str = dspy.InputField(desc="A list of depots.")
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


def shout(word: str) -> str:
    """Say a word aloud."""
    return word.upper()


def test_a_program_gives_its_own_class_and_functions(tmp_path: Path) -> None:
    text = tmp_path / "depots.txt"
    text.write_text("The Marlow depot opens at seven. The Harlow depot opens at nine.\n")
    result = fleet_rlm.run(
        "When does the Marlow depot open?", text, signature=Depots, tools=[shout], record=tmp_path / "run.jsonl"
    )
    assert result.status == "submitted", result.error
    assert "seven" in str(result.outputs["answer"])
    with open_run(result.run_file) as run:
        events = list(run.events())
    started = events[0]
    assert isinstance(started, ev.RunStarted)
    assert started.task.name == "Depots"
    assert started.task.signature == "docs, question -> answer"
    assert [(tool.name, tool.description) for tool in started.task.tools] == [("shout", "Say a word aloud.")]
    planner = next(event for event in events if isinstance(event, ev.PlannerStarted))
    prompt = "".join(message.content for message in planner.prompt)
    assert "`shout(word: string)` - Say a word aloud." in prompt
    assert "Which depots are there?" in prompt
    assert "A list of depots. The text of `depots.txt`: one string." in prompt


def test_tools_with_reserved_names_are_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("text")

    def docs() -> None:
        """Named like an input."""

    with pytest.raises(SetupError, match="conflict with user tools"):
        fleet_rlm.run("what?", tmp_path / "d.txt", signature=Depots, tools=[docs])
