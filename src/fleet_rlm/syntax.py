"""Python source as a syntax tree, from any thread.

CPython before 3.13 counts the depth of the tree that it builds in one place for all threads: two threads that parse at
once can make one of them fail with `SystemError: AST constructor recursion depth mismatch` although its source is
fine. So what is ours parses one at a time, and once more when somebody else's parsing got in between.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

ATTEMPTS = 5
_one_at_a_time = threading.Lock()


def parse(source: str) -> ast.Module:
    """As `ast.parse`. Raises what it raises, `SyntaxError` above all."""
    return _undisturbed(lambda: ast.parse(source))


def fault(source: str) -> tuple[int, str] | None:
    """(line from 1, what is wrong) where the source of a cell is no Python; a cell may `await` at its top level."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        _undisturbed(lambda: compile(source, "<cell>", "exec", flags))
    except SyntaxError as error:
        return error.lineno or 1, error.msg
    except (ValueError, RecursionError, MemoryError) as error:
        return 1, str(error) or "it is nested too deeply"
    return None


def literal(text: str) -> Any:  # a literal may be of any type
    """As `ast.literal_eval`. Raises what it raises, `ValueError` and `SyntaxError` above all."""
    return _undisturbed(lambda: ast.literal_eval(text))


def _undisturbed(work: Callable[[], T]) -> T:
    with _one_at_a_time:
        for _ in range(ATTEMPTS - 1):
            try:
                return work()
            except SystemError:
                continue
        return work()
