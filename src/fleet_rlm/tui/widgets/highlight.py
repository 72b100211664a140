"""Python with colours that mean the same everywhere: what asks a sub-LLM is violet, in code as well."""

from __future__ import annotations

import re
from typing import ClassVar

from pygments.token import Token
from textual.highlight import HighlightTheme, highlight

from fleet_rlm.tui.widgets.rows import Span, lines_of

MOST_LINES, LONGEST_LINE = 2000, 10_000
QUICK_LINES = 150
"""Up to this many lines are highlighted in some milliseconds; more belong into a thread."""
_ASKS = re.compile(r"\b(?:llm_query(?:_batched)?|SUBMIT)\b")


class _Tones(HighlightTheme):
    # The names of our own palette, not of Textual's: they are read by `Tones`.
    STYLES: ClassVar[dict[tuple[str, ...], str]] = {
        Token.Comment: "italic muted",
        Token.Error: "error",
        Token.Keyword: "bold planner",
        Token.Keyword.Constant: "accent",
        Token.Literal.Number: "accent",
        Token.Literal.String: "sandbox",
        Token.Literal.String.Doc: "italic sandbox",
        Token.Literal.String.Escape: "accent",
        Token.Literal.String.Interpol: "accent",
        Token.Name: "foreground",
        Token.Name.Builtin: "planner",
        Token.Name.Function: "planner",
        Token.Name.Class: "planner",
        Token.Name.Decorator: "planner",
        Token.Operator: "foreground",
        Token.Operator.Word: "bold planner",
        Token.Punctuation: "foreground",
    }


def quick(code: str) -> bool:
    """True when highlighting would not be felt."""
    return code.count("\n") <= QUICK_LINES and len(code) <= LONGEST_LINE


def possible(code: str) -> bool:
    """False for code that is shown plain: highlighting it would take too long."""
    return code.count("\n") <= MOST_LINES and all(len(line) <= LONGEST_LINE for line in code.split("\n"))


def highlighted(code: str) -> list[tuple[str, tuple[Span, ...]]]:
    """(clean line, its spans) for each line of Python code."""
    lines = lines_of(code)
    if not possible(code):
        return [(line, _asks(line)) for line in lines]
    text = "\n".join(lines)
    content = highlight(text, language="python", theme=_Tones)
    if content.plain.rstrip("\n") != text.rstrip("\n"):  # the lexer saw other lines than we do
        return [(line, _asks(line)) for line in lines]
    spans: list[list[Span]] = [[] for _ in lines]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    row = 0
    for start, end, style in content.spans:
        while row + 1 < len(lines) and start >= starts[row + 1]:
            row += 1
        place = row
        while place < len(lines) and start < min(end, starts[place + 1] - 1) or place == row:
            first, after = max(start, starts[place]), min(end, starts[place + 1] - 1)
            if first < after:
                spans[place].append((first - starts[place], after - starts[place], str(style)))
            place += 1
            if place >= len(lines) or starts[place] >= end:
                break
    return [(line, (*found, *_asks(line))) for line, found in zip(lines, spans, strict=True)]


def _asks(line: str) -> tuple[Span, ...]:
    return tuple((match.start(), match.end(), "bold sub_llm") for match in _ASKS.finditer(line))
