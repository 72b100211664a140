"""Record the `dspy.RLM` calls of a person's own program: the same events, so that screens can follow and replay them.

Nothing of the program is changed but what dspy's callbacks and a history that listens need: its models, interpreters
and tools are its own. What they do not tell (streamed text, queues, variables) is not in such a record.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from fleet_rlm import events as ev
from fleet_rlm.engine.call_events import Emit, jsonable
from fleet_rlm.engine.errors import RunAborted
from fleet_rlm.engine.failures import failure_of
from fleet_rlm.engine.inputs import SMALL_CHARS
from fleet_rlm.engine.models import Answered
from fleet_rlm.engine.observer import Observer
from fleet_rlm.engine.preparation import OFFLINE_MODEL, QUESTION_NAMES, versions
from fleet_rlm.engine.spans import SPAN_CHARS, Node, is_rlm
from fleet_rlm.engine.totals import Meter
from fleet_rlm.runs.recorder import Listener, Recorder, RunIsOver, new_run_id, run_path
from fleet_rlm.runs.redact import secrets_in

PROGRAM = "program"
"""Name of the task in the record of a person's own program."""


@contextlib.contextmanager
def record(path: str | os.PathLike[str] | None = None, *, listeners: Iterable[Listener] = ()) -> Iterator[Recording]:
    """Record every `dspy.RLM` call made in here, each to a run file of its own.

    `path` is the file of the first call; the others, and all when it is None, go to the run library. The recording
    tells the files as `runs`. Raises `RecordError` out of nothing: a call that can't be recorded still runs, and the
    recording's `problems` say why it is missing.
    """
    recording = Recording(Path(path) if path is not None else None, tuple(listeners))
    callbacks = [*(dspy.settings.get("callbacks") or []), recording]
    with dspy.context(callbacks=callbacks):
        try:
            yield recording
        finally:
            recording.close()


class _ProgramObserver(Observer):
    """An observer where nobody but dspy tells of sandboxes: their life and output come from its callbacks."""

    def __init__(self, emit: Emit, run_span: str) -> None:
        super().__init__(emit, run_span)
        self.queues = False
        self._started: set[int] = set()

    def on_interpreter_execute_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        node = self.tree.get(call_id)
        if node is not None and node.kind == "execution" and isinstance(outputs, str | list) and outputs:
            text = "\n".join(map(str, outputs)) if isinstance(outputs, list) else outputs
            iteration = node.agent.iteration if node.agent else None
            self.emit(ev.Output(stream="stdout", text=text, span=node.span, iteration=iteration))
        super().on_interpreter_execute_end(call_id, outputs, exception)

    def on_interpreter_startup_start(
        self,
        call_id: str,
        instance: object,
        inputs: Any,  # noqa: ARG002 - dspy passes it by this name
    ) -> None:
        node = self.tree.push(call_id, "hidden", instance)
        if id(instance) in self._started:  # dspy starts an interpreter that may run already
            return
        self._started.add(id(instance))
        node.details["first"] = "start"
        if _of_root(node):
            self.emit(ev.SandboxStarting(backend=type(instance).__name__))

    def on_interpreter_startup_end(
        self,
        call_id: str,
        outputs: Any,  # noqa: ARG002 - dspy passes it by this name
        exception: BaseException | None = None,
    ) -> None:
        node = self.tree.pop(call_id)
        if node is None or not _of_root(node) or "first" not in node.details:
            return
        backend = type(node.instance).__name__
        if exception is None:
            self.emit(ev.SandboxReady(backend=backend, id="", seconds=node.seconds))
        else:
            self.emit(ev.SandboxLost(backend=backend, reason=str(exception)))

    def on_interpreter_shutdown_start(
        self,
        call_id: str,
        instance: object,
        inputs: Any,  # noqa: ARG002 - dspy passes it by this name
    ) -> None:
        self.tree.push(call_id, "hidden", instance)

    def on_interpreter_shutdown_end(
        self,
        call_id: str,
        outputs: Any,  # noqa: ARG002 - dspy passes it by this name
        exception: BaseException | None = None,  # noqa: ARG002 - dspy passes it by this name
    ) -> None:
        node = self.tree.pop(call_id)
        if node is not None and _of_root(node):
            self.emit(ev.SandboxStopped(backend=type(node.instance).__name__))


def _of_root(node: Node) -> bool:
    return node.agent is not None and node.agent.root


class _ProgramRun:
    """One call of a Recursive Language Model that nobody drives but its program."""

    def __init__(
        self, path: Path | None, listeners: tuple[Listener, ...], module: dspy.RLM, fields: Mapping[str, Any]
    ) -> None:
        self.run_id, self.span = new_run_id(), uuid.uuid4().hex[:SPAN_CHARS]
        self.recorder = Recorder(path or run_path(PROGRAM, self.run_id), secrets_in(os.environ), listeners)
        self.meter = Meter()
        self.observer = _ProgramObserver(self.emit, self.span)
        self.module = module
        self.emit(_started(self.run_id, self.span, module, fields))
        self._history = module.history
        module.history = _Listening(module.history, self._answered)

    def emit(self, event: ev.Event) -> None:
        self.meter.hear(event)
        with contextlib.suppress(RunIsOver):
            self.recorder.emit(event)

    def _answered(self, entry: Mapping[str, Any]) -> None:
        """A model call's entry in dspy's history, while the call is the current one."""
        usage = entry.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        self.observer.call_answered(
            ACTIVE_CALL_ID.get(),
            Answered(
                model=str(entry.get("response_model") or entry.get("model") or ""),
                usage=ev.Usage(
                    input=usage.get("prompt_tokens") or 0,
                    output=usage.get("completion_tokens") or 0,
                    cached=details.get("cached_tokens") or 0,
                ),
                cost_usd=entry.get("cost") if usage else 0.0,
                from_cache=not usage,
            ),
        )

    def finish(self, outputs: Any, exception: BaseException | None) -> None:  # outputs: dspy's Prediction, or None
        self.module.history = list(self.module.history)
        status: ev.Status = "extracted" if self.observer.extracted else "submitted"
        answers: dict[str, ev.Json] = {}
        error = None
        if exception is None:
            answers = {name: jsonable(getattr(outputs, name)) for name in self.module.signature.output_fields}
        elif isinstance(exception, Exception):
            status, error = "failed", failure_of(exception)
        else:
            status = "aborted"
        reason = type(exception).__name__ if status == "aborted" and not isinstance(exception, RunAborted) else ""
        self.emit(
            ev.RunFinished(
                status=status, outputs=answers, error=error, reason=reason, totals=self.meter.totals(), span=self.span
            )
        )
        self.recorder.close()


class Recording(BaseCallback):
    """What `record` yields: the runs that were recorded so far."""

    def __init__(self, path: Path | None, listeners: tuple[Listener, ...]) -> None:
        self.runs: list[Path] = []
        """Run files, in the order in which their calls began."""
        self.problems: list[str] = []
        """Why calls were not recorded."""
        self._path, self._listeners = path, listeners
        self._lock = threading.Lock()
        self._by_call: dict[str, _ProgramRun] = {}
        self._roots: dict[str, _ProgramRun] = {}

    def close(self) -> None:
        """Let go of the files of calls that are still under way."""
        for run in list(self._roots.values()):
            run.recorder.close()

    def _begin(self, call_id: str, module: dspy.RLM, fields: Mapping[str, Any]) -> _ProgramRun | None:
        with self._lock:
            path, self._path = self._path, None
        try:
            run = _ProgramRun(path, self._listeners, module, fields)
        except (RuntimeError, OSError) as error:
            self.problems.append(str(error))
            return None
        self.runs.append(run.recorder.path)
        self._roots[call_id] = run
        return run

    def _started(self, handler: str, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        run = self._by_call.get(ACTIVE_CALL_ID.get() or "")
        if run is None and handler == "on_module_start" and is_rlm(instance):
            run = self._begin(call_id, instance, inputs.get("kwargs") or {})
        if run is not None:
            self._by_call[call_id] = run
            getattr(run.observer, handler)(call_id, instance, inputs)

    def _ended(self, handler: str, call_id: str, outputs: Any, exception: BaseException | None) -> None:
        run = self._by_call.pop(call_id, None)
        if run is None:
            return
        getattr(run.observer, handler)(call_id, outputs, exception)
        if self._roots.pop(call_id, None) is not None:
            run.finish(outputs, exception)


def _start_handler(name: str) -> Callable[..., None]:
    def handle(self: Recording, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._started(name, call_id, instance, inputs)

    return handle


def _end_handler(name: str) -> Callable[..., None]:
    def handle(self: Recording, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._ended(name, call_id, outputs, exception)

    return handle


for _what in (
    "module",
    "lm",
    "interpreter_execute",
    "interpreter_tool_call",
    "interpreter_startup",
    "interpreter_shutdown",
):
    setattr(Recording, f"on_{_what}_start", _start_handler(f"on_{_what}_start"))
    setattr(Recording, f"on_{_what}_end", _end_handler(f"on_{_what}_end"))


class _Listening(list[Any]):
    """A module's history that tells of each entry."""

    def __init__(self, entries: list[Any], told: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(entries)
        self._told = told

    def append(self, entry: Any) -> None:
        self._told(entry)
        super().append(entry)


def _started(run_id: str, span: str, module: dspy.RLM, fields: Mapping[str, Any]) -> ev.RunStarted:
    lm = dspy.settings.lm
    planner = str(getattr(lm, "model", "") or "")
    factory = module._interpreter_factory
    question = next((fields[name] for name in QUESTION_NAMES if isinstance(fields.get(name), str)), None)
    return ev.RunStarted(
        format=ev.FORMAT,
        version=ev.VERSION,
        run_id=run_id,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        task=ev.Task(
            name=PROGRAM,
            signature=str(module.signature.signature),
            instructions=str(module.signature.instructions),
            question=question,
        ),
        inputs=tuple(_input(name, value) for name, value in fields.items()),
        models=ev.Models(
            planner=planner,
            sub=str(getattr(module.sub_lm, "model", "") or planner),
            offline=planner == OFFLINE_MODEL,
        ),
        sandbox=ev.Sandbox(backend=getattr(factory, "__name__", type(factory).__name__), isolation=""),
        budgets=ev.BudgetLimits(max_iterations=module.max_iters, max_llm_calls=module.max_llm_calls),
        versions=versions(),
        span=span,
    )


def _input(name: str, value: Any) -> ev.Input:
    text = value if isinstance(value, str) else repr(value)
    small = len(text) <= SMALL_CHARS
    return ev.Input(name=name, type=type(value).__name__, chars=len(text), value=jsonable(value) if small else None)
