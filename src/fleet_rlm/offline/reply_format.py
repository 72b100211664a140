"""Write output fields in the format that an adapter of DSPy reads."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fleet_rlm.offline.dspy_prompt import Wire

Value = object
"""A value as JSON has it."""


def write_fields(wire: Wire, values: Mapping[str, Value]) -> str:
    """The fields in order. A text that quotes DSPy's own markers can't end its field early."""
    if wire == "json":
        return json.dumps(dict(values), ensure_ascii=False, indent=2)
    if wire == "xml":
        return "\n\n".join(f"<{name}>\n{_plain(value)}\n</{name}>" for name, value in values.items())
    parts = [f"[[ ## {name} ## ]]\n{_plain(value)}" for name, value in values.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def write_code(code: str) -> str:
    """A cell as the planner's `code` field holds it."""
    return f"```python\n{code.strip()}\n```"


def _plain(value: Value) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("[[ ##", "[ [ ##")
