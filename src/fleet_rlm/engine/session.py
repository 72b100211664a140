"""One run, owned from start to end: `RunSession(spec).run()`.

`run` blocks the thread that calls it; `abort` and `command` may be called from any other at any time. Whatever
happens in between, a run that has begun ends with `run.finished` in its file, and leaves no process, thread or
socket behind.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
from dspy.primitives.repl_types import REPLHistory

from fleet_rlm import events as ev
from fleet_rlm import spec as sp
from fleet_rlm.engine import backends
from fleet_rlm.engine.bridge import Bridge
from fleet_rlm.engine.budgets import UNLIMITED_CALLS, Spending
from fleet_rlm.engine.cancel import CancelToken, Slots
from fleet_rlm.engine.commands import Commands
from fleet_rlm.engine.errors import FinishRequested, RunAborted, SetupError
from fleet_rlm.engine.failures import failure_of
from fleet_rlm.engine.gate import Gate
from fleet_rlm.engine.inputs import Documents
from fleet_rlm.engine.models import (
    CallInterrupted,
    Calls,
    ModelSettings,
    ObservedEngine,
    Retries,
    Timeouts,
    language_model,
)
from fleet_rlm.engine.observer import Observer, jsonable
from fleet_rlm.engine.planner import GatedPlanner, Seat
from fleet_rlm.engine.preparation import Prepared, prepare, versions
from fleet_rlm.engine.quiet import quiet_dspy
from fleet_rlm.engine.sandboxes import Sandboxes
from fleet_rlm.engine.spans import SPAN_CHARS
from fleet_rlm.engine.totals import Meter
from fleet_rlm.runs.recorder import Listener, Recorder, RecordError, RunIsOver, new_run_id, run_path

_log = logging.getLogger(__name__)

EXTRACTION_SECONDS = 90.0
"""How long the forced answer may take once the budget of seconds is spent."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    status: ev.Status
    outputs: dict[str, ev.Json]
    reason: str = ""
    error: ev.Failure | None = None


class RunSession:
    """A run. Make it, then `run()` it once."""

    def __init__(
        self,
        spec: sp.RunSpec,
        listeners: Iterable[Listener] = (),
        *,
        documents: Documents | None = None,
        models: tuple[ModelSettings, ModelSettings] | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
    ) -> None:
        """`listeners` hear each event with its line, after it was written. The rest replaces what is configured.

        Raises `SetupError` when a breakpoint can't be used.
        """
        self.spec = spec
        self.run_id = new_run_id()
        self.path: Path | None = None
        """The run file, from `run.started` on."""
        self._listeners = tuple(listeners)
        self._documents, self._models = documents, models
        self._timeouts, self._retries = timeouts or Timeouts(), retries or Retries()
        self._meter = Meter()
        self._recorder: Recorder | None = None
        self._sandboxes: Sandboxes | None = None
        self._span = uuid.uuid4().hex[:SPAN_CHARS]
        self.token = CancelToken()
        self.spending = Spending(spec.budgets, notice=self._notice)
        try:
            self.gate = Gate(
                self.tell, self.token, spec.breakpoints, paused=spec.paused, cost=lambda: self.spending.cost_usd
            )
        except ValueError as error:
            raise SetupError(str(error)) from error
        self.observer = Observer(self.tell, self._span)
        self._commands = Commands(self)

    # -- from any thread -------------------------------------------------------------------------------------------

    def abort(self, reason: str = "aborted") -> None:
        """End everything now; `run` returns within a second."""
        self._commands.abort(reason)

    def command(self, command: sp.Command) -> None:
        """What a person tells the run; never blocks for long."""
        self._commands.take(command)

    def finish(self, reason: str, *, by_person: bool) -> None:
        """Interrupt the work under way and force the final extraction."""
        self.gate.request_finish(reason, by_person=by_person)
        self.interrupt()

    def interrupt(self) -> None:
        """Interrupt the running cells and the model calls under way."""
        if self._sandboxes is not None:
            self._sandboxes.interrupt_cells()
        self.token.interrupt()

    @property
    def executing(self) -> bool:
        """Whether generated code runs at the moment."""
        return self.observer.is_executing()

    def tell(self, event: ev.Event) -> None:
        """Record an event; one that comes too early or too late for the run is left out."""
        recorder = self._recorder
        if recorder is None:
            return
        self._meter.hear(event)
        try:
            recorder.emit(event)
        except RunIsOver:
            _log.debug("%s came after the end of the run", event.kind)

    def _notice(self, text: str) -> None:
        self.tell(ev.Notice(level="warning", text=text))

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self) -> ev.RunFinished:
        """Raises `SetupError` when the run can't begin; else returns its last event, whatever happened."""
        prepared = prepare(self.spec, documents=self._documents, models=self._models)
        backend = backends.choose(self.spec, prepared)
        path = self.spec.record
        where = Path(self.spec.cwd, path) if path else run_path(prepared.task.name, self.run_id)
        try:
            recorder = Recorder(where, secrets=prepared.secrets, listeners=self._listeners)
        except RecordError as error:
            raise SetupError(str(error), error.hint) from error
        with recorder:
            self._recorder, self.path = recorder, recorder.path
            self.tell(self._started(prepared, backend.sandbox))
            for notice in prepared.notices:
                self._notice(notice)
            return self._finished(self._ending(prepared, backend))

    def _started(self, prepared: Prepared, sandbox: ev.Sandbox) -> ev.RunStarted:
        budgets = self.spec.budgets
        return ev.RunStarted(
            format=ev.FORMAT,
            version=ev.VERSION,
            run_id=self.run_id,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            task=prepared.task,
            inputs=prepared.bound.records,
            models=ev.Models(planner=prepared.planner.model, sub=prepared.sub.model, offline=prepared.offline),
            sandbox=sandbox,
            budgets=ev.BudgetLimits(
                max_iterations=budgets.max_iterations,
                max_llm_calls=budgets.max_llm_calls,
                max_tokens=budgets.max_tokens,
                max_seconds=budgets.max_seconds,
                max_cost_usd=budgets.max_cost_usd,
            ),
            versions=versions(),
            span=self._span,
        )

    def _finished(self, ending: Ending) -> ev.RunFinished:
        finished = ev.RunFinished(
            status=ending.status,
            outputs=ending.outputs,
            error=ending.error,
            reason=ending.reason,
            totals=self._meter.totals(),
            span=self._span,
        )
        self.tell(finished)
        return finished

    def _ending(self, prepared: Prepared, backend: backends.Backend) -> Ending:
        """Drive the run and put into words how it ended."""
        calls = Calls(
            self.token,
            self.observer,
            self.spending,
            Slots(self.spec.concurrency),
            timeouts=self._timeouts,
            retries=self._retries,
        )
        engines: list[ObservedEngine] = []
        try:
            planner = ObservedEngine(prepared.planner, calls)
            engines.append(planner)
            sub = planner
            if prepared.sub is not prepared.planner:
                sub = ObservedEngine(prepared.sub, calls)
                engines.append(sub)
            lm, sub_lm = language_model(prepared.planner, planner), language_model(prepared.sub, sub)
            return self._in_sandboxes(prepared, backend, lm, sub_lm)
        except (RunAborted, KeyboardInterrupt):
            return Ending("aborted", {}, reason=self.token.reason or "interrupted")
        except Exception as error:  # noqa: BLE001 - whatever it was, the run ends with a word about it in its record
            if self.token.ended:
                return Ending("aborted", {}, reason=self.token.reason)
            _log.debug("the run failed", exc_info=True)
            return Ending("failed", {}, reason=self.gate.finish or "", error=failure_of(error))
        finally:
            calls.loop.close(tuple(engine.inner for engine in engines))

    def _in_sandboxes(self, prepared: Prepared, backend: backends.Backend, lm: dspy.LM, sub_lm: dspy.LM) -> Ending:
        width = max(1, self.spec.concurrency)
        bridge = Bridge(self.observer, self.gate, self.token, self.spending, width, prepared.sub.model)
        sandboxes = Sandboxes(backend, emit=self.tell, observer=self.observer, bridge=bridge, token=self.token)
        self._sandboxes = sandboxes
        self.gate.evaluate = sandboxes.evaluate
        clock = self._start_clock()
        try:
            return self._drive(prepared, sandboxes, lm, sub_lm)
        finally:
            clock.cancel()
            sandboxes.close()

    def _start_clock(self) -> threading.Timer:
        seconds = self.spending.seconds_left()
        clock = threading.Timer(max(0.0, seconds or 0.0), self._time_is_up)
        clock.daemon = True
        if seconds is not None:
            clock.start()
        return clock

    def _time_is_up(self) -> None:
        self.finish(self.spending.exhausted() or "its time is up", by_person=False)

    # -- driving dspy ----------------------------------------------------------------------------------------------

    def _drive(self, prepared: Prepared, sandboxes: Sandboxes, lm: dspy.LM, sub_lm: dspy.LM) -> Ending:
        limits = self.spec.budgets
        seat = Seat(self.gate, self.token, self.spending, self.observer, self.tell)
        self.observer.on_agent = seat.take_sub_agent
        with (
            quiet_dspy(),
            dspy.context(
                lm=lm,
                callbacks=[self.observer],
                adapter=dspy.ChatAdapter(use_json_adapter_fallback=False),
                disable_history=True,
                track_usage=False,
            ),
        ):
            rlm = dspy.RLM(
                prepared.signature,
                max_iters=limits.max_iterations,
                max_llm_calls=limits.max_llm_calls if limits.max_llm_calls is not None else UNLIMITED_CALLS,
                sub_lm=sub_lm,
                interpreter_factory=sandboxes,
            )
            planner = seat.take(rlm, root=True)
            self.token.check()
            sandboxes.start_early(prepared.bound.values)
            try:
                prediction = rlm(**prepared.bound.values)
            except FinishRequested as request:
                return self._extract(rlm, planner, request)
            return self._submitted(rlm, prediction)

    def _submitted(self, rlm: dspy.RLM, prediction: dspy.Prediction) -> Ending:
        outputs = {name: jsonable(getattr(prediction, name)) for name in rlm.signature.output_fields}
        if not self.observer.extracted:
            return Ending("submitted", outputs)
        if self.gate.finish is not None:
            return self._forced(outputs)
        return Ending("extracted", outputs, reason=f"the limit of {rlm.max_iters} iterations is reached")

    def _forced(self, outputs: dict[str, ev.Json]) -> Ending:
        return Ending("stopped" if self.gate.finish_by_person else "extracted", outputs, reason=self.gate.finish or "")

    def _extract(self, rlm: dspy.RLM, planner: GatedPlanner, request: FinishRequested) -> Ending:
        """The final answer from what is known so far."""
        self.gate.request_finish(request.reason, by_person=request.by_person)
        self.observer.extraction_why = request.reason
        limit = threading.Timer(EXTRACTION_SECONDS, self.token.interrupt)
        limit.daemon = True
        if self.spec.budgets.max_seconds is not None:
            limit.start()
        fields: dict[str, Any] = {  # what dspy's own extraction gets
            "variables_info": planner.variables_info,
            "repl_history": planner.history if planner.history is not None else REPLHistory(),
        }
        try:
            prediction = rlm.extract(**fields)
        except CallInterrupted:
            failure = ev.Failure(type="OutOfTime", message="The forced final answer took too long.")
            return Ending("failed", {}, reason=request.reason, error=failure)
        finally:
            limit.cancel()
        return self._forced({name: jsonable(getattr(prediction, name)) for name in rlm.signature.output_fields})
