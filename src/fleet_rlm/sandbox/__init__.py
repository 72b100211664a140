"""Where generated code runs: `inside` each sandbox, on the `host`, and the backends `local` and `modal`.

Programs that import this package's modules by the names that they had before these rooms go on working: see `_MOVED`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_MOVED = {
    f"{__name__}.transport": f"{__name__}.host.transport",
    f"{__name__}.observer": f"{__name__}.host.outcomes",
    f"{__name__}.pool": f"{__name__}.host.pool",
    f"{__name__}.modal.interpreter": f"{__name__}.modal.modal_interpreter",
    f"{__name__}.isolation": f"{__name__}.local",
    f"{__name__}.isolation.launcher": f"{__name__}.local.launcher",
}


class _OldNames(MetaPathFinder, Loader):
    """Import a module by its old name: a module with the same contents as the one that took its place."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 - the import system calls it so
        return ModuleSpec(fullname, self, is_package=True) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        now = vars(import_module(_MOVED[module.__name__]))
        module.__dict__.update({name: value for name, value in now.items() if not name.startswith("__")})
        module.__path__ = now.get("__path__", [])


sys.meta_path.append(_OldNames())
