"""Textual's private names: all of them in one module, and all of them still there."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator

import pytest
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump

import fleet_rlm.tui
from fleet_rlm.tui import seams
from fleet_rlm.tui.seams import SEAMS, Seam, SteadyDriver


def driver() -> SteadyDriver:
    """A driver, which Textual makes while an event loop runs."""

    async def make() -> SteadyDriver:
        return SteadyDriver(App())

    return asyncio.run(make())


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_every_listed_name_of_textuals_is_still_there(seam: Seam) -> None:
    one = {App: App, MessagePump: App, LinuxDriver: driver}.get(seam.owner, lambda: seam.owner)()
    assert hasattr(one, seam.name), f"gone since {seam.checked_with}: {seam.why}"


def own_attributes(node: ast.AST) -> Iterator[str]:
    """The private names that are read or set on `self`, or on `super()`."""
    for one in ast.walk(node):
        private = isinstance(one, ast.Attribute) and one.attr.startswith("_") and not one.attr.startswith("__")
        if private and ast.unparse(one.value) in ("self", "super()"):
            yield one.attr


def private_names(node: type) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(node)))
    return {name for name, value in vars(node).items() if name.startswith("_") and callable(value)} | {
        *own_attributes(tree)
    }


def every_class(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        yield one
        yield from every_class(one)


def test_no_other_module_uses_or_shadows_a_private_name_of_textuals() -> None:
    for module in pkgutil.walk_packages(fleet_rlm.tui.__path__, "fleet_rlm.tui."):
        importlib.import_module(module.name)
    ours = {
        one for base in (MessagePump, Driver) for one in every_class(base) if one.__module__.startswith("fleet_rlm.")
    }
    assert SteadyDriver in ours
    for one in sorted(ours, key=lambda one: one.__qualname__):
        theirs = {name for base in one.__mro__ if base.__module__.startswith("textual") for name in private_names(base)}
        taken = {name for name in private_names(one) & theirs if not name.startswith("__")}
        if one.__module__ == seams.__name__:
            assert taken <= {seam.name for seam in SEAMS}, one
        else:
            assert not taken, f"{one.__module__}.{one.__qualname__} uses {sorted(taken)}: put it into tui/seams.py"


def test_every_listed_name_is_used() -> None:
    source = inspect.getsource(seams)
    assert [seam.name for seam in SEAMS if f".{seam.name}" not in source] == []


def test_the_mouse_is_left_to_the_terminal_also_after_a_suspension() -> None:
    steady = driver()
    written: list[str] = []
    steady.write = written.append  # type: ignore[method-assign]
    steady.use_mouse(False)
    assert "\x1b[?1003l" in written
    written.clear()
    steady._enable_mouse_support()  # as Textual does when it comes back
    assert written == []


def test_a_mouse_that_reports_pixels_does_so_again() -> None:
    steady = driver()
    written: list[str] = []
    steady.write = written.append  # type: ignore[method-assign]
    steady._enable_mouse_pixels()
    steady.use_mouse(False)
    steady.use_mouse(True)
    assert written[-1] == "\x1b[?1016h"
