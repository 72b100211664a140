"""A text of medium size that every installation can make: what the installed dspy package says of itself.

The package's files are read and parsed, never imported; the same version of dspy gives the same bytes.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from fleet_rlm.documents.document_work import DocumentError

PACKAGE = "dspy"
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
_LEFT_OUT = {"tests", "test", "__pycache__", "vendored", "_vendor"}


class NotInstalled(DocumentError):
    """The package is not here, or not as files."""


def build() -> tuple[str, str]:
    """The text, and dspy's version. Raises `NotInstalled`."""
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise NotInstalled(
            f"{PACKAGE} is not installed.", "Install fleet-rlm again, in its folder: make clean sync"
        ) from error
    modules = dict(_modules(distribution))
    if not modules:
        raise NotInstalled(f"the files of {PACKAGE} {distribution.version} can't be found.", "Install it from a wheel.")
    parts = [_head(distribution)]
    parts += filter(None, (_section(name, modules[name]) for name in sorted(modules)))
    return "\n\n".join(parts) + "\n", distribution.version


def _modules(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        path = PurePosixPath(str(file))
        if path.suffix == ".py" and path.parts[0] == PACKAGE and not _LEFT_OUT & set(path.parts):
            parts = path.with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), Path(str(file.locate()))


def _head(distribution: metadata.Distribution) -> str:
    return (
        f"# DSPy {distribution.version}: its modules, classes and functions, in the words of their docstrings\n\n"
        f"Made from the installed package by `fleet-rlm corpus build {PACKAGE}`. DSPy is published under this license:"
        "\n\n"
        f"{textwrap.indent(_licence(distribution), '    ')}"
    )


def _licence(distribution: metadata.Distribution) -> str:
    for file in distribution.files or ():
        if PurePosixPath(str(file)).name in _LICENCE_FILES and ".dist-info" in str(file):
            return file.read_text(encoding="utf-8").strip()
    raise NotInstalled(
        f"{PACKAGE} {distribution.version} came without its license, which has to go with its text.",
        "Install it from a wheel: pip install --force-reinstall dspy",
    )


def _section(module: str, path: Path) -> str:
    """A module's docstrings; '' where it has none."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ""
    parts = [f"## {module}"]
    if words := ast.get_docstring(tree):
        parts.append(words)
    for node in tree.body:
        parts += _described(node, module)
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _described(node: ast.stmt, within: str) -> Iterator[str]:
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if node.name.startswith("_") and node.name not in ("__init__", "__call__"):
        return
    name, words = f"{within}.{node.name}", ast.get_docstring(node)
    if isinstance(node, ast.ClassDef):
        inner = [part for each in node.body for part in _described(each, name)]
        if words or inner:
            bases = ", ".join(map(ast.unparse, node.bases))
            yield f"### class {name}{f'({bases})' if bases else ''}"
            if words:
                yield words
            yield from inner
    elif words:
        yield f"#### {name}({ast.unparse(node.args)})"
        yield words
