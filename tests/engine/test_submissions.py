from __future__ import annotations

import pytest

from fleet_rlm import events as ev
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action

DEEP = "v = 'x'\nfor _ in range(330): v = [v]\nSUBMIT(answer=v)"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [("SUBMIT(None)", "str", "None was submitted"), (DEEP, "list", "more than 100 levels deep")],
)
def test_what_no_answer_can_hold_is_an_error_that_the_code_sees(start: Start, code: str, kind: str, words: str) -> None:
    right = "SUBMIT(answer='fine')" if kind == "str" else "SUBMIT(answer=['fine'])"
    run = start(Script([action("a", code), action("b", right)]), signature=f"context, question -> answer: {kind}")
    assert run.finished().status == "submitted"
    assert words in (run.of(ev.Submitted)[0].rejected or "")


def test_a_dictionary_of_the_outputs_is_the_outputs(start: Start) -> None:
    assert start(Script([action("a", "SUBMIT({'answer': 'x'})")])).finished().outputs == {"answer": "x"}


@pytest.mark.parametrize("name", ["items", "keys", "get", "copy", "labels", "inputs", "completions", "toDict"])
def test_outputs_are_read_by_name_whatever_they_are_called(start: Start, name: str) -> None:
    script = Script([action("a", f"SUBMIT(**{{'{name}': 'VALUE'}})")])
    assert start(script, signature=f"context, question -> {name}").finished().outputs == {name: "VALUE"}
