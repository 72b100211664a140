"""The names that generated code finds: variables, the host's functions, helpers, builtins and modules.

A cell may give any of these names to something else, or change the things themselves; all are there again in the next.
"""

from __future__ import annotations

import builtins
import contextlib
import mmap
import os
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from .host_functions import HostFunctions
from .source import guard
from .toolbox import install
from .wire import Message, loads

_BUILTINS, _MODULES = vars(builtins), sys.modules


class Missing(Exception):
    """Inputs whose file is not there, or not what was sent; `args[0]` are their names."""


def _no_input(_: object = "") -> str:
    raise EOFError("input() has nobody to ask in this sandbox")


def _leave_cell(code: object = None) -> NoReturn:
    """Implement `exit` and `quit`: end the cell and, other than Python's own, leave stdin open."""
    raise SystemExit(code)


_leave_cell.__name__ = _leave_cell.__qualname__ = "exit"


class Names:
    """One namespace for all cells, which is the module `__main__`."""

    def __init__(self, host: HostFunctions, helpers: bool, volume: str | None) -> None:
        """`helpers`: install those of the toolbox; `volume` is the folder where a volume is mounted."""
        self.host = host
        self.module = _MODULES["__main__"] = types.ModuleType("__main__")
        self.namespace: dict[str, Any] = vars(self.module)
        self.functions: dict[str, Callable[..., Any]] = {}
        self.inputs: dict[tuple[str, str], Any] = {}
        self.prepared: dict[str, Any] = {}
        """Names that set-ups left, such as dspy's."""
        _BUILTINS.update(input=_no_input, exit=_leave_cell, quit=_leave_cell, __fleet_guard__=guard)
        self.helpers = install(volume) if helpers else {}
        _BUILTINS.update(self.helpers)
        self.code = [(one, one.__code__, one.__defaults__, one.__kwdefaults__) for one in self.helpers.values()]
        homes = {id(one.__globals__): one.__globals__ for one in self.helpers.values()}
        self.homes = [(home, dict(home)) for home in homes.values()]
        self.standard, self.modules = dict(_BUILTINS), dict(_MODULES)

    def restore(self) -> None:
        """Give the builtins, the modules that were there at first, and the helpers their own things back."""
        _BUILTINS.update(self.standard)
        sys.modules = _MODULES
        _MODULES.update(self.modules)
        for home, own in self.homes:
            home.update(own)
        for function, *parts in self.code:
            for name, part in zip(("__code__", "__defaults__", "__kwdefaults__"), parts, strict=True):
                if getattr(function, name) is not part:
                    setattr(function, name, part)

    def keep(self, before: set[str]) -> None:
        """Remember the names that a set-up added to those of `before`."""
        hidden = {*before, *self.functions}
        self.prepared |= {name: value for name, value in self.namespace.items() if name not in hidden}

    def bind_functions(self, names: list[str]) -> None:
        """Put the host's functions, SUBMIT and the helpers under their names again, whatever a cell made of them."""
        self.functions.update({name: self.host.named(name) for name in names}, SUBMIT=self.host.submit)
        for name in [name for name in self.helpers if name in self.namespace]:
            del self.namespace[name]
        if not callable(self.namespace.get("print", print)):
            del self.namespace["print"]
        for name, value in self.prepared.items():
            self.namespace.setdefault(name, value)
        self.namespace.update({name: self.functions[name] for name in (*names, "SUBMIT")}, __name__="__main__")

    def say_what_comes_back(self, stdout: TextIO) -> None:
        """Tell of values under names that mean a function again in the next cell: they would seem to vanish."""
        mine = [name for name in self.helpers if name in self.namespace]
        mine += [name for name, own in self.functions.items() if self.namespace.get(name, own) is not own]
        if mine:
            names = ", ".join(sorted(mine))
            words = "means the helper" if len(mine) == 1 else "mean the helpers"
            with contextlib.suppress(OSError, ValueError):
                stdout.write(f"[{names} {words} again from the next step on: keep yours under another name]\n")

    def bind(self, variables: Message) -> None:
        """Set variables, each to a copy of its own of the input. Raises `Missing`."""
        missing = []
        for name, how in variables.items():
            try:
                self.namespace[name] = _copied(self._stored(how)) if "path" in how else how.get("value")
            except (OSError, ValueError):
                missing.append(name)
        if missing:
            raise Missing(missing)

    def _stored(self, how: Message) -> Any:
        """Return the value of an input's file, read once. Raises OSError or ValueError if it is not what was sent."""
        key = how["ref"], how["type"]
        if key not in self.inputs:
            import hashlib

            fd = os.open(how["path"], os.O_RDONLY)
            try:
                data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
            with data:
                if hashlib.sha256(data).hexdigest() != how["ref"]:
                    raise ValueError(how["path"])
                if how["type"] == "bytes":
                    self.inputs[key] = bytes(data)
                else:
                    text = str(data, "utf-8", "surrogatepass")
                    self.inputs[key] = text if how["type"] == "text" else loads(text)
        return self.inputs[key]


def _copied(value: Any) -> Any:
    """Return a copy of an input with new containers; its texts and numbers, which nobody can change, are shared."""
    if type(value) is dict:
        return {key: item if type(item) is str else _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [item if type(item) is str else _copied(item) for item in value]
    return value
