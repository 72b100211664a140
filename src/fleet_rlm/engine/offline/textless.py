"""A question without any text: what can be computed is computed, the rest is said to be out of reach."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleet_rlm.engine.offline import cells
from fleet_rlm.engine.offline.fields import Output
from fleet_rlm.engine.offline.prompt import Schema, Step
from fleet_rlm.engine.offline.written.fitting import fit

NOTHING_TO_READ = (
    "There is no text to look in, and the offline model knows nothing by itself: it searches, quotes, and computes "
    "plain arithmetic. Name documents, or a model, to have this answered."
)
_LONGEST = 400
_SUM = re.compile(r"(?<![\w.])[-(]*\d[\d.]*(?:\s*(?:\*\*|//|[-+*/%])\s*[-(]*\d[\d.]*\)*)+")


def is_textless(question: str) -> bool:
    """Whether this input is a question alone, not a text that holds one."""
    return len(question) <= _LONGEST and len(re.findall(r"[.!?](?:\s|$)", question)) <= 2


def next_cell(question: str, outputs: tuple[Output, ...], history: tuple[Step, ...]) -> tuple[str, str]:
    """(reasoning, code): a calculation and then its result, or at once that nothing can be answered."""
    found = _calculation(question)
    if found is None or (history and history[-1].error):
        values = {output.name: fit(_value(output, NOTHING_TO_READ), output.field.schema) for output in outputs}
        return "There is no text among the inputs, so I can neither search nor quote. I say so.", _submit(values)
    if not history or not history[-1].output.strip():
        return "There is a calculation in the question: I let Python do it.", f"result = {found}\nprint(result)"
    result = history[-1].output.strip().splitlines()[-1]
    said = f"{found} = {result}"
    values = {output.name: fit(_value(output, said, result), output.field.schema) for output in outputs}
    return "The calculation is done, so I submit its result.", _submit(values)


def _calculation(question: str) -> str | None:
    """The longest expression of plain arithmetic in a question that Python can read, with powers kept small."""
    for met in sorted(_SUM.finditer(question), key=lambda met: -len(met[0])):
        if re.search(r"\*\*\s*\d{4,}|\*\*.*\*\*", met[0]):
            continue
        try:
            compile(met[0], "calculation", "eval")
        except (SyntaxError, ValueError):
            continue
        return met[0]
    return None


def _value(output: Output, said: str, result: str | None = None) -> str | None:
    kind: Schema = output.field.schema
    if kind.get("type") in {"integer", "number"}:
        return result
    return said


def _submit(values: Mapping[str, object]) -> str:
    return f"SUBMIT({', '.join(f'{name}={cells.literal(value)}' for name, value in values.items())})"
