"""Put members into a JSON text and take them out again, without a change to any other byte of it.

Claude Code's `settings.json` is a file that people write by hand: order, indentation and spelling stay theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from fleet_rlm.scaffold.assets import On

_UNEXPECTED = "is not what Claude Code expects there"
_SPACE = " \t\r\n"
HOOKS = "hooks"


class NotSettings(ValueError):
    """The text can't be changed safely: one line for the person."""


@dataclass(frozen=True)
class Entry:
    """One command for one event."""

    on: On
    command: str

    def group(self) -> dict[str, object]:
        """Return the object for the list of its event."""
        handler = {"type": "command", "command": self.command, "timeout": 10}
        matcher = {} if self.on.matcher is None else {"matcher": self.on.matcher}
        return {**matcher, "hooks": [handler]}


@dataclass(frozen=True)
class _Item:
    key: str
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class _Container:
    """An object or array in the text: where it opens and closes, and its items."""

    opens: int
    closes: int
    items: list[_Item]

    def named(self, key: str) -> _Item | None:
        return next((item for item in self.items if item.key == key), None)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse(text: str) -> dict[str, object]:
    """The settings. Raises `NotSettings`: no JSON (comments are none), no object, or a name that stands there twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise NotSettings(f"{json.dumps(twice)} stands twice in the same object")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=_refuse_constant)
    except NotSettings:
        raise
    except json.JSONDecodeError as error:
        raise NotSettings(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise NotSettings(str(error)) from error
    if not isinstance(value, dict):
        raise NotSettings("it holds no JSON object")
    hooks = value.get(HOOKS, {})
    if not isinstance(hooks, dict):
        raise NotSettings(f'"{HOOKS}" {_UNEXPECTED}')
    for event, groups in hooks.items():
        if not isinstance(groups, list) or not all(_is_group(group) for group in groups):
            raise NotSettings(f"{json.dumps(event)} in {json.dumps(HOOKS)} {_UNEXPECTED}")
    return value


def commands(text: str) -> set[str]:
    """Every command that hooks run. Raises `NotSettings`."""
    hooks = parse(text).get(HOOKS, {})
    assert isinstance(hooks, dict)
    return {
        str(handler.get("command"))
        for groups in hooks.values()
        for group in groups
        for handler in group.get("hooks", [])
    }


def merged(text: str, entries: Iterable[Entry]) -> tuple[str, list[str]]:
    """The text with the entries that it lacks, and what was made for them (`hooks`, `hooks.EVENT`).

    Raises `NotSettings`.
    """
    parse(text)
    made: list[str] = []
    for entry in entries:
        event = entry.on.event
        hooks_of_event = _find(text, HOOKS, event)
        if hooks_of_event is not None and entry.command in _commands_of(text, hooks_of_event):
            continue
        if hooks_of_event is not None:
            text = _insert(text, hooks_of_event, None, entry.group())
            continue
        made.append(f"{HOOKS}.{event}")
        hooks = _find(text, HOOKS)
        if hooks is not None:
            text = _insert(text, hooks, event, [entry.group()])
        else:
            made.append(HOOKS)
            text = _insert(text, _top(text), HOOKS, {event: [entry.group()]})
    return text, made


def unmerged(text: str, ours: set[str], made: Iterable[str]) -> tuple[str, int]:
    """The text without our commands, and how many there were. What was `made` for them goes when it is empty.

    Raises `NotSettings`.
    """
    value = parse(text)
    count = 0
    events = value.get(HOOKS, {})
    assert isinstance(events, dict)
    for event in events:
        while (cut := _first_of(text, event, ours)) is not None:
            text, count = cut, count + 1
    for path in sorted(made, key=lambda one: -one.count(".")):
        *above, last = path.split(".", 1)
        parent = _find(text, *above) if above else _top(text)
        item = parent.named(last) if parent is not None else None
        if parent is not None and item is not None and not _container(text, item.value).items:
            text = _without(text, parent, parent.items.index(item))
    return text, count


def _first_of(text: str, event: str, ours: set[str]) -> str | None:
    """The text without the first handler of ours for the event, and without its group if that held nothing else."""
    groups = _find(text, HOOKS, event)
    if groups is None:
        return None
    for at, group in enumerate(groups.items):
        inside = _container(text, group.value).named("hooks")
        if inside is None:
            continue
        handlers = _container(text, inside.value)
        for place, handler in enumerate(handlers.items):
            if _value(text, handler).get("command") in ours:
                return _without(text, groups, at) if len(handlers.items) == 1 else _without(text, handlers, place)
    return None


def _is_group(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    handlers = value.get("hooks", [])
    return isinstance(handlers, list) and all(isinstance(handler, dict) for handler in handlers)


def _commands_of(text: str, groups: _Container) -> set[object]:
    return {handler.get("command") for group in groups.items for handler in _value(text, group).get("hooks", [])}


def _value(text: str, item: _Item) -> dict:  # type: ignore[type-arg]
    value: dict[str, object] = _DECODER.raw_decode(text, item.value)[0]
    return value


def _top(text: str) -> _Container:
    return _container(text, _past_space(text, 0))


def _find(text: str, *path: str) -> _Container | None:
    here = _top(text)
    for name in path:
        item = here.named(name)
        if item is None:
            return None
        here = _container(text, item.value)
    return here


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _container(text: str, opens: int) -> _Container:
    """The object or array that opens at this place of a text that is known to be JSON."""
    is_object = text[opens] == "{"
    items: list[_Item] = []
    at = _past_space(text, opens + 1)
    while text[at] not in "}]":
        start, key = at, ""
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _past_space(text, _past_space(text, at) + 1)  # past the colon
        end = _DECODER.raw_decode(text, at)[1]
        items.append(_Item(key, start, at, end))
        at = _past_space(text, end)
        if text[at] == ",":
            at = _past_space(text, at + 1)
    return _Container(opens, at, items)


def _without(text: str, container: _Container, at: int) -> str:
    items = container.items
    if at > 0:
        return text[: items[at - 1].end] + text[items[at].end :]
    if len(items) > 1:
        return text[: items[0].start] + text[items[1].start :]
    kept = container.opens + 1 if items[0].end < container.closes else items[0].start  # as `_insert` left it
    return text[:kept] + text[container.closes :]


def _insert(text: str, container: _Container, key: str | None, value: object) -> str:
    """Return the text with one more item at the container's end, indented like the others."""
    newline = "\r\n" if "\r\n" in text else "\n"
    unit = _unit(text)
    if container.items:
        between = text[container.opens + 1 : container.items[0].start]
        indent = between.rpartition("\n")[2] if "\n" in between else None
    elif unit is not None:
        indent = _indent_of_line(text, container.opens) + unit
    else:
        indent = None
    head = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    if indent is None:
        item = head + json.dumps(value, ensure_ascii=False)
    else:
        lines = json.dumps(value, ensure_ascii=False, indent=unit or "  ").split("\n")
        item = newline.join([indent + head + lines[0], *(indent + line for line in lines[1:])])
    if container.items:
        end = container.items[-1].end
        return text[:end] + ("," + (" " if indent is None else newline)) + item + text[end:]
    if indent is None or container.closes > container.opens + 1:  # white space in an empty container stays a person's
        return text[: container.closes] + item.lstrip(" \t") + text[container.closes :]
    closing = newline + _indent_of_line(text, container.opens)
    return text[: container.opens + 1] + newline + item + closing + text[container.closes :]


def _unit(text: str) -> str | None:
    """Return the text's indentation; None when it is all on one line."""
    top = _top(text)
    if not top.items:
        return "  "
    between = text[top.opens + 1 : top.items[0].start]
    return (between.rpartition("\n")[2] or "  ") if "\n" in between else None


def _indent_of_line(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
