"""The answers file: what is known of a text, so that a run's answer can be held to it.

It stands beside the text as `NAME.answers.json`, holds the hash of every document that it speaks of, and for each
question the answer with the rule by which another answer is compared with it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from fleet_rlm.documents.document_work import (
    BLOCK_BYTES,
    DocumentError,
    Progress,
    Throttle,
    shown,
    size_in_words,
    unreadable,
)
from fleet_rlm.documents.select import ANSWERS_SUFFIX

FORMAT = "fleet-rlm-answers"
VERSION = 1

Match: TypeAlias = Literal["facts", "number", "items", "pairs", "absent"]
"""The rule by which an answer is compared: see `fleet_rlm.corpora.score`."""


class NoAnswers(DocumentError):
    """There is no answers file, or it is none."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class Place(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """The place of a piece of evidence."""

    document: str = ""
    """The document's name; empty where there is only one."""
    start: int
    """Offset of its first byte."""
    end: int
    line: int
    """The line, from 1."""
    depth: float
    """Share of the text before it, 0.0 … 1.0."""


class Question(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A question with its known answer."""

    id: str
    question: str
    answer: str
    """For people."""
    match: Match
    expected: tuple[tuple[str, ...], ...] = ()
    """The content that an answer must have. For `facts` and `items`: each of them, in any of its wordings. For
    `number`: the one number. For `pairs`: each pair. For `absent`: nothing."""
    pattern: str = ""
    """A regular expression for what may be an item, or what must not stand in an answer to an `absent` one."""
    evidence: tuple[Place, ...] = ()
    documents: tuple[str, ...] = ()
    """Names of the documents that must be read together, where there are several."""


class KnownDocument(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A document that the answers are about."""

    name: str
    """Relative to the answers file."""
    bytes: int
    lines: int
    sha256: str


class Answers(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """All of an answers file."""

    format: str = FORMAT
    version: int = VERSION
    kind: str
    seed: int | None = None
    size: int | None = None
    """Bytes that were asked for."""
    made_with: str = ""
    documents: tuple[KnownDocument, ...]
    questions: tuple[Question, ...]

    def encode(self) -> bytes:
        """Encode the answers as the file holds them: JSON for people, with the format named first."""
        told = {"format": self.format, "version": self.version, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


class Checked(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A document, compared with what is known of it."""

    name: str
    ok: bool
    problem: str = ""


def answers_path(text: Path) -> Path:
    """Return the path of the answers to a text."""
    if text.name.endswith(ANSWERS_SUFFIX):
        return text
    return text.with_name(text.name.removesuffix(".txt") + ANSWERS_SUFFIX)


def read(path: Path) -> Answers:
    """The answers in a file, or beside a text. Raises `NoAnswers` or `Unreadable`."""
    where = answers_path(path)
    try:
        found = msgspec.json.decode(where.read_bytes(), type=Answers)
    except FileNotFoundError as error:
        hint = "Name the answers file, or a text that stands beside one (fleet-rlm corpus make writes both)."
        raise NoAnswers(f"there is no {shown(where)}.", hint) from error
    except OSError as error:
        raise unreadable(error, where) from error
    except msgspec.MsgspecError as error:
        raise NoAnswers(f"{shown(where)} is no answers file: {error}.") from error
    if found.format != FORMAT or found.version != VERSION:
        raise NoAnswers(
            f"{shown(where)} is {found.format} {found.version}, not {FORMAT} {VERSION}.",
            "Make the corpus again with this version of fleet-rlm.",
        )
    return found


def check(path: Path, progress: Progress | None = None) -> list[Checked]:
    """Compare the documents with the hashes in the answers beside them. Raises `NoAnswers` or `Unreadable`."""
    known, folder = read(path), answers_path(path).parent
    total, before, checked = sum(one.bytes for one in known.documents), 0, []
    tell = Throttle(progress)
    for one in known.documents:
        if os.path.isabs(one.name) or ".." in Path(one.name).parts:  # noqa: PTH117 - a name, not a path of ours
            raise NoAnswers(f"{shown(answers_path(path))} names a document outside of its folder.")
        checked.append(Checked(name=one.name, ok=not (words := _difference(folder / one.name, one)), problem=words))
        before += one.bytes
        tell(before, max(total, 1))
    return checked


def hash_of(path: Path) -> KnownDocument:
    """Return the size, lines and hash of a file. Raises `Unreadable`."""
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                size, lines, last = size + len(block), lines + block.count(b"\n"), block[-1:]
    except OSError as error:
        raise unreadable(error, path) from error
    return KnownDocument(name=path.name, bytes=size, lines=lines + (last != b"\n"), sha256=digest.hexdigest())


def _difference(path: Path, known: KnownDocument) -> str:
    if not path.is_file():
        return "is not there"
    found = hash_of(path)
    if found.bytes != known.bytes:
        return f"has {size_in_words(found.bytes)} ({found.bytes:,}) instead of {known.bytes:,} bytes"
    return "" if found.sha256 == known.sha256 else "has the right size and other content"
