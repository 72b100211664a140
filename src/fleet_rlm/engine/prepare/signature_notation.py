"""Signatures in DSPy's notation, checked with words that a person can act on."""

from __future__ import annotations

import re
import typing
import warnings

import dspy

from fleet_rlm.engine.run_errors import SetupError

# A field may be called `copy` or `json`: its value is read by name, never as an attribute of the pydantic model.
warnings.filterwarnings("ignore", r'Field name "\w+" in "\w*Signature" shadows an attribute', UserWarning)

_NAMES = re.compile(r"(?:^|,)\s*(\w+)")
NOTATION = (
    'Write it as `inputs -> outputs`, such as "context, question -> answer: str, sources: list[str]"; '
    "a class of your own is module:Class."
)


def parse(notation: str, instructions: str = "") -> type[dspy.Signature]:
    """Raises `SetupError` that says what is wrong with the signature."""
    if "->" not in notation:
        raise SetupError(f"The signature {notation!r} has no `->`.", NOTATION)
    left, _, right = notation.partition("->")
    if not left.strip() or not right.strip():
        side = "inputs before" if not left.strip() else "outputs after"
        raise SetupError(f"The signature {notation!r} has no {side} `->`.", NOTATION)
    if hidden := re.search(r"(?:^|,|->)\s*(_\w*)", notation):
        raise SetupError(f"The signature's field {hidden[1]} begins with an underscore.", "Give it another name.")
    try:
        _check_names(_NAMES.findall(left), _NAMES.findall(right))
        signature: type[dspy.Signature] = dspy.Signature(notation, instructions or None)
        _check(signature)
    except _UNUSABLE as error:
        raise SetupError(f"The signature {notation!r} can't be used: {_first_line(error)}", NOTATION) from error
    return signature


def check(signature: type[dspy.Signature], name: str) -> None:
    """Raises `SetupError` when a class can't be a run's signature; `name` is what the person calls it."""
    for side, fields in (("input", signature.input_fields), ("output", signature.output_fields)):
        if not fields:
            raise SetupError(f"The signature {name} has no {side} field.", f"Add one: dspy.{side.title()}Field().")
    try:
        _check(signature)
    except _UNUSABLE as error:
        raise SetupError(f"The signature {name} can't be used: {_first_line(error)}", "Rename the field.") from error


_UNUSABLE = (ValueError, TypeError, SyntaxError, NameError, AttributeError)


_TAKEN = {"self", "signature", "fields", "instructions", "input_fields", "output_fields", "model_config", "model_dump"}
_TAKEN_AS_OUTPUT = {"base", "trajectory", "final_reasoning"}
"""Names that dspy needs for itself: a field of one of them is lost, or fails once the answer is there."""


def _check_names(inputs: typing.Iterable[str], outputs: typing.Iterable[str]) -> None:
    if taken := sorted((_TAKEN & {*inputs, *outputs}) | (_TAKEN_AS_OUTPUT & {*outputs})):
        raise ValueError(
            f"dspy needs the name {', '.join(taken)} for itself. Names that no field can have: "
            f"{', '.join(sorted(_TAKEN))}; no output: {', '.join(sorted(_TAKEN_AS_OUTPUT))}."
        )


def _check(signature: type[dspy.Signature]) -> None:
    _check_names(signature.input_fields, signature.output_fields)
    dspy.RLM(signature, max_iters=1, interpreter_factory=dspy.LocalInterpreter)  # checks the names, starts nothing


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def build(notation: str, instructions: str, words: typing.Mapping[str, str]) -> type[dspy.Signature]:
    """The signature with what its fields hold, by name. Raises `SetupError`."""
    signature = parse(notation, instructions)
    for name, holds in words.items():
        signature = signature.with_updated_fields(name, desc=holds)
    return signature


def told(signature: type[dspy.Signature], instructions: str, words: typing.Mapping[str, str]) -> type[dspy.Signature]:
    """A class with the instructions and what fields hold, as this run has them."""
    signature = signature.with_instructions(instructions)
    for name, holds in words.items():
        signature = signature.with_updated_fields(name, desc=holds)
    return signature


def notation_of(signature: type[dspy.Signature]) -> str:
    """The signature in DSPy's notation; types of a person's own by their bare names."""
    fields = fields_of(signature)
    sides = [", ".join(_written(one) for one in fields[side]) for side in ("inputs", "outputs")]
    return " -> ".join(sides)


def _written(field: dict[str, str]) -> str:
    return field["name"] if field["type"] == "str" else f"{field['name']}: {field['type']}"


def fields_of(signature: type[dspy.Signature]) -> dict[str, list[dict[str, str]]]:
    """Inputs and outputs with name and type, as plain data for a screen."""

    def listed(
        fields: typing.Mapping[str, typing.Any],
    ) -> list[dict[str, str]]:  # pydantic's FieldInfo, untyped in dspy
        return [{"name": name, "type": type_words(field.annotation)} for name, field in fields.items()]

    return {"inputs": listed(signature.input_fields), "outputs": listed(signature.output_fields)}


def type_words(annotation: object) -> str:
    """A type as it is written: `str`, `list[str]`."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(r"(?<![\w'\"])(?:\w+\.)+(?=\w)", "", str(annotation))
