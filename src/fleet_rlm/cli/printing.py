"""What the command line says: answers on stdout, everything else on stderr, nothing that a terminal could act on."""

from __future__ import annotations

import json
import sys
from typing import Annotated, NoReturn

import typer

from fleet_rlm.events import Json
from fleet_rlm.terminal_text import clean

OK, FAILED, USAGE, ABORTED = 0, 1, 2, 130
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(text: str = "") -> None:
    """A line of the answer, on stdout."""
    sys.stdout.write(_printable(clean(text), sys.stdout.encoding) + "\n")


def say_json(value: Json) -> None:
    """One JSON object on a line of stdout; characters beyond ASCII are escaped, so that a terminal sees none."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def draws() -> bool:
    """Return True if stdout is a terminal that shows more than ASCII, so that an answer may be drawn as a table."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return sys.stdout.isatty() and encoding == "utf8"


def tell(text: str) -> None:
    """A line for the person, on stderr."""
    sys.stderr.write(_printable(clean(text), sys.stderr.encoding) + "\n")


def fail(message: str, hint: str = "", *, code: int = FAILED, as_json: bool = False) -> NoReturn:
    """Say what went wrong and what can be done, and leave."""
    if as_json:
        say_json({"error": {"message": message, "hint": hint}})
    _tell_and_exit(message, hint, code)


def refuse(message: str, hint: str = "", *, as_json: bool = False) -> NoReturn:
    """Leave a command that runs something, because it can't be done as asked."""
    leave(message, hint, USAGE, as_json=as_json)


def leave(message: str, hint: str, code: int, *, as_json: bool) -> NoReturn:
    """End a command whose run never began: in JSON like a run that failed."""
    if as_json:
        nothing = dict.fromkeys(("run_id", "run_file", "totals"))
        error = {"message": message, "hint": hint}
        say_json({"status": "failed", "outputs": {}, **nothing, "error": error})
    _tell_and_exit(message, hint, code)


def _tell_and_exit(message: str, hint: str, code: int) -> NoReturn:
    tell(f"Error: {message}")
    if hint:
        tell(hint)
    raise typer.Exit(code)


def _printable(text: str, encoding: str | None) -> str:
    """The text in a terminal's own encoding, where that knows fewer characters."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
