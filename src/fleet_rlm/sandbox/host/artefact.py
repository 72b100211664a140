"""Packs the driver (`inside/`) into the one artefact that every sandbox gets, and the program that takes it from stdin.

The artefact holds the driver's modules as source, and as code for sandboxes that run the same version of Python as
this process. `marshal` writes both: what it makes of texts is the same in all versions.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import threading
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from fleet_rlm.sandbox import inside

_FORMAT = 2 if sys.version_info < (3, 14) else marshal.version
"""Version 2 writes the same bytes in every process; but it can't write the code of Python 3.14."""
BOOT = """\
import marshal,os
from _frozen_importlib_external import MAGIC_NUMBER
def take(n):
 b=b''
 while len(b)<n:
  d=os.read(0,n-len(b))
  if not d: os._exit(66)
  b+=d
 return b
n=b''
while not n.endswith(b'\\n'): n+=take(1)
magic,codes,parts=marshal.loads(take(int(n)))
if magic==MAGIC_NUMBER: parts=marshal.loads(codes)
exec(parts['bootstrap'],{'__name__':'__main__','PARTS':parts})
"""
"""The program for `python -c` that reads a line with a length, as many bytes of an artefact, and runs the artefact."""


_lock = threading.Lock()


@cache
def driver() -> bytes:
    """Return the driver's artefact."""
    with _lock:
        without_cache, sys.dont_write_bytecode = sys.dont_write_bytecode, False  # to compile takes 60 ms a process
        try:
            return _driver()
        finally:
            sys.dont_write_bytecode = without_cache


def _driver() -> bytes:
    codes: dict[str, CodeType] = {}
    sources: dict[str, str] = {}
    for path in sorted(Path(inside.__path__[0]).glob("*.py")):
        if path.stem != "__init__":
            loader = SourceFileLoader(f"{inside.__name__}.{path.stem}", str(path))
            code = loader.get_code(loader.name)  # from Python's own cache, where there is one
            assert code is not None  # a source file always has code
            codes[path.stem] = _renamed(code, f"<driver/{path.name}>")
            sources[path.stem] = path.read_text(encoding="utf-8")
    return _pack(codes, sources)


@cache
def modules() -> tuple[str, ...]:
    """Return the names of the standard library's modules that the driver imports when it starts."""
    parts: dict[str, CodeType] = marshal.loads(marshal.loads(driver())[1])
    named = {name for code in parts.values() for name in code.co_names}
    return tuple(sorted(named & sys.stdlib_module_names - {"typing"}))


def program(source: str) -> bytes:
    """Return an artefact that runs this source instead of the driver."""
    return _pack({"bootstrap": compile(source, "driver.py", "exec", dont_inherit=True)}, {"bootstrap": source})


def framed(artefact: bytes) -> bytes:
    """Return an artefact as `BOOT` reads it: after a line with its length."""
    return b"%d\n" % len(artefact) + artefact


def _pack(codes: dict[str, CodeType], sources: dict[str, str]) -> bytes:
    return marshal.dumps((importlib.util.MAGIC_NUMBER, marshal.dumps(codes, _FORMAT), sources), 2)


def _renamed(code: CodeType, name: str) -> CodeType:
    """Return code that names this file, so that no path of the host's gets into a sandbox."""
    constants = tuple(_renamed(part, name) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.replace(co_filename=name, co_consts=constants)
