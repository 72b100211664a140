"""The reader of planner replies: every form that models write, and never stricter than dspy's own adapters."""

from __future__ import annotations

import ast
import json
import textwrap
from collections.abc import Callable

import dspy
import pytest
from dspy.predict.rlm import _strip_code_fences
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm import code_blocks, replies

F = "`" * 3
CODE = "total = 0\nfor n in [1, 2]:\n    total += n\nSUBMIT(answer=str(total))"
BLOCK = f"{F}python\n{CODE}\n{F}"
CALL = json.dumps({"name": "python", "arguments": {"code": CODE}})


def fields(code: str, reasoning: str = "I look.") -> str:
    return f"[[ ## reasoning ## ]]\n{reasoning}\n\n[[ ## code ## ]]\n{code}\n\n[[ ## completed ## ]]"


def indented(text: str, by: str = "   ") -> str:
    return textwrap.indent(text, by)


FORMS: dict[str, Callable[[str], str]] = {
    "as described": lambda code: fields(f"{F}python\n{code}\n{F}"),
    "without a fence": fields,
    "without reasoning": lambda code: f"[[ ## code ## ]]\n{F}python\n{code}\n{F}\n\n[[ ## completed ## ]]",
    "reasoning last": lambda code: f"[[ ## code ## ]]\n{F}python\n{code}\n{F}\n\n[[ ## reasoning ## ]]\nI look.",
    "without an end": lambda code: f"[[ ## reasoning ## ]]\nI look.\n[[ ## code ## ]]\n{F}python\n{code}",
    "bold headers": lambda code: f"**[[ ## reasoning ## ]]**\nr\n\n**[[ ## code ## ]]**\n{F}python\n{code}\n{F}",
    "narrow headers": lambda code: f"[[##reasoning##]]\nr\n[[##code##]]\n{code}\n[[##completed##]]",
    "half headers": lambda code: f"[[ ## reasoning ##\nr\n[[ ## code ##\n{F}python\n{code}\n{F}",
    "capital headers": lambda code: f"[[ ## Reasoning ## ]]\nr\n[[ ## CODE ## ]]\n{code}\n[[ ## Completed ## ]]",
    "indented headers": lambda code: indented(fields(f"{F}python\n{code}\n{F}")),
    "a header in mid-line": lambda code: f"I look. [[ ## code ## ]] {F}python\n{code}\n{F}",
    "labels": lambda code: f"Reasoning: r\n\nCode:\n{F}python\n{code}\n{F}",
    "bold labels": lambda code: f"**Thought:** r\n\n**Code:**\n{F}py\n{code}\n{F}<end_code>",
    "headings": lambda code: f"### Reasoning\nr\n\n### Code\n{F}python\n{code}\n{F}\n",
    "elements": lambda code: f"<reasoning>r</reasoning>\n<code>\n{code}\n</code>",
    "one block": lambda code: f"{F}python\n{code}\n{F}",
    "a tilde block": lambda code: f"~~~python\n{code}\n~~~",
    "a block with attributes": lambda code: f"{F}{{.python .numberLines}}\n{code}\n{F}",
    "a bare block after prose": lambda code: f"Let me see.\n\n{F}\n{code}\n{F}\nThat is it.",
    "a fence in mid-line": lambda code: f"Here: {F}python\n{code}\n{F}",
    "a fence in the last line of code": lambda code: f"{F}python\n{code}{F}",
    "a block in a block": lambda code: f"{F}\n{F}python\n{code}\n{F}\n{F}",
    "a block in a list": lambda code: f"1. I do:\n{indented(f'{F}python{chr(10)}{code}{chr(10)}{F}')}",
    "a longer fence": lambda code: f"{F}``python\n{code}\n{F}``",
    "a block of another language first": lambda code: f"{F}bash\npip install x\n{F}\n\n{F}python\n{code}\n{F}",
    "JSON": lambda code: json.dumps({"reasoning": "r", "code": code}),
    "fenced JSON": lambda code: f"{F}json\n{json.dumps({'reasoning': 'r', 'code': code}, indent=1)}\n{F}",
    "fenced JSON with a fence in it": lambda code: (
        f"{F}json\n{json.dumps({'reasoning': 'r', 'code': f'{F}python{chr(10)}{code}{chr(10)}{F}'})}\n{F}"
    ),
    "JSON in prose": lambda code: f"Here it is:\n{json.dumps({'thought': 'r', 'code': code})}\nDone.",
    "JSON in the code field": lambda code: fields(json.dumps({"code": code})),
    "a dict": lambda code: repr({"reasoning": "r", "code": code}),
    "JSON lines": lambda code: json.dumps({"reasoning": "r", "code": code.split("\n")}),
    "a tool call": lambda code: json.dumps({"name": "python", "arguments": {"code": code}}),
    "tool calls": lambda code: json.dumps(
        {
            "content": None,
            "tool_calls": [
                {"type": "function", "function": {"name": "python", "arguments": json.dumps({"code": code})}}
            ],
        }
    ),
    "a tagged tool call": lambda code: (
        f"I call.\n<tool_call>\n{json.dumps({'name': 'run', 'arguments': {'code': code}})}\n</tool_call>"
    ),
    "an action": lambda code: json.dumps({"thought": "r", "action": "python", "action_input": code}),
    "a function tag": lambda code: f"<function=python>{json.dumps({'code': code})}</function>",
    "a parameter tag": lambda code: (
        f"<tool_call>\n<function=python>\n<parameter=code>\n{code}\n</parameter>\n</function>\n</tool_call>"
    ),
    "an invocation": lambda code: (
        f'<function_calls>\n<invoke name="python">\n<parameter name="code">{code}</parameter>\n</invoke>'
    ),
    "an argument tag": lambda code: (
        f"<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>{code}</arg_value>\n</tool_call>"
    ),
    "a list of calls": lambda code: f"[TOOL_CALLS] {json.dumps([{'name': 'python', 'arguments': {'code': code}}])}",
    "a python tag": lambda code: f"<|python_tag|>{code}<|eom_id|>",
    "channels": lambda code: (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=python code"
        f"<|message|>{code}<|call|>"
    ),
    "thinking first": lambda code: (
        f"<think>\nOr {F}python\nbad()\n{F}?\n</think>\n\n" + fields(f"{F}python\n{code}\n{F}")
    ),
    "thinking, then a block": lambda code: f"<think>Hm.</think>\n{F}python\n{code}\n{F}",
    "thinking without its begin": lambda code: f"Hm.\n</think>\n\n{F}python\n{code}\n{F}",
    "thinking without its end": lambda code: f"<think>\nHm.\n{fields(code)}",
    "all in thinking": lambda code: f"<think>\n{fields(code)}\n</think>",
    "carriage returns": lambda code: fields(f"{F}python\n{code}\n{F}").replace("\n", "\r\n"),
    "an end token": lambda code: f"{F}python\n{code}\n{F}<|im_end|>\n",
    "a byte order mark": lambda code: "\ufeff" + fields(code),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    reply = replies.read(FORMS[form](CODE))
    assert reply.code == CODE
    assert "```" not in reply.reasoning or form == "a block of another language first"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (f"{F}python print(1); print(2) {F}", "print(1); print(2)"),
        (fields(f"{F}print(1){F}"), "print(1)"),
        (f"{F}python x = 1\nprint(x)\n{F}", "x = 1\nprint(x)"),
        (f"{F}python\na = 1\n{F}\n\nand then\n\n{F}python\nb = 2\n{F}", "a = 1\n\nb = 2"),
        (fields(">>> a = 1\n>>> for i in [a]:\n...     print(i)\n1"), "a = 1\nfor i in [a]:\n    print(i)"),
        (f"{F}pycon\n>>> print(1)\n1\n>>> print(2)\n2\n{F}", "print(1)\nprint(2)"),
        (fields("for i in [1]:\n\u00a0\u00a0\u00a0\u00a0print(i)"), "for i in [1]:\n    print(i)"),
        (fields("x\u2003=\u30001\u200b\nprint(x)"), "x = 1\nprint(x)"),
        (fields('print(“it’s”)\nprint(‘a’, “say "b"”)'), 'print("it’s")\nprint("a", \'say "b"\')'),
        (fields("x = 5 − 3 – 1\nprint（x）"), "x = 5 - 3 - 1\nprint(x)"),
        (fields("print('“it’s” \u00a0 …')"), "print('“it’s” \u00a0 …')"),
        ("<code>\nprint(1 &lt; 2)\n</code>", "print(1 < 2)"),
        ("> ```python\n> print(1)\n> print(2)\n> ```", "print(1)\nprint(2)"),
        (fields("print(1)\\nprint(2)"), "print(1)\nprint(2)"),
        ('{"reasoning": "r", "code": "print(1)\nprint(2)"}', "print(1)\nprint(2)"),
        (fields(f"{F}python\n!pip install x\n%time print(1)\n{F}"), "!pip install x\n%time print(1)"),
        (fields("r = await f()\nprint(r)"), "r = await f()\nprint(r)"),
        (fields("print(x"), "print(x"),
        (f"print(1)\nSUBMIT(answer={F!r})", f"print(1)\nSUBMIT(answer={F!r})"),
        ("llm_query('what?')", "llm_query('what?')"),
    ],
)
def test_what_is_not_quite_python_is_mended(reply: str, code: str) -> None:
    assert replies.read(reply).code == code


@pytest.mark.parametrize(
    "reply",
    [
        "", "  \n", "garbage", "Done.", "yes, no", "Note: x = 1 is fine", "Done (finally)", "I will call print(x) now",
        "[[ ## reasoning ## ]]\nI look.", "[[ ## answer ## ]]\nblue", "{}", '{"reasoning": "x"}', '{"answer": "blue"}',
        f"{F}bash\nls\n{F}", fields(f"{F}bash\nls\n{F}"), fields(""), fields(f"{F}python\n\n{F}"), "<think>Hm.</think>",
    ],
)  # fmt: skip
def test_what_holds_no_python_is_not_run(reply: str) -> None:
    with pytest.raises(replies.Unreadable):
        replies.read(reply)


def test_what_did_not_run_is_told() -> None:
    guessed = f"Output:\n\n{F}\n1\n{F}\n\nThe output shows 1:\n\n{F}python\nSUBMIT(answer='1')\n{F}"
    reply = replies.read(f"{F}python\nprint(1)\n{F}\n\n{guessed}")
    assert (reply.code, reply.left_out) == ("print(1)", "1 more Python block of this answer did not run")
    twice = f"{fields('print(1)')}\n\n{fields('print(2)')}"
    reply = replies.read(twice)
    assert reply.code == "print(1)"
    assert "a second `code` field of this answer did not run" in reply.left_out
    assert replies.read(FORMS["a block of another language first"](CODE)).left_out == "its bash block did not run"


def test_an_example_in_the_reasoning_never_stands_in_for_code_with_an_error() -> None:
    reply = replies.read(fields("print(1", reasoning=f"As in\n{F}python\nprint(2)\n{F}"))
    assert reply.code == "print(1"


def test_thinking_stands_in_for_reasoning_that_was_left_out() -> None:
    assert replies.read(f"<think>I look.</think>{BLOCK}").reasoning == "I look."
    assert len(replies.read(f"<think>{'Hm. ' * 5000}</think>{BLOCK}").reasoning) < 1100


# -- properties ----------------------------------------------------------------------------------------------------

_PIECES = [*"ab \n'\"\\{}[]<>#`~:=“”’\u00a0é字0", F, "[[ ## code ## ]]", "\n[[ ## answer ## ]]\n"]
_texts = st.lists(st.sampled_from(_PIECES), max_size=12).map("".join)
_LINES = ["[[ ## code ## ]]", f"{F}python\nprint(1)\n{F}", "</think>"]
_MARKS = [
    F, "python", "\n", " ", "{", '"code":', "[[ ## code ## ]]", "<think>", "</think>", "print(1)", ">>> ", "<code>",
    "</code>", "[", "“", "\u00a0",
]  # fmt: skip
_statements = st.one_of(
    st.builds("x = {!r}".format, _texts),
    st.builds("print({!r}, {})".format, _texts, st.integers(0, 9)),
    st.just("for n in [1, 2]:\n    total = n\n    print(total)"),
    st.just("answers = llm_query_batched([f'say {n}' for n in range(3)])"),
    st.just("import re, json"),
)  # fmt: skip
_mark_in_a_text = st.builds("x = '''\n{}\n'''".format, st.sampled_from(_LINES))
_programs = st.builds(
    lambda lines, mark: "\n".join([*lines, *mark, "SUBMIT(answer='end')"]),
    st.lists(_statements, min_size=1, max_size=3),
    st.lists(_mark_in_a_text, max_size=1),
)


@given(_programs, st.sampled_from(sorted(FORMS)))
@settings(max_examples=400, derandomize=True)
def test_a_program_comes_out_of_every_form_as_it_went_in(program: str, form: str) -> None:
    reply = replies.read(FORMS[form](program))
    assert ast.dump(ast.parse(reply.code)) == ast.dump(ast.parse(program))


@given(st.text(max_size=400) | st.lists(st.sampled_from(_MARKS), max_size=30).map("".join))
@settings(max_examples=300, derandomize=True)
def test_no_text_breaks_the_reader(text: str) -> None:
    replies.so_far(text)
    try:
        reply = replies.read(text)
    except replies.Unreadable:
        return
    assert reply.code.strip()


@pytest.mark.parametrize("form", FORMS)
def test_what_streams_is_shown_as_it_will_be_read(form: str) -> None:
    text = FORMS[form](CODE)
    for end in range(0, len(text), 7):
        replies.so_far(text[:end])
    assert replies.so_far(text).code == replies.read(text).code
    assert replies.so_far(text).reasoning == replies.read(text).reasoning


# -- dspy ----------------------------------------------------------------------------------------------------------

_SIGNATURE = dspy.Signature("task -> reasoning: str, code: str")
_ADAPTERS = (dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter())
_ODD = [
    fields(f"{F}python\nx = 1"), fields(f"Some words\n{F}python\nx = 1\n{F}\nmore"), fields("x = 1\n```"),
    "[[ ## code ## ]]\nx = 1\n[[ ## reasoning ## ]]\nr", "[[ ## reasoning ## ]] r\n[[ ## code ## ]] x = 1",
    "<think>[[ ## reasoning ## ]]\nr\n[[ ## code ## ]]\nx = 1", 'Sure: {"reasoning": "r", "code": "x = 1"}',
    "{'reasoning': 'r', 'code': 'x = 1',}", '{"reasoning": "r", "code": "x = 1"',
    "<reasoning>r</reasoning><code>x = 1</code>",
    fields("x = 1") + "\n\nHope this helps!", fields("x = 1", reasoning="[[ ## plan ## ]]\nfirst"),
    fields("x = 1", reasoning=""),
    fields("x"), fields("'text'"), fields("# nothing to do"), fields("print(1"), "Answer:\n" + fields("x = 1"),
]  # fmt: skip


@pytest.mark.parametrize("reply", [form(CODE) for form in FORMS.values()] + _ODD)
def test_never_stricter_than_dspy(reply: str) -> None:
    """What an adapter of dspy's makes a step of is one here, with the same code where that code is Python."""
    for adapter in _ADAPTERS:
        try:
            code = _strip_code_fences(adapter.parse(_SIGNATURE, reply)["code"])
        except (dspy.AdapterParseError, SyntaxError):
            continue
        read = replies.read(reply).code
        if code_blocks.parses(code) and not code.startswith(("{", "[")):  # JSON that holds the code
            assert ast.dump(ast.parse(read)) == ast.dump(ast.parse(code))


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ('{"answer": "blue", "pages": 3}', {"answer": "blue", "pages": 3}),
        (f'{F}json\n{{"answer": "blue", "pages": 3}}\n{F}', {"answer": "blue", "pages": 3}),
        ("**[[ ## answer ## ]]**\nblue\n**[[ ## pages ## ]]**\n3", {"answer": "blue", "pages": "3"}),
        ("Answer: blue\nPages: 3", {"answer": "blue", "pages": "3"}),
        ("<answer>blue</answer>\n<pages>3</pages>", {"answer": "blue", "pages": "3"}),
        ("<think>Hm.</think>\n[[ ## answer ## ]]\nblue\n[[ ## pages ## ]]\n3", {"answer": "blue", "pages": "3"}),
    ],
)  # fmt: skip
def test_other_fields_are_read_in_any_dress(reply: str, values: dict[str, object]) -> None:
    assert values in list(replies.fields(reply, ("answer", "pages")))
