"""Drive `dspy.RLM` through one run: models, sandboxes, planner, time limit, and the run's ending."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import dspy
from dspy.primitives.repl_types import REPLHistory

from fleet_rlm import events as ev
from fleet_rlm import spec as sp
from fleet_rlm.engine.control.budgets import UNLIMITED_CALLS, Spending
from fleet_rlm.engine.control.cancel import CancelToken, Scope, Slots
from fleet_rlm.engine.control.gate import Gate
from fleet_rlm.engine.models.context_windows import Window
from fleet_rlm.engine.models.model_settings import Retries, Timeouts
from fleet_rlm.engine.models.observed_engine import CallInterrupted, Calls, ObservedEngine, language_model
from fleet_rlm.engine.prepare import signature_notation
from fleet_rlm.engine.prepare.preparation import Prepared
from fleet_rlm.engine.process.quiet_libraries import quiet_libraries
from fleet_rlm.engine.run import sandbox_backends
from fleet_rlm.engine.run.agent_sandboxes import Sandboxes
from fleet_rlm.engine.run.known_so_far import KnownSoFar
from fleet_rlm.engine.run.llm_query import Bridge
from fleet_rlm.engine.run.planner import GatedPlanner, PlannerBinding
from fleet_rlm.engine.run.reply_adapter import FieldsAdapter
from fleet_rlm.engine.run.run_ending import Ending
from fleet_rlm.engine.run.run_failures import failure_of
from fleet_rlm.engine.run_errors import FinishRequested, PlannerGaveUp, RunAborted
from fleet_rlm.engine.trace.call_events import jsonable
from fleet_rlm.engine.trace.run_observer import Observer, fields_of
from fleet_rlm.log_text import logger

_log = logger(__name__)

CLOSE_SECONDS, ABORT_SECONDS = 1.0, 0.25
"""How long connections may take to close, at the end of a run and of one that was aborted."""


class Drive:
    """One run's work. `run` blocks; `interrupt` may be called from any thread."""

    def __init__(
        self,
        spec: sp.RunSpec,
        prepared: Prepared,
        *,
        emit: Callable[[ev.Event], object],
        token: CancelToken,
        gate: Gate,
        spending: Spending,
        run_span: str,
        run_id: str,
        timeouts: Timeouts,
        retries: Retries,
    ) -> None:
        self._spec, self._prepared = spec, prepared
        self._token, self._gate, self._spending = token, gate, spending
        self._known = KnownSoFar()

        def emit_known(event: ev.Event) -> object:
            self._known.hear(event)
            return emit(event)

        self._emit = emit_known
        self._observer = Observer(self._emit, run_span)
        self._calls = Calls(
            self._token, self._observer, self._spending, Slots(spec.concurrency), timeouts=timeouts, retries=retries
        )
        width = max(1, spec.concurrency)
        bridge = Bridge(self._observer, self._gate, self._token, self._spending, width, prepared.sub.model)
        backend = sandbox_backends.choose(spec, prepared, run_id)
        self._sandboxes = Sandboxes(
            backend,
            emit=self._emit,
            observer=self._observer,
            bridge=bridge,
            token=self._token,
            on_lost=spec.on_sandbox_lost,
        )

    @property
    def executing(self) -> bool:
        """True while generated code is executing."""
        return self._observer.is_executing()

    def interrupt(self) -> None:
        """Interrupt the running cells and the model calls under way."""
        self._sandboxes.interrupt_cells()
        self._token.interrupt()

    def run(self) -> Ending:
        """Run from the planner's first call to the answer. Never raises."""
        engines: list[ObservedEngine] = []
        self._gate.evaluate = self._sandboxes.evaluate
        clock = self._token.child()
        if self._spec.budgets.max_seconds is not None:
            threading.Thread(target=self._watch_clock, args=(clock,), name="fleet-clock", daemon=True).start()
        try:
            with quiet_libraries():
                planner, sub = self._prepared.planner, self._prepared.sub
                engines.append(ObservedEngine(planner, self._calls))
                if sub is not planner:
                    engines.append(ObservedEngine(sub, self._calls))
                for notice in _price_notices(engines, self._spec.budgets.max_cost_usd):
                    self._emit(ev.Notice(level="warning", text=notice))
                windows = (engines[0].window, engines[-1].window)
                return self._steps(language_model(planner, engines[0]), language_model(sub, engines[-1]), windows)
        except (RunAborted, KeyboardInterrupt):
            return Ending("aborted", reason=self._token.reason or "interrupted")
        except Exception as error:  # noqa: BLE001 - whatever it was, the run ends with a word about it in its record
            if self._token.ended:
                return Ending("aborted", reason=self._token.reason)
            _log.debug("the run failed", exc_info=True)
            return self._failed(error)
        finally:
            clock.end()
            self._sandboxes.kill_all()
            patience = ABORT_SECONDS if self._token.ended else CLOSE_SECONDS
            self._calls.loop.close(tuple(engine.inner for engine in engines), patience)

    def _watch_clock(self, clock: Scope) -> None:
        """Finish the run when its seconds are spent, not counting those in which it waits for a person."""
        while (left := self._spending.seconds_left()) is not None and left > 0:
            if not clock.sleep(max(left, 0.05)):
                return
        if not clock.ended and (why := self._spending.exhausted()):
            self._gate.request_finish(why, by_person=False)
            self.interrupt()

    def _failed(self, error: Exception) -> Ending:
        """Make the ending of a run without an answer: the failure, and the steps and variables so far."""
        known, finish = self._known.words(), self._gate.finish
        failure = failure_of(error)
        finish = None if finish is None or finish.endswith(failure.message) else finish
        return Ending("failed", reason=". ".join(part for part in (finish, known) if part), error=failure)

    def _steps(self, lm: dspy.LM, sub_lm: dspy.LM, windows: tuple[Window, Window]) -> Ending:
        limits, prepared = self._spec.budgets, self._prepared
        binding = PlannerBinding(self._gate, self._token, self._spending, self._observer, self._emit, *windows)
        self._observer.on_agent = functools.partial(binding.bind, root=False)
        with dspy.context(
            lm=lm,
            callbacks=[self._observer],
            adapter=FieldsAdapter(),
            disable_history=True,
            track_usage=False,
        ):
            asked = prepared.task
            signature = (
                signature_notation.told(prepared.signature, asked.instructions, prepared.field_words)
                if prepared.signature is not None
                else signature_notation.build(asked.signature, asked.instructions, prepared.field_words)
            )
            rlm = dspy.RLM(
                signature,
                max_iters=limits.max_iterations,
                max_llm_calls=limits.max_llm_calls if limits.max_llm_calls is not None else UNLIMITED_CALLS,
                sub_lm=sub_lm,
                tools=[tool.function for tool in prepared.tools],
                interpreter_factory=self._sandboxes,
            )
            planner = binding.bind(rlm, root=True)
            self._token.check()
            self._sandboxes.start_early(prepared.bound.values)
            try:
                prediction = rlm(**prepared.bound.values)
            except FinishRequested as request:
                return self._extract(rlm, planner, request)
            except PlannerGaveUp as error:
                return self._from_what_is_known(rlm, planner, error)
            return self._answered(rlm, prediction)

    def _answered(self, rlm: dspy.RLM, prediction: dspy.Prediction) -> Ending:
        outputs = _outputs(rlm, prediction)
        if not self._observer.extracted:
            return Ending("submitted", outputs)
        if self._gate.finish is not None:
            return self._forced(outputs)
        return Ending("extracted", outputs, reason=f"the limit of {rlm.max_iters} iterations is reached")

    def _forced(self, outputs: dict[str, ev.Json]) -> Ending:
        status: ev.Status = "stopped" if self._gate.finish_by_person else "extracted"
        return Ending(status, outputs, reason=self._gate.finish or "")

    def _from_what_is_known(self, rlm: dspy.RLM, planner: GatedPlanner, error: PlannerGaveUp) -> Ending:
        """Force a final answer after the planner failed; if that fails too, the run ends with the planner's failure."""
        try:
            return self._extract(rlm, planner, FinishRequested(error.reason, by_person=False))
        except (dspy.LMError, dspy.AdapterParseError):
            return self._failed(error)

    def _extract(self, rlm: dspy.RLM, planner: GatedPlanner, request: FinishRequested) -> Ending:
        """Ask for the final answer from the steps so far."""
        self._gate.request_finish(request.reason, by_person=request.by_person)
        self._observer.extraction_why = request.reason
        limit = threading.Timer(self._calls.timeouts.extraction_seconds, self._token.interrupt)
        limit.daemon = True
        if self._spec.budgets.max_seconds is not None:
            limit.start()
        fields: dict[str, Any] = {  # what dspy's own extraction gets
            "variables_info": planner.variables_info,
            "repl_history": planner.history if planner.history is not None else REPLHistory(),
        }
        try:
            prediction = rlm.extract(**fields)
        except CallInterrupted:
            failure = ev.Failure(type="OutOfTime", message="The forced final answer took too long.")
            return Ending("failed", reason=request.reason, error=failure)
        finally:
            limit.cancel()
        return self._forced(_outputs(rlm, prediction))


def _price_notices(engines: list[ObservedEngine], max_cost: float | None) -> list[str]:
    """Warn about the models before anything is paid: their own notices, and prices that are not known."""
    notices = [notice for engine in engines for notice in engine.notices()]
    unpriced = [engine.name for engine in engines if not engine.is_priced]
    ways = ["sub-" if place else "" for place, engine in enumerate(engines) if not engine.is_priced]
    if unpriced and max_cost is not None:
        notices.append(
            f"the price of {' and of '.join(unpriced)} is not known, so --max-cost {max_cost:g} can't be held. "
            "Set it in dollars per million tokens: "
            + " ".join(f"--{way}price-in 0.25 --{way}price-out 2" for way in ways)
        )
    elif unpriced and any(engine.is_remote for engine in engines if not engine.is_priced):
        options = ", ".join(f"--{way}price-in and --{way}price-out" for way in ways)
        notices.append(f"the price of {' and of '.join(unpriced)} is not known: {options} set it")
    return notices


def _outputs(rlm: dspy.RLM, prediction: dspy.Prediction) -> dict[str, ev.Json]:
    values = fields_of(prediction) or {}
    return {name: jsonable(values[name]) for name in rlm.signature.output_fields}
