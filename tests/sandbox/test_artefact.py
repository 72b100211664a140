"""The driver's artefact: the same bytes everywhere, source where Python differs, and tracebacks that can be found."""

from __future__ import annotations

import ast
import marshal
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_rlm.sandbox import inside
from fleet_rlm.sandbox.host.artefact import BOOT, driver, framed
from fleet_rlm.sandbox.host.interpreter import Interpreter

from . import places

INSIDE = Path(inside.__path__[0])
DIGEST = "import hashlib;from fleet_rlm.sandbox.host.artefact import driver;print(hashlib.sha256(driver()).hexdigest())"
NAMES = sorted(path.stem for path in INSIDE.glob("*.py") if path.stem != "__init__")


def for_another_python() -> bytes:
    """The artefact as a Python of another version sees it: the magic number of its bytecode differs."""
    _magic, _codes, sources = marshal.loads(driver())
    return marshal.dumps((b"\0\0\r\n", b"no code for this Python", sources), 2)


def test_it_is_the_same_in_every_process_from_python_s_cache_or_compiled_anew(tmp_path: Path) -> None:
    digests = set()
    for seed, cache in (("0", "one"), ("1", "one"), ("2", "two")):  # anew, from the cache, anew
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPYCACHEPREFIX": str(tmp_path / cache)}
        done = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_it_holds_every_module_inside_and_no_path_of_this_machine() -> None:
    _magic, codes, sources = marshal.loads(driver())
    assert sorted(marshal.loads(codes)) == sorted(sources) == NAMES
    assert str(INSIDE).encode() not in driver()


def test_a_python_of_another_version_runs_it_from_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "driver", for_another_python)
    with Interpreter(places.BootTransport) as interpreter:
        assert interpreter.execute("'ran ' + grep('one\\ntwo', 't')[0]") == "'ran two'"


TRACEBACK = """
import traceback
parts = marshal.loads(codes) if magic == MAGIC_NUMBER else parts
found = {}
exec(parts["bootstrap"], found)
try:
    found["importer"](parts)("wire", level=1).loads("no JSON")
except BaseException:
    print(traceback.format_exc())
"""


@pytest.mark.parametrize("artefact", [driver, for_another_python], ids=["code", "source"])
def test_a_traceback_of_the_driver_names_its_file_and_line(artefact: Callable[[], bytes]) -> None:
    program = BOOT.rpartition("if magic==")[0] + TRACEBACK
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], input=framed(artefact()), capture_output=True, check=True
    )
    source = (INSIDE / "wire.py").read_text().splitlines()
    line = source.index("    return _scan(text, 0)[0]") + 1
    assert f'File "<driver/wire.py>", line {line}, in loads' in done.stdout.decode()


def test_every_function_of_the_driver_has_its_file_and_first_line() -> None:
    codes = marshal.loads(marshal.loads(driver())[1])
    for name in NAMES:
        found, todo = set(), [codes[name]]
        while todo:
            code = todo.pop()
            assert code.co_filename == f"<driver/{name}.py>"
            found.add((code.co_name, code.co_firstlineno))
            todo += [part for part in code.co_consts if hasattr(part, "co_consts")]
        for node in ast.walk(ast.parse((INSIDE / f"{name}.py").read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
                assert (node.name, first) in found
