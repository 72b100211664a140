"""`dspy.RLM` on our interpreters, unchanged."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events
from dspy.primitives.code_interpreter import CodeInterpreterError
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.pool import SandboxPool
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter
from waiting import until

from .conftest import Maker
from .places import SMALL, Background, Witness

pytestmark = pytest.mark.filterwarnings("ignore:Passing OpenAI-style:DeprecationWarning")  # by dspy, to itself


class Scripted:
    """A model: planner steps in order, anything else is answered with `said: …`."""

    def __init__(self, *steps: str) -> None:
        self.prompts: list[str] = []
        self._steps: Iterator[str] = iter(steps)
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        text = request.messages[-1].text or ""
        with self._lock:
            self.prompts.append(system + text)
            if "[[ ## code ## ]]" in system:
                out = f"[[ ## reasoning ## ]]\nso\n\n[[ ## code ## ]]\n```python\n{next(self._steps)}\n```\n"
            elif "[[ ## answer ## ]]" in system:
                out = "[[ ## answer ## ]]\npredicted\n\n[[ ## completed ## ]]"
            else:
                out = f"said: {text}"
        usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
        message = Message.assistant([TextPart(out)])
        return Response(id="r", model=request.model, message=message, finish_reason="stop", usage=usage)

    def stream(self, request: Request) -> Any:
        return response_to_events(self.complete(request))

    def close(self) -> None:
        pass


def run(rlm: dspy.RLM, model: Scripted, callbacks: list[BaseCallback] | None = None, **inputs: Any) -> dspy.Prediction:
    lm = dspy.LM("scripted/model", engine=model, cache=False, num_retries=0)
    with dspy.context(lm=lm, callbacks=callbacks or []):
        return rlm(**inputs)


def outputs(prediction: dspy.Prediction) -> list[str]:
    return [step["output"] for step in prediction.trajectory]


def test_a_run_uses_the_class_as_its_factory() -> None:
    model = Scripted("print(len(context), llm_query('hi'))", "context = 'short'\n1 / 0", "SUBMIT(context[:3])")
    rlm = dspy.RLM("context -> answer", interpreter_factory=LocalInterpreter)
    prediction = run(rlm, model, context="abc" * 50_000)
    assert prediction.answer == "abc"
    assert outputs(prediction)[0] == "150000 said: hi"
    assert "ZeroDivisionError: division by zero (line 2)" in outputs(prediction)[1]
    lines = LocalInterpreter.execution_instructions.splitlines()  # dspy indents them
    assert [line for line in lines if line not in model.prompts[0]] == []


def test_sub_agents_are_built_in_the_sandbox_and_run_on_the_host() -> None:
    step = "import dspy\nr = dspy.Predict('question -> answer')(question='why?')\nSUBMIT(r.answer)"
    rlm = dspy.RLM("context -> answer", interpreter_factory=LocalInterpreter)
    assert run(rlm, Scripted(step), context="c").answer == "predicted"


def test_an_rlm_inside_a_call_has_a_sandbox_of_its_own_and_waits_for_no_thread() -> None:
    """With one thread for calls in each interpreter, a shared pool would wait for itself."""
    model = Scripted(
        "import dspy\nx = 'outer'\nr = dspy.RLM('context -> answer')(context='inner')\nprint(r.answer, x)",
        "print('x' in globals(), llm_query('hi'))",
        "SUBMIT('from inside')",
        "SUBMIT(r.answer)",
    )
    with SandboxPool(lambda: LocalInterpreter(limits=SMALL, concurrency=1), warm=0) as pool:
        prediction = run(dspy.RLM("context -> answer", interpreter_factory=pool), model, context="c")
    assert prediction.answer == "from inside"
    assert outputs(prediction)[0] == "from inside outer"
    assert any("False said: hi" in prompt for prompt in model.prompts)


class Table(dspy.SandboxSerializable):
    def sandbox_setup(self) -> str:
        return "import json"

    def to_sandbox(self) -> bytes:
        return json.dumps([[1, 2], [3, 4]]).encode()

    def sandbox_assignment(self, var_name: str, data_expr: str) -> str:
        return f"{var_name} = json.loads({data_expr})"

    def rlm_preview(self, max_chars: int = 500) -> str:
        return "a table"


def test_what_prepared_the_sandbox_stands_again_after_its_process_died() -> None:
    class Signature(dspy.Signature):
        table: Table = dspy.InputField()
        answer: str = dspy.OutputField()

    model = Scripted(
        "x = 1\nprint(table)",
        "import os\nos._exit(1)",
        "import dspy\nprint('x' in globals(), table, dspy.Predict('question -> answer')(question='q').answer)",
        "SUBMIT('done')",
    )
    prediction = run(dspy.RLM(Signature, interpreter_factory=LocalInterpreter), model, table=Table())
    assert outputs(prediction)[0] == "[[1, 2], [3, 4]]"
    assert "All variables are lost; the inputs are there again" in outputs(prediction)[1]
    assert outputs(prediction)[2] == "False [[1, 2], [3, 4]] predicted"


def test_a_process_that_dies_between_two_steps_is_told_with_the_next(
    make: Maker, hostile: Interpreter, witness: Witness
) -> None:
    hostile.execute("import threading, os\nt = threading.Timer(0.05, os._exit, [4])\nt.start()\nx = 1")
    until(lambda: witness.of("state lost"))
    output = hostile.execute("print('x' in globals())")
    assert output == (
        "[the Python process died between two executions: all variables of earlier steps are gone; "
        "the inputs are there again]\nFalse"
    )
    assert hostile.execute("print('x' in globals())") == "False"


class Tree(BaseCallback):
    """Who was called within whom."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.ended: list[str] = []

    def _start(self, call_id: str, name: str) -> None:
        self.names[call_id] = name
        self.calls.append((name, self.names.get(ACTIVE_CALL_ID.get() or "", "")))

    def on_interpreter_startup_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start(call_id, "start")

    def on_interpreter_execute_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start(call_id, f"execute {inputs['code']}"[:20])

    def on_interpreter_execute_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.ended.append(f"{outputs or exception}")

    def on_interpreter_tool_call_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start(call_id, f"call {inputs['tool_name']}")

    def on_interpreter_shutdown_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start(call_id, "shutdown")

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start(call_id, "lm")


def test_callbacks_see_every_call_within_its_execution() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: answers = list(pool.map(llm_query, ['a', 'b', 'c', 'd']))\n"
        "SUBMIT(answers[3])"
    )
    tree = Tree()
    rlm = dspy.RLM("context -> answer", interpreter_factory=LocalInterpreter)
    assert run(rlm, Scripted(code), [tree], context="c").answer == "said: d"
    execution = f"execute {code}"[:20]
    assert tree.calls.count(("call llm_query", execution)) == 4
    assert tree.calls.count(("lm", "call llm_query")) == 4
    assert ("shutdown", "") in tree.calls
    assert (
        sum(name == "start" for name, _ in tree.calls) == 2
    )  # the facade's, lazily, and RLM's own, which finds it there


def test_an_async_function_of_the_host_is_awaited(make: Maker) -> None:
    async def ask(text: str) -> str:
        return text.upper()

    assert make({"ask": ask}).execute("ask('a')") == "'A'"


def test_a_killed_pool_ends_what_runs_in_its_sandboxes_and_leases_no_more() -> None:
    with SandboxPool(lambda: LocalInterpreter(limits=SMALL), warm=0) as pool:
        interpreters = [pool.take(), pool.take()]
        running = [Background(lambda one=one: one.execute("while True: pass")) for one in interpreters]
        until(lambda: all(one.running for one in interpreters))
        pool.kill("the run was aborted")
        for one in running:
            with pytest.raises(CodeInterpreterError, match="the run was aborted"):
                one.result()
        with pytest.raises(CodeInterpreterError, match="the run was aborted"):
            pool.take()


@pytest.mark.parametrize(
    ("tools", "variables"),
    [({"not a name": len}, {}), ({"SUBMIT": len}, {}), ({}, {"class": 1}), ({"same": len}, {"same": 1})],
    ids=["no identifier", "ours", "keyword", "both"],
)
def test_names_that_can_not_be_bound_are_refused(
    make: Maker, tools: dict[str, Callable[..., Any]], variables: dict[str, Any]
) -> None:
    with pytest.raises(CodeInterpreterError, match="rename"):
        make(tools).execute("1", variables)


def test_code_of_a_megabyte_is_the_planners_mistake(make: Maker) -> None:
    interpreter = make()
    with pytest.raises(dspy.primitives.code_interpreter.CodeExecutionError, match="at most 1,048,576 run"):
        interpreter.execute("#" * ((1 << 20) + 1))
    assert interpreter.execute("#" * (1 << 20)) is None


def test_a_failure_carries_its_outcome(make: Maker) -> None:
    with pytest.raises(CodeFailed) as failed:
        make().execute("print('a')\nraise KeyError('b')")
    outcome = failed.value.outcome
    assert (outcome.outcome, outcome.stdout_chars, outcome.execution.name) == ("error", 2, "cell 1")


def test_tools_take_arguments_by_place_and_by_name(make: Maker) -> None:
    def joined(first: str, second: str = "b", *, third: str = "c") -> str:
        """Join."""
        return first + second + third

    code = "SUBMIT(str([joined('x'), joined('x', 'y'), joined('x', second='y', third='z')]))"
    rlm = dspy.RLM("a -> answer", tools=[joined], interpreter_factory=make)
    assert run(rlm, Scripted(code), a="A").answer == "['xbc', 'xyc', 'xyz']"


def test_a_tool_that_is_called_wrongly_says_what_it_lacks(make: Maker) -> None:
    def joined(first: str) -> str:
        """Join."""
        return first

    rlm = dspy.RLM("a -> answer", tools=[joined], interpreter_factory=make)
    model = Scripted("joined('x', 'y')", "SUBMIT('so')")
    run(rlm, model, a="A")
    assert "too many positional arguments" in model.prompts[1]
