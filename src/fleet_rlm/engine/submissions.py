"""Check what code submits before dspy does: a value that no answer can hold is an error that the code sees."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.primitives.code_interpreter import FinalOutput

DEEPEST = 100
"""Levels of lists and objects in an answer, as many as a record keeps."""
Checked = tuple[dict[str, Any] | None, str | None]


def check_submissions(module: dspy.RLM) -> None:
    """Have a Recursive Language Model reject what its outputs can't hold, in words for the planner."""
    accept = module._process_final_output

    def process(result: FinalOutput, names: list[str]) -> Checked:
        output = result.output
        if isinstance(output, dict):
            fields = module.signature.output_fields
            if len(names) == 1 and isinstance(inner := output.get(names[0]), dict) and set(inner) == set(names):
                output = inner if fields[names[0]].annotation is str else output  # SUBMIT({'answer': …})
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
    level = [value]
    for _ in range(DEEPEST):
        level = [part for one in level if isinstance(one, dict | list) for part in _parts(one)]
        if not level:
            return ""
    return f"lists or objects more than {DEEPEST} levels deep can't be submitted. Flatten the value."


def _parts(value: dict[Any, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
