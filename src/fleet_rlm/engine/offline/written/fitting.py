"""Give a value the type that an output asks for, by its JSON schema."""

from __future__ import annotations

import re

from fleet_rlm.engine.offline.written.texts import Entry


def plain(value: object) -> object:
    """An entry without what is only bookkeeping: its own fields, or one line of text when it has none."""
    if isinstance(value, dict) and "name" in value and "doc" in value:
        own = {
            key: part
            for key, part in value.items()
            if key
            not in {
                "name",
                "text",
                "doc",
                "line",
                "under",
                "count",
                "level",
                "category",
                "fitting",
                "score",
                "sure",
                "shaped",
                "opens",
            }
        }
        return own or label(value)
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def label(value: object) -> str:
    """A value as one text: an entry as `name: what is said of it`, a list as lines."""
    if isinstance(value, dict) and "name" in value:
        said = str(value.get("text") or value.get("description") or "")
        return f"{value['name']}: {said}" if said and said != value["name"] else str(value["name"])
    if isinstance(value, dict):
        return "\n".join(f"{key}: {label(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(label(part) for part in value)
    return "" if value is None else str(value)


def number(value: object) -> float:
    """The first number in a value; how many, when it is a collection; 0 when there is none."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, (list, tuple, set)):
        return float(len(value))
    if isinstance(value, dict):
        return (
            float(value["count"])
            if isinstance(value.get("count"), int)
            else float(sum(number(part) if isinstance(part, (list, int)) else 1 for part in value.values()))
        )
    met = re.search(r"-?\d[\d,]*(?:\.\d+)?", str(value))
    words = {
        "one": 1,
        "two": 2,
        "three": 3,
        "four": 4,
        "five": 5,
        "six": 6,
        "seven": 7,
        "eight": 8,
        "nine": 9,
        "ten": 10,
        "eleven": 11,
        "twelve": 12,
    }
    said = re.search(r"\b(?:" + "|".join(words) + r")\b", str(value).lower())
    return float(met[0].replace(",", "")) if met else float(words[said[0]]) if said else 0.0


def fit(value: object, schema: Entry, defs: Entry | None = None, name: str = "") -> object:
    """The value as the schema asks; what can't be had is empty, zero, false or null, never another type."""
    defs = schema.get("$defs", defs or {})
    if "$ref" in schema:
        return fit(value, defs.get(schema["$ref"].split("/")[-1], {}), defs, name)
    empty = value is None or value == "" or value == [] or value == {}
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        if empty and any(choice.get("type") == "null" for choice in choices):
            return None
        wanted = [choice for choice in choices if choice.get("type") != "null"]
        alike = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}.get(
            type(value)
        )
        numeric = isinstance(value, str) and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value)
        first = (
            [choice for choice in wanted if choice.get("type") == alike]
            if not numeric
            else [choice for choice in wanted if choice.get("type") in {"integer", "number"}]
        )
        return fit(value, (first or wanted)[0], defs, name)
    if "allOf" in schema:
        return fit(value, schema["allOf"][0], defs, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        said = label(value).lower()
        options = sorted(schema["enum"], key=lambda option: -len(str(option)))
        held = [option for option in options if option == value] or [
            option
            for option in options
            if re.search(rf"(?<!\w){re.escape(str(option).lower().replace('_', ' '))}", said.replace("_", " "))
        ]
        unsure = [
            option
            for option in options
            if re.fullmatch(r"unknown|none|other|neutral|not[ _-]?found|n/?a|unclear|mixed", str(option), re.I)
        ]
        return (held or unsure or schema["enum"])[0]
    kind = schema.get("type")
    if isinstance(kind, list):
        return fit(value, {"anyOf": [{**schema, "type": one} for one in kind]}, defs, name)
    if kind == "null":
        return None
    if kind == "string":
        return label(value)
    if kind == "boolean":
        return (
            not re.match(r"\s*(no|not|false|0|none|nothing)\b", label(value).lower())
            if isinstance(value, str) and value
            else bool(value)
        )
    if kind in {"integer", "number"}:
        found = max(schema.get("minimum", float("-inf")), min(schema.get("maximum", float("inf")), number(value)))
        return int(found) if kind == "integer" else found
    if kind == "array":
        parts = (
            []
            if empty
            else list(value)
            if isinstance(value, (list, tuple))
            else [{"name": str(key), "text": label(part)} for key, part in value.items()]
            if isinstance(value, dict) and "name" not in value
            else [value]
        )
        shapes = schema.get("prefixItems")
        if shapes:
            return [fit(parts[at] if at < len(parts) else None, shape, defs, name) for at, shape in enumerate(shapes)]
        return [fit(part, schema.get("items", {}), defs, name) for part in parts]
    if kind == "object" and "properties" in schema:
        return fill(value, schema, defs)
    if kind == "object":
        inner = schema.get("additionalProperties")
        inner = inner if isinstance(inner, dict) else {}
        if isinstance(value, dict) and "doc" not in value:
            return {str(key): fit(part, inner, defs, str(key)) for key, part in value.items()}
        entries = [] if empty else list(value) if isinstance(value, (list, tuple)) else [value]
        rows = [part if isinstance(part, dict) else {"name": str(part)[:80], "text": str(part)} for part in entries]
        return {
            str(row.get("name", at)): fit(
                row.get("text", "") or row.get("count", 1)
                if inner.get("type") not in {"integer", "number"}
                else row.get("count", 1),
                inner,
                defs,
            )
            for at, row in enumerate(rows)
        }
    return plain(value)


def fill(value: object, schema: Entry, defs: Entry) -> Entry:
    """An object's properties out of an entry, by what their names mean."""
    entry = value if isinstance(value, dict) else {"name": label(value), "text": label(value)}
    meanings = {
        "name": "name|title|label|id|key|term|heading|item|error|entity|subject|value|header|section",
        "text": "text|description|desc|summary|detail|what|meaning|purpose|definition|explanation|reason|point|evidence"
        "|quote|content|cause|note|answer|sentence|message|statement|finding",
        "count": "count|total|number|occurrences|frequency|n|times|amount",
        "line": "line|row|position|offset",
        "doc": "doc|document|file|source|origin|where|location|reference|chunk_id",
    }
    filled: Entry = {}
    for name, shape in schema["properties"].items():
        held = entry.get(name)
        if held is None:
            tokens = [token.rstrip("s") for token in re.split(r"[_\W]+|(?<=[a-z])(?=[A-Z])", name.lower())]
            held = next((entry[key] for key in entry if key.lower() in tokens), None)
        if held is None:
            held = next(
                (
                    entry.get(key)
                    for key, names in meanings.items()
                    if re.search(rf"(?:^|_)(?:{names})s?(?:$|_)", name.lower()) and entry.get(key) is not None
                ),
                None,
            )
        if held is None and name in schema.get("required", []) and shape.get("type") == "string" and not filled:
            held = entry.get("name")
        if held is None and "default" in shape:
            filled[name] = shape["default"]
        elif held is not None or name in schema.get("required", list(schema["properties"])):
            filled[name] = fit(held, shape, defs, name)
    return filled
