"""Values of the type that a signature asks for: what was quoted where it fits, else an empty value. Nothing is guessed.

| type | what it gets |
| --- | --- |
| the first text | the answer, with its quotes |
| a list of texts | the quotes |
| a number | the number that a quote gives of a word of the question (`3 modules`), else 0 |
| choices | the one that the quotes name, else one like `unknown`, else the first |
| `found`, `exists` … as a bool | true if something was quoted; any other bool is false |
| anything else | empty: `None` where that is allowed, else no text, no items, 0 |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from fleet_rlm.offline.dspy_prompt import Field, Schema
from fleet_rlm.sandbox.inside.passages import COMMON_WORDS, word_patterns

How = Literal["answer", "quotes", "number", "found", "choice", "empty"]
HEAD = "The offline model searches and quotes; it does not reason:"
ABSENT = "Its search found no passage; a model with weights may."
_FOUND = re.compile(r"found|exists?|present|mentioned")
_UNKNOWN = re.compile(r"unknown|none|other|n/?a|unclear|not", re.IGNORECASE)
_DEEPEST = 8


def answer_of(quotes: Sequence[str]) -> str:
    """The offline model's answer: its quotes, one a line, or that there are none."""
    return "\n".join([HEAD, *(quotes or [ABSENT])])


def resolved(schema: Schema) -> Schema:
    """A schema without `$ref`, and of a union the first member that is not null."""
    definitions = schema.get("$defs", {})
    for _ in range(_DEEPEST):
        if "$ref" in schema:
            schema = definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
        elif members := [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
            schema = next((one for one in members if one.get("type") != "null"), {"type": "null"})
        else:
            break
    return {**schema, "$defs": definitions}


def choices_of(schema: Schema) -> list[object]:
    return list(schema.get("enum", [schema["const"]] if "const" in schema else []))


def may_be_null(schema: Schema) -> bool:
    return any(one.get("type") == "null" for one in [*schema.get("anyOf", []), *schema.get("oneOf", [])])


def how_filled(field: Field, fields: Sequence[Field]) -> How:
    """Where the value of one of the outputs comes from."""
    schema = resolved(field.schema)
    kind = schema.get("type", "string" if not field.schema else "")
    texts = [one.name for one in fields if resolved(one.schema).get("type") == "string" and not choices_of(one.schema)]
    if choices_of(schema):
        return "choice"
    if kind == "string":
        return "answer" if texts and field.name == texts[0] and not may_be_null(field.schema) else "empty"
    if (
        kind == "array"
        and resolved({**schema.get("items", {}), "$defs": schema["$defs"]}).get("type", "string") == "string"
    ):
        return "quotes" if not choices_of(resolved({**schema.get("items", {}), "$defs": schema["$defs"]})) else "empty"
    if kind in {"integer", "number"} and not may_be_null(field.schema):
        return "number"
    return "found" if kind == "boolean" and _FOUND.search(field.name) else "empty"


def empty(schema: Schema, depth: int = 0) -> object:
    """The emptiest value that a JSON schema accepts."""
    if may_be_null(schema):
        return None
    inner = resolved(schema)
    if choices := choices_of(inner):
        return next((one for one in choices if _UNKNOWN.search(str(one))), choices[0])
    if "default" in schema:
        default: object = schema["default"]
        return default
    match inner.get("type"):
        case "object":
            wanted = inner.get("required", []) if depth < _DEEPEST else []
            of = inner.get("properties", {})
            return {name: empty({**of.get(name, {}), "$defs": inner["$defs"]}, depth + 1) for name in wanted}
        case "array":
            one = {**inner.get("items", {}), "$defs": inner["$defs"]}
            return [empty(one, depth + 1) for _ in range(int(inner.get("minItems", 0)) if depth < _DEEPEST else 0)]
        case "integer":
            return int(inner.get("minimum", 0))
        case "number":
            return float(inner.get("minimum", 0.0))
        case "boolean":
            return False
        case "null":
            return None
    return ""


def number_pattern(question: str) -> str:
    """A pattern for a number that stands before a word of the question."""
    words = [shape.pattern for word, shape in word_patterns(question).items() if word not in COMMON_WORDS]
    return rf"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s+(?:\w+\s+){{0,2}}?(?:{'|'.join(words) or '$'})"


def value(field: Field, fields: Sequence[Field], question: str, quotes: Sequence[str]) -> object:
    """The value of an output, from what was quoted."""
    text = "\n".join(quotes)
    inner = resolved(field.schema)
    match how_filled(field, fields):
        case "answer":
            return answer_of(quotes)
        case "quotes":
            return list(quotes)
        case "found":
            return bool(quotes)
        case "number":
            met = re.search(number_pattern(question), text.lower())
            found = float(met[1].replace(",", "")) if met else empty(inner)
            return int(float(str(found))) if inner.get("type") == "integer" else found
        case "choice":
            named = [one for one in choices_of(inner) if str(one).lower() in text.lower()]
            return named[0] if named else empty(field.schema)
        case _:
            return empty(field.schema)
