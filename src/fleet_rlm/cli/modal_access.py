"""Helpers of the commands that ask Modal: find its token as a run does, and print its failures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from fleet_rlm import config
from fleet_rlm.cli import printing
from fleet_rlm.config.modal_login import modal_login
from fleet_rlm.sandbox_choice import check_name

ANSWER_SECONDS = 10.0
"""Seconds that Modal may take to answer a question."""


def settings(as_json: bool) -> config.Settings:
    """Load the settings and export `.env` for Modal's client. Exits where there is no token."""
    found = config.load()
    for problem in found.problems:
        printing.tell(f"warning: {problem}")
    login = modal_login(found.environment)
    if unusable := found.stopping or login.problem:
        printing.fail(unusable.message, unusable.hint, code=printing.USAGE, as_json=as_json)
    found.export()
    return found


def usable_name(what: str, name: str, as_json: bool) -> str:
    """The name, or the command ends as used wrongly."""
    problem = check_name(what, name)
    if problem is not None:
        printing.fail(problem.message, problem.hint, code=printing.USAGE, as_json=as_json)
    return name


@contextmanager
def refusals(as_json: bool) -> Iterator[None]:
    """Say what Modal refused or failed at, and what to do; ctrl+c and SIGTERM leave at once, nothing half done."""
    from fleet_rlm.sandbox.host.transport import TransportError

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except TransportError as error:
        _fail(error, as_json)
    except KeyboardInterrupt:
        printing.tell("Stopped.")
        raise typer.Exit(printing.ABORTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: Exception, as_json: bool) -> NoReturn:
    words = str(error)
    hint = getattr(error, "hint", "")
    printing.fail(f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}", hint, as_json=as_json)
