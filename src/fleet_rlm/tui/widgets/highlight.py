"""Highlight Python in the palette's colours; calls of sub-LLMs are violet, as everywhere."""

from __future__ import annotations

import re

from pygments.lexers.python import PythonLexer
from pygments.token import Token, _TokenType

from fleet_rlm.tui.widgets.rows import Span, lines_of

MOST_LINES, LONGEST_LINE = 2000, 10_000
QUICK_LINES = 150
"""Up to this many lines are highlighted within milliseconds; more are highlighted in a thread."""

_SUB_LLM_CALL = re.compile(r"\b(?:llm_query(?:_batched)?|SUBMIT)\b")
_TONES: dict[_TokenType, str] = {
    Token.Comment: "italic muted",
    Token.Error: "error",
    Token.Keyword: "bold planner",
    Token.Keyword.Constant: "accent",
    Token.Literal.Number: "accent",
    Token.Literal.String: "sandbox",
    Token.Literal.String.Doc: "italic sandbox",
    Token.Literal.String.Escape: "accent",
    Token.Literal.String.Interpol: "accent",
    Token.Name.Builtin: "planner",
    Token.Name.Builtin.Pseudo: "italic",
    Token.Name.Class: "planner",
    Token.Name.Decorator: "planner",
    Token.Name.Function: "planner",
    Token.Operator.Word: "bold planner",
}
_lexer = PythonLexer(stripnl=False, ensurenl=True)


def quick(code: str) -> bool:
    """Return True for code that is highlighted within milliseconds."""
    return code.count("\n") <= QUICK_LINES and len(code) <= LONGEST_LINE


def possible(code: str) -> bool:
    """Return False for code that would take too long to highlight."""
    return code.count("\n") <= MOST_LINES and all(len(line) <= LONGEST_LINE for line in code.split("\n"))


def unhighlighted(code: str) -> list[tuple[str, tuple[Span, ...]]]:
    """Return (clean line, its spans) for each line, with only the calls of sub-LLMs marked."""
    return [(line, _sub_llm_calls(line)) for line in lines_of(code)]


def highlighted(code: str) -> list[tuple[str, tuple[Span, ...]]]:
    """Return (clean line, its spans) for each line of Python code."""
    lines = lines_of(code)
    if not possible(code):
        return unhighlighted(code)
    spans: list[list[Span]] = [[] for _ in lines]
    row = column = 0
    for kind, token in _lexer.get_tokens("\n".join(lines)):
        tone = _tone(kind)
        for place, piece in enumerate(token.split("\n")):
            if place:
                row, column = row + 1, 0
            if tone and piece.strip() and row < len(lines):
                spans[row].append((column, column + len(piece), tone))
            column += len(piece)
    return [(line, (*found, *_sub_llm_calls(line))) for line, found in zip(lines, spans, strict=True)]


def _tone(kind: _TokenType) -> str:
    while kind is not Token:
        if tone := _TONES.get(kind):
            return tone
        assert kind.parent is not None
        kind = kind.parent
    return ""


def _sub_llm_calls(line: str) -> tuple[Span, ...]:
    return tuple((match.start(), match.end(), "bold sub_llm") for match in _SUB_LLM_CALL.finditer(line))
