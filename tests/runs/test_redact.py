"""Secrets never reach a file, however the text that holds them is cut."""

from __future__ import annotations

import itertools
import re

import msgspec
import pytest
from hypothesis import given
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
    assert stream.is_idle
    assert not any(secret in came for secret in SECRETS)


@pytest.mark.parametrize("secret", [*SECRETS, *KEYS])
def test_a_secret_cut_in_two_at_any_place_is_overwritten_whole(secret: str) -> None:
    redactor, text = Redactor(SECRETS), f"before {secret} after"
    whole = redactor.text(text)
    assert secret[:8] not in whole
    for cut in range(len(text)):
        stream = StreamRedactor(redactor)
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == whole


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
