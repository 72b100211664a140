"""What config.toml may say: sections, names, what each takes; and the variables that say the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


def _text(value: object) -> bool:
    return isinstance(value, str)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _yes_or_no(value: object) -> bool:
    return isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


TABLE: Mapping[str, Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "model": {
        "name": (_text, "a model's name in quotes"),
        "sub": (_text, "a model's name in quotes"),
        "api_base": (_text, "an address in quotes"),
        "max_tokens": (_whole, "a whole number from 1 on"),
    },
    "run": {
        "isolation": (_text, "names of isolation modes in quotes"),
        "sandbox": (_text, "local, modal or auto in quotes"),
        "max_iterations": (_whole, "a whole number from 1 on"),
        "max_llm_calls": (_whole, "a whole number from 1 on"),
        "max_tokens": (_whole, "a whole number from 1 on"),
        "max_seconds": (_amount, "a number above 0"),
        "max_cost_usd": (_amount, "a number above 0"),
        "concurrency": (_whole, "a whole number from 1 on"),
    },
    "modal": {
        "app": (_text, "an app's name in quotes"),
        "image": (_text, "an image's id or reference in quotes"),
        "python_version": (_text, 'a version in quotes, such as "3.12"'),
        "packages": (_texts, 'a list of names, such as ["numpy"]'),
        "volume": (_text, "a volume's name in quotes"),
        "secrets": (_texts, 'a list of names, such as ["search-key"]'),
        "network": (_yes_or_no, "true or false"),
        "cpu": (_amount, "a number above 0"),
        "memory": (_whole, "a whole number of MiB"),
        "timeout": (_amount, "a number of seconds"),
    },
}


RUN_VARIABLES: Mapping[str, str] = {
    name: f"FLEET_RLM_{name.upper()}"
    for name in ("max_iterations", "max_llm_calls", "max_tokens", "max_seconds", "max_cost_usd", "concurrency")
}
"""Limits of a run in the environment: `FLEET_RLM_MAX_ITERATIONS` is `[run] max_iterations`."""


def number(name: str, text: str) -> int | float | None:
    """A limit of `[run]` as the environment writes it; None when it is not what the name takes."""
    whole = TABLE["run"][name][0] is _whole
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if TABLE["run"][name][0](value) else None
