"""What becomes of a run whose sandbox is lost: another one with the same state, or the end, as somebody decides.

Whoever watches is asked; a run that nobody watches restarts by itself, a bounded number of times.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Literal

from dspy.primitives.code_interpreter import CodeExecutionError

from fleet_rlm import events as ev
from fleet_rlm.engine.control.gate import Answer
from fleet_rlm.engine.restore.rebuild import CURRENT_TAPE, Rebuilt, Said, Step, Tape
from fleet_rlm.engine.run_errors import AgentStopped, FinishRequested
from fleet_rlm.figures import seconds
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone

if TYPE_CHECKING:
    from fleet_rlm.engine.run.agent_sandboxes import AgentInterpreter

MOST_IN_A_ROW = 2
"""Restarts without a step between them that came to its end, when nobody is asked."""
LOST = "SandboxLost"
"""Type of the failure of a run, or a step, whose sandbox is gone."""
WHAT = "rebuilding the sandbox's state"

_TELL = (
    "SandboxLost: the sandbox was lost while this step ran ({reason}). There is a new one with the variables of the "
    "earlier steps, but this step did not run. Write a different version of it that needs less memory. {text}"
)
_TOO_OFTEN_HINT = (
    "The newest code in the record may need more memory than a sandbox has. Replay it, then run again with another "
    "question, a smaller document or another sandbox."
)
_FAIL_HINT = "Run it again; --on-sandbox-lost restart goes on in a new sandbox by itself."


class Restarts:
    """Of one agent's sandbox."""

    def __init__(self, interpreter: AgentInterpreter) -> None:
        self._interpreter = interpreter
        self._run = interpreter.of
        self.in_a_row = 0
        """Since a step last came to its end."""

    def after(self, gone: SandboxGone, step: Step) -> object:
        """Go on after a loss: what the step gives in another sandbox.

        Raises `CodeExecutionError` when the planner is to write another step, `FinishRequested`, `AgentStopped`,
        `RunAborted`, and `SandboxGone` when it ends here.
        """
        interpreter, times, running = self._interpreter, 1, True
        while True:
            answer = self._decide(gone, times)
            self.in_a_row += 1
            try:
                running = False
                self._tell_rebuilt(self._rebuild())
                if answer.decision == "retry":
                    raise self._told_to_planner(gone, step, answer.text)
                interpreter.wait_until_ready()
                running = True
                if step.tape is not None:
                    step = dataclasses.replace(step, tape=step.tape.again())
                return interpreter.run(step)
            except SandboxGone as again:
                self._run.token.check()
                if interpreter.inner.stopped:
                    raise
                gone, times = again, times + running

    # -- deciding

    def _decide(self, gone: SandboxGone, times: int) -> Answer:
        """`restart` or `retry`; everything else is raised. `times` that the same step has lost a sandbox."""
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
            words = f"{gone.reason}. It was restarted {self.in_a_row} times in a row, and is not again."
            raise SandboxGone(words, gone.hint or _TOO_OFTEN_HINT) from gone
        whose = "the sandbox" if self._interpreter.root else "a sub-agent's sandbox"
        self._notice("warning", f"{whose} is restarted, {self.in_a_row + 1} of at most {MOST_IN_A_ROW} times in a row")
        return Answer("retry" if times > 1 else "restart")

    def check_end(self) -> None:
        """Leave when the run is to end. Raises `FinishRequested`, `AgentStopped` or `RunAborted`."""
        self._run.token.check()
        gate = self._run.bridge.gate
        if not self._interpreter.root and self._run.observer.tree.is_orphan():
            raise AgentStopped("The cell that this sub-agent worked for is over.")
        if gate.finishing():
            if self._interpreter.root:
                raise FinishRequested(gate.finish or "", by_person=gate.finish_by_person)
            raise AgentStopped(f"The run is being finished: {gate.finish}.")

    def _told_to_planner(self, gone: SandboxGone, step: Step, text: str) -> CodeExecutionError:
        self._interpreter.give_up(step)
        if self._interpreter.root:
            self._run.token.interrupt()  # what the lost step still asks has nobody to answer to
        words = _TELL.format(reason=gone.reason, text=text).strip()
        self._interpreter.agent().last_error = ev.Failure(type=LOST, message=gone.reason)
        return CodeExecutionError(words)

    # -- rebuilding

    def _rebuild(self) -> Rebuilt:
        """A fresh sandbox with the state that the journal's steps made. Raises `SandboxGone` and what ends the run."""
        interpreter, journal, rebuilt = self._interpreter, self._interpreter.journal, Rebuilt()
        began = time.monotonic()
        inner = interpreter.renew()
        interpreter.events.replaying = True
        try:
            self._run_journal(inner, rebuilt)
        finally:
            self._progress(len(journal.cells), len(journal.cells))
        interpreter.events.replaying = False
        if journal.cells:
            inner.cells = journal.cells[-1].number
        if journal.saw_all and interpreter.events.saw_all:
            rebuilt.compare_variables(journal.variables, interpreter.events.variables)
        rebuilt.seconds = time.monotonic() - began
        return rebuilt

    def _run_journal(self, inner: Interpreter, rebuilt: Rebuilt) -> None:
        journal, interpreter = self._interpreter.journal, self._interpreter
        total, done = len(journal.cells), 0
        with interpreter.agent().replaying() as agent:
            for step in journal.steps:
                self.check_end()
                if step.tape is None:
                    self._prepare(step)
                    continue
                self._progress(done, total)
                done += 1
                if step.said is None or not step.repeatable:
                    rebuilt.left_out(step)
                    continue
                agent.iteration, agent.iteration_span = step.iteration, step.iteration_span
                inner.cells = step.number - 1
                tape = step.tape.again()
                self._run_again(step, tape)
                if inner.last is not None:
                    rebuilt.compare(step, tape, Said.of(inner.last))
                step.tape = tape

    def _prepare(self, step: Step) -> None:
        try:
            self._interpreter.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError) as error:
            raise SandboxGone(f"the new sandbox could not be prepared: {error}") from error

    def _run_again(self, step: Step, tape: Tape) -> None:
        current = CURRENT_TAPE.set(tape)
        try:
            self._interpreter.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError):
            pass  # as before, as a rule: what came of it is compared
        finally:
            CURRENT_TAPE.reset(current)

    # -- telling

    def _tell_rebuilt(self, rebuilt: Rebuilt) -> None:
        whose = "the sandbox" if self._interpreter.root else "a sub-agent's sandbox"
        self._notice("info", f"{whose} is there again after {seconds(rebuilt.seconds)}: {rebuilt.words()}")
        if rebuilt.differences:
            self._notice("warning", f"its state is not quite as it was · {rebuilt.told_differences()}")

    def _notice(self, level: Literal["info", "warning"], text: str) -> None:
        agent = self._interpreter.agent()
        self._run.emit(
            ev.Notice(level=level, text=text, iteration=agent.iteration or None, parent=agent.iteration_span)
        )

    def _progress(self, done: int, total: int) -> None:
        if self._interpreter.root and total:
            self._run.emit(ev.Progress(what=WHAT, done=done, total=total, unit="steps"))
