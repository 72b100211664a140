"""Decides how a run continues after an agent has lost its sandbox: in a new one with the same state, or not at all.

If somebody watches the run, they decide; otherwise it restarts by itself, a limited number of times.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Literal

from dspy.primitives.code_interpreter import CodeExecutionError

from fleet_rlm import events as ev
from fleet_rlm.engine.control.gate import Answer
from fleet_rlm.engine.restore.rebuild import CURRENT_REPLIES, CallReplies, OutputFingerprint, RebuildReport, Step
from fleet_rlm.engine.run_errors import AgentStopped, FinishRequested
from fleet_rlm.figures import seconds
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone

if TYPE_CHECKING:
    from fleet_rlm.engine.run.agent_sandboxes import AgentInterpreter

MOST_IN_A_ROW = 2
"""Automatic restarts without a completed step between them."""
LOST = "SandboxLost"
"""Failure type of a run or step that lost its sandbox."""
PROGRESS_LABEL = "rebuilding the sandbox's state"

_PLANNER_MESSAGE = (
    "SandboxLost: the sandbox was lost while this step ran ({reason}). There is a new one with the variables of the "
    "earlier steps, but this step did not run. Write a different version of it that needs less memory. {text}"
)
_TOO_OFTEN_HINT = (
    "The newest code in the record may need more memory than a sandbox has. Replay it, then run again with another "
    "question, a smaller document or another sandbox."
)
_FAIL_HINT = "Run it again; --on-sandbox-lost restart goes on in a new sandbox by itself."


class Restarts:
    """Restores one agent's lost sandbox, as the person, the settings or the limit of restarts decide."""

    def __init__(self, interpreter: AgentInterpreter) -> None:
        self._interpreter = interpreter
        self._run = interpreter.sandboxes
        self.in_a_row = 0
        """Restarts since the last completed step."""

    def continue_after_loss(self, gone: SandboxGone, step: Step) -> object:
        """Continue after a loss and return the result of the step in another sandbox.

        Raises `CodeExecutionError` when the planner is to write another step, `FinishRequested`, `AgentStopped`,
        `RunAborted`, and `SandboxGone` when the run is not continued.
        """
        interpreter, times, running = self._interpreter, 1, True
        while True:
            answer = self._decide(gone, times)
            self.in_a_row += 1
            try:
                running = False
                self._announce_rebuilt(self._rebuild())
                if answer.decision == "retry":
                    raise self._error_for_planner(gone, step, answer.text)
                interpreter.wait_until_ready()
                running = True
                if step.replies is not None:
                    step = dataclasses.replace(step, replies=step.replies.again())
                return interpreter.run(step)
            except SandboxGone as again:
                self._run.token.check()
                if interpreter.inner.stopped:
                    raise
                gone, times = again, times + running

    # -- deciding

    def _decide(self, gone: SandboxGone, times: int) -> Answer:
        """Return `restart` or `retry`, or raise what ends the run. `times`: how often this step has lost a sandbox."""
        agent, gate = self._interpreter.agent(), self._run.bridge.gate
        self.check_end()
        if self._interpreter.root and gate.watched:
            error = ev.Failure(type=LOST, message=gone.reason, hint=gone.hint or None)
            answer = gate.at_lost(agent.iteration_span, agent.iteration, error)
            self.check_end()
            if answer.decision == "finish":
                raise FinishRequested(gate.finish or "you finished it", by_person=True)
            self.in_a_row = 0
            return answer
        if self._run.on_lost == "fail":
            raise SandboxGone(f"{gone.reason}.", gone.hint or _FAIL_HINT) from gone
        if self.in_a_row >= MOST_IN_A_ROW:
            words = f"{gone.reason}. It was restarted {self.in_a_row} times in a row and is not restarted again."
            raise SandboxGone(words, gone.hint or _TOO_OFTEN_HINT) from gone
        name = "the sandbox" if self._interpreter.root else "a sub-agent's sandbox"
        self._notice("warning", f"{name} is restarted, {self.in_a_row + 1} of at most {MOST_IN_A_ROW} times in a row")
        return Answer("retry" if times > 1 else "restart")

    def check_end(self) -> None:
        """Raise `FinishRequested`, `AgentStopped` or `RunAborted` when the run is to end."""
        self._run.token.check()
        gate = self._run.bridge.gate
        if not self._interpreter.root and self._run.observer.tree.is_orphan():
            raise AgentStopped("The cell that this sub-agent worked for is over.")
        if gate.finishing():
            if self._interpreter.root:
                raise FinishRequested(gate.finish or "", by_person=gate.finish_by_person)
            raise AgentStopped(f"The run is being finished: {gate.finish}.")

    def _error_for_planner(self, gone: SandboxGone, step: Step, text: str) -> CodeExecutionError:
        self._interpreter.keep_unused_replies(step)
        if self._interpreter.root:
            self._run.token.interrupt()  # the calls that the lost step still waits for are of no use
        words = _PLANNER_MESSAGE.format(reason=gone.reason, text=text).strip()
        self._interpreter.agent().last_error = ev.Failure(type=LOST, message=gone.reason)
        return CodeExecutionError(words)

    # -- rebuilding

    def _rebuild(self) -> RebuildReport:
        """Start a new sandbox and run the journal's steps in it. Raises `SandboxGone` and what ends the run."""
        interpreter, journal, report = self._interpreter, self._interpreter.journal, RebuildReport()
        began = time.monotonic()
        inner = interpreter.renew()
        interpreter.events.replaying = True
        try:
            self._run_journal(inner, report)
        finally:
            self._progress(len(journal.cells), len(journal.cells))
        interpreter.events.replaying = False
        if journal.cells:
            inner.cells = journal.cells[-1].number
        if journal.variables_complete and interpreter.events.variables_complete:
            report.compare_variables(journal.variables, interpreter.events.variables)
        report.seconds = time.monotonic() - began
        return report

    def _run_journal(self, inner: Interpreter, report: RebuildReport) -> None:
        journal, interpreter = self._interpreter.journal, self._interpreter
        total, done = len(journal.cells), 0
        with interpreter.agent().replaying() as agent:
            for step in journal.steps:
                self.check_end()
                if step.replies is None:
                    self._prepare(step)
                    continue
                self._progress(done, total)
                done += 1
                if step.fingerprint is None or not step.repeatable:
                    report.note_left_out(step)
                    continue
                agent.iteration, agent.iteration_span = step.iteration, step.iteration_span
                inner.cells = step.number - 1
                replies = step.replies.again()
                self._run_again(step, replies)
                if inner.last is not None:
                    report.compare(step, replies, OutputFingerprint.of(inner.last))
                step.replies = replies

    def _prepare(self, step: Step) -> None:
        try:
            self._interpreter.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError) as error:
            raise SandboxGone(f"the new sandbox could not be prepared: {error}") from error

    def _run_again(self, step: Step, replies: CallReplies) -> None:
        current = CURRENT_REPLIES.set(replies)
        try:
            self._interpreter.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError):
            pass  # usually as before: the outcomes are compared
        finally:
            CURRENT_REPLIES.reset(current)

    # -- telling

    def _announce_rebuilt(self, report: RebuildReport) -> None:
        name = "the sandbox" if self._interpreter.root else "a sub-agent's sandbox"
        self._notice("info", f"{name} is restored after {seconds(report.seconds)}: {report.words()}")
        if report.differences:
            self._notice(
                "warning", f"the restored state differs from the recorded one: {report.differences_in_words()}"
            )

    def _notice(self, level: Literal["info", "warning"], text: str) -> None:
        agent = self._interpreter.agent()
        self._run.emit(
            ev.Notice(level=level, text=text, iteration=agent.iteration or None, parent=agent.iteration_span)
        )

    def _progress(self, done: int, total: int) -> None:
        if self._interpreter.root and total:
            self._run.emit(ev.Progress(what=PROGRESS_LABEL, done=done, total=total, unit="steps"))
