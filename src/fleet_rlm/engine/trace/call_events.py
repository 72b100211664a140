"""Turn the calls of generated code into events: sub-LLM calls, batches, tools and sub-agents."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

import msgspec
from dspy.primitives.facade import CALL_TOOL, CONSTRUCT_TOOL
from dspy.utils.callback import BaseCallback
from pydantic_core import to_jsonable_python

from fleet_rlm import events as ev
from fleet_rlm.engine.run.run_failures import model_failure
from fleet_rlm.engine.trace.spans import CURRENT_SLOT, Node, Slot, Tree
from fleet_rlm.engine.trace.stored_prompts import messages_of
from fleet_rlm.events import Json

Emit = Callable[[ev.Event], object]

ARGUMENT_CHARS = 4096
"""Longest text in a tool's arguments that the record keeps whole."""


class CallEvents(BaseCallback):
    """The part of the observer that records calls and where they belong."""

    model_failure = staticmethod(model_failure)

    def __init__(self, emit: Emit, run_span: str) -> None:
        self.emit = emit
        self.run_span = run_span
        self.tree = Tree()
        self.queues = True
        """True when sub-calls queue and `call_running` says when they start."""
        self._executing: dict[int, Node] = {}
        """Interpreter id → its execution under way."""

    def cell(self, interpreter: object) -> Node | None:
        """Return the execution under way of an interpreter."""
        return self._executing.get(id(interpreter))

    def _sub_call_started(self, node: Node, asker: Node | None, model: str, inputs: Mapping[str, Json]) -> None:
        node.role = "sub"
        slot = CURRENT_SLOT.get()
        if slot is not None and not slot.taken:
            slot.taken, node.slot, node.span = True, slot, slot.span
            return
        if asker is not None and asker.kind == "call" and asker.type == "sub_llm":
            node.span = asker.span  # `llm_query` and its one model call are one row
            return
        prompt = "\n\n".join(text for _, text in messages_of(inputs))
        index = None
        if asker is not None and asker.type == "batch" and prompt in asker.prompts:  # dspy's own batch, in any order
            index = asker.prompts.index(prompt)
            asker.prompts[index] = None
        module = next((n for n in node.up() if n.kind == "module"), None)
        function = type(module.instance).__name__ if module else "lm"
        self.emit(
            ev.CallStarted(
                type="sub_llm",
                function=function if index is None else "llm_query",
                index=index,
                prompt=prompt,
                model=model,
                queued=self.queues,
                span=node.span,
                **self._place(asker),
            )
        )

    # -- calls from generated code ---------------------------------------------------------------------------------

    def on_interpreter_tool_call_start(self, call_id: str, instance: object, inputs: Mapping[str, Json]) -> None:
        node = self.tree.push(call_id, "call", instance)
        name = str(inputs.get("tool_name"))
        args, kwargs = list(inputs.get("args") or ()), dict(inputs.get("kwargs") or {})
        if name == CONSTRUCT_TOOL:
            node.kind = "hidden"
            handle = str(kwargs.get("attr_name", args[2] if len(args) > 2 else ""))
            if (executing := self.cell(instance)) is not None and executing.parent is not None:
                executing.parent.details[handle] = str(kwargs.get("kind", args[0] if args else "sub-agent"))
            return
        place = self._place(node.parent)
        if name == "llm_query":
            node.type = "sub_llm"
            prompt = kwargs.get("prompt", args[0] if args else "")
            started = ev.CallStarted(
                type="sub_llm", function=name, prompt=str(prompt), queued=self.queues, span=node.span, **place
            )
        elif name == "llm_query_batched":
            node.type = "batch"
            prompts = kwargs.get("prompts", args[0] if args else ())
            node.prompts = list(prompts) if isinstance(prompts, list | tuple) else []
            started = ev.CallStarted(type="batch", function=name, size=len(node.prompts), span=node.span, **place)
        elif name == CALL_TOOL:
            node.type = "sub_agent"
            handle = str(kwargs.get("handle", args[0] if args else ""))
            agent_inputs = jsonable(kwargs.get("inputs", args[1] if len(args) > 1 else {}))
            function = next((n.details[handle] for n in node.up() if handle in n.details), "sub-agent")
            started = ev.CallStarted(
                type="sub_agent", function=function, arguments=agent_inputs, span=node.span, **place
            )
        else:
            node.type = "tool"
            arguments = shortened(jsonable({**{str(i): value for i, value in enumerate(args)}, **kwargs}))
            started = ev.CallStarted(type="tool", function=name, arguments=arguments, span=node.span, **place)
        self.emit(started)

    def on_interpreter_tool_call_end(self, call_id: str, outputs: Json, exception: BaseException | None = None) -> None:
        node = self.tree.pop(call_id)
        if node is not None and node.kind == "call":
            answer = None if node.type == "batch" else jsonable(outputs)
            self._call_finished(node, answer, exception)

    def recalled(self) -> None:
        """Mark the current thread's call as answered by a recorded reply."""
        node = self.tree.current()
        call = node.nearest("call") if node is not None else None
        if call is not None:
            call.recalled = True

    def slot_started(self, slot: Slot, index: int, prompt: str, model: str) -> None:
        """Record a member of the current thread's batch, which waits for its turn."""
        self.emit(
            ev.CallStarted(
                type="sub_llm", function="llm_query", index=index, prompt=prompt, model=model, queued=True,
                span=slot.span, **self._place(self.tree.current()),
            )
        )  # fmt: skip

    def slot_refused(self, slot: Slot, failure: ev.Failure) -> None:
        """Record a member of the batch that was not sent."""
        if slot.finished:
            return
        slot.finished = True
        place = self._place(self.tree.current())
        self.emit(ev.CallFinished(error=failure, seconds=time.monotonic() - slot.began, span=slot.span, **place))

    def _call_finished(self, node: Node, answer: Json, exception: BaseException | None) -> None:
        answered = node.answered
        began = node.slot.began if node.slot else node.began
        failure = None
        if isinstance(exception, Exception):
            failure = self.model_failure(exception)
        elif exception is not None:
            failure = ev.Failure(type="Interrupted", message="the run ended before it was answered")
        event = ev.CallFinished(
            answer=answer,
            error=failure,
            cut=node.cut,
            thinking=answered.thinking if answered else "",
            model=answered.model if answered else "",
            **node.spent,
            seconds=time.monotonic() - began,
            queued_seconds=node.queued_seconds,
            origin="recorded" if node.recalled else "cache" if answered and answered.from_cache else "live",
            span=node.span,
        )
        self._emit_at(node, event)

    # -- places ----------------------------------------------------------------------------------------------------

    def _place(self, above: Node | None) -> dict[str, Json]:
        """Return the parent span and the iteration of a new call."""
        holder = above.nearest("call", "execution", "plan", "rlm") if above else None
        if holder is None:
            return {"parent": self.run_span}
        iteration = holder.agent.iteration if holder.agent else None
        return {"parent": holder.span, "iteration": iteration or None}

    def _emit_at(self, node: Node, event: ev.Event) -> None:
        self.emit(placed(event, iteration=node.agent.iteration or None if node.agent else None))


def placed(event: ev.Event, **fields: Json) -> ev.Event:
    return msgspec.structs.replace(event, **fields)


def shortened(value: Json) -> Json:
    """Return arguments for the record: long texts, usually documents, as their beginning and a digest."""
    if isinstance(value, str):
        if len(value) <= ARGUMENT_CHARS:
            return value
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return f"{value[:ARGUMENT_CHARS]}… ({len(value):,} characters in all, sha256 {digest})"
    if isinstance(value, dict):
        return {key: shortened(part) for key, part in value.items()}
    return [shortened(part) for part in value] if isinstance(value, list) else value


def jsonable(value: Json) -> Json:
    """Return a value as JSON can hold it; other objects become the name of their type."""
    return to_jsonable_python(value, fallback=lambda odd: f"({type(odd).__qualname__})", serialize_unknown=True)
