"""Carry out a person's commands on a run; each is recorded, also when it has no effect."""

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
    """Carries out a person's commands on a session."""

    def __init__(self, session: RunSession) -> None:
        self._session = session
        self._aborting = threading.Lock()
        self._aborted = False

    def take(self, command: sp.Command) -> None:
        """Carry out a command (`start` is the engine process's own). Never blocks for long."""
        gate, session = self._session.gate, self._session
        match command:
            case sp.Pause():
                self._record("pause")
                gate.pause()
            case sp.Continue():
                self._record("continue")
                gate.go_on()
            case sp.Step():
                gate.step()
            case sp.Edit(code=code, step=step):
                self._answer(Answer("edit", code=code), step=step)
            case sp.Retry(text=text):
                self._answer(Answer("retry", text=text))
            case sp.Skip():
                self._answer(Answer("skip"))
            case sp.Sample(count=count):
                self._answer(Answer("sample", count=count, text=str(count)))
            case sp.Restart():
                self._answer(Answer("restart"))
            case sp.Hint(text=text):
                self._record("hint", text)
                gate.hint(text)
            case sp.Finish():
                self._record("finish")
                session.finish("you finished it", by_person=True)
            case sp.Abort(reason=reason):
                self.abort(reason or "you aborted it")
            case sp.Interrupt():
                self._interrupt()
            case sp.Evaluate(expression=expression):
                if why := gate.ask_to_evaluate(expression):
                    self._record("eval", expression, why)
            case sp.Note(text=text, bookmark=bookmark):
                self._record("bookmark" if bookmark else "note", text)
            case sp.SetBreakpoints(breakpoints=chosen):
                self._set_breakpoints(chosen)
            case sp.Detach():
                gate.watched = False
            case sp.Start():
                pass

    def abort(self, reason: str) -> None:
        """Abort the run; recorded once, however often it is called."""
        with self._aborting:
            first, self._aborted = not self._aborted, True
        if first:
            self._record("abort", reason)
        self._session.token.cancel(reason)

    def _interrupt(self) -> None:
        if self._session.executing:
            self._record("interrupt")
            self._session.interrupt()
        else:
            self._record("interrupt", why_not="no cell is executing")

    def _set_breakpoints(self, chosen: sp.Breakpoints) -> None:
        try:
            self._session.gate.set_breakpoints(chosen)
        except ValueError as error:
            self._record("breakpoints", why_not=str(error))
        else:
            words = breakpoints.in_words(chosen)
            self._session.tell(ev.Operator(action="breakpoints", text=words, breakpoints=chosen))

    def _answer(self, answer: Answer, *, step: bool = False) -> None:
        why_not = self._session.gate.answer(answer, step=step)
        if answer.decision == "edit":
            self._record("edit", answer.code, why_not)
        elif why_not:
            self._session.tell(ev.Notice(level="warning", text=f"{answer.decision}: {why_not}"))

    def _record(self, action: ev.OperatorAction, text: str = "", why_not: str | None = None) -> None:
        failure = ev.Failure(type="NotNow", message=why_not) if why_not else None
        self._session.tell(ev.Operator(action=action, text=text, error=failure))
