"""Details of a run beyond its row in the library, folded from its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_rlm import events as ev
from fleet_rlm.figures import within
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.state import RunState, fold
from fleet_rlm.tui.run_view.run_words import sandbox
from fleet_rlm.tui.screens.home.run_remarks import remarks, seconds_by_iteration

OUTPUT_CHARS = 6000


@dataclass(frozen=True, slots=True)
class Details:
    outputs: dict[str, str]
    """Name → value as text, cut at `OUTPUT_CHARS`. As recorded: clean it before it meets a terminal."""
    bars: tuple[float, ...]
    """Seconds of each iteration."""
    remarks: tuple[str, ...]
    documents: tuple[str, ...]
    chars: int
    models: str
    sandbox: str
    """Where code ran and how it was kept in, when that was not on this machine."""


def details_of(state: RunState) -> Details:
    started = state.started
    given = [document for entry in started.inputs for document in entry.documents] if started else []
    models = ""
    if started is not None:
        planner, sub = started.models.planner, started.models.sub
        models = planner if planner == sub else f"{planner}, sub-LLM {sub}"
    return Details(
        outputs={name: ev.as_text(value)[:OUTPUT_CHARS] for name, value in state.outputs.items()},
        bars=tuple(within(value) for value in seconds_by_iteration(state)),
        remarks=tuple(remarks(state)),
        documents=tuple(document.name for document in given),
        chars=sum(document.chars for document in given),
        models=models,
        sandbox=sandbox(state)[0] if state.sandbox.backend not in ("", "local") else "",
    )


def read_details(path: str, cancelled: Callable[[], bool]) -> Details | None:
    """Read the details of a run file; None when it was cancelled. Raises `NotARun` or `OSError`."""
    state = RunState()
    with RunFile(path) as file:
        for event in file.events():
            if cancelled():
                return None
            fold(state, event)
    return details_of(state)
