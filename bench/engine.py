"""What watching costs: an iteration of an observed run beside one of bare `dspy.RLM`, and an engine's first event.

Both sides run the same scripted model and the same interpreter in the same process, in turns, so that a busy machine
slows both. Usage: python bench/engine.py [REPEATS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dspy
from dspy import lm15

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.models.model_settings import ModelSettings
from fleet_rlm.engine.run.session import RunSession
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter

ITERATIONS = 30
STEP = "[[ ## reasoning ## ]]\nlook\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n[[ ## completed ## ]]"
CODE = "print(context[:20])"


class Script:
    """Answers every planner prompt with the same cell, and submits at the end."""

    def __init__(self, code: str) -> None:
        self.code, self.asked = code, 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        planner = "[[ ## code ## ]]" in str(request.system)
        self.asked += planner
        code = self.code if self.asked < ITERATIONS else "SUBMIT(answer='done')"
        text = STEP.format(code=code) if planner else "an answer"
        return lm15.Response(
            id="x",
            model=request.model,
            message=lm15.Message.assistant([lm15.TextPart(text)]),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=1000, output_tokens=50),
        )

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamStartEvent]:
        yield from lm15.response_to_events(self.complete(request))


def bare(document: Path, code: str) -> float:
    """Milliseconds an iteration of `dspy.RLM` alone, from the first planner call to the end."""
    script = Script(code)
    rlm = dspy.RLM("context, question -> answer", max_iters=ITERATIONS + 1, interpreter_factory=LocalInterpreter)
    began: list[float] = []
    complete = script.complete

    def first(request: lm15.Request) -> lm15.Response:
        began.append(time.perf_counter())
        return complete(request)

    script.complete = first  # type: ignore[method-assign] # marks when the sandbox is ready and thinking begins
    with dspy.context(lm=dspy.LM("scripted/x", engine=script, cache=False), disable_history=True):
        rlm(context=document.read_text(), question="q")
    return (time.perf_counter() - began[0]) / ITERATIONS * 1000


def observed(document: Path, code: str) -> float:
    """The same for a run: events, file, gate, budgets and all."""
    script = Script(code)
    models = ModelSettings(model="scripted/x", engine=script)
    times: list[tuple[str, float]] = []

    def hear(event: ev.Event, _line: bytes) -> None:
        times.append((event.kind, event.t))

    asked = spec.RunSpec(question="q", documents=(str(document),), budgets=spec.Budgets(max_iterations=ITERATIONS + 1))
    RunSession(asked, [hear], models=(models, models)).run()
    second = [t for kind, t in times if kind == "iteration.started"][1]  # the sandbox starts during the first
    last = next(t for kind, t in times if kind == "submitted")
    return (last - second) / (ITERATIONS - 1) * 1000


def first_event(document: Path) -> tuple[float, float, float]:
    """Seconds from the start of an engine process to `run.started`, to the planner's first prompt, to the sandbox."""
    with subprocess.Popen(
        [sys.executable, "-m", "fleet_rlm.engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdin is not None
        assert engine.stdout is not None
        began = time.perf_counter()
        asked = spec.RunSpec(question="What?", documents=(str(document),), model="offline")
        engine.stdin.write(spec.encode_command(spec.Start(spec=asked)))
        engine.stdin.flush()
        seen: dict[str, float] = {}
        for line in engine.stdout:
            seen.setdefault(json.loads(line)["kind"], time.perf_counter() - began)
            if {"run.started", "planner.started", "sandbox.ready"} <= seen.keys():
                break
        engine.stdin.write(spec.encode_command(spec.Abort()))
        engine.stdin.close()
        engine.stdout.read()
    return seen["run.started"], seen["planner.started"], seen["sandbox.ready"]


def in_turns(repeats: int, *works: Callable[[], float]) -> list[list[float]]:
    results: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, found in zip(works, results, strict=True):
            found.append(work())
    return results


def shown(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):.2f} {unit}, best {min(values):.2f} {unit}"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLEET_RLM_HOME"] = folder
        document = Path(folder, "text.txt")
        document.write_text("Some text of a document.\n" * 4000)
        cells = (("print", CODE), ("8 sub-calls in a batch", "print(llm_query_batched([str(i) for i in range(8)]))"))
        for name, code in cells:
            without, with_ = in_turns(repeats, lambda: bare(document, code), lambda: observed(document, code))  # noqa: B023
            print(f"{name}: bare dspy.RLM {shown(without, 'ms')} an iteration; observed {shown(with_, 'ms')}")
        starts = [first_event(document) for _ in range(repeats)]
        for place, name in enumerate(("run.started", "planner.started", "sandbox.ready")):
            print(f"engine process to {name}: {shown([start[place] for start in starts], 's')}")


if __name__ == "__main__":
    main()
