"""Read from a record what was asked, so that it can be asked again."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_rlm.config import BY_KEY, OFFLINE
from fleet_rlm.events import Json, RunStarted, Tool
from fleet_rlm.runs.run_reader import NotARun, RunFile
from fleet_rlm.spec import Budgets, RunSpec
from fleet_rlm.tasks.catalog import TASKS


class NotAgain(RuntimeError):
    """The record does not say enough to ask for the same run again."""


def spec_of_record(path: str) -> RunSpec:
    """Return the run that a record describes. Reads the file: not for the UI thread. Raises `NotAgain`."""
    try:
        with RunFile(path) as file:
            started = file.header
    except NotARun as error:
        raise NotAgain(str(error)) from error
    if started is None:
        raise NotAgain("This run is just being started: there is nothing to repeat yet.")
    asked = started.task
    preset = TASKS.get(asked.name)
    as_preset = preset is not None and preset.signature == asked.signature
    planner, sub = started.models.planner, started.models.sub
    if started.models.offline:
        planner = sub = OFFLINE
    return RunSpec(
        question=asked.question,
        documents=tuple(dict.fromkeys(document.path for entry in started.inputs for document in entry.documents)),
        task=preset.name if preset else "ask",
        first_chars=next((entry.first_chars for entry in started.inputs if entry.first_chars), None),
        tools=_own_tools(asked.tools, preset.tools if preset else ()),
        signature=None if as_preset else asked.reference or asked.signature,
        instructions=None if as_preset else asked.instructions or None,
        inputs=_further_inputs(started),
        model=planner,
        sub_model=None if sub == planner else sub,
        settings={key: value for key, value in started.settings.items() if _harmless(key, value)},
        sandbox="modal" if started.sandbox.backend == "modal" else "local",
        budgets=Budgets(**{name: getattr(started.budgets, name) for name in Budgets.__struct_fields__}),
    )


def _own_tools(tools: Sequence[Tool], of_preset: Sequence[str]) -> tuple[str, ...]:
    """Return the references of the tools that the task does not bring by itself. Raises `NotAgain`."""
    if lost := [tool.name for tool in tools if tool.reference is None]:
        raise NotAgain(f"This run called functions that only the program which recorded it has: {', '.join(lost)}.")
    return tuple(tool.reference for tool in tools if tool.reference and tool.reference not in of_preset)


def _further_inputs(started: RunStarted) -> dict[str, Json]:
    """Return the inputs that are neither documents nor the question."""
    return {
        entry.name: entry.value
        for entry in started.inputs
        if not entry.documents and entry.value is not None and entry.value != started.task.question
    }


def _harmless(key: str, value: Json) -> bool:
    """True when a setting of a record may be asked for again: none that says where a key goes."""
    setting = BY_KEY.get(key)
    return setting is not None and setting.kind not in ("secret", "address") and setting.accepts(value)
