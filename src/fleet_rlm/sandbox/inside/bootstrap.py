"""Starts the driver: says hello to the host, then loads the other modules of the artefact.

Generated code may change any module, and the builtins. The driver's modules are therefore not in `sys.modules`, and
have builtins of their own and copies of the standard library's modules.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType, ModuleType
    from typing import Any

VERSION = 1
"""The version of the protocol."""


def start(parts: Mapping[str, CodeType | str]) -> None:
    """Run the driver from its modules by name, as code or as source. Never returns."""
    python = sys.version.split()[0].encode()
    os.write(1, b'{"t":"hello","version":%d,"python":"%s","pid":%d}\n' % (VERSION, python, os.getpid()))
    importer(parts)("supervisor", level=1).Supervisor().main()


def importer(parts: Mapping[str, CodeType | str]) -> Callable[..., Any]:
    """Return the `__import__` of the driver's modules: `from .name import …` loads one of `parts`; any other module
    is imported as always, and then copied.
    """
    make, standard_import = type(sys), builtins.__import__
    loaded: dict[str, ModuleType] = {}
    copies = {"sys": sys, "builtins": builtins, "typing": make("typing")}
    vars(copies["typing"])["__getattr__"] = lambda _name: None  # no annotation is evaluated; to import it takes 3 ms
    private = dict(vars(builtins))

    def imported(
        name: str, _globals: object = None, _locals: object = None, names: Sequence[str] = (), level: int = 0
    ) -> ModuleType:
        if level:
            if name not in loaded:
                module = loaded[name] = make(f"fleet_driver.{name}")
                vars(module)["__builtins__"] = private
                code = parts[name]
                if isinstance(code, str):
                    code = compile(code, f"<driver/{name}.py>", "exec", dont_inherit=True)
                exec(code, vars(module))
            return loaded[name]
        if name not in copies:
            module = standard_import(name, None, None, names)
            copies[name] = make(name)
            vars(copies[name]).update(vars(module))
        return copies[name]

    private["__import__"] = imported
    return imported


if __name__ == "__main__":
    start(globals()["PARTS"])
