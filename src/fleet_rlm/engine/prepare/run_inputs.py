"""A run's inputs: documents, the question and whatever else the signature wants, with what the record says of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fleet_rlm import events as ev
from fleet_rlm.documents import bundled, load, select
from fleet_rlm.documents.document_work import DocumentError
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.events import Json
from fleet_rlm.spec import RunSpec

SMALL_CHARS = 4096
"""Longest value, as JSON, that the record keeps whole."""
NAMES_TOLD = 40
"""How many documents a planner is told by name; it can list the others itself."""


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a run, read."""

    all: tuple[load.Document, ...] = ()
    notices: tuple[str, ...] = ()
    whole: bool = True
    """False when a text is only the beginning of its document."""


def read_documents(spec: RunSpec, cancelled: Callable[[], bool] = lambda: False) -> Documents:
    """Choose and read what the spec names. Raises `SetupError`."""
    if not spec.documents:
        return Documents()
    try:
        chosen = select.select(spec.documents, cwd=Path(spec.cwd).absolute(), cancelled=cancelled)
        loaded = load.load_all(chosen.files, cancelled=cancelled)
    except DocumentError as error:
        raise SetupError(error.message, error.hint) from error
    documents = loaded.documents
    whole = spec.first_chars is None or all(document.chars <= spec.first_chars for document in documents)
    if spec.first_chars is not None:
        documents = tuple(_beginning(document, spec.first_chars) for document in documents)
    own = (notice for document in documents for notice in document.notices)
    notices = (*chosen.notices, *loaded.notices, *own)
    return Documents(documents, tuple(dict.fromkeys(notices)), whole)


def _beginning(document: load.Document, chars: int) -> load.Document:
    if document.chars <= chars:
        return document
    told = f"Only the first {chars:,} of {document.chars:,} characters of {document.name} are used."
    return dataclasses.replace(document, text=document.text[:chars], chars=chars, notices=(*document.notices, told))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the signature takes, as far as binding needs to know."""

    types: Mapping[str, str]
    """Of every input, by its name, as written: `str`, `dict[str, str]`, …"""
    document_field: str | None
    question_field: str | None
    needs_question: bool
    default_question: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the inputs, in the signature's order."""
        return tuple(self.types)


@dataclass(frozen=True, slots=True)
class Bound:
    """Every input of the signature with its value."""

    values: dict[str, Any]  # what the person's JSON or documents hold
    records: tuple[ev.Input, ...]
    told: dict[str, str]
    """What the planner is told of an input beyond its type and size."""
    question: str | None


def bind(spec: RunSpec, wanted: Wanted, documents: Documents) -> Bound:
    """Give each input its value. Raises `SetupError` naming what is missing or too much."""
    if unknown := [name for name in spec.inputs if name not in wanted.names]:
        raise SetupError(
            f"The signature has no input named {', '.join(unknown)}.", f"Its inputs are {', '.join(wanted.names)}."
        )
    values: dict[str, Any] = {name: _typed(name, value, wanted.types[name]) for name, value in spec.inputs.items()}
    records = {name: _record(name, value) for name, value in values.items()}
    told: dict[str, str] = {}
    field = wanted.document_field
    if documents.all:
        if field is None or field in values:
            raise SetupError("The task takes no documents.", f"Its inputs are {', '.join(wanted.names)}.")
        values[field], told[field] = _as_value(documents.all, wanted.types.get(field, "str"))
        cut_to = None if documents.whole else spec.first_chars
        records[field] = _documents_record(field, values[field], documents.all, cut_to)
    elif field is not None and field not in values:
        raise SetupError(
            "No documents were given.", f"Name files, folders or globs with --docs; they become `{field}`."
        )
    question = _question(spec, wanted, values)
    if question is not None and wanted.question_field is not None:
        values[wanted.question_field] = question
        records[wanted.question_field] = _record(wanted.question_field, question)
    if missing := [name for name in wanted.names if name not in values]:
        raise SetupError(f"The input {', '.join(missing)} has no value.", "Give it with --input NAME=VALUE.")
    asked = question if question is not None else _text(values.get(wanted.question_field or ""))
    return Bound(values, tuple(records[name] for name in wanted.names), told, asked)


def _typed(name: str, value: Json, type_words: str) -> Json:
    """A text as JSON where the signature wants something else than text. Raises `SetupError`."""
    if not isinstance(value, str) or type_words in ("Any", "Optional[str]") or "str" in type_words.split(" | "):
        return value
    try:
        decoded: Json = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        if type_words.split("[")[0] in ("int", "float", "bool", "list", "dict", "tuple", "set"):
            raise SetupError(
                f"The input {name} must be {type_words}, written as JSON; {value[:60]!r} is not.",
                f'Write it like --input \'{name}=["a", "b"]\' or --input {name}=5.',
            ) from error
        return value
    return decoded


def _question(spec: RunSpec, wanted: Wanted, values: Mapping[str, Json]) -> str | None:
    given = (spec.question or "").strip() or None
    field = wanted.question_field
    if given is not None and (field is None or field in values):
        raise SetupError("The task takes no question.", f"Its inputs are {', '.join(wanted.names)}.")
    if given is None and field is not None and field not in values:
        if wanted.needs_question and wanted.default_question is None:
            raise SetupError("No question was given.", f"Say what you want to know; it becomes `{field}`.")
        return wanted.default_question
    return given


def _as_value(documents: tuple[load.Document, ...], type_words: str) -> tuple[Json, str]:
    """One document is its text; several are a dict from name to text. A signature may ask for a dict or a list."""
    if type_words.startswith("list"):
        return [document.text for document in documents], f"The texts of {len(documents)} documents."
    if len(documents) == 1 and not type_words.startswith("dict"):
        return documents[0].text, f"The text of `{documents[0].name}`: one string."
    names = [f"{document.name} ({document.chars:,} characters)" for document in documents[:NAMES_TOLD]]
    more = f", and {len(documents) - NAMES_TOLD} more" if len(documents) > NAMES_TOLD else ""
    value = {document.name: document.text for document in documents}
    return value, f"A dict from each document's name to its text, {len(documents)} in all: {', '.join(names)}{more}."


def _documents_record(name: str, value: Json, documents: tuple[load.Document, ...], cut_to: int | None) -> ev.Input:
    kind = "str" if isinstance(value, str) else "dict[str, str]" if isinstance(value, dict) else "list[str]"
    refs = tuple(
        ev.DocumentRef(
            path=bundled.portable(document.path),
            name=document.name,
            bytes=document.bytes,
            sha256=document.sha256,
            chars=document.chars,
            encoding=document.encoding,
            format=document.format,
            member=document.member,
        )
        for document in documents
    )
    chars = sum(document.chars for document in documents)
    own = documents[0].sha256 if len(documents) == 1 and cut_to is None else None
    return ev.Input(name=name, type=kind, chars=chars, sha256=own, documents=refs, first_chars=cut_to)


def _record(name: str, value: Json) -> ev.Input:
    encoded = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return ev.Input(
        name=name,
        type=type(value).__name__,
        chars=len(encoded),
        sha256=hashlib.sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest(),
        value=value if len(encoded) <= SMALL_CHARS else None,
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
