"""What is no prompt is refused in words before anything is paid for it."""

from __future__ import annotations

import re

import dspy
import pytest

from fleet_rlm.sandbox.host.host_calls import invoke

from .conftest import Start
from .scripted import Script, action


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("llm_query(123)", "prompt of llm_query must be text, and is int"),
        ("llm_query(None)", "must be text, and is NoneType"),
        ("llm_query(b'x')", "must be text, and is|can't be sent"),
        ("llm_query({'a': 1})", "must be text, and is dict"),
        ("llm_query([1])", "must be text, and is list"),
        ("llm_query(['a', 'b'])", "for a list of them call llm_query_batched"),
        ("llm_query('')", "is empty"),
        ("llm_query(' \\n')", "is empty"),
        ("llm_query()", "takes one text .* and got nothing"),
        ("llm_query(text='x')", "got text="),
        ("llm_query('x', 'y')", "got 2 by position"),
        ("llm_query('x', model='y')", "got 1 by position, model="),
        ("llm_query_batched('text')", "takes a list of prompts, not str; for one prompt call llm_query"),
        ("llm_query_batched(7)", "takes a list of prompts, not int"),
        ("llm_query_batched(['a', 7])", "prompt 1 of llm_query_batched must be text, and is int"),
        ("llm_query_batched(['a', ''])", "prompt 1 of llm_query_batched is empty"),
        ("llm_query_batched(queries=['a'])", r"llm_query_batched\(prompts\) takes .*, and got queries="),
        ("llm_query_batched()", "got nothing"),
    ],
)
def test_arguments_that_are_no_prompt_are_refused_before_a_model_call(start: Start, call: str, says: str) -> None:
    ask = f"try: {call}\nexcept Exception as error: print(error)"
    script = Script([action("ask", ask), action("end", "SUBMIT(answer='x')")])
    run = start(script)
    assert run.finished().status == "submitted"
    told = run.state().output[0].text
    assert script.subs == []
    assert re.search(says, told), told


def test_prompts_by_name_and_from_a_tuple_are_sent(start: Start) -> None:
    ask = "print(llm_query(prompt='one'), llm_query_batched(prompts=('two',)), llm_query_batched([]))"
    script = Script([action("ask", ask), action("end", "SUBMIT(answer='x')")])
    run = start(script)
    assert run.finished().status == "submitted"
    assert script.subs == ["one", "two"]


@pytest.mark.parametrize(("args", "says"), [(["a", "b"], "too many positional"), (["a", "b", "c"], "too many")])
def test_a_tool_with_wrong_arguments_names_itself_and_what_it_takes(args: list[str], says: str) -> None:
    tool = dspy.RLM("a -> b", tools=[upper])._prepare_execution_tools()["upper"]
    with pytest.raises(TypeError, match=rf"upper\(word: '?str'?\).*{says}.*Nothing was called"):
        invoke(tool, args, {})
    assert invoke(tool, ["a"], {}) == "A"


def upper(word: str) -> str:
    return word.upper()
