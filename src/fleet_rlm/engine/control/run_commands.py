"""What a person may tell a running run, carried out; each command is recorded, also when it does nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fleet_rlm import breakpoints
from fleet_rlm import events as ev
from fleet_rlm import spec as sp
from fleet_rlm.engine.control.gate import Answer

if TYPE_CHECKING:
    from fleet_rlm.engine.run.session import RunSession


class Commands:
    """Carries a person's commands out on a session."""

    def __init__(self, session: RunSession) -> None:
        self._session = session
        self._aborting = threading.Lock()
        self._aborted = False

    def take(self, command: sp.Command) -> None:
        """Any command but `start`, which is the worker's. Never blocks for long."""
        gate, session = self._session.gate, self._session
        match command:
            case sp.Pause():
                self._tell("pause")
                gate.pause()
            case sp.Continue():
                self._tell("continue")
                gate.go_on()
            case sp.Step():
                gate.step()
            case sp.Edit(code=code, step=step):
                self._answer("edit", Answer("edit", code=code), code, step=step)
            case sp.Retry(text=text):
                self._answer("retry", Answer("retry", text=text), text)
            case sp.Skip():
                self._answer("skip", Answer("skip"))
            case sp.Sample(count=count):
                self._answer("sample", Answer("sample", count=count, text=str(count)))
            case sp.Restart():
                self._answer("restart", Answer("restart"))
            case sp.Hint(text=text):
                self._tell("hint", text)
                gate.hint(text)
            case sp.Finish():
                self._tell("finish")
                session.finish("you finished it", by_person=True)
            case sp.Abort(reason=reason):
                self.abort(reason or "you aborted it")
            case sp.Interrupt():
                self._interrupt()
            case sp.Evaluate(expression=expression):
                if why := gate.ask_to_evaluate(expression):
                    self._tell("eval", expression, why)
            case sp.Note(text=text, bookmark=bookmark):
                self._tell("bookmark" if bookmark else "note", text)
            case sp.SetBreakpoints(breakpoints=chosen):
                self._set_breakpoints(chosen)
            case sp.Detach():
                gate.watched = False
            case sp.Start():
                pass

    def abort(self, reason: str) -> None:
        """Recorded once, however often it is asked for."""
        with self._aborting:
            first, self._aborted = not self._aborted, True
        if first:
            self._tell("abort", reason)
        self._session.token.cancel(reason)

    def _interrupt(self) -> None:
        if self._session.executing:
            self._tell("interrupt")
            self._session.interrupt()
        else:
            self._tell("interrupt", why_not="no cell is executing")

    def _set_breakpoints(self, chosen: sp.Breakpoints) -> None:
        try:
            self._session.gate.set_breakpoints(chosen)
        except ValueError as error:
            self._tell("breakpoints", why_not=str(error))
        else:
            words = breakpoints.in_words(chosen)
            self._session.tell(ev.Operator(action="breakpoints", text=words, breakpoints=chosen))

    def _answer(self, decision: ev.Decision, answer: Answer, text: str = "", *, step: bool = False) -> None:
        why_not = self._session.gate.answer(answer, step=step)
        if decision == "edit":
            self._tell("edit", text, why_not)
        elif why_not:
            self._session.tell(ev.Notice(level="warning", text=f"{decision}: {why_not}"))

    def _tell(self, action: ev.OperatorAction, text: str = "", why_not: str | None = None) -> None:
        failure = ev.Failure(type="NotNow", message=why_not) if why_not else None
        self._session.tell(ev.Operator(action=action, text=text, error=failure))
