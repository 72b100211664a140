"""One sandbox and what runs in it: its start and end, one execution at a time, the calls that it makes."""

from __future__ import annotations

import contextvars
import keyword
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec
from dspy.primitives.code_interpreter import CodeExecutionError, CodeInterpreterError, FinalOutput
from dspy.utils.callback import BaseCallback, with_callbacks

from fleet_rlm.log_text import logger
from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.bounds import HELD_BYTES, VARS_BYTES, Bounds, TooMuch, memory_of
from fleet_rlm.sandbox.host.call_replies import Answers
from fleet_rlm.sandbox.host.channel import Channel
from fleet_rlm.sandbox.host.execution import Cell, CodeFailed, message_for_planner
from fleet_rlm.sandbox.host.host_calls import invoke
from fleet_rlm.sandbox.host.outcomes import Execution, ExecutionOutcome, Purpose, SandboxObserver, StateLost, Variables
from fleet_rlm.sandbox.host.running_clock import awake
from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone
from fleet_rlm.sandbox.host.sandbox_inputs import Inputs
from fleet_rlm.sandbox.host.transport import Limits, SandboxInfo, Transport, TransportError
from fleet_rlm.sandbox.inside.bootstrap import VERSION

_log = logger("fleet_rlm.sandbox")
_Method = TypeVar("_Method", bound=Callable[..., Any])

CELL_SECONDS = 600.0
GRACE_SECONDS, START_SECONDS, SILENCE_SECONDS = 2.0, 120.0, 30.0
CONCURRENCY, OUTPUT_BYTES = 16, 2 << 20
LATE_CHARS = 4 << 20
"""Output that may come after its execution, in the whole life of a sandbox."""
SECONDS_TO_END = 10.0
"""Seconds beyond the grace in which a sandbox on this machine ends a cell that it was told to end."""
_BUSY = "this interpreter is executing already; start another one"
_OWNED = {"SUBMIT", "__builtins__"}


def _with_callbacks(method: _Method) -> _Method:
    """The decorator of dspy, with its types kept."""
    return cast(_Method, with_callbacks(method))


class Executor:
    """Runs code in one sandbox, cell after cell; see `Interpreter`, which is this with what people and pools need."""

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        tools: Mapping[str, Callable[..., Any]] | None = None,
        output_fields: list[dict[str, Any]] | None = None,
        *,
        limits: Limits | None = None,
        execution_timeout: float | None = CELL_SECONDS,
        grace: float = GRACE_SECONDS,
        concurrency: int = CONCURRENCY,
        output_bytes: int = OUTPUT_BYTES,
        start_timeout: float = START_SECONDS,
        silence: float = SILENCE_SECONDS,
        orphan: float = 0.0,
        with_toolbox: bool = True,
        volume: str | None = None,
        observer: SandboxObserver | None = None,
        callbacks: list[BaseCallback] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            make_transport: makes the sandbox's transport, once.
            tools: host functions that code may call by name.
            output_fields: dspy's description of SUBMIT's values, `[{"name": …}]`; None: one value, `output`.
            limits: what the sandbox may use.
            execution_timeout: seconds for one execution, calls included; None: no limit. See `clock_stopped`.
            grace: seconds between an interrupt and the end of a process that does not heed it.
            concurrency: host functions that run at once; more of them wait.
            output_bytes: of each stream of an execution, that are passed on; of the rest only the last 64 KiB.
            start_timeout: seconds until a started driver must have answered.
            silence: seconds without any word from the driver, while code runs, after which the sandbox is lost.
            orphan: seconds after which a driver that hears nothing ends; 0 where the end of its stdin tells it.
            with_toolbox: give generated code the functions of `inside/toolbox.py`.
            volume: where in the sandbox a volume is mounted, in which generated code may keep things.
            observer: hears everything.
            callbacks: dspy's, for this interpreter only.
        """
        for name, value in (("execution_timeout", execution_timeout), ("grace", grace), ("silence", silence)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive")
        self._limits = limits or Limits()
        self._timeout, self._grace, self._silence, self._orphan = execution_timeout, grace, silence, orphan
        self._output_bytes, self._start_timeout, self._concurrency = output_bytes, start_timeout, concurrency
        self._init = protocol.Init(
            cap=output_bytes, tail=min(64 << 10, output_bytes), orphan=orphan, helpers=with_toolbox, volume=volume
        )
        self._transport = make_transport()
        self._channel = Channel(self._transport, self._receive, self._ended)
        self._inputs = Inputs(self._transport, self._input_sent)
        self.info: SandboxInfo | None = None
        self._ids = 0
        self._gone = self._hint = self._reason = ""
        self._stopped = False
        self._started = False

        self.tools: dict[str, Callable[..., Any]] = dict(tools or {})
        self.output_fields = output_fields
        self.callbacks = list(callbacks or [])
        self.last: ExecutionOutcome | None = None
        self.cells = 0
        """The number of the planner's cells that have run; tracebacks name each cell by its number."""
        self._observer = observer or SandboxObserver()
        self._parts = protocol.Parts()
        self._answers = Answers(self._channel, self._parts, self.invoke_tool, self._concurrency)
        self._executing = threading.Lock()
        self._state = threading.Lock()
        self._hello: queue.SimpleQueue[protocol.Hello | None] = queue.SimpleQueue()
        self._pongs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._cell: Cell | None = None
        self._setups: list[tuple[str, dict[str, Any]]] = []
        self._setups_stand = True
        self._untold = ""
        self._late_chars = 0
        self._bounds = Bounds()
        """Bounds for what comes when no execution runs, or from one that is over."""

    # -- life

    @_with_callbacks
    def start(self) -> None:
        """Start the sandbox unless it runs. Raises `CodeInterpreterError` if it can't be started or is gone."""
        if self._gone:
            raise self._gone_error()
        if self._started:
            return
        began = time.monotonic()
        self._tell("on_starting", self._transport.backend, "")
        try:
            isolation = self._transport.start(self._limits, lambda what: self._tell("on_starting", self.backend, what))
            steps = dict(self._transport.steps) or {"sandbox": time.monotonic() - began}
            self._channel.start()
            self._started = True
            hello = self._await_hello()
        except (TransportError, OSError) as error:
            hint = getattr(error, "hint", "")
            raise self._lose(f"the {self.backend} sandbox did not start: {error}", "", hint=hint) from error
        except queue.Empty:
            said = self._transport.diagnostics()[-500:]
            words = f"the driver in the {self.backend} sandbox did not answer within {self._start_timeout:g} s. {said}"
            raise self._lose(words, "") from None
        if hello is None or self._gone:
            raise self._gone_error()
        if hello.version != VERSION:
            raise self._lose(f"the driver speaks protocol {hello.version}, this host {VERSION}")
        self._channel.send(self._init)
        if self._orphan:
            threading.Thread(target=self._keep_alive, name="sandbox-ping", daemon=True).start()
        seconds = time.monotonic() - began
        steps["driver"] = max(0.0, seconds - sum(steps.values()))
        self.info = SandboxInfo(self.backend, self._transport.id, hello.python, isolation, seconds, steps)
        self._tell("on_ready", self.info)

    def _await_hello(self) -> protocol.Hello | None:
        """Return the driver's first message. Raises `queue.Empty` if it is too late."""
        end = awake() + self._start_timeout
        while True:
            try:
                return self._hello.get(timeout=min(0.5, self._start_timeout))
            except queue.Empty:
                if awake() > end:
                    raise

    @_with_callbacks
    def shutdown(self) -> None:
        """End the sandbox in good order; a second call does nothing."""
        if self._started and not self._gone and (problem := self._transport.settle()):
            self._tell("on_unkept", problem)
        self.kill("the sandbox was shut down")

    def kill(self, why: str = "the sandbox was ended") -> None:
        """End the sandbox now, whatever runs in it; whoever waits for it gets a `CodeInterpreterError` at once."""
        with self._state:
            first, self._stopped = not self._stopped, True
            self._gone = self._gone or why
            cell = self._cell
        if cell:
            cell.settle(CodeInterpreterError(self._gone))
        self._hello.put(None)
        self._answers.close()
        self._transport.kill()
        if self._started:
            self._channel.join(5.0)
        if first:
            self._tell("on_stopped")

    @property
    def backend(self) -> str:
        return self._transport.backend

    @property
    def stopped(self) -> bool:
        """True if this program ended the sandbox."""
        return self._stopped

    @property
    def running(self) -> bool:
        """True while code is executed."""
        return self._cell is not None

    # -- code

    @_with_callbacks
    def execute(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        """Run code with these variables bound anew; see the class. `Any`: dspy's contract."""
        if not self._executing.acquire(blocking=False):
            raise CodeInterpreterError(_BUSY)
        try:
            variables = dict(variables or {})
            self._check(code, variables)
            if not self._started or self._gone:
                self.start()
            setup = any(name.startswith(("__dspy", "_raw_")) for name in variables)
            self._stand_up()
            outcome, final = self._run(code, variables, "setup" if setup else "cell")
            if setup and outcome.outcome == "ok":
                self._setups.append((code, variables))
            return self._deliver(outcome, final)
        finally:
            self._executing.release()

    def __call__(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        return self.execute(code, variables)

    @_with_callbacks
    def invoke_tool(self, tool_name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Run the host function that generated code calls, and return its result."""
        function = self.tools.get(tool_name)
        if function is None:
            raise CodeInterpreterError(f"Unknown tool: {tool_name}")
        return invoke(function, args, kwargs)

    # -- one execution

    def _check(self, code: str, variables: dict[str, Any]) -> None:
        if len(code) > protocol.CODE_CHARS:
            raise CodeExecutionError(f"the code has {len(code):,} characters, and at most {protocol.CODE_CHARS:,} run")
        for what, names in (("tool", self.tools), ("variable", variables)):
            for name in names:
                if not name.isidentifier() or keyword.iskeyword(name) or name in _OWNED:
                    raise CodeInterpreterError(f"{name!r} can't be the name of a {what} in the sandbox; rename it")
        both = self.tools.keys() & variables.keys()
        if both:
            raise CodeInterpreterError(f"{sorted(both)} name both a tool and a variable; rename one")

    def _stand_up(self) -> None:
        """Run the set-up cells again after the sandbox's state was lost."""
        while not self._setups_stand:
            self._setups_stand = True
            for code, variables in self._setups:
                outcome, _ = self._run(code, variables, "setup")
                if outcome.outcome == "interrupted" and not outcome.state_lost:
                    self._setups_stand = False
                    raise CodeFailed(message_for_planner(outcome), outcome)
                if outcome.outcome != "ok":
                    words = outcome.error.message if outcome.error else outcome.outcome
                    raise self._lose(f"the sandbox could not be prepared for its next cell: {words}")

    def _run(
        self, code: str, variables: dict[str, Any], purpose: Purpose, timeout: float | None = None
    ) -> tuple[ExecutionOutcome, dict[str, Any] | None]:
        self.cells += purpose == "cell"
        name = f"cell {self.cells}" if purpose == "cell" else purpose
        done, cell = self._attempt(code, variables, purpose, name, timeout)
        if done.status == "inputs":  # the code of an earlier step removed or changed their files
            self._inputs.forget(done.missing, variables)
            done, cell = self._attempt(code, variables, purpose, name, timeout)
            if done.status == "inputs":
                raise self._lose(f"the files of the inputs {done.missing} vanish from the sandbox")
        try:
            final = self._final(done)
        except TooMuch as error:
            cell.limit, final = str(error), None
        except protocol.ProtocolError as error:
            cell.limit, final = f"what it submitted can't be read: {error}", None
        outcome = cell.outcome(done)
        if outcome.state_lost:
            self._lost_state(cell.why_lost(done), outcome.exit_code, told=purpose == "cell")
        self.last = outcome
        self._tell("on_finished", outcome)
        return outcome, final

    def _attempt(
        self, code: str, variables: dict[str, Any], purpose: Purpose, name: str, timeout: float | None
    ) -> tuple[protocol.Done, Cell]:
        try:
            bound = self._inputs.bind(variables)
        except TypeError as error:
            raise CodeInterpreterError(f"{error}. Give it as text, numbers, lists or dicts.") from error
        except (TransportError, OSError) as error:
            hint = getattr(error, "hint", "")
            raise self._lose(f"an input could not be stored in the sandbox: {error}", hint=hint) from error
        self._ids += 1
        cell = Cell(Execution(self._ids, purpose, code, name), self._output_bytes, contextvars.copy_context())
        self._tell("on_execution", cell.execution)
        with self._state:
            if self._gone:
                raise self._gone_error()
            self._cell = cell
        try:
            run = protocol.Run(
                cell=cell.execution.id,
                name=name,
                mode=purpose,
                code=msgspec.Raw(protocol.to_json(code, "the code").encode()),
                tools=list(self.tools),
                fields=None if self.output_fields is None else [str(one["name"]) for one in self.output_fields],
                variables=bound,
                grace=self._grace,
            )
            self._channel.send_windowed([run])
            return self._await(cell, timeout if timeout is not None else self._timeout), cell
        finally:
            with self._state:
                self._cell = None
            cell.cancel_calls()

    def _await(self, cell: Cell, timeout: float | None) -> protocol.Done:
        """Wait for the end of a cell and keep its time, which nothing that comes from the sandbox makes longer."""
        used, last, ending, tick = 0.0, awake(), 0.0, min(0.5, self._silence, timeout or 0.5)
        try:
            while True:
                try:
                    news = cell.news.get(timeout=tick)
                except queue.Empty:
                    now = awake()
                    step, last = 0.0 if self._channel.busy else now - last, now
                    ending += step * cell.told_to_end
                    used += step * (not cell.held)
                    if timeout and used >= timeout:
                        self.end_cell(cell, "timeout")
                    self._check_silence(ending)
                    continue
                if isinstance(news, protocol.Done):
                    return news
                raise news
        except CodeInterpreterError:
            raise
        except BaseException:  # an abort out of a host function, or the host's own KeyboardInterrupt
            self.kill()
            raise

    def _check_silence(self, ending: float) -> None:
        """Give the sandbox up when it says nothing, or does not end what it was told to end so many seconds ago."""
        if (quiet := self._channel.quiet()) > self._silence:
            raise self._lose(f"nothing was heard from the sandbox for {quiet:.0f} s")
        if ending > self._grace + (self._silence if self._orphan else min(self._silence, SECONDS_TO_END)):
            raise self._lose(f"the sandbox did not end a cell that it was told to end {ending:.0f} s ago")

    def end_cell(self, cell: Cell, why: protocol.Why) -> None:
        """Interrupt an execution; the sandbox is given up when it does not end then, whatever the inside says."""
        if not cell.told_to_end:
            cell.told_to_end = True
            self._channel.send(protocol.Interrupt(cell=cell.execution.id, grace=self._grace, why=why))

    def _final(self, done: protocol.Done) -> dict[str, Any] | None:
        if done.status != "submit":
            return None
        text = self._parts.take(f"d{done.cell}") if done.parts else bytes(done.final)
        if memory_of(text) > HELD_BYTES:
            raise TooMuch(f"what it submitted would take {memory_of(text) >> 20:,} MiB of memory; submit less")
        return protocol.decode_final(text) if text else {}

    def _deliver(self, outcome: ExecutionOutcome, final: dict[str, Any] | None) -> Any:
        before, self._untold = self._untold, ""
        if outcome.outcome == "submitted":
            return FinalOutput(final)
        output = outcome.output.rstrip("\n")
        if outcome.outcome == "ok":
            return f"{before}{output}" or None
        words = before + message_for_planner(outcome)
        if outcome.error and outcome.error.type == "SyntaxError" and outcome.error.traceback is None:
            raise SyntaxError(words)
        raise CodeFailed(words, outcome)

    # -- what comes from the sandbox, in the reading thread

    def _receive(self, message: protocol.FromDriver, size: int) -> None:
        cell = self._cell
        mine = cell is not None and getattr(message, "cell", None) == cell.execution.id
        of_cell = cell is not None and (mine or isinstance(message, (protocol.Part, protocol.Cancel)))
        try:
            (cell.bounds if cell and of_cell else self._bounds).count(message, size)
            if cell and of_cell and cell.limit and not isinstance(message, protocol.Done):
                return  # it was told to end; what it goes on sending is only counted
            self._take_in(message, size, cell, mine)
        except TooMuch as error:
            if not cell or not of_cell:
                raise protocol.ProtocolError(f"outside of any cell, {error}") from error
            if not cell.limit:
                cell.limit = str(error)
                cell.cancel_calls()
                self.end_cell(cell, "limit")
            elif isinstance(message, protocol.Done):
                cell.settle(message)

    def _take_in(self, message: protocol.FromDriver, size: int, cell: Cell | None, mine: bool) -> None:
        match message:
            case protocol.Out():
                self._take_output(message, cell if mine and not message.late else None)
            case protocol.Call():
                self._answers.called(cell if mine else None, message)
            case protocol.Part():
                self._parts.add(message)
            case protocol.Cancel():
                if cell:
                    cell.cancel_calls(message.id)
            case protocol.Done():
                if cell and mine:
                    cell.settle(message)
            case protocol.Vars() if mine:
                self._take_variables(message, size)
            case protocol.Beat() if mine:
                self._tell("on_heartbeat", message.cell, message.rss, message.calls)
            case protocol.Died() if cell is None and self._setups_stand:
                code = 128 + message.signal if message.signal else message.code
                self._lost_state("the Python process died between two executions", code, told=False)
            case protocol.Hello():
                self._hello.put(message)
            case protocol.Pong(n=0):
                self._pongs.put(True)

    def _take_output(self, message: protocol.Out, cell: Cell | None) -> None:
        """Pass output on; `cell` is None for what comes after its cell's end, all of which together is bounded."""
        if cell:
            text = cell.add_output(message)
        else:
            text = message.data[: max(0, LATE_CHARS - self._late_chars)]
            self._late_chars += len(text)
        if text:
            self._tell("on_output", message.cell, message.stream, text, cell is None)

    def _take_variables(self, message: protocol.Vars, size: int) -> None:
        rows = (*message.added, *message.changed)
        if size > VARS_BYTES or any(len(row.preview) + len(row.type) + len(row.digest) > 1024 for row in rows):
            raise protocol.ProtocolError("a report of the variables that is too long")
        parts = tuple(message.added), tuple(message.changed), tuple(message.removed)
        self._tell("on_variables", Variables(message.cell, *parts, message.total, message.whole))

    def _lost_state(self, reason: str, code: int | None, *, told: bool) -> None:
        self._setups_stand = False
        if not told:
            self._untold = f"[{reason}: all variables of earlier steps are gone; the inputs are there again]\n"
        self._tell("on_state_lost", StateLost(reason, code))

    def _ended(self, reason: str) -> None:
        if not self._stopped:
            self._lose(f"the {self.backend} sandbox is gone: {reason}", hint=self._transport.hint)
        self._hello.put(None)
        self._pongs.put(False)

    def _lose(self, reason: str, then: str = ". Start the run again.", hint: str = "") -> SandboxGone:
        """Mark the sandbox as lost, kill it, and return the error to raise."""
        with self._state:
            first, self._gone = not self._gone, self._gone or reason + then
            self._hint, self._reason = self._hint or hint, self._reason or reason
            cell = self._cell
        error = self._gone_error()
        if first:
            self._tell("on_lost", reason)  # before whoever waits for the cell goes on
        if cell:
            cell.settle(error)
        self._answers.close()
        self._transport.kill()
        return error

    def _gone_error(self) -> SandboxGone:
        return SandboxGone(self._gone, self._hint, self._reason)

    def _keep_alive(self) -> None:
        count, channel = 0, self._channel
        while not channel.over:
            count += 1
            channel.send(protocol.Ping(n=count))
            channel.wait(self._orphan / 4)

    def _input_sent(self, name: str, size: int, seconds: float, how: str) -> None:
        if not name.startswith("_"):  # ours or dspy's, not the caller's
            self._tell("on_input_sent", name, size, seconds, how)

    def _tell(self, what: str, *details: object) -> None:
        try:
            getattr(self._observer, what)(*details)
        except Exception:  # noqa: BLE001 - an observer is the caller's code, and the sandbox must go on
            _log.exception("an observer of a sandbox failed")
