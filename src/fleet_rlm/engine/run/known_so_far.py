"""The steps and variables of a run, which its failure message names when there is no answer."""

from __future__ import annotations

from fleet_rlm import events as ev
from fleet_rlm.figures import plural
from fleet_rlm.terminal_text import clean_line

MOST, PREVIEW_CHARS = 8, 60


class KnownSoFar:
    """Counts a run's steps and keeps its variables, from its events."""

    def __init__(self) -> None:
        self._steps = 0
        self._variables: dict[str, ev.Variable] = {}

    def hear(self, event: ev.Event) -> None:
        """Update from one event."""
        if isinstance(event, ev.ExecutionFinished):
            self._steps += 1
        elif isinstance(event, ev.Variables):
            for variable in (*event.added, *event.changed):
                self._variables.pop(variable.name, None)
                self._variables[variable.name] = variable
            for name in event.removed:
                self._variables.pop(name, None)

    def words(self) -> str:
        """Describe the steps and variables in two sentences; empty before the first step."""
        if not self._steps:
            return ""
        newest = list(self._variables.values())[-MOST:][::-1]
        shown = ", ".join(f"{one.name} = {clean_line(one.preview or one.type, PREVIEW_CHARS)}" for one in newest)
        held = f" Variables by then: {shown}." if shown else ""
        steps = plural(self._steps, "step")
        return f"No answer could be made of what is known, but the record keeps it: {steps} ran.{held}"
