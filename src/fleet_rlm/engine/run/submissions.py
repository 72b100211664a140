"""Check what code submits before dspy does: a value that no answer can hold is an error that the code sees."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.adapters.utils import parse_value
from dspy.primitives.code_interpreter import FinalOutput

DEEPEST = 90
"""Levels of lists and objects in an answer; a record and `--json` keep ten more around it."""
Checked = tuple[dict[str, Any] | None, str | None]


def check_submissions(module: dspy.RLM) -> None:
    """Have a Recursive Language Model reject what its outputs can't hold, in words for the planner."""
    accept = module._process_final_output

    def process(result: FinalOutput, names: list[str]) -> Checked:
        output = result.output
        if isinstance(output, dict):
            fields = module.signature.output_fields
            if len(names) == 1 and isinstance(inner := output.get(names[0]), dict) and set(inner) == set(names):
                kind = fields[names[0]].annotation
                output = inner if kind is str or _fits(inner[names[0]], kind) > _fits(inner, kind) else output
            for name in names:
                if name in output and (why := _problem(output[name], fields[name].annotation)):
                    return None, f"[Error] {name}: {why}"
        try:
            checked: Checked = accept(FinalOutput(output), names)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return None, f"[Error] The submission can't be read: {error}"
        return checked

    module._process_final_output = process


def _problem(value: Any, annotation: object) -> str:
    if value is None and annotation is str:
        return "None was submitted where a text is asked for. SUBMIT the answer's text, such as 'not found'."
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        parts = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return ""
    return f"lists or objects more than {DEEPEST} levels deep can't be submitted. Flatten the value."


def _fits(value: Any, annotation: Any) -> bool:
    try:
        parse_value(value, annotation)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True
