"""Parsing Python from several threads at once."""

from __future__ import annotations

import ast

import pytest

from fleet_rlm import syntax


def test_a_parse_that_another_thread_disturbed_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, disturbed = ast.parse, iter([True, True, False])

    def parse(source: str) -> ast.Module:
        if next(disturbed):
            raise SystemError("AST constructor recursion depth mismatch (before=51, after=29)")
        return real(source)

    monkeypatch.setattr(ast, "parse", parse)
    assert ast.unparse(syntax.parse("x = 1")) == "x = 1"


def test_one_that_fails_every_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(source: str) -> ast.Module:
        raise SystemError(source)

    monkeypatch.setattr(ast, "parse", parse)
    with pytest.raises(SystemError, match="x = 1"):
        syntax.parse("x = 1")


def test_what_is_wrong_with_the_source_is_said_at_once() -> None:
    with pytest.raises(SyntaxError):
        syntax.parse("x =")
    with pytest.raises(ValueError, match="malformed"):
        syntax.literal("print(1)")
    assert syntax.literal("(1, 'a')") == (1, "a")
