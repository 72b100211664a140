"""Take the Python out of a planner's answer.

dspy's own stripping cuts a cell short at the first fence *inside* it (a cell that splits Markdown at its code fences
is common) and ends the step when the fence names another language. Here the closing fence is the last one that leaves
code that compiles, and a wrong language is reported, so that the planner can be asked again.
"""

from __future__ import annotations

import re

from fleet_rlm import syntax

_OPEN = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_PYTHON = {"", "python", "py", "python3", "py3", "ipython", "repl", "tool_code"}


class NotPython(ValueError):
    """The answer's `code` holds no Python to run; the message is what the planner is told."""


class Verbatim(str):
    """Code that is already out of its fence: dspy finds nothing to strip, even when the code holds fences itself."""

    __slots__ = ()

    def strip(self, _chars: str | None = None, /) -> Verbatim:
        return self

    def __contains__(self, part: object) -> bool:
        return part != "```" and isinstance(part, str) and super().__contains__(part)


def _compiles(code: str) -> bool:
    try:
        syntax.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def extract(answer: str) -> str:
    """The Python of a planner's `code` field. Raises `NotPython`."""
    text = answer.strip()
    if not text:
        raise NotPython("Your answer held no code. Write Python code in the `code` field.")
    if not ("```" in text or "~~~" in text) or (not text.startswith(("```", "~~~")) and _compiles(text)):
        return text
    opening = _OPEN.search(text)
    if opening is None:
        return text
    if not opening.group(2):  # a bare fence around a fenced block is decoration
        rest = text[opening.end() :].lstrip("\n")
        if (inner := _OPEN.match(rest)) is not None and inner.group(2):
            text, opening = rest, inner
    fence, language = opening.group(1), opening.group(2).lower()
    if language not in _PYTHON:
        raise NotPython(f"Your code was a `{language}` block. Write Python code, not {language}.")
    body = text[opening.end() :].removeprefix("\n")
    closings = [m.start() for m in re.finditer(rf"^[ \t]*{re.escape(fence)}[ \t]*$", body, re.MULTILINE)]
    if not closings:
        return _filled(body.rstrip().removesuffix(fence))
    for end in reversed(closings):
        if _compiles(body[:end]):
            return _filled(body[:end])
    return _filled(body[: closings[0]])


def _filled(code: str) -> str:
    code = code.strip("\n").rstrip()
    if not code:
        raise NotPython("Your code block was empty. Write Python code in it.")
    return code
