"""Output fields without a sandbox: what a Predict asks for, and RLM's last extraction from its history.

An extraction first takes the newest draft that a cell printed; only without one is the history itself read as a text.
"""

from __future__ import annotations

import json
import re

from fleet_rlm.engine.offline.extract import NO_TEXT, SubPrompt, answers, listed
from fleet_rlm.engine.offline.fields import Output, kind_of_type, plan_outputs
from fleet_rlm.engine.offline.prompt import FieldsPrompt, Step
from fleet_rlm.engine.offline.question import kind_of, read_question
from fleet_rlm.engine.offline.reading import Unit, units
from fleet_rlm.engine.offline.summary import central
from fleet_rlm.engine.offline.written import asking, failures, harvest
from fleet_rlm.engine.offline.written.fitting import fit, number

_ASKING = re.compile(r"^(q|.*question|query|focus|topic|request|task|instructions?|claim|statement|keywords?|goal)$")
_DRAFT = re.compile(r"^Draft \(at most \d+ sub-queries\): (\{.*\})$", re.MULTILINE)
_SHOWN_QUESTION = re.compile(
    r"^Variable: `(?:question|query|focus|topic)`.*?^Preview:\n`{3}\n(.*?)\n`{3}", re.MULTILINE | re.DOTALL
)
_OWN_WORDS = re.compile(
    r"^(?:(?:Survey|Gathered|Search|Read|Asked|How often): .*|Draft \(.*|--- \w+: .*|\w+ +\d+\.\d  \S+:\d+  "
    r"|    (?:begins|ends): .*|\w+: (?=.*  \(.*, line \d+\)$))|  \(.*, line \d+\)$",
    re.MULTILINE,
)
"""What cells print besides the text's own words (`cells.py`)."""
_INTERNAL = {"variables_info", "repl_history", "iteration", "trajectory"}


def predict(prompt: FieldsPrompt) -> dict[str, object]:
    """A value for every output, in its type."""
    drafted = _drafted(prompt.history)
    question, text = _question(prompt), _material(prompt)
    values: dict[str, object] = {}
    for output in plan_outputs(prompt.outputs, question, prompt.instructions):
        name, schema = output.name, output.field.schema
        if name in drafted:
            value = drafted[name]
        elif output.how == "answer" and re.search(r"reasoning|thought|rationale", name):
            value = "I quote what the given text says to this, and nothing else."
        else:
            value = _value(output, question, text, values)
        value = fit(value, schema, None, name)
        if value is None and "anyOf" in schema:
            continue  # DSPy reads a missing optional field as None, and the word `null` as a text
        values[name] = value
    return values


def _drafted(history: tuple[Step, ...]) -> dict[str, object]:
    for step in reversed(history):
        met = _DRAFT.match(step.status)
        if met:
            try:
                found = json.loads(met[1])
            except ValueError:  # cut to fit the prompt
                continue
            return found if isinstance(found, dict) else {}
    return {}


def _question(prompt: FieldsPrompt) -> str:
    asked = [value for name, value in prompt.inputs.items() if _ASKING.match(name.lower())]
    if asked:
        return " ".join(asked[0].split())
    met = re.search(
        r"^Variable: `(?:question|query|focus|topic)`.*?^Preview:\n`{3}\n(.*?)\n`{3}", _shown(prompt), re.M | re.S
    )
    if met:
        return " ".join(met[1].split())
    given = [value for name, value in prompt.inputs.items() if name not in _INTERNAL and len(value) < 2000]
    return given[0] if len(prompt.inputs) > 1 and given and given[0].rstrip().endswith("?") else ""


def _shown(prompt: FieldsPrompt) -> str:
    return re.sub(r"^    ", "", prompt.inputs.get("variables_info", ""), flags=re.MULTILINE)


def _material(prompt: FieldsPrompt) -> str:
    """The text to answer from: what the cells printed, or the inputs that are no question."""
    if prompt.history:
        return "\n\n".join(_OWN_WORDS.sub("", step.output) for step in prompt.history if not step.error)
    held = [value for name, value in prompt.inputs.items() if name not in _INTERNAL and not _ASKING.match(name.lower())]
    return "\n\n".join(held or [value for name, value in prompt.inputs.items() if name not in _INTERNAL])


def _value(output: Output, question: str, text: str, earlier: dict[str, object]) -> object:
    passage = units(text)
    asked = output.question or question
    match output.how:
        case "harvest" if output.expression.split("(")[0] in _HARVEST:
            return _HARVEST[output.expression.split("(")[0]]({"text": text})
        case "size":
            return number(earlier.get(output.of))
        case "structure":
            return harvest.structure({"text": text})
        case "coverage":
            return 100
        case "examined":
            return 1
        case "summary":
            return " ".join(unit.text for unit in central(passage, 5, read_question(question).terms)) or text[:500]
        case "points":
            return [unit.text for unit in central(passage, 6, read_question(question).terms)]
        case "members" | "harvest":
            return _members(asked, passage)
    lines = _lines(asked, passage)
    entries = [{"name": line, "doc": "text", "line": 1, "score": 1.0} for line in lines]
    match output.how:
        case "findings":
            return lines
        case "flag":
            return asking.stated(entries)
        case "confidence":
            return 0.9 if lines else 0.0
        case "sources":
            return []
        case "choice":
            return " ".join(lines) or (text if len(text) < 5000 else "")
        case "number" | "count":
            return asking.pick_number({"question": asked, "terms": {}}, entries or [{"name": text[:2000]}])
    if lines:
        return "\n".join(lines)
    if not text.strip():
        return NO_TEXT
    if kind_of_type(output.field.schema) == "string" and not question:
        return " ".join(unit.text for unit in central(passage, 3)) or text[:500]
    return f"Nothing in the text answers this: {question or asked}"


_HARVEST = {
    "endpoints": harvest.endpoints,
    "errors": failures.errors,
    "header_list": harvest.header_list,
    "code_blocks": harvest.code_blocks,
    "line_patterns": harvest.line_patterns,
    "time_range": harvest.time_range,
}


def _members(question: str, passage: list[Unit]) -> list[dict[str, object]]:
    found = listed(read_question(question), passage)
    rows = [{"name": member.name, "text": member.text, "doc": "text", "line": 1, "count": 1} for member in found]
    return rows or [
        {"name": line, "text": "", "doc": "text", "line": 1, "count": 1} for line in _lines(question, passage)
    ]


def _lines(question: str, passage: list[Unit]) -> list[str]:
    asked = SubPrompt("answer", question, "")
    return answers(read_question(question), passage, asked) if kind_of(question) != "summary" else []
