"""From a task, or a signature in DSPy's notation, to a `dspy.Signature` that a Recursive Language Model can run."""

from __future__ import annotations

import typing
from dataclasses import dataclass

import dspy

from fleet_rlm import tasks
from fleet_rlm.engine.errors import SetupError

DOCUMENT_NAMES = ("context", "document", "documents", "text", "docs", "corpus")
QUESTION_NAMES = ("question", "query", "instruction", "request", "task", "focus")
NOTATION = 'Write it as `inputs -> outputs`, such as "context, question -> answer: str, sources: list[str]".'
CUSTOM = "custom"
"""Name of the task when the person wrote the signature."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the documents, checked."""

    name: str
    notation: str
    instructions: str
    signature: type[dspy.Signature]
    document_field: str | None
    question_field: str | None
    needs_question: bool = False
    default_question: str | None = None


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


def resolve(task: str, notation: str | None, instructions: str | None, given: typing.Collection[str] = ()) -> Asked:
    """What a run is asked. `given` are inputs with values of their own. Raises `SetupError`."""
    if notation is None:
        try:
            chosen = tasks.get(task)
        except tasks.UnknownTask as error:
            raise SetupError(str(error), "`--task NAME` takes one of them; `--signature` takes your own.") from error
        told = chosen.instructions if instructions is None else instructions
        signature = parse(chosen.signature, told)
        for name, holds in chosen.fields.items():
            signature = signature.with_updated_fields(name, desc=holds)
        return Asked(
            name=chosen.name,
            notation=chosen.signature,
            instructions=told,
            signature=signature,
            document_field=chosen.document_field,
            question_field=chosen.question_field,
            needs_question=chosen.needs_question,
            default_question=chosen.default_question,
        )
    signature = parse(notation, instructions or "")
    free = [name for name in signature.input_fields if name not in given]
    question = next((name for name in QUESTION_NAMES if name in free), None)
    document = next((name for name in DOCUMENT_NAMES if name in free), None)
    if document is None:
        document = next((name for name in free if name != question), None)
    if question is None:
        question = next((name for name in free if name != document), None)
    return Asked(
        name=CUSTOM,
        notation=notation,
        instructions=instructions or "",
        signature=signature,
        document_field=document,
        question_field=question,
        needs_question=question is not None,
    )


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
