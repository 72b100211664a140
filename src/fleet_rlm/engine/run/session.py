"""One run, owned from start to end: `RunSession(spec).run()`.

`run` blocks the thread that calls it; `abort` and `command` may be called from any other at any time. Whatever
happens in between, a run that has begun ends with `run.finished` in its file, and leaves no process, thread or
socket behind. dspy is imported only after `run.started` is written, when the task allows it.
"""

from __future__ import annotations

import importlib
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fleet_rlm import events as ev
from fleet_rlm import spec as sp
from fleet_rlm.engine.control.budgets import Spending
from fleet_rlm.engine.control.cancel import CancelToken
from fleet_rlm.engine.control.gate import Gate
from fleet_rlm.engine.control.run_commands import Commands
from fleet_rlm.engine.models.model_settings import ModelSettings, Retries, Timeouts
from fleet_rlm.engine.prepare.preparation import Own, Prepared, prepare, versions
from fleet_rlm.engine.prepare.run_inputs import Documents
from fleet_rlm.engine.run.run_ending import Ending
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.engine.trace.totals import Meter
from fleet_rlm.log_text import logger
from fleet_rlm.runs.recorder import Listener, Recorder, RecordError, RunIsOver, new_run_id, run_path

if TYPE_CHECKING:
    from fleet_rlm.engine.run import drive_rlm

_log = logger(__name__)


class RunSession:
    """One run: make it, then call `run()` once."""

    def __init__(
        self,
        spec: sp.RunSpec,
        listeners: Iterable[Listener] = (),
        *,
        documents: Documents | None = None,
        own: Own | None = None,
        models: tuple[ModelSettings, ModelSettings] | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
    ) -> None:
        """`listeners` hear each event with its line, after it was written; `own` is a signature's class and tools; the
        other arguments replace what is configured.

        Raises `SetupError` when a breakpoint can't be used.
        """
        self.spec = spec
        self.run_id = new_run_id()
        self.path: Path | None = None
        """The run file, from `run.started` on."""
        self._listeners = tuple(listeners)
        self._documents, self._models, self._own = documents, models, own
        self._timeouts, self._retries = timeouts, retries
        self._meter = Meter()
        self._recorder: Recorder | None = None
        self._drive: drive_rlm.Drive | None = None
        self._span = uuid.uuid4().hex[:12]
        self.token = CancelToken()
        self.spending = Spending(spec.budgets, notice=self._notice)
        try:
            self.gate = Gate(
                self.tell,
                self.token,
                spec.breakpoints,
                paused=spec.paused,
                watched=spec.watched,
                cost=lambda: self.spending.spent.cost_usd,
            )
        except ValueError as error:
            raise SetupError(str(error)) from error
        self.spending.held_seconds = self.gate.held_seconds
        self._commands = Commands(self)

    # -- from any thread -------------------------------------------------------------------------------------------

    def abort(self, reason: str = "aborted") -> None:
        """End everything now; `run` returns within a second."""
        self._commands.abort(reason)

    def command(self, command: sp.Command) -> None:
        """Carry out a person's command; never blocks for long."""
        self._commands.take(command)

    def finish(self, reason: str, *, by_person: bool) -> None:
        """Interrupt the work under way and force the final extraction."""
        self.gate.request_finish(reason, by_person=by_person)
        self.interrupt()

    def interrupt(self) -> None:
        """Interrupt the running cells and the model calls under way."""
        if self._drive is not None:
            self._drive.interrupt()

    @property
    def executing(self) -> bool:
        """True while generated code is executing."""
        return self._drive is not None and self._drive.executing

    def tell(self, event: ev.Event) -> ev.Event:
        """Record an event and return it as recorded; one that comes too early or too late for the run is left out."""
        recorder = self._recorder
        if recorder is None:
            return event
        self._meter.hear(event)
        try:
            return recorder.emit(event)
        except RunIsOver:
            _log.debug("%s came after the end of the run", event.kind)
            return event

    def _notice(self, text: str) -> None:
        self.tell(ev.Notice(level="warning", text=text))

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self) -> ev.RunFinished:
        """Run to the end and return the last event. Raises `SetupError` when the run can't begin."""
        try:
            prepared = prepare(
                self.spec,
                documents=self._documents,
                models=self._models,
                own=self._own,
                cancelled=lambda: self.token.ended,
            )
        except SetupError as error:
            if self.token.ended:
                raise SetupError(f"The run was ended before it began: {self.token.reason}.") from error
            raise
        path = self.spec.record
        where = Path(self.spec.cwd, path) if path else run_path(prepared.task.name, self.run_id)
        try:
            recorder = Recorder(where, secrets=prepared.secrets, listeners=self._listeners)
        except RecordError as error:
            raise SetupError(str(error), error.hint) from error
        with recorder:
            self._recorder, self.path = recorder, recorder.path
            started = self._started(prepared)
            self.tell(started)
            for notice in prepared.notices:
                self._notice(notice)
            ending = self._work(prepared)
            finished = ev.RunFinished(
                status=ending.status,
                outputs=ending.outputs,
                error=ending.error,
                reason=ending.reason,
                totals=self._meter.totals(),
                span=self._span,
            )
            recorded = self.tell(finished)  # without secrets, which an answer may repeat
            return recorded if isinstance(recorded, ev.RunFinished) else finished

    def _started(self, prepared: Prepared) -> ev.RunStarted:
        budgets = self.spec.budgets
        return ev.RunStarted(
            format=ev.FORMAT,
            version=ev.VERSION,
            run_id=self.run_id,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            task=prepared.task,
            inputs=prepared.bound.records,
            models=ev.Models(planner=prepared.planner.model, sub=prepared.sub.model, offline=prepared.planner.offline),
            sandbox=ev.Sandbox(backend=prepared.sandbox, isolation=""),
            budgets=ev.BudgetLimits(
                max_iterations=budgets.max_iterations,
                max_llm_calls=budgets.max_llm_calls,
                max_tokens=budgets.max_tokens,
                max_seconds=budgets.max_seconds,
                max_cost_usd=budgets.max_cost_usd,
            ),
            settings=self.spec.settings,
            versions=versions(),
            breakpoints=self.spec.breakpoints,
            span=self._span,
        )

    def _work(self, prepared: Prepared) -> Ending:
        """Drive the run. dspy takes half a second to import, or more: in a thread, so that an abort need not wait."""
        imported: Future[ModuleType] = Future()

        def import_driver() -> None:
            try:
                imported.set_result(importlib.import_module("fleet_rlm.engine.run.drive_rlm"))
            except Exception as error:  # noqa: BLE001 - it is raised again in the thread that waits for the import
                imported.set_exception(error)

        threading.Thread(target=import_driver, name="fleet-import", daemon=True).start()
        if not self.token.wait(imported) or self.token.ended:
            return Ending("aborted", reason=self.token.reason)
        try:
            imported.result()
        except Exception as error:  # noqa: BLE001 - whatever keeps dspy from loading, the run says so and ends
            _log.debug("dspy can't be loaded", exc_info=True)
            hint = "Install fleet-rlm again, in its folder: make clean sync"
            message = f"The engine can't be loaded: {error}."
            return Ending("failed", error=ev.Failure(type=type(error).__name__, message=message, hint=hint))
        from fleet_rlm.engine.run import drive_rlm

        self._drive = drive_rlm.Drive(
            self.spec,
            prepared,
            emit=self.tell,
            token=self.token,
            gate=self.gate,
            spending=self.spending,
            run_span=self._span,
            run_id=self.run_id,
            timeouts=self._timeouts or prepared.timeouts,
            retries=self._retries or prepared.retries,
        )
        return self._drive.run()
