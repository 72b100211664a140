"""Turn what one sandbox reports into the events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_rlm import events as ev
from fleet_rlm.sandbox.host.outcomes import Execution, SandboxObserver, StateLost, Variables
from fleet_rlm.sandbox.host.transport import SandboxInfo

if TYPE_CHECKING:
    from fleet_rlm.engine.run.agent_sandboxes import Sandboxes


class SandboxEvents(SandboxObserver):
    """Emits the events of one sandbox; starting and stopping are recorded only for the run's own sandbox."""

    def __init__(self, sandboxes: Sandboxes, *, root: bool) -> None:
        self._sandboxes = sandboxes
        self._root = root
        self._backend, self._id = sandboxes.backend.name, ""
        self._cells: dict[int, tuple[str, int | None]] = {}
        """Execution id → its span and iteration, of the newest few: output may come late."""
        self.replaying = False
        """True while earlier steps run again: their output is already recorded."""
        self.replaced = False
        """True once another sandbox has replaced this one: nothing more of it is recorded."""
        self._replayed: set[int] = set()
        self.variables: dict[str, str] = {}
        """Name → digest of the sandbox's variables."""
        self.variables_complete = True
        """False if the list of variables is incomplete."""

    def on_starting(self, backend: str, what: str) -> None:
        self._emit_for_root(ev.SandboxStarting(backend=backend, what=what))

    def on_ready(self, info: SandboxInfo) -> None:
        self._id = info.id
        isolation = info.isolation
        self._emit_for_root(
            ev.SandboxReady(
                backend=info.backend,
                id=info.id,
                seconds=info.seconds,
                steps=info.steps,
                isolation=isolation.words,
                mode=isolation.mode,
                proven=isolation.proven,
                not_protected=isolation.not_protected,
            )
        )
        for note in isolation.notes if self._root else ():
            self._sandboxes.emit(ev.Notice(level="info", text=note))

    def on_input_sent(self, name: str, size: int, seconds: float, how: str) -> None:
        if not name.startswith("_"):
            self._emit_for_root(ev.InputSent(name=name, bytes=size, seconds=seconds, how=how))

    def on_execution(self, execution: Execution) -> None:
        node = self._sandboxes.observer.tree.current()
        if execution.purpose != "cell" or node is None:
            return
        if self.replaying:
            self._replayed.add(execution.id)
        self._cells[execution.id] = (node.span, node.agent.iteration if node.agent else None)
        while len(self._cells) > 8:
            del self._cells[next(iter(self._cells))]

    def on_output(self, execution: int, stream: ev.Stream, text: str, late: bool) -> None:  # noqa: ARG002 - late output is its cell's too
        if execution not in self._replayed and (place := self._cells.get(execution)) is not None:
            self._sandboxes.emit(ev.Output(stream=stream, text=text, span=place[0], iteration=place[1]))

    def on_variables(self, variables: Variables) -> None:
        if (place := self._cells.get(variables.execution)) is None:
            return
        for name in variables.removed:
            self.variables.pop(name, None)
        self.variables.update({one.name: one.digest for one in (*variables.added, *variables.changed)})
        self.variables_complete &= variables.whole
        if variables.added or variables.changed or variables.removed:
            self._sandboxes.emit(
                ev.Variables(
                    added=variables.added,
                    changed=variables.changed,
                    removed=variables.removed,
                    span=place[0],
                    iteration=place[1],
                )
            )

    def on_state_lost(self, lost: StateLost) -> None:
        self.variables.clear()
        self._lost(
            ev.SandboxLost(
                backend=self._backend, id=self._id, reason=lost.reason, exit_code=lost.exit_code, recovered=True
            )
        )

    def on_lost(self, reason: str) -> None:
        self._lost(ev.SandboxLost(backend=self._backend, id=self._id, reason=reason))

    def on_unkept(self, words: str) -> None:
        self._sandboxes.emit(ev.Notice(level="warning", text=words))

    def on_stopped(self) -> None:
        self._emit_for_root(ev.SandboxStopped(backend=self._backend, id=self._id, reason=self._sandboxes.token.reason))

    def _emit_for_root(self, event: ev.Event) -> None:
        if self._root and not self.replaced:
            self._sandboxes.emit(event)

    def _lost(self, event: ev.SandboxLost) -> None:
        if self._root:
            self._sandboxes.emit(event)
        else:
            self._sandboxes.emit(ev.Notice(level="warning", text=f"a sub-agent's sandbox was lost: {event.reason}"))
