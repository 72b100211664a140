"""The sub-LLM calls of generated code: `llm_query` and `llm_query_batched`.

dspy puts its functions into the interpreter's `tools`. The batch is replaced there by one that keeps to the run's
concurrency, records each prompt as a call before it is sent, and lets the gate hold, cut or refuse the whole batch.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dspy

from fleet_rlm import events as ev
from fleet_rlm.engine.control.budgets import Spending
from fleet_rlm.engine.control.cancel import CancelToken
from fleet_rlm.engine.control.gate import Gate
from fleet_rlm.engine.models.observed_engine import CallInterrupted
from fleet_rlm.engine.restore.rebuild import with_recorded_replies
from fleet_rlm.engine.run.run_failures import CallRefused, model_failure
from fleet_rlm.engine.run_errors import AgentStopped, OperatorRefused
from fleet_rlm.engine.trace.run_observer import Observer
from fleet_rlm.engine.trace.spans import CURRENT_SLOT, SPAN_CHARS, Node, Slot
from fleet_rlm.sandbox.host.interpreter import Interpreter

Ask = Callable[[str], str]
Tool = Callable[..., Any]  # a host function of any shape: dspy's, or a tool of the person's

SAMPLES = 3
SAMPLE_CHARS = 200
NOT_SENT = "[NOT SENT] The operator let only the first {count} of {of} prompts through."


@dataclass(slots=True)
class Bridge:
    """Implements `llm_query_batched`, with the gate and the budgets."""

    observer: Observer
    gate: Gate
    token: CancelToken
    spending: Spending
    width: int
    model: str
    """Name of the sub-calls' model, for their events."""

    def batched(self, original: Tool, ask: Ask) -> Tool:
        """`llm_query_batched` with this run's width, order, gate and budgets; `ask` is dspy's own `llm_query`."""

        @functools.wraps(original)
        def llm_query_batched(*args: object, **kwargs: object) -> list[str]:
            return self.send(_only_argument("llm_query_batched", "prompts", args, kwargs), ask)

        return llm_query_batched

    def send(self, given: object, ask: Ask) -> list[str]:
        """Send prompts and return the answers in order; a failed call gives an `[ERROR]` text in its place.

        Raises `CallRefused` over budget, `OperatorRefused`, `AgentStopped`, `RunAborted`; `TypeError` and `ValueError`
        for arguments that are not prompts.
        """
        prompts = _checked(given)
        if not prompts:
            return []
        count = self._admitted(prompts)
        if refused := self.spending.refusal(count):
            raise CallRefused(refused)
        answers = self._send(prompts[:count], ask)
        left_out = NOT_SENT.format(count=count, of=len(prompts))
        return answers + [left_out] * (len(prompts) - count)

    def _admitted(self, prompts: list[str]) -> int:
        """Return how many of the prompts may be sent, after asking the gate."""
        node = self.observer.tree.current()
        parent = node.span if node else None
        iteration = node.agent.iteration if node and node.agent else None
        with self._clock_stopped(node):
            answer = self.gate.at_fanout(parent, iteration, len(prompts), lambda: self._fanout(prompts))
        if answer.decision == "skip":
            raise OperatorRefused(f"The operator refused this batch of {len(prompts)} sub-LLM calls. Go on without it.")
        if answer.decision == "finish":
            raise AgentStopped("The run is being finished.")
        return max(0, min(answer.count, len(prompts))) if answer.decision == "sample" else len(prompts)

    @staticmethod
    def _clock_stopped(node: Node | None) -> contextlib.AbstractContextManager[None]:
        """Pause the cell's time limit while a person decides."""
        interpreter = node.instance if node else None
        return interpreter.clock_stopped() if isinstance(interpreter, Interpreter) else contextlib.nullcontext()

    def _fanout(self, prompts: list[str]) -> ev.FanOut:
        chars = sum(map(len, prompts))
        per_char = self.spending.cost_per_char()
        return ev.FanOut(
            prompts=len(prompts),
            chars=chars,
            duplicates=sum(seen - 1 for seen in Counter(prompts).values()),
            estimated_cost_usd=None if per_char is None else per_char * chars,
            samples=tuple(
                prompt if len(prompt) <= SAMPLE_CHARS else prompt[:SAMPLE_CHARS] + "…" for prompt in prompts[:SAMPLES]
            ),
        )

    def _send(self, prompts: list[str], ask: Ask) -> list[str]:
        slots = [Slot(uuid.uuid4().hex[:SPAN_CHARS]) for _ in prompts]
        for index, (slot, prompt) in enumerate(zip(slots, prompts, strict=True)):
            self.observer.slot_started(slot, index, prompt, self.model)
        with ThreadPoolExecutor(min(self.width, len(prompts)), thread_name_prefix="fleet-batch") as pool:
            futures = [
                pool.submit(contextvars.copy_context().run, self._one, slot, prompt, ask)
                for slot, prompt in zip(slots, prompts, strict=True)
            ]
        return [future.result() for future in futures]

    def _one(self, slot: Slot, prompt: str, ask: Ask) -> str:
        CURRENT_SLOT.set(slot)
        try:
            self.token.check()
            return ask(prompt)
        except CallInterrupted as error:
            self.observer.slot_refused(slot, model_failure(error))
            raise
        except dspy.LMError as error:
            self.observer.slot_refused(slot, model_failure(error))
            return f"[ERROR] {error}"
        except Exception as error:
            self.observer.slot_refused(slot, ev.Failure(type=type(error).__name__, message=str(error)))
            raise
        except BaseException:
            self.observer.slot_refused(slot, ev.Failure(type="Interrupted", message="the run ended before it was sent"))
            raise


NOTHING = "Nothing was asked."


def checked_query(ask: Ask) -> Tool:
    """Wrap dspy's `llm_query`: refuse arguments that are not a prompt before a model is called."""

    @functools.wraps(ask)
    def llm_query(*args: object, **kwargs: object) -> str:
        prompt = _only_argument("llm_query", "prompt", args, kwargs)
        if isinstance(prompt, list | tuple) and prompt and all(isinstance(one, str) for one in prompt):
            raise TypeError(f"llm_query takes one prompt; for a list of them call llm_query_batched. {NOTHING}")
        return ask(_checked_prompt(prompt, "the prompt of llm_query"))

    return llm_query


def _only_argument(function: str, parameter: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Return the only argument of a call. Raises `TypeError` for any other number or name."""
    if len(args) + len(kwargs) == 1 and (args or parameter in kwargs):
        return args[0] if args else kwargs[parameter]
    got = [f"{len(args)} by position"] if args else []
    got += [f"{name}=" for name in kwargs]
    takes = "a list of prompts" if parameter == "prompts" else "one text that holds everything the model is to read"
    raise TypeError(f"{function}({parameter}) takes {takes}, and got {', '.join(got) or 'nothing'}. {NOTHING}")


def _checked_prompt(prompt: object, what: str) -> str:
    if not isinstance(prompt, str):
        raise TypeError(f"{what} must be text, and is {type(prompt).__name__}; write it as an f-string. {NOTHING}")
    if not prompt.strip():
        raise ValueError(f"{what} is empty. {NOTHING}")
    return prompt


def _checked(prompts: object) -> list[str]:
    if not isinstance(prompts, list | tuple):
        one = "; for one prompt call llm_query" if isinstance(prompts, str) else ""
        raise TypeError(f"llm_query_batched takes a list of prompts, not {type(prompts).__name__}{one}. {NOTHING}")
    return [_checked_prompt(prompt, f"prompt {place} of llm_query_batched") for place, prompt in enumerate(prompts)]


class BridgedTools(dict[str, Tool]):
    """An interpreter's tools: replaces dspy's `llm_query` functions when dspy adds them, and records all replies."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def __setitem__(self, name: str, tool: Tool) -> None:
        self.update({name: tool})

    def update(self, tools: Mapping[str, Tool]) -> None:  # type: ignore[override] # the one form that dspy uses
        """Add tools, with the batch replaced and prompts checked before they are sent."""
        given = dict(tools)
        if "llm_query_batched" in given and "llm_query" in given:
            given["llm_query_batched"] = self._bridge.batched(given["llm_query_batched"], given["llm_query"])
        if "llm_query" in given:
            given["llm_query"] = checked_query(given["llm_query"])
        super().update({name: with_recorded_replies(name, tool) for name, tool in given.items()})
