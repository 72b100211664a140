"""Ask the engine's command line what only the engine knows: a signature's fields, which isolation works here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "fleet_rlm.engine", "--describe")
SECONDS = 60.0
_PAUSE = 0.05


class CannotDescribe(RuntimeError):
    """The engine gave no answer that can be read."""


class Field(msgspec.Struct, frozen=True):
    name: str
    type: str


class SignatureAnswer(msgspec.Struct, frozen=True):
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    error: str = ""
    hint: str = ""


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str = ""


class ToolsAnswer(msgspec.Struct, frozen=True):
    found: tuple[Tool, ...] = ()
    error: str = ""
    hint: str = ""


class Isolation(msgspec.Struct, frozen=True):
    mode: str
    ready: bool
    words: str = ""


class ModalAnswer(msgspec.Struct, frozen=True):
    ready: bool = False
    words: str = ""
    hint: str = ""


class Answer(msgspec.Struct, frozen=True):
    signature: SignatureAnswer | None = None
    tools: ToolsAnswer | None = None
    isolation: tuple[Isolation, ...] = ()
    modal: ModalAnswer = ModalAnswer()


def ask(
    signature: str | None = None,
    tools: Sequence[str] = (),
    cwd: str = ".",
    isolation: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    command: Sequence[str] | None = None,
) -> Answer | None:
    """The engine's answer; None when it was cancelled. Takes up to some seconds. Raises `CannotDescribe`."""
    question: dict[str, object] = {"isolation": isolation, "tools": list(tools), "cwd": cwd}
    if signature is not None:
        question["signature"] = signature
    try:
        process = subprocess.Popen(
            [*(command or COMMAND), msgspec.json.encode(question).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotDescribe(f"the engine did not start: {error.strerror or error}") from error
    said: list[bytes] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda out: said.append(out.read()), args=(process.stdout,), daemon=True)
    reader.start()
    waited = 0.0
    with process:
        while reader.is_alive():
            reader.join(_PAUSE)
            waited += _PAUSE
            if cancelled() or waited > SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if cancelled():
                    return None
                raise CannotDescribe(f"the engine gave no answer in {SECONDS:g} seconds")
    try:
        return msgspec.json.decode(b"".join(said), type=Answer)
    except msgspec.DecodeError as error:
        raise CannotDescribe("the engine's answer cannot be read") from error
