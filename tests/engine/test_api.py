"""The engine from a person's own Python."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

import fleet_rlm
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.state import RunState, fold_all
from tests.engine.scripted import Script, action

DONE = action("done", "SUBMIT(answer='fine')")


def recorded(path: Path) -> RunState:
    return fold_all(RunFile(path).events())


def ask(script: Script, context: str = "some text", **options: object) -> dspy.Prediction:
    rlm = dspy.RLM("context, question -> answer", max_iters=4, interpreter_factory=dspy.LocalInterpreter, **options)
    with dspy.context(lm=dspy.LM("scripted/model", engine=script, cache=False)):
        return rlm(context=context, question="what?")


def test_run_answers_and_leaves_a_record(document: str) -> None:
    result = fleet_rlm.run("What is the access code of the Marlow depot?", docs=document)
    assert result.status == "submitted"
    assert "7741" in result.outputs["answer"]
    state = recorded(result.run_file)
    assert state.status == "submitted"
    assert state.started is not None
    assert state.started.models.offline
    assert state.started.run_id == result.run_id


def test_a_run_without_a_required_input_names_it(document: str) -> None:
    with pytest.raises(SetupError, match="No question"):
        fleet_rlm.run(docs=document)


def test_a_programs_own_call_is_recorded_as_the_same_events(tmp_path: Path) -> None:
    look = action("look", "print(len(context))\nx = llm_query('one')\ny = llm_query_batched(['a', 'b'])")
    path = tmp_path / "mine.jsonl"
    with fleet_rlm.record(path) as recording:
        answer = ask(Script([look, DONE]))
    assert answer.answer == "fine"
    assert recording.runs == [path]
    state = recorded(path)
    assert (state.status, state.question, state.outputs) == ("submitted", "what?", {"answer": "fine"})
    assert [it.status for it in state.iterations] == ["ok", "submitted"]
    rows = [(call.function, call.index, call.status) for call in state.calls]
    assert rows[:2] == [("llm_query", None, "done"), ("llm_query_batched", None, "done")]
    assert sorted(rows[2:]) == [("llm_query", 0, "done"), ("llm_query", 1, "done")]
    assert state.spent.usage.input > 0
    assert state.finished is not None
    assert state.finished.totals.calls == 3
    assert state.output[0].text == "9"


def test_each_call_of_a_program_gets_a_file_of_its_own_and_keeps_its_history() -> None:
    with fleet_rlm.record() as recording:
        ask(Script([DONE]))
        ask(Script([DONE]))
    assert len(set(recording.runs)) == 2
    assert all(recorded(path).status == "submitted" for path in recording.runs)


def test_a_program_that_fails_is_recorded_and_still_fails() -> None:
    with fleet_rlm.record() as recording, pytest.raises(dspy.AdapterParseError):
        ask(Script(["garbage"]))
    state = recorded(recording.runs[0])
    assert state.status == "failed"
    assert state.finished is not None
    assert state.finished.error is not None


def test_a_programs_tool_calls_and_cached_answers_are_recorded(tmp_path: Path) -> None:
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"rain in {city}"

    script = Script([action("look", "print(weather(city='Marlow'))"), DONE])
    with fleet_rlm.record() as recording:
        ask(script, tools=[weather])
    call = recorded(recording.runs[0]).calls[0]
    assert (call.type, call.function, call.arguments, call.answer) == (
        "tool", "weather", {"city": "Marlow"}, "rain in Marlow",
    )  # fmt: skip


def test_nothing_is_left_behind_outside_a_recording(tmp_path: Path) -> None:
    with fleet_rlm.record():
        pass
    assert not list(tmp_path.rglob("*.jsonl"))
