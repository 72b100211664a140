"""Keep secrets out of run files: configured keys, secret-looking environment values, and the shapes of known keys.

Known secrets are also found where they were encoded: as base64 or hexadecimal digits (also inside of something longer),
with their characters escaped as in URLs, JSON or HTML, and with several of these after one another.

A secret is overwritten character for character (`[secret]****`, newlines kept), so that every offset, line number and
count in a run stays true; its length is the one thing that shows. Text that arrives in pieces is held back as far as
it may be the beginning of a secret, and released by what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_origin

import msgspec

from fleet_rlm import events as ev
from fleet_rlm.runs.secret_forms import ESCAPE_CHARS, encoded_forms, layers, utf8, whole_piece

T = TypeVar("T")

MIN_SECRET_CHARS = 8
"""Shorter values are words and switches (`true`, `none`), not secrets."""

_SECRET_NAME = re.compile(
    r"(API_?KEY|ACCESS_?KEY|KEYS?(?![A-Z])|TOKEN(?!S|IZ)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)(?:PWD|PAT|AUTH)$)"
)
_NOT_SECRET_NAME = re.compile(r"^(PWD|OLDPWD|HOME|PATH)$|PUBLIC|_(PATH|FILE|DIR|URL|NAME|ID)$")
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/@:\s]*:([^/@\s]+)@")
_MARK = "[secret]"
_PIECE_CHARS = 16384
"""A text is searched in pieces of this size, so that many secrets in a long one cost no more than they must."""
_PERCENT_RUN = re.compile(rb"%(?:25)*[0-9A-Fa-f]{2}%(?:25)*[0-9A-Fa-f]{2}")
_BACKSLASH_RUN = re.compile(rb"\\+[ux][0-9A-Fa-f]{2,4}\\+[ux][0-9A-Fa-f]{2}")
_AMPERSAND_RUN = re.compile(rb"&(?:amp;)*#[xX]?[0-9A-Fa-f]+;?&(?:amp;)*#")
_ANY_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}|\\|&[#A-Za-z]")
_ANY_ESCAPE_CHARACTER = re.compile(r"[%\\&]")
_TO_WORDS = bytes(
    byte if chr(byte) in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_." else 32
    for byte in range(256)
)
"""Everything else becomes a space: what is left are the words in which encoded secrets and keys stand."""
_BEGINNING = 2
"""Characters by which most places are told at once not to begin a secret; every beginning is longer."""


def is_secret_name(name: str) -> bool:
    """True if an environment variable of this name holds a secret: `OPENAI_API_KEY` yes, `DSPY_LM_MAX_TOKENS` no."""
    upper = name.upper()
    return bool(_SECRET_NAME.search(upper)) and not _NOT_SECRET_NAME.search(upper)


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment (or of a `.env` file) that must not be written anywhere."""
    named = [value for name, value in environment.items() if value and is_secret_name(name)]
    in_addresses = [m[1] for value in environment.values() if (m := _PASSWORD_IN_URL.match(value))]
    return tuple(dict.fromkeys([*named, *in_addresses]))


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one kind of keys: a literal beginning, then at least `least` characters of `alphabet`."""

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
    """Return the text that replaces a secret, from its character `at` on."""
    cover = _MARK[at:].ljust(len(secret), "*")[: len(secret)]
    if "\n" not in secret:
        return cover
    return "".join("\n" if own == "\n" else sign for own, sign in zip(secret, cover, strict=True))


def _by_beginning(items: Iterable[T], start_of: Callable[[T], str]) -> dict[str, list[T]]:
    """Group items by the first characters of their starts."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(start_of(item)[:_BEGINNING], []).append(item)
    return groups


class Redactor:
    """Finds secrets in texts and in events. Immutable after it was made; streams are kept by `StreamRedactor`."""

    def __init__(self, secrets: Iterable[str] = (), shapes: Iterable[Shape] = SHAPES) -> None:
        long_enough = {secret.strip() for secret in secrets if len(secret.strip()) >= MIN_SECRET_CHARS}
        self.secrets = tuple(sorted(long_enough, key=lambda secret: (-len(secret), secret)))
        self._patterns = tuple(_Pattern(shape) for shape in shapes)
        encoded = {form for secret in self.secrets for form in encoded_forms(secret)}
        self._literals = tuple(sorted({*self.secrets, *encoded}, key=lambda form: (-len(form), form)))
        """Secrets and their encoded forms, the longest first."""
        self._known_forms = re.compile("|".join(map(re.escape, self._literals))) if self._literals else None
        self._window = max([1, *map(len, self._literals), *(len(shape.start) + shape.least for shape in shapes)])
        self._any_shape = re.compile("|".join(p.whole.pattern for p in self._patterns)) if self._patterns else None
        self._by_beginning = _by_beginning(self._literals, str)
        self._shapes_by_beginning = _by_beginning(self._patterns, lambda pattern: pattern.start)
        self._beginnings = frozenset((*self._by_beginning, *self._shapes_by_beginning))
        self._first_characters = frozenset(beginning[0] for beginning in self._beginnings)
        self._prepare_quick_look(
            encoded, [len(shape.start) + shape.least for shape in shapes if " " not in shape.start]
        )

    def _prepare_quick_look(self, encoded: Collection[str], lengths: Sequence[int]) -> None:
        """Compute what `may_be_in` looks for, by the encoded secrets and the least lengths of keys in one word."""
        needles = [whole_piece(secret) for secret in self.secrets]
        self._needles = tuple(dict.fromkeys(needle.encode() for needle in needles if needle))
        rare = [secret for secret, needle in zip(self.secrets, needles, strict=True) if not needle]
        self._rare = tuple({f for s in rare for f in (utf8(s), msgspec.json.encode(utf8(s).decode())[1:-1])})
        """Secrets without a piece that stays as it is however the rest is escaped."""
        self._encoded = tuple(form.encode() for form in encoded)
        self._encoded_pieces = tuple((whole_piece(form) or form).encode() for form in encoded)
        self._in_words = tuple(p for p in self._patterns if " " not in p.start)
        self._in_lines = tuple(p for p in self._patterns if " " in p.start)
        self._shortest_encoded = min(map(len, encoded), default=1)
        self._shortest_word = min([*map(len, encoded), *lengths], default=1)
        self._shortest = min([self._shortest_word, 2 * len("%00"), *map(len, self._needles)])

    def may_be_in(self, line: bytes) -> bool:
        """True if an encoded event or a UTF-8 text may hold a secret; quick, and never wrongly False."""
        if len(line) < self._shortest:
            return False
        for needle in self._needles:  # a plain loop: this is asked for every event, and a generator would double it
            if needle in line:
                return True
        if self.secrets and self._may_be_escaped_in(line):
            return True
        if len(line) < self._shortest_word:
            return False
        words = [word for word in line.translate(_TO_WORDS).split() if len(word) >= self._shortest_word]
        if words:
            long = b" ".join(words)
            if max(map(len, words)) >= self._shortest_encoded and any(form in long for form in self._encoded):
                return True
            if any(p.start_bytes in long and p.in_bytes.search(long) for p in self._in_words):
                return True
        return b"-----BEGIN" in line and any(p.in_bytes.search(line) for p in self._in_lines)

    def _may_be_escaped_in(self, line: bytes) -> bool:
        percent, backslash, ampersand = b"%" in line, b"\\u" in line or b"\\x" in line, b"&" in line
        if percent and _PERCENT_RUN.search(line):
            return True
        if backslash and _BACKSLASH_RUN.search(line):
            return True
        if ampersand and _AMPERSAND_RUN.search(line):
            return True
        if (percent or backslash or ampersand or b"\\/" in line) and any(form in line for form in self._encoded_pieces):
            return True
        return bool(self._rare) and (any(form in line for form in self._rare) or bool(_ANY_ESCAPE.search(line)))

    def text(self, text: str) -> str:
        """The text without its secrets; as long as before."""
        if not self._is_in(text):
            return text
        stream = StreamRedactor(self)
        pieces = [stream.feed(text[at : at + _PIECE_CHARS]) for at in range(0, len(text), _PIECE_CHARS)]
        return "".join(pieces) + stream.flush()

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
        return self.may_be_in(utf8(text))

    def find(self, text: str, at: int, final: bool) -> tuple[int, int, _Pattern | None] | None:
        """The first secret from `at` on as (start, end, shape when it may go on), or a beginning that must wait.

        A beginning that must wait has its end before its start. `final` says that nothing follows the text. None: no
        secret, and no beginning of one.
        """
        found = self._first(text, at) if self._is_in(text) else None
        if not final:
            start = self._beginning(text, at, found[0] + 1 if found else len(text))
            if start is not None:
                return start, -1, None
        return found

    def _first(self, text: str, at: int) -> tuple[int, int, _Pattern | None] | None:
        """The longest of the secrets that begin first."""
        found: tuple[int, int, _Pattern | None] | None = None
        if (span := self._known(text, at)) is not None:
            found = (*span, None)
        match = self._any_shape.search(text, at) if self._any_shape is not None else None
        if match and (found is None or match.start() <= found[0]):
            matches = [(p.whole.match(text, match.start()), p) for p in self._patterns]
            end, pattern = max((m.end(), n) for n, (m, _) in enumerate(matches) if m)
            if found is None or match.start() < found[0] or end >= found[1]:
                found = (match.start(), end, self._patterns[pattern] if end == len(text) else None)
        return found

    def _known(self, text: str, at: int) -> tuple[int, int] | None:
        """Find the first known secret, as it is or encoded; of those that begin there the longest."""
        if self._known_forms is None:
            return None
        spans = []
        for plain, places in layers(text, at):
            if match := self._known_forms.search(plain):
                spans.append((places[match.start()], places[match.end()]))
        return min(spans, key=lambda span: (span[0], -span[1]), default=None)

    def _beginning(self, text: str, at: int, stop: int) -> int | None:
        """Find where the end of the text may begin a secret, if that is before `stop`."""
        first, size = stop, len(text)
        if self.secrets and _ANY_ESCAPE_CHARACTER.search(text, at):
            for plain, places in layers(text, max(at, size - ESCAPE_CHARS * self._window), cut=True):
                first = min(first, places[self._first_becoming(plain, 0, len(plain))])
        else:
            first = self._first_becoming(text, at, stop)
        return first if first < min(stop, size) else None

    def _first_becoming(self, text: str, at: int, stop: int) -> int:
        last = len(text) - 1
        for start in range(max(at, last + 1 - self._window), stop):
            begins = text[start : start + _BEGINNING] in self._beginnings or start == last
            if begins and self._may_become(text, start):
                return start
        return stop

    def _may_become(self, text: str, start: int) -> bool:
        """True if more text could make what begins at `start` a secret, or a longer one."""
        beginning = text[start : start + _BEGINNING]
        if len(beginning) < _BEGINNING:
            return beginning in self._first_characters
        literals, patterns = self._by_beginning.get(beginning), self._shapes_by_beginning.get(beginning)
        if literals is None and patterns is None:
            return False
        tail = text[start:]
        if any(len(literal) > len(tail) and literal.startswith(tail) for literal in literals or ()):
            return True
        if _is_inside_a_word(text, start):
            return False
        for pattern in patterns or ():
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

    def feed(self, text: str) -> str:
        """Add a piece, and return the text that can be passed on."""
        return self._take(text, final=False)

    def flush(self) -> str:
        """Return the text that was held back, as nothing follows."""
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
