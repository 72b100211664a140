"""The public functions and classes say every parameter with its type, and the docs list the same ones."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import fleet_rlm
from fleet_rlm.sandbox.local import DEFAULT_ORDER

PUBLIC = ("LocalInterpreter", "ModalInterpreter", "record", "run", "SandboxPool", "lm", "open_run")
DOCS = Path(__file__).parent.parent / "docs" / "sandboxes.md"


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(fleet_rlm, name)).parameters)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_is_named_and_typed(name: str) -> None:
    for parameter in parameters(name).values():
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), parameter
        assert parameter.annotation is not parameter.empty, parameter


def in_docs(default: Any) -> str:
    """A default as the table writes it."""
    if default is None or default == ():
        return "none"
    if default == DEFAULT_ORDER:
        return "strongest first"
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize(("name", "column"), [("LocalInterpreter", 1), ("ModalInterpreter", 2)])
def test_the_docs_list_every_parameter_with_its_default(name: str, column: int) -> None:
    head = "| parameter | `LocalInterpreter` |"
    table = DOCS.read_text(encoding="utf-8").split(head)[1].split("\n\n")[0].splitlines()[2:]
    listed: dict[str, str] = {}
    for row in table:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        names = re.findall(r"`(\w+)`", cells[0])
        defaults = cells[column].split(", ")
        listed |= dict(zip(names, defaults * (len(names) if len(defaults) == 1 else 1), strict=True))
    taken = {parameter: default for parameter, default in listed.items() if default != "–"}
    assert taken == {one.name: in_docs(one.default) for one in parameters(name).values()}


def test_a_type_checker_sees_the_names_that_a_program_can_use() -> None:
    tree = ast.parse(inspect.getsource(fleet_rlm))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: line.module for line in block.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    assert seen == {**fleet_rlm._HOMES, "events": "fleet_rlm"}


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("transport", "Limits"),
        ("pool", "SandboxPool"),
        ("observer", "SandboxObserver"),
        ("modal.interpreter", "ModalInterpreter"),
        ("isolation.launcher.seccomp", "__doc__"),
        ("local", "LocalInterpreter"),
    ],
)
def test_modules_that_moved_into_rooms_are_found_by_their_old_names(old: str, name: str) -> None:
    assert getattr(importlib.import_module(f"fleet_rlm.sandbox.{old}"), name)
