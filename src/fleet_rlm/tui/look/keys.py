"""Every action with its id and keys: what `[keys]` in the config file may name, and the printable list."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from textual.binding import Binding
from textual.dom import DOMNode

import fleet_rlm.tui

_SIGNS = {
    "question_mark": "?", "slash": "/", "colon": ":", "left_square_bracket": "[", "right_square_bracket": "]",
    "full_stop": ".", "comma": ",", "plus": "+", "minus": "-", "dollar_sign": "$", "delete": "del", "escape": "esc",
    "left": "←", "right": "→", "up": "↑", "down": "↓", "less_than_sign": "<", "greater_than_sign": ">",
    "equals_sign": "=", "exclamation_mark": "!", "number_sign": "#", "circumflex_accent": "^",
    "left_parenthesis": "(", "right_parenthesis": ")", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "apostrophe": "'", "underscore": "_",
}  # fmt: skip


def key_words(key: str) -> str:
    """A key as a person says it: `enter`, `ctrl+q`, `?`."""
    *modifiers, last = key.split("+")
    return "+".join((*modifiers, _SIGNS.get(last, last)))


@dataclass(frozen=True, slots=True)
class Key:
    """An action with its keys."""

    id: str
    keys: str
    """The keys as written in `BINDINGS`, with commas between."""
    description: str
    tooltip: str


def all_keys() -> list[Key]:
    """Return every action of our screens and widgets, by id. Imports all of them: not for the first paint."""
    for module in pkgutil.walk_packages(fleet_rlm.tui.__path__, f"{fleet_rlm.tui.__name__}."):
        importlib.import_module(module.name)
    keys: dict[str, Key] = {}
    for node in _classes(DOMNode):
        if not node.__module__.startswith(f"{fleet_rlm.tui.__name__}."):
            continue
        for binding in node.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id is not None and binding.id not in keys:
                keys[binding.id] = Key(binding.id, binding.key, binding.description, binding.tooltip)
    return sorted(keys.values(), key=lambda key: key.id)


def known_ids() -> set[str]:
    return {key.id for key in all_keys()}


def printable() -> str:
    """Return a table of all actions, for the terminal."""
    rows = [(key.id, key.keys.replace(",", " "), key.tooltip or key.description) for key in all_keys()]
    wide = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{name:<{wide[0]}}  {keys:<{wide[1]}}  {words}" for name, keys, words in rows]
    return "\n".join(("Actions and their keys; change them in config.toml under [keys].", "", *lines))


def _classes(base: type[DOMNode]) -> list[type[DOMNode]]:
    found: list[type[DOMNode]] = []
    todo = [base]
    while todo:
        node = todo.pop()
        found.append(node)
        todo.extend(node.__subclasses__())
    return found
