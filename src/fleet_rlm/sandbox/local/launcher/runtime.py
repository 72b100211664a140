"""The surroundings of generated code: Python's own folders, a small environment, and the driver."""

from __future__ import annotations

import builtins
import marshal
import os
import sys
from types import CodeType, ModuleType

from .plan import Plan

SYSTEM = (
    "/bin", "/usr/bin", "/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/lib/locale",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone", "/etc/os-release",
    "/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/share/zoneinfo", "/usr/share/locale", "/etc/mime.types",
    "/etc/alternatives", "/nix/store", "/usr/share/fonts", "/etc/fonts",
)  # fmt: skip
"""The paths that any program needs of a Linux system, with nothing of a person's."""


def readable_paths(plan: Plan) -> list[str]:
    """Return system folders, Python's runtime and its installed packages, without folders of editable installs."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base, executable = sys.base_prefix, os.path.realpath(sys.executable)
    paths = [*SYSTEM, executable]
    if _shared(base):
        paths += [f"{base}/lib/{version}", f"{base}/lib64/{version}", f"{base}/bin/python3", f"{base}/bin/{version}"]
        if os.path.isdir(base + "/lib"):
            paths += [f"{base}/lib/{name}" for name in os.listdir(base + "/lib") if name.startswith("libpython")]
    else:
        paths.append(base)  # all of it: parts would find another libpython, or miss the libraries beside it
    environment = os.path.dirname(os.path.dirname(sys.executable))
    if os.path.exists(environment + "/pyvenv.cfg"):
        paths += [sys.executable, environment + "/pyvenv.cfg"]
    return list(dict.fromkeys([*paths, *plan.packages]))


def _shared(prefix: str) -> bool:
    """Return True if other things than Python lie under this prefix."""
    if prefix in ("/", "/usr", "/usr/local", "/opt", "/home"):
        return True
    home = _home()
    return home is not None and (home == prefix or home.startswith(prefix + "/") or prefix == home + "/.local")


def _home() -> str | None:
    import pwd

    try:
        return os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def environment(home: str) -> dict[str, str]:
    """Return the whole environment of generated code, with thread pools below the limit of processes."""
    threads = "4"
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "USER": "user",
        "LANG": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }


def set_environment(home: str) -> set[str]:
    """Replace this process's environment; return the names in it."""
    os.environ.clear()
    os.environ.update(environment(home))
    return set(os.environ)


def load_driver(artefact: bytes) -> dict[str, CodeType]:
    """Return the driver's modules as code: the engine, which packed them, runs the same Python."""
    parts: dict[str, CodeType] = marshal.loads(marshal.loads(artefact)[1])
    return parts


def stage(plan: Plan, parts: dict[str, CodeType]) -> tuple[CodeType, dict[str, object]]:
    """Make this process look like `python driver.py` with the packages that are readable; return the code to run and
    its globals.
    """
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [entry for entry in sys.path if entry != here] + plan.packages
    sys.argv[:] = ["driver.py"]
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name == "launcher" or name.startswith("launcher.")]:
        del sys.modules[name]
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    vars(main).update(__builtins__=builtins, PARTS=parts)
    return parts["bootstrap"], vars(main)
