"""What the offline model puts into the fields of a `Predict`: quotes from its inputs, or from what cells printed."""

from __future__ import annotations

import re

from fleet_rlm.offline.dspy_prompt import Field, FieldsPrompt
from fleet_rlm.offline.quoting import central_sentence, fitting_sentences
from fleet_rlm.offline.typed_values import ABSENT, HEAD, how_filled, resolved, value

ASKING = re.compile(
    r"^(q|.*question|query|focus|topic|request|task|prompt|instructions?|claim|statement|hypothesis|search|keywords?|goal)$"
)
"""Names of inputs that hold a question."""
_INTERNAL = {"variables_info", "repl_history", "iteration"}
_QUOTE = re.compile(r"^“.+” \([^\n]*\)$", re.MULTILINE)
_SHOWN_QUESTION = re.compile(
    r"^\s*Variable: `(?:question|query|focus)`.*?^\s*Preview:\n\s*`{3}\n(.*?)\n\s*`{3}", re.M | re.S
)
_SUMMARY = re.compile(r"summary|abstract|overview|synopsis")


def field_values(prompt: FieldsPrompt) -> dict[str, object]:
    """A value for every output field."""
    reasoning = [field for field in prompt.outputs if field.name == "reasoning"]
    fields = [field for field in prompt.outputs if field not in reasoning]
    question = question_of(prompt)
    if prompt.history:
        printed = "\n".join(step.output for step in prompt.history if not step.error)
        quotes = list(dict.fromkeys(_QUOTE.findall(printed)))
        quotes = quotes or [f"“{one}” (printed by a cell)" for one in fitting_sentences(question, printed)]
        found = {field.name: value(field, fields, question, quotes) for field in fields}
    else:
        found = _from_inputs(prompt, fields, question)
    why = "I quote what fits the question; I do not reason."
    return {**{field.name: why for field in reasoning}, **{name: one for name, one in found.items() if one is not None}}


def _from_inputs(prompt: FieldsPrompt, fields: list[Field], question: str) -> dict[str, object]:
    held = {name: text for name, text in prompt.inputs.items() if name not in _INTERNAL}
    text = "\n\n".join(text for name, text in held.items() if not ASKING.match(name.lower())) or "\n\n".join(
        held.values()
    )
    quotes = fitting_sentences(question, text) if question else []
    if not question and (central := central_sentence(text)):
        quotes = [central]
    values: dict[str, object] = {}
    for field in fields:
        values[field.name] = value(field, fields, question, quotes)
        if resolved(field.schema).get("type") == "string" and _SUMMARY.search(field.name):
            values[field.name] = central_sentence(text)
        elif how_filled(field, fields) == "answer":
            values[field.name] = "\n".join(quotes) or f"{HEAD}\n{ABSENT}"
    return values


def question_of(prompt: FieldsPrompt) -> str:
    """The question among the inputs, or among the variables that a planner was shown; empty when there is none."""
    asked = [text for name, text in prompt.inputs.items() if ASKING.match(name.lower())]
    if not asked and (met := _SHOWN_QUESTION.search(prompt.inputs.get("variables_info", ""))):
        asked = [met[1]]
    if not asked:
        asked = [text for name, text in prompt.inputs.items() if name not in _INTERNAL and text.rstrip().endswith("?")]
        asked = [text for text in asked if len(text) < 600]
    return " ".join(asked[0].split()) if asked else ""
