"""Keep secrets out of run files: configured keys, secret-looking environment values, and the shapes of known keys.

A secret is overwritten character for character (`[secret]****`, newlines kept), so that every offset, line number and
count in a run stays true; its length is the one thing that shows. Text that arrives in pieces is held back as far as
it may be the beginning of a secret, and released by what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_origin

import msgspec

from fleet_rlm import events as ev

MIN_SECRET_CHARS = 8
"""Shorter values are words and switches (`true`, `none`), not secrets."""

_SECRET_NAME = re.compile(
    r"(API_?KEY|ACCESS_?KEY|KEYS?(?![A-Z])|TOKEN(?!S|IZ)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)(?:PWD|PAT|AUTH)$)"
)
_NOT_SECRET_NAME = re.compile(r"^(PWD|OLDPWD|HOME|PATH)$|PUBLIC|_(PATH|FILE|DIR|URL|NAME|ID)$")
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/@:\s]*:([^/@\s]+)@")
_MARK = "[secret]"
_BEGINNING = 2
"""Characters by which most places are told at once not to begin a secret; every beginning is longer."""


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name holds a secret: `OPENAI_API_KEY` yes, `DSPY_LM_MAX_TOKENS` no."""
    upper = name.upper()
    return bool(_SECRET_NAME.search(upper)) and not _NOT_SECRET_NAME.search(upper)


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment (or of a `.env` file) that must not be written anywhere."""
    named = [value for name, value in environment.items() if value and is_secret_name(name)]
    in_addresses = [m[1] for value in environment.values() if (m := _PASSWORD_IN_URL.match(value))]
    return tuple(dict.fromkeys([*named, *in_addresses]))


@dataclass(frozen=True, slots=True)
class Shape:
    """How keys of one kind look: a literal beginning, then at least `least` characters of `alphabet`."""

    start: str
    alphabet: str
    least: int


_WORD = "A-Za-z0-9_-"
_BASE64 = r"A-Za-z0-9+/=\\\s"
SHAPES: tuple[Shape, ...] = (
    Shape("sk-", _WORD, 20),  # OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM
    Shape("AIza", _WORD, 35),  # Google
    Shape("ya29.", _WORD, 30),  # Google OAuth
    *(Shape(f"gh{kind}_", "A-Za-z0-9", 36) for kind in "pousr"),  # GitHub
    Shape("github_pat_", "A-Za-z0-9_", 40),
    Shape("glpat-", _WORD, 20),  # GitLab
    Shape("hf_", "A-Za-z0-9", 30),  # Hugging Face
    Shape("gsk_", "A-Za-z0-9", 40),  # Groq
    Shape("xai-", "A-Za-z0-9", 40),
    Shape("pplx-", "A-Za-z0-9", 40),  # Perplexity
    Shape("r8_", "A-Za-z0-9", 36),  # Replicate
    Shape("nvapi-", _WORD, 40),  # NVIDIA
    Shape("AKIA", "A-Z0-9", 16),  # AWS
    Shape("ASIA", "A-Z0-9", 16),
    *(Shape(f"xox{kind}-", "A-Za-z0-9-", 20) for kind in "abprs"),  # Slack
    *(Shape(f"{kind}_live_", "A-Za-z0-9", 20) for kind in ("sk", "rk")),  # Stripe
    Shape("npm_", "A-Za-z0-9", 36),
    Shape("pypi-AgEI", _WORD, 50),
    Shape("ak-", "A-Za-z0-9", 22),  # Modal
    Shape("as-", "A-Za-z0-9", 22),
    *(
        Shape(f"-----BEGIN {kind}PRIVATE KEY-----", _BASE64, 40)
        for kind in ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ")
    ),
)


class _Pattern:
    """A shape, compiled. A key never begins in the middle of a word: `risk-` begins no `sk-`."""

    __slots__ = ("in_bytes", "rest", "start", "start_bytes", "whole")

    def __init__(self, shape: Shape) -> None:
        start, inside = re.escape(shape.start), f"[{shape.alphabet}]"
        # The look-behind stands after the literal, so that the search can skip along it.
        whole = rf"{start}(?<![A-Za-z0-9]{start}){inside}{{{shape.least},}}"
        self.start = shape.start
        self.start_bytes = shape.start.encode()
        self.whole = re.compile(whole)
        # In an encoded line a newline is `\n`: the alphabets that hold white space hold the backslash too.
        self.in_bytes = re.compile(whole.replace(rf"(?<![A-Za-z0-9]{start})", "").encode())
        self.rest = re.compile(f"{inside}*")


def _mark(secret: str, at: int = 0) -> str:
    """What stands in for a secret, from its character `at` on."""
    cover = _MARK[at:].ljust(len(secret), "*")[: len(secret)]
    if "\n" not in secret:
        return cover
    return "".join("\n" if own == "\n" else sign for own, sign in zip(secret, cover, strict=True))


class Redactor:
    """Finds secrets in texts and in events. Immutable after it was made; streams are kept by `StreamRedactor`."""

    def __init__(self, secrets: Iterable[str] = (), shapes: Iterable[Shape] = SHAPES) -> None:
        long_enough = {secret.strip() for secret in secrets if len(secret.strip()) >= MIN_SECRET_CHARS}
        self.secrets = tuple(sorted(long_enough, key=lambda secret: (-len(secret), secret)))
        self._patterns = tuple(_Pattern(shape) for shape in shapes)
        self._encoded = tuple(msgspec.json.encode(_utf8(secret))[1:-1] for secret in self.secrets)
        wholes = [*map(re.escape, self.secrets), *(pattern.whole.pattern for pattern in self._patterns)]
        self._any = re.compile("|".join(wholes)) if wholes else None
        self._starts = tuple(pattern.start for pattern in self._patterns)
        self._starts_encoded = tuple(pattern.start_bytes for pattern in self._patterns)
        starts = [*self.secrets, *self._starts]
        self._beginnings = frozenset(start[:_BEGINNING] for start in starts)
        self._by_first: dict[str, tuple[str, ...]] = {
            first: tuple(secret for secret in self.secrets if secret[0] == first) for first in {s[0] for s in starts}
        }
        self._patterns_by_first: dict[str, tuple[_Pattern, ...]] = {
            first: tuple(p for p in self._patterns if p.start[0] == first) for first in self._by_first
        }
        self._first = re.compile("[" + "".join(map(re.escape, self._by_first)) + "]") if starts else None
        self._window = max([1, *map(len, self.secrets), *(len(s.start) + s.least for s in shapes)])

    def may_be_in(self, line: bytes) -> bool:
        """Whether an encoded event can hold a secret: quick, never wrongly False."""
        for secret in self._encoded:  # plain loops: this is asked for every event, and a generator would double it
            if secret in line:
                return True
        for start in self._starts_encoded:
            if start in line:
                return any(p.start_bytes in line and p.in_bytes.search(line) for p in self._patterns)
        return False

    def text(self, text: str) -> str:
        """The text without its secrets; as long as before."""
        if not self._is_in(text):
            return text
        stream = StreamRedactor(self)
        return stream.feed(text) + stream.flush()

    def event(self, event: ev.Event) -> ev.Event:
        """The event with the secrets of all its texts overwritten (ids, kinds and choices are not text)."""
        redacted: ev.Event = self._walk(event)
        return redacted

    def _walk(self, value: Any) -> Any:  # any field of any event: it comes out as the type that went in
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, msgspec.Struct):
            changed = {}
            for name in _text_fields(type(value)):
                before = getattr(value, name)
                after = self._walk(before)
                if after is not before:
                    changed[name] = after
            return msgspec.structs.replace(value, **changed) if changed else value
        if isinstance(value, dict):
            return {self._walk(key): self._walk(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self._walk(item) for item in value)
        return value

    def _is_in(self, text: str) -> bool:
        for secret in self.secrets:
            if secret in text:
                return True
        for start in self._starts:
            if start in text:
                return any(pattern.start in text and pattern.whole.search(text) for pattern in self._patterns)
        return False

    def find(self, text: str, at: int, final: bool) -> tuple[int, int, _Pattern | None] | None:
        """The first secret from `at` on as (start, end, shape when it may go on), or a beginning that must wait.

        A beginning that must wait has its end before its start. `final` says that nothing follows the text. None: no
        secret, and no beginning of one.
        """
        match = self._any.search(text, at) if self._any is not None and self._is_in(text) else None
        full = match.start() if match else len(text)
        if not final and self._first is not None:
            for first in self._first.finditer(text, max(at, len(text) - self._window), min(full + 1, len(text))):
                start = first.start()
                if text[start : start + _BEGINNING] not in self._beginnings and start <= len(text) - _BEGINNING:
                    continue
                if self._must_wait(text, start):
                    return start, -1, None
        return self._whole_at(text, full) if match else None

    def _must_wait(self, text: str, start: int) -> bool:
        """Whether more text could make what begins at `start` a secret, or another one than it is already."""
        tail = text[start:]
        if any(len(secret) > len(tail) and secret.startswith(tail) for secret in self._by_first[tail[0]]):
            return True
        if _is_inside_a_word(text, start):
            return False
        for pattern in self._patterns_by_first[tail[0]]:
            if len(pattern.start) >= len(tail):
                if pattern.start.startswith(tail):
                    return True
            elif (
                tail.startswith(pattern.start)
                and pattern.rest.fullmatch(tail, len(pattern.start))
                and not pattern.whole.match(text, start)
            ):
                return True
        return False

    def _whole_at(self, text: str, start: int) -> tuple[int, int, _Pattern | None]:
        """The longest secret that begins at `start`, where one does."""
        known = next((secret for secret in self._by_first[text[start]] if text.startswith(secret, start)), "")
        end, grows = start + len(known), None
        for pattern in self._patterns_by_first[text[start]]:
            match = pattern.whole.match(text, start)
            if match and match.end() >= end:
                end, grows = match.end(), pattern
        return start, end, grows if end == len(text) else None


def _is_inside_a_word(text: str, start: int) -> bool:
    return start > 0 and text[start - 1].isascii() and text[start - 1].isalnum()


class StreamRedactor:
    """One text that comes in pieces. However it is cut, the pieces that come out add up to the same."""

    __slots__ = ("_before", "_covered", "_held", "_inside", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._before = ""
        self._inside: _Pattern | None = None
        self._covered = 0

    @property
    def is_idle(self) -> bool:
        """True when nothing is held back and no secret is being left out."""
        return not self._held and self._inside is None

    def feed(self, text: str) -> str:
        """What may be passed on after this piece."""
        return self._take(text, final=False)

    def flush(self) -> str:
        """What was held back: nothing follows."""
        return self._take("", final=True)

    def _take(self, piece: str, *, final: bool) -> str:
        at = len(self._before)  # one character of what went out before, for the look-behind of the shapes
        text, self._held, out = self._before + self._held + piece, "", []
        if self._inside is not None:
            match = self._inside.rest.match(text, at)
            end = match.end() if match else at
            out.append(_mark(text[at:end], self._covered))
            self._covered += end - at
            if end < len(text) or final:
                self._inside = None
            at = end
        while at < len(text):
            found = self._redactor.find(text, at, final)
            if found is None:
                out.append(text[at:])
                break
            start, end, grows = found
            out.append(text[at:start])
            if end < start:
                text, self._held = text[:start], text[start:]
                break
            out.append(_mark(text[start:end]))
            if grows is not None and not final:
                self._inside, self._covered = grows, end - start
            at = end
        self._before = text[-1:]
        return "".join(out)


_NOT_TEXT = frozenset(
    {"seq", "t", "iteration", "span", "parent", "base", "run_id", "sha256", "digest", "started_at", "format"}
)
_text_field_names: dict[type[msgspec.Struct], tuple[str, ...]] = {}


def _text_fields(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields whose texts are anybody's: no ids, no numbers, nothing chosen from a list."""
    names = _text_field_names.get(struct)
    if names is None:
        fields = msgspec.structs.fields(struct)
        names = tuple(
            f.name
            for f in fields
            if f.name not in _NOT_TEXT and get_origin(f.type) is not Literal and f.type not in (int, float, bool)
        )
        _text_field_names[struct] = names
    return names


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
