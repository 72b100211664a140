"""From a record back to what was asked."""

from __future__ import annotations

from fleet_rlm.config import BY_KEY, OFFLINE
from fleet_rlm.events import Json
from fleet_rlm.runs.run_reader import NotARun, RunFile
from fleet_rlm.spec import Budgets, RunSpec
from fleet_rlm.tasks.catalog import TASKS


class NotAgain(RuntimeError):
    """The record does not say enough to ask for the same run again."""


def spec_of_record(path: str) -> RunSpec:
    """The run that a record's first event describes. Reads the file: not for the UI thread. Raises `NotAgain`."""
    try:
        with RunFile(path) as file:
            started = file.header
    except NotARun as error:
        raise NotAgain(str(error)) from error
    if started is None:
        raise NotAgain("This run is just being started: there is nothing to repeat yet.")
    asked, given = started.task, started.budgets
    preset = TASKS.get(asked.name)
    if lost := [tool.name for tool in asked.tools if tool.reference is None]:
        raise NotAgain(f"This run called functions that only the program which recorded it has: {', '.join(lost)}.")
    own_tools = [tool.reference for tool in asked.tools if tool.reference not in (preset.tools if preset else ())]
    holds_documents = {entry.name for entry in started.inputs if entry.documents}
    inputs = {
        entry.name: entry.value
        for entry in started.inputs
        if entry.name not in holds_documents and entry.value is not None and entry.value != asked.question
    }
    planner, sub = started.models.planner, started.models.sub
    if started.models.offline:
        planner = sub = OFFLINE
    return RunSpec(
        question=asked.question,
        documents=tuple(dict.fromkeys(document.path for entry in started.inputs for document in entry.documents)),
        task=preset.name if preset else "ask",
        first_chars=next((entry.first_chars for entry in started.inputs if entry.first_chars), None),
        tools=tuple(filter(None, own_tools)),
        signature=None if preset and preset.signature == asked.signature else asked.reference or asked.signature,
        instructions=None if preset and preset.signature == asked.signature else asked.instructions or None,
        inputs=inputs,
        model=planner,
        sub_model=None if sub == planner else sub,
        settings={key: value for key, value in started.settings.items() if _harmless(key, value)},
        sandbox="modal" if started.sandbox.backend == "modal" else "local",
        budgets=Budgets(
            max_iterations=given.max_iterations,
            max_llm_calls=given.max_llm_calls,
            max_tokens=given.max_tokens,
            max_seconds=given.max_seconds,
            max_cost_usd=given.max_cost_usd,
        ),
    )


def _harmless(key: str, value: Json) -> bool:
    """Whether a setting of a record, which may be a stranger's, is asked for again: none that says where a key goes."""
    setting = BY_KEY.get(key)
    return setting is not None and setting.kind not in ("secret", "address") and setting.accepts(value)
