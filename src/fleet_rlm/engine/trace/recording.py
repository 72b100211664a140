"""Record the `dspy.RLM` calls of a person's own program: the same events, so that screens can follow and replay them.

While a recording is open, `dspy.RLM.__call__` and `acall` run in a `dspy.context` that adds an observer to dspy's
callbacks and a listener to the histories that dspy keeps of model calls. Models, interpreters, tools, answers and
errors stay the program's own. What dspy does not report (streamed text, queues, variables) is not in such a record.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
from dspy.dsp.utils.settings import thread_local_overrides
from dspy.dsp.utils.utils import dotdict
from dspy.primitives.code_interpreter import resolve_interpreter_factory
from dspy.utils.callback import ACTIVE_CALL_ID

from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.engine.models.observed_engine import Answered
from fleet_rlm.engine.prepare.preparation import QUESTION_NAMES, versions
from fleet_rlm.engine.prepare.run_inputs import SMALL_CHARS
from fleet_rlm.engine.run.run_failures import failure_in_program
from fleet_rlm.engine.run_errors import RunAborted
from fleet_rlm.engine.trace.call_events import Emit, jsonable
from fleet_rlm.engine.trace.run_observer import Observer, fields_of
from fleet_rlm.engine.trace.spans import SPAN_CHARS, Node
from fleet_rlm.engine.trace.totals import Meter
from fleet_rlm.runs.recorder import Listener, Recorder, RecordError, RunIsOver, new_run_id, run_path
from fleet_rlm.runs.redact import Redactor, secrets_in

PROGRAM = "program"
"""Task name in the record of a person's own program."""


@contextlib.contextmanager
def record(path: str | os.PathLike[str] | None = None, *, listeners: Iterable[Listener] = ()) -> Iterator[Recording]:
    """Record every `dspy.RLM` call made in here, in whatever thread or task, each to a run file of its own.

    `path` is the file of the first call; the others, and all when it is None, go to the run library. The recording
    lists the files as `runs`. Raises `RecordError` before anything runs when `path` can't be written, or holds
    something already. A later call that can't be recorded still runs, and the recording's `problems` say why its
    record is missing. A call that is under way when the block ends is recorded to its own end.

    A call belongs to the recordings around it. In a thread that knows of none (a plain `ThreadPoolExecutor` hands no
    context on) it belongs to the recording that was opened last.
    """
    try:
        recording = Recording(Path(path) if path is not None else None, tuple(listeners))
    except RecordError as error:
        error.add_note(error.hint)
        raise
    chain = (*_recordings_around(), recording)
    # Not `dspy.context`: that fixes all other settings too, and `dspy.configure` in the block would do nothing.
    token = thread_local_overrides.set(dotdict({**thread_local_overrides.get(), _SETTING: chain}))
    _open(chain)
    try:
        yield recording
    finally:
        _close(chain)
        recording.close()
        with contextlib.suppress(ValueError):  # left in another context than it was entered in
            thread_local_overrides.reset(token)


_SETTING = "fleet_rlm_recordings"
"""Name under which dspy's settings, which dspy hands on to its own threads, hold the recordings around a call."""
_lock = threading.Lock()
_chains: list[tuple[Recording, ...]] = []
"""For each open recording, the recordings around it and itself."""
_replaced: dict[str, Any] = {}
"""The methods of `dspy.RLM` that the recorded ones replace."""


def _open(chain: tuple[Recording, ...]) -> None:
    with _lock:
        if not _chains:
            for name, method in (("__call__", _recorded(dspy.RLM.__call__)), ("acall", _arecorded(dspy.RLM.acall))):
                _replaced[name] = vars(dspy.RLM).get(name)
                setattr(dspy.RLM, name, method)
        _chains.append(chain)


def _close(chain: tuple[Recording, ...]) -> None:
    with _lock:
        _chains.remove(chain)
        while not _chains and _replaced:
            name, before = _replaced.popitem()
            if before is None:
                delattr(dspy.RLM, name)
            else:
                setattr(dspy.RLM, name, before)


def _recorded(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recorded(self: dspy.RLM, *args: Any, **kwargs: Any) -> Any:
        with _runs_of_call(self, kwargs) as returned:
            outputs = call(self, *args, **kwargs)
            returned.append(outputs)
        return outputs

    return recorded


def _arecorded(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    async def recorded(self: dspy.RLM, *args: Any, **kwargs: Any) -> Any:
        with _runs_of_call(self, kwargs) as returned:
            outputs = await call(self, *args, **kwargs)
            returned.append(outputs)
        return outputs

    return recorded


@contextlib.contextmanager
def _runs_of_call(module: dspy.RLM, fields: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Record the block as a call of `module`; the block appends the call's result to the list."""
    runs = [run for recording in _recordings_of_call() if (run := recording.begin(module, fields)) is not None]
    returned: list[Any] = []
    if not runs:
        yield returned
        return
    ended_by: BaseException | None = None
    try:
        with dspy.context(
            callbacks=[*(dspy.settings.get("callbacks") or []), *(run.observer for run in runs)],
            caller_modules=[*(dspy.settings.get("caller_modules") or []), *runs],
        ):
            yield returned
    except BaseException as error:
        ended_by = error
        raise
    finally:
        for run in runs:
            run.finish(returned[0] if returned else None, ended_by)


def _recordings_around() -> tuple[Recording, ...]:
    chain: tuple[Recording, ...] = thread_local_overrides.get().get(_SETTING) or ()
    return tuple(recording for recording in chain if recording.is_open)


def _recordings_of_call() -> tuple[Recording, ...]:
    """Return the recordings for which a call made now is a new run, and not a part of one."""
    observers = [callback for callback in dspy.settings.get("callbacks") or [] if isinstance(callback, Observer)]
    if not all(isinstance(observer, _ProgramObserver) for observer in observers):
        return ()  # inside `fleet_rlm.run`, which keeps a record of its own
    chain = _recordings_around()
    if not chain and not observers:
        with _lock:
            chain = _chains[-1] if _chains else ()
    return tuple(recording for recording in chain if all(o.recording is not recording for o in observers))


class _ProgramObserver(Observer):
    """An observer that learns of sandboxes and their output from dspy's callbacks alone."""

    failure_of = staticmethod(failure_in_program)
    model_failure = staticmethod(failure_in_program)

    def __init__(self, emit: Emit, run_span: str, recording: Recording) -> None:
        super().__init__(emit, run_span)
        self.recording = recording
        self.queues = False
        self._started: set[int] = set()

    def on_interpreter_execute_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        node = self.tree.get(call_id)
        if node is not None and node.kind == "execution" and isinstance(outputs, str | list) and outputs:
            text = "\n".join(map(str, outputs)) if isinstance(outputs, list) else outputs
            iteration = node.agent.iteration if node.agent else None
            self.emit(ev.Output(stream="stdout", text=text, span=node.span, iteration=iteration))
        super().on_interpreter_execute_end(call_id, outputs, exception)

    def on_interpreter_startup_start(self, call_id: str, instance: object, **_inputs: Any) -> None:
        node = self.tree.push(call_id, "hidden", instance)
        if id(instance) in self._started:  # dspy starts an interpreter that may run already
            return
        self._started.add(id(instance))
        node.details["first"] = "start"
        if _of_root(node):
            self.emit(ev.SandboxStarting(backend=type(instance).__name__))

    def on_interpreter_startup_end(self, call_id: str, exception: BaseException | None, **_outputs: Any) -> None:
        node = self.tree.pop(call_id)
        if node is None or not _of_root(node) or "first" not in node.details:
            return
        backend = type(node.instance).__name__
        if exception is None:
            self.emit(ev.SandboxReady(backend=backend, id="", seconds=node.seconds))
        else:
            self.emit(ev.SandboxLost(backend=backend, reason=str(exception)))

    def on_interpreter_shutdown_start(self, call_id: str, instance: object, **_inputs: Any) -> None:
        self.tree.push(call_id, "hidden", instance)

    def on_interpreter_shutdown_end(self, call_id: str, **_outputs: Any) -> None:
        node = self.tree.pop(call_id)
        if node is not None and _of_root(node):
            self.emit(ev.SandboxStopped(backend=type(node.instance).__name__))


def _of_root(node: Node) -> bool:
    return node.agent is not None and node.agent.root


class _ProgramRun:
    """Records one call of `dspy.RLM` in a person's program.

    It is one of dspy's `caller_modules`, so that dspy appends each model call to its `history`.
    """

    def __init__(
        self, recorder: Recorder, recording: Recording, run_id: str, module: dspy.RLM, fields: Mapping[str, Any]
    ) -> None:
        self.span = uuid.uuid4().hex[:SPAN_CHARS]
        self.recorder = recorder
        self.meter = Meter()
        self.observer = _ProgramObserver(self.emit, self.span, recording)
        self.history = _HistoryListener(self._answered)
        self.module = module
        self.emit(_started(run_id, self.span, module, fields))
        if dspy.settings.get("disable_history") or dspy.settings.get("max_history_size") == 0:
            text = "dspy's history is off in this program: the tokens and the cost of its calls are not known."
            self.emit(ev.Notice(level="warning", text=text))

    def emit(self, event: ev.Event) -> None:
        self.meter.hear(event)
        with contextlib.suppress(RunIsOver):
            self.recorder.emit(event)

    def _answered(self, entry: Mapping[str, Any]) -> None:
        """Take a model call's usage from its entry in dspy's history, while the call is the current one."""
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

    def finish(self, returned: Any, ended_by: BaseException | None) -> None:
        """Record the call's end. Never raises: the program goes on as without a recording."""
        try:
            self.emit(self._end(returned, ended_by))
        except Exception as error:  # noqa: BLE001 - a fault in here must not take the place of the program's answer
            self.observer.recording.problems.append(f"The end of {self.recorder.path} is not recorded: {error!r}")
        self.recorder.close()

    def _end(self, returned: Any, ended_by: BaseException | None) -> ev.RunFinished:
        status: ev.Status = "extracted" if self.observer.extracted else "submitted"
        outputs, error, reason = {}, None, ""
        if isinstance(ended_by, Exception):
            status, error = "failed", failure_in_program(ended_by)
        elif ended_by is not None:
            status, reason = "aborted", "" if isinstance(ended_by, RunAborted) else type(ended_by).__name__
        else:
            fields = {**self.observer.answers, **(fields_of(returned) or {})}
            outputs = {name: jsonable(fields[name]) for name in self.module.signature.output_fields if name in fields}
            if not outputs:
                status, what = "failed", type(returned).__name__
                error = ev.Failure(type="NoAnswer", message=f"The call returned a {what}, and no answer was submitted.")
        return ev.RunFinished(
            status=status, outputs=outputs, error=error, reason=reason, totals=self.meter.totals(), span=self.span
        )


class Recording:
    """An open recording: the runs recorded so far, and why others were not."""

    def __init__(self, path: Path | None, listeners: tuple[Listener, ...]) -> None:
        self.runs: list[Path] = []
        """Run files, in the order in which their calls began."""
        self.problems: list[str] = []
        """Why calls were not recorded."""
        self.is_open = True
        self._listeners = listeners
        self._lock = threading.Lock()
        self._first = Recorder(path, listeners=listeners) if path is not None else None

    def close(self) -> None:
        """Begin no more runs; those under way are recorded to their end."""
        with self._lock:
            self.is_open = False
            if self._first is not None:
                self._first.close()

    def begin(self, module: dspy.RLM, fields: Mapping[str, Any]) -> _ProgramRun | None:
        """Begin the record of a call; None when that fails, and `problems` says why."""
        run_id = new_run_id()
        with self._lock:
            recorder, self._first = self._first, None
        try:
            recorder = recorder or Recorder(run_path(PROGRAM, run_id), listeners=self._listeners)
            recorder.redactor = Redactor(_secrets(module))
            run = _ProgramRun(recorder, self, run_id, module, fields)
        except Exception as error:  # noqa: BLE001 - whatever it is, the program's call is made
            self.problems.append(str(error) or repr(error))
            return None
        self.runs.append(recorder.path)
        return run


class _HistoryListener(list[Any]):
    """A history that passes each entry on and keeps none."""

    def __init__(self, on_entry: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._on_entry = on_entry

    def append(self, entry: Any) -> None:
        self._on_entry(entry)


def _models(module: dspy.RLM) -> tuple[Any, Any]:
    """Return the planner's and the sub-calls' model."""
    planner = module.generate_action.lm or dspy.settings.lm
    return planner, module.sub_lm or dspy.settings.lm


def _secrets(module: dspy.RLM) -> tuple[str, ...]:
    """Return what must not be recorded: the environment's keys and those that the program gave its models."""
    options = [vars(lm).get("kwargs") or {} for lm in (*_models(module), module.extract.lm) if lm is not None]
    given = [{name: value for name, value in each.items() if isinstance(value, str)} for each in options]
    return tuple(secret for each in (os.environ, *given) for secret in secrets_in(each))


def _started(run_id: str, span: str, module: dspy.RLM, fields: Mapping[str, Any]) -> ev.RunStarted:
    planner, sub = (str(getattr(lm, "model", "") or "") for lm in _models(module))
    inputs = {name: value for name, value in fields.items() if name != "interpreter_factory"}
    factory = fields.get("interpreter_factory") or resolve_interpreter_factory(module._interpreter_factory)
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
        inputs=tuple(_input(name, value) for name, value in inputs.items()),
        models=ev.Models(planner=planner, sub=sub or planner, offline=planner == config.OFFLINE_MODEL),
        sandbox=ev.Sandbox(backend=getattr(factory, "__name__", type(factory).__name__), isolation=""),
        budgets=ev.BudgetLimits(max_iterations=module.max_iters, max_llm_calls=module.max_llm_calls),
        versions=versions(),
        span=span,
    )


def _input(name: str, value: Any) -> ev.Input:
    text = value if isinstance(value, str) else repr(value)
    small = len(text) <= SMALL_CHARS
    return ev.Input(name=name, type=type(value).__name__, chars=len(text), value=jsonable(value) if small else None)
