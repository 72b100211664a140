"""A run that is cut short, edited, hinted, skipped or broken on the way."""

from __future__ import annotations

from collections.abc import Callable

import dspy
import pytest

from tests.offline.driving import depots, errors, offline, quotes, run

ASK = "context, question -> answer"
NEEDLE = "The access code of the Marlow depot is 7741."
QUESTION = "What is the access code of the Marlow depot?"
TEXT = depots(60_000, seed=9, needle=NEEDLE)


class Meddling(dspy.Module):
    """The planner, with an operator at the gate: changes the code of one step, or adds to its prompt."""

    def __init__(self, inner: dspy.Module, edits: dict[int, str], notes: dict[int, str]) -> None:
        super().__init__()
        self.inner, self.edits, self.notes = inner, edits, notes

    @property
    def signature(self) -> object:
        return self.inner.signature

    def forward(self, **asked: object) -> dspy.Prediction:
        step = int(str(asked["iteration"]).partition("/")[0])
        if step in self.notes:
            asked["iteration"] = f"{asked['iteration']}\n\n{self.notes[step]}"
        planned = self.inner(**asked)
        return dspy.Prediction(reasoning=planned.reasoning, code=self.edits.get(step, planned.code))


def meddling(
    edits: dict[int, str] | None = None, notes: dict[int, str] | None = None
) -> Callable[[dspy.Module], dspy.Module]:
    return lambda inner: Meddling(inner, edits or {}, notes or {})


@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5])
def test_it_submits_before_its_iterations_run_out(iterations: int) -> None:
    result = run(ASK, max_iters=iterations, context=TEXT, question=QUESTION)
    assert NEEDLE in quotes(result.answer)
    assert len(result.trajectory) == iterations
    assert result.final_reasoning != "Extract forced final output"


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_it_makes_do_with_the_sub_queries_it_has(calls: int) -> None:
    result = run(ASK, max_llm_calls=calls, context=TEXT, question=QUESTION)
    assert NEEDLE in quotes(result.answer)
    assert errors(result) == []


def test_sub_queries_that_somebody_else_spent_are_noticed_and_the_rest_is_used() -> None:
    spend = "for number in range(46):\n    llm_query(f'Text: {number}')\nprint('spent')"
    result = run(ASK, context=TEXT, question=QUESTION, planner=meddling({1: spend}))
    assert "LLM call limit exceeded" in errors(result)[0]
    assert NEEDLE in quotes(result.answer)


@pytest.mark.parametrize(
    "code",
    ["raise ValueError('no')", "print('hello')", "print('[skipped by operator]')", "work = 5\nprint('Search: what?')"],
)
@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_a_cell_that_was_replaced_or_broken_does_not_end_the_search(step: int, code: str) -> None:
    result = run(ASK, context=TEXT, question=QUESTION, planner=meddling({step: code}))
    assert NEEDLE in quotes(result.answer)


def test_after_a_lost_state_it_builds_everything_again() -> None:
    lose = "kept = ('llm_query', 'llm_query_batched', 'SUBMIT', 'context', 'question')\n"
    lose += "for name in [name for name in globals() if not name.startswith('_') and name not in kept]:\n"
    lose += "    globals().pop(name, None)\nwork"
    result = run(ASK, context=TEXT, question=QUESTION, planner=meddling({4: lose}))
    assert any("NameError" in error for error in errors(result))
    assert "lost its state" in result.trajectory[4]["reasoning"]
    assert NEEDLE in quotes(result.answer)


@pytest.mark.parametrize("said", ["Operator hint: {}", "The person who runs this tells you: {}"])
def test_a_hint_brings_its_words_into_the_search(said: str) -> None:
    note = {4: said.format("look in the appendix about `brindle lanterns`")}
    result = run(ASK, context=TEXT, question=QUESTION, planner=meddling(notes=note))
    hinted = result.trajectory[3]
    assert "I am told: look in the appendix" in hinted["reasoning"]
    assert "appendix" in hinted["code"]
    assert "brindle" in hinted["code"]
    assert NEEDLE in quotes(result.answer)


def test_asked_for_another_version_it_writes_a_different_cell_that_works() -> None:
    again = "Your previous version of this step was not run. Write another, different version of it. Try the harbour."
    plain = run(ASK, context=TEXT, question=QUESTION)
    for step in range(1, len(plain.trajectory)):
        result = run(ASK, context=TEXT, question=QUESTION, planner=meddling(notes={step: again}))
        assert result.trajectory[step - 1]["code"] != plain.trajectory[step - 1]["code"]
        assert NEEDLE in quotes(result.answer)


def test_cells_that_fail_for_ever_end_in_an_honest_answer_and_not_in_a_loop() -> None:
    broken = dict.fromkeys(range(1, 4), "raise RuntimeError('disk on fire')")
    result = run("context, question -> answer, n: int", context=TEXT, question=QUESTION, planner=meddling(broken))
    assert "No answer could be worked out" in result.answer
    assert "disk on fire" in result.answer
    assert len(result.trajectory) == 4


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_an_answer_forced_out_early_rests_on_what_was_printed(stop: int) -> None:
    """What RLM does at its limit, at any point of the history."""
    signature = "context, question -> answer: str, found: bool, numbers: list[int]"
    full = run(signature, context=TEXT, question=QUESTION)
    with offline():
        rlm = dspy.RLM(signature, interpreter_factory=dspy.LocalInterpreter)
        history = dspy.primitives.repl_types.REPLHistory()
        for step in full.trajectory[:stop]:
            history = history.append(**step)
        variables = [variable.format() for variable in rlm._build_variables(context=TEXT, question=QUESTION)]
        forced = rlm.extract(variables_info=variables, repl_history=history)
    assert NEEDLE in forced.answer
    assert forced.found is True
    assert isinstance(forced.numbers, list)
