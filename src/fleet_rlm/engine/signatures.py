"""Signatures in DSPy's notation, checked with words that a person can act on."""

from __future__ import annotations

import typing

import dspy

from fleet_rlm.engine.errors import SetupError

NOTATION = 'Write it as `inputs -> outputs`, such as "context, question -> answer: str, sources: list[str]".'


def parse(notation: str, instructions: str = "") -> type[dspy.Signature]:
    """Raises `SetupError` that says what is wrong with the signature."""
    if "->" not in notation:
        raise SetupError(f"The signature {notation!r} has no `->`.", NOTATION)
    left, _, right = notation.partition("->")
    if not left.strip() or not right.strip():
        side = "inputs before" if not left.strip() else "outputs after"
        raise SetupError(f"The signature {notation!r} has no {side} `->`.", NOTATION)
    try:
        signature: type[dspy.Signature] = dspy.Signature(notation, instructions or None)
        dspy.RLM(signature, max_iters=1, interpreter_factory=dspy.LocalInterpreter)  # checks the names, starts nothing
    except (ValueError, TypeError, SyntaxError, NameError, AttributeError) as error:
        words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(f"The signature {notation!r} can't be used: {words}", NOTATION) from error
    return signature


def build(notation: str, instructions: str, words: typing.Mapping[str, str]) -> type[dspy.Signature]:
    """The signature with what its fields hold, by name. Raises `SetupError`."""
    signature = parse(notation, instructions)
    for name, holds in words.items():
        signature = signature.with_updated_fields(name, desc=holds)
    return signature


def fields_of(signature: type[dspy.Signature]) -> dict[str, list[dict[str, str]]]:
    """Inputs and outputs with name and type, as plain data for a screen."""

    def listed(
        fields: typing.Mapping[str, typing.Any],
    ) -> list[dict[str, str]]:  # pydantic's FieldInfo, untyped in dspy
        return [{"name": name, "type": type_words(field.annotation)} for name, field in fields.items()]

    return {"inputs": listed(signature.input_fields), "outputs": listed(signature.output_fields)}


def type_words(annotation: object) -> str:
    """A type as it is written: `str`, `list[str]`."""
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
