"""The laws of docs/architecture.md, held by tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "fleet_rlm"
MOST_LINES = 500


def test_nothing_below_imports_what_stands_above() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("fleet_rlm", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while ends := {module for module, imported in imports.items() if not imported & imports.keys()}:
        imports = {module: imported for module, imported in imports.items() if module not in ends}
    while unused := imports.keys() - {name for imported in imports.values() for name in imported}:
        imports = {module: imported for module, imported in imports.items() if module not in unused}
    assert not imports, f"these modules import each other in a circle: {sorted(imports)}"


def test_no_two_modules_have_the_same_file_name() -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        if path.name not in ("__init__.py", "__main__.py"):
            places.setdefault(path.name, []).append(str(path.relative_to(SOURCE)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_no_module_is_long() -> None:
    long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long


def test_the_driver_needs_nothing_but_the_standard_library() -> None:
    folder = SOURCE / "sandbox" / "inside"
    ours = {f".{path.stem}" for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        imported = {
            name.partition(".")[0] or name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ["." * node.level + (node.module or "")]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert imported <= sys.stdlib_module_names | ours, f"{path.name}: {imported - sys.stdlib_module_names - ours}"


@pytest.mark.parametrize(
    ("entry", "forbidden"),
    [
        ("fleet_rlm", {"dspy", "litellm", "modal", "textual", "typer"}),
        ("fleet_rlm.cli.entry", {"dspy", "litellm", "modal", "textual"}),
        ("fleet_rlm.tui.app", {"dspy", "litellm", "modal"}),
        ("fleet_rlm.runs.run_reader", {"dspy", "litellm", "modal", "textual"}),
    ],
)
def test_importing_loads_nothing_it_does_not_need(entry: str, forbidden: set[str]) -> None:
    code = f"import sys, {entry}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not forbidden & set(done.stdout.split())
