"""The source of a cell: parsed, with hints for notebook syntax, and changed so that SUBMIT and interrupts end it."""

from __future__ import annotations

import ast
import sys


class Submitted(BaseException):
    """Ends a cell that called SUBMIT."""


class Interrupted(KeyboardInterrupt):
    """Ends a cell that was interrupted."""


def guard() -> None:
    """Raise SUBMIT's or an interrupt's exception again: called first in every handler that would swallow it."""
    error = sys.exc_info()[1]
    if isinstance(error, (Submitted, Interrupted)):
        raise error


def _catches_all(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_catches_all(item) for item in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id == "BaseException")


def let_pass(tree: ast.AST) -> None:
    """Make `except:` and `except BaseException:` let SUBMIT and interrupts pass; leave other handlers as they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type):
            call = ast.Expr(ast.Call(ast.Name("__fleet_guard__", ast.Load()), [], []))
            for part in ast.walk(call):
                ast.copy_location(part, node)
            node.body.insert(0, call)


_NO_SHELL = "there is no shell here: run a program with subprocess.run([...]), and use the packages that are installed"
_NOT_PYTHON = (
    ("%%", "a step is Python alone, without cell magics: write Python, and run a program with subprocess.run([...])"),
    ("%", "a step is plain Python, without magics such as %time: call time.perf_counter(), os.chdir and the like"),
    ("?", "a step is plain Python: call help(name) or dir(name) instead of ?"),
    *(
        (start, _NO_SHELL)
        for start in ("!", "$ ", "pip ", "pip3 ", "python ", "python3 ", "conda ", "apt ", "apt-get ")
    ),
)


def _notebook_hint(source: str, line: int | None) -> str:
    """Say what to write instead of a line that only a notebook or a shell understands; empty for any other line."""
    lines = source.splitlines()
    first = next((number for number, text in enumerate(lines, 1) if text.strip()), 0)
    for number in (line or 0, first):
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        left, equals, right = text.partition("=")
        starts = [text, right.strip()] if equals and left.strip().isidentifier() else [text]
        for start, words in _NOT_PYTHON:
            if any(one.startswith(start) for one in starts):
                return words
        if text.rstrip("?").rpartition(".")[2].isidentifier() and text.endswith("?"):
            return _NOT_PYTHON[2][1]
    return ""


def parse(source: str, filename: str) -> ast.Module:
    """Return a cell's tree. Raises SyntaxError, which says what to write instead of what only notebooks allow."""
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        if hint := _notebook_hint(source, error.lineno):
            error.msg = f"{error.msg}. {hint[0].upper()}{hint[1:]}"
        raise
