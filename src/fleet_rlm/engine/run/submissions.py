"""Check what code submits before dspy does: a value that no answer can hold is an error that the code sees."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import dspy
from dspy.adapters.utils import parse_value
from dspy.primitives.code_interpreter import FinalOutput

DEEPEST = 90
"""Levels of lists and objects in an answer; a record and `--json` keep ten more around it."""
LONG_NUMBER = "A number is too long: an int holds at most 4,300 digits, a float 308. Give a text or a shorter number."
LARGEST_INT = 10**4300
"""The first int that Python doesn't turn into text."""
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
                if name in output and (why := problem(output[name], fields[name].annotation)):
                    return None, f"[Error] {name}: {why}"
        try:
            checked: Checked = accept(FinalOutput(output), names)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return None, f"[Error] The submission can't be read: {error}"
        if checked[1] is not None and holds_long_number(str(output)):
            return None, f"{checked[1]}\n{LONG_NUMBER}"
        for name, value in (checked[0] or {}).items():
            if why := problem(value, None):  # of a text that was read as another type
                return None, f"[Error] {name}: {why}"
        return checked

    module._process_final_output = process


def problem(value: Any, annotation: object) -> str:
    """Return why no answer can hold this value, in words for a planner; empty when it can."""
    if value is None and annotation is str:
        return "None was submitted where a text is asked for. SUBMIT the answer's text, such as 'not found'."
    level = [value]
    for _ in range(DEEPEST + 1):
        if any(isinstance(one, float) and not math.isfinite(one) for one in level):
            return "NaN and infinity are no JSON numbers. Give a text or None instead."
        if any(isinstance(one, int) and abs(one) >= LARGEST_INT for one in level):
            return LONG_NUMBER
        level = [part for one in level for part in _parts(one)]
        if not level:
            return ""
    return f"lists or objects more than {DEEPEST} levels deep can't be submitted. Flatten the value."


def holds_long_number(text: str) -> bool:
    """Tell whether a text has a number of more digits than a float holds."""
    return re.search(r"\d{309}", text) is not None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _fits(value: Any, annotation: Any) -> bool:
    try:
        parse_value(value, annotation)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True
