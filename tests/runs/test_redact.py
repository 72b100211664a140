"""Secrets never reach a file, however the text that holds them is cut."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm import events as ev
from fleet_rlm.runs.redact import SHAPES, Redactor, Shape, StreamRedactor, is_secret_name, secrets_in

SECRETS = (
    "hunter2-hunter2",
    "hunter2-hunter2-longer",
    "aaaaaaaaab",
    'qu"ote\\d ü key',
    "line one\nline two",
    "ababababac",
)
KEYS = (
    "sk-" + "proj-Ab1" * 6,
    "AIza" + "Sy0" * 12,
    "ghp_" + "a1B2" * 9,
    "AKIA" + "Q7Z3" * 4,
    "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE/x+=" * 20 + "\n" + "abcd" * 9 + "\n-----END RSA PRIVATE KEY-----",
)


def key_of(shape: Shape) -> str:
    """Some key of this shape."""
    letter = next(c for c in "A7-" if re.fullmatch(f"[{shape.alphabet}]", c))
    return shape.start + letter * shape.least


def pieces(text: str, sizes: list[int]) -> list[str]:
    """The text in pieces of these sizes, over and over."""
    cut, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(text):
            return cut
        cut.append(text[at : at + size])
        at += size
    return cut


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_secret_is_overwritten_and_the_text_keeps_its_length(secret: str) -> None:
    redacted = Redactor(SECRETS).text(f"before {secret} after")
    assert secret not in redacted
    assert redacted.startswith("before [secret]")
    assert redacted.endswith(" after")
    assert len(redacted) == len(f"before {secret} after")
    assert redacted.count("\n") == secret.count("\n")


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.start for shape in SHAPES])
def test_a_key_of_a_known_shape_is_overwritten_without_being_configured(shape: Shape) -> None:
    key = key_of(shape)
    assert "[secret]" in Redactor().text(f"'{key}'")
    assert key not in Redactor().text(f"'{key}'")
    event = ev.Output(stream="stdout", text=f"'{key}'")
    assert Redactor().may_be_in(ev.encode(event))


@pytest.mark.parametrize(
    "text", ["a risk-assessment-of-everything-there-is", "task-1 sk-short", "as-is", "the weak-minded", "x" * 1000]
)
def test_words_that_only_resemble_keys_stay(text: str) -> None:
    assert Redactor().text(text) == text


WORDS = st.sampled_from(
    [*SECRETS, *KEYS, "sk-", "hunter2-", "a", "ab", "aa", " ", "b", "x", "ü", "\n", '"', "-----", "k"]
)


@given(st.lists(WORDS, max_size=12).map("".join), SIZES)
def test_however_a_text_is_cut_what_comes_out_is_the_same(text: str, sizes: list[int]) -> None:
    redactor = Redactor(SECRETS)
    stream = StreamRedactor(redactor)
    came = "".join(stream.feed(piece) for piece in pieces(text, sizes)) + stream.flush()
    assert came == redactor.text(text)
    assert len(came) == len(text)
    assert not any(secret in came for secret in SECRETS)


@pytest.mark.parametrize("secret", [*SECRETS, *KEYS])
def test_a_secret_cut_in_two_at_any_place_is_overwritten_whole(secret: str) -> None:
    redactor, text = Redactor(SECRETS), f"before {secret} after"
    whole = redactor.text(text)
    assert secret[:8] not in whole
    for cut in range(len(text)):
        stream = StreamRedactor(redactor)
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == whole


KEY = "zq+secret/key==12345"


def in_full(form: str) -> Callable[[str], str]:
    """Every character escaped, as `form` says with its number."""
    return lambda key: "".join(form.format(ord(letter)) for letter in key)


def base64_of(before: str, after: str = "", *, url: bool = False) -> Callable[[str], str]:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    return lambda key: encode(f"{before}{key}{after}".encode()).decode()


def json_of(text: str) -> str:
    return json.dumps(text)[1:-1]


FORMS: dict[str, Callable[[str], str]] = {
    "URL": lambda key: quote(key, safe=""),
    "URL, small digits": lambda key: re.sub("%..", lambda m: m[0].lower(), quote(key, safe="")),
    "URL with slashes": quote,
    "URL, every character": in_full("%{:02X}"),
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "URL, three times": lambda key: quote(quote(quote(key, safe=""), safe=""), safe=""),
    "a form": quote_plus,
    **{f"base64 after {n}": base64_of("user:"[:n]) for n in range(4)},
    **{f"base64 before {n}": base64_of("", "more"[:n]) for n in range(1, 4)},
    **{f"base64 for URLs after {n}": base64_of("user:"[:n], "x", url=True) for n in range(3)},
    "base64 in a URL": lambda key: quote(base64_of(":")(key), safe=""),
    "base64 in JSON": lambda key: base64_of("")(key).replace("/", "\\/"),
    "hexadecimal": lambda key: key.encode().hex(),
    "HEXADECIMAL": lambda key: key.encode().hex().upper(),
    "JSON": json_of,
    "JSON with slashes": lambda key: json_of(key).replace("/", "\\/"),
    "JSON of JSON": lambda key: json_of(json_of(key)),
    "JSON, every character": in_full("\\u{:04x}"),
    "JSON of JSON, every character": lambda key: json_of(in_full("\\u{:04X}")(key)),
    "JSON for HTML": lambda key: re.sub("[+/=&<>']", lambda m: f"\\u{ord(m[0]):04x}", json_of(key)),
    "a string of Python": in_full("\\x{:02x}"),
    "HTML": html.escape,
    "HTML, signs": lambda key: re.sub("[^A-Za-z0-9]", lambda m: f"&#{ord(m[0])};", key),
    "HTML, signs in hexadecimal": lambda key: re.sub("[^A-Za-z0-9]", lambda m: f"&#x{ord(m[0]):X};", key),
    "HTML, names": lambda key: key.replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;"),
    "HTML, every character": in_full("&#{};"),
    "HTML of a URL": lambda key: html.escape(in_full("&#{};")(quote(key, safe=""))),
}
ENCODED = (KEY, "hunter2-hunter2", "aaaaaaaaab", 'qu"ote\\d& key <x>', "p-a-s-s-w-o-r-d")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", ENCODED)
def test_a_secret_is_overwritten_in_every_form_it_may_come_back_in(secret: str, form: str) -> None:
    redactor, encoded = Redactor(ENCODED), FORMS[form](secret)
    text = f"bad <{encoded}> end"
    redacted = redactor.text(text)
    assert redacted.startswith("bad <")
    assert redacted.endswith("> end")
    assert len(redacted) == len(text)
    assert "[secret]" in redacted
    shown = redacted.removeprefix("bad <").removesuffix("> end").replace("[secret]", "").replace("*", "")
    assert len(shown) <= 12  # what was before and after it, and what shares a digit with that
    assert redactor.may_be_in(ev.encode(ev.Output(stream="stdout", text=text)))
    for cut in range(len(text)):
        stream = StreamRedactor(redactor)
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == redacted, cut
    stream = StreamRedactor(redactor)
    assert "".join(map(stream.feed, text)) + stream.flush() == redacted


ENCODED_WORDS = st.sampled_from(
    [
        *ENCODED,
        *(form(secret) for form in FORMS.values() for secret in ENCODED),
        *"%\\&zq",
        "%2",
        "\\u00",
        "&#4",
        " ",
        "\\\\",
    ]
)


@settings(max_examples=60)
@given(st.lists(ENCODED_WORDS, max_size=8).map("".join), SIZES)
def test_however_a_text_with_encoded_secrets_is_cut_what_comes_out_is_the_same(text: str, sizes: list[int]) -> None:
    redactor = Redactor(ENCODED)
    stream = StreamRedactor(redactor)
    came = "".join(stream.feed(piece) for piece in pieces(text, sizes)) + stream.flush()
    assert came == redactor.text(text)
    assert len(came) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "100% of 20%",
        "C:\\new\\table",
        "a && b || c",
        "x%2Fy%2Fz",
        "\\u00e4\\u00f6",
        "&lt;b&gt;",
        "deadbeef" * 8,
        "TWFu" * 30,
    ],
)
def test_escaped_and_encoded_text_without_secrets_stays(text: str) -> None:
    assert Redactor(ENCODED).text(text) == text


@given(st.lists(WORDS, max_size=8).map("".join))
def test_a_stream_of_single_characters_holds_back_no_more_than_a_secret(text: str) -> None:
    stream, out = StreamRedactor(Redactor(SECRETS)), 0
    for count, character in enumerate(text, start=1):
        out += len(stream.feed(character))
        assert count - out <= 80


@given(st.text(max_size=300), SIZES)
def test_text_without_secrets_passes_unchanged(text: str, sizes: list[int]) -> None:
    stream = StreamRedactor(Redactor(("hunter2-hunter2",)))
    assert "".join(stream.feed(piece) for piece in pieces(text, sizes)) + stream.flush() == text


def test_every_text_of_an_event_is_searched_and_its_ids_are_not() -> None:
    secret = SECRETS[3]
    event = ev.RunStarted(
        format=ev.FORMAT,
        version=1,
        run_id=secret,
        started_at="",
        task=ev.Task(name="ask", signature="q -> a", question=f"is it {secret}?"),
        inputs=(ev.Input(name="q", type="dict", chars=3, value={secret: [secret, {"deep": (secret,)}], "n": 3}),),
        models=ev.Models(planner="m", sub="m"),
        sandbox=ev.Sandbox(backend="local", isolation=""),
        budgets=ev.BudgetLimits(max_iterations=3),
        versions={"python": secret},
    )
    redactor = Redactor(SECRETS)
    assert redactor.may_be_in(ev.encode(event))
    redacted = redactor.event(event)
    assert redacted.run_id == secret
    assert not redactor.may_be_in(ev.encode(msgspec.structs.replace(redacted, run_id="")))
    assert redacted.inputs[0].value["n"] == 3


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *[(name, True) for name in ("OPENAI_API_KEY", "my_token", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "NPM_AUTH")],
        *[
            (name, False)
            for name in ("DSPY_LM_MAX_TOKENS", "PWD", "KEYBOARD", "SSH_KEY_PATH", "TOKENIZERS_PARALLELISM")
        ],
    ],
)
def test_names_tell_which_variables_hold_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_passwords_inside_addresses_count_as_secrets() -> None:
    environment = {"DATABASE_URL": "postgres://me:correct-horse@db/x", "HOME": "/somewhere", "API_KEY": "abcdefgh1"}
    assert set(secrets_in(environment)) == {"correct-horse", "abcdefgh1"}


def test_short_values_are_no_secrets() -> None:
    assert Redactor(("true", "1234567", "")).text("true 1234567") == "true 1234567"
