"""Modal: its package, its token, and (where there is one) what a run would use there, asked all at once."""

from __future__ import annotations

import functools
import importlib.machinery
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from fleet_rlm.cli import modal_access
from fleet_rlm.cli.config_command import without_password
from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.cli.doctor.parallel_checks import at_once
from fleet_rlm.cli.secret_commands import configured_name
from fleet_rlm.config import Settings, Trust
from fleet_rlm.config.modal_login import modal_login, shadowed
from fleet_rlm.sandbox_choice import Unusable, choose
from fleet_rlm.spec import ModalOptions


def is_asked_for(settings: Settings) -> bool:
    """Whether a run would go to Modal and nowhere else."""
    try:
        return choose(settings)[0] == "modal"
    except Unusable:
        return False


def look(settings: Settings, stopped: threading.Event) -> list[Finding]:
    """Modal itself is asked where there is a token, until `stopped`."""
    try:
        place, options = choose(settings)
    except Unusable as error:
        place, options = "local", ModalOptions()
        if error.problem != settings.stopping:  # which is told under `settings`
            return [Finding("sandbox", "missing", str(error), error.hint, configured=True)]
    needed = place == "modal"
    found = [_guard(needed)]
    login = modal_login(settings.environment)
    if login.problem is not None:
        if not found[0].stops_a_run and shadowed() is None:
            problem = login.problem
            found.append(Finding("modal token", "missing", problem.message, problem.hint, needed, configured=True))
        return found
    server = settings.variable("MODAL_SERVER_URL", Trust.ENVIRONMENT)
    where = f" in the environment {login.environment}" if login.environment else ""
    at = f", at {without_password(server.text)} (MODAL_SERVER_URL in {server.source})" if server else ""
    found.append(Finding("modal token", "ok", f"{login.source}{where}{at}"))
    settings.export()  # where Modal's client looks
    return [*found, *_asked(settings, options, needed, stopped)]


def _guard(needed: bool) -> Finding:
    """Would Python import the package, here and in an engine that is started from this folder?"""
    problem = shadowed()
    if problem is not None:
        return Finding("modal package", "missing", problem.message, problem.hint, needed)
    try:
        beside = importlib.machinery.PathFinder.find_spec("modal", [str(Path.cwd())])
    except OSError:
        beside = None
    if beside is not None and beside.origin is not None and "site-packages" not in beside.origin:
        words = f"{beside.origin} hides the installed package from what is started in this folder."
        return Finding("modal package", "missing", words, "Rename it, or start from another folder.", needed)
    return Finding("modal package", "ok", "nothing hides it")


def _asked(settings: Settings, options: ModalOptions, needed: bool, stopped: threading.Event) -> list[Finding]:
    from fleet_rlm.sandbox.host.transport import TransportError
    from fleet_rlm.sandbox.modal.modal_client import connect, within
    from fleet_rlm.sandbox.modal.modal_failures import NotThere
    from fleet_rlm.sandbox.modal.modal_secrets import open_secret
    from fleet_rlm.sandbox.modal.volumes import open_volume

    seconds, gone = modal_access.ANSWER_SECONDS, stopped.is_set

    def unlike(name: str, error: TransportError, needed: bool) -> Finding:
        words = str(error)
        return Finding(name, "missing", f"{words[:1].upper()}{words[1:]}.", getattr(error, "hint", ""), needed)

    def app(modal: ModuleType) -> Finding:
        doing = f"looking up the app {options.app}"
        try:
            within(modal, seconds, doing, lambda: modal.App.lookup.aio(options.app), gone)
        except NotThere:
            return Finding("modal app", "note", f"{options.app} is not there yet; the first run makes it")
        except TransportError as error:
            return unlike("modal app", error, needed)
        return Finding("modal app", "ok", f"{options.app} is there")

    def secret(modal: ModuleType, name: str, wanted: bool) -> Finding:
        try:
            open_secret(modal, name, seconds=seconds, stopped=gone)
        except NotThere as error:
            if not wanted:
                return Finding("modal secret", "note", f"{name} is not there; no run needs it unless it names it")
            return unlike("modal secret", error, needed)
        except TransportError as error:
            return unlike("modal secret", error, needed and wanted)
        return Finding("modal secret", "ok", f"{name} is there (`fleet-rlm check-secret` looks at its keys)")

    def volume(modal: ModuleType, name: str) -> Finding:
        try:
            open_volume(modal, name, create=False, seconds=seconds, stopped=gone)
        except NotThere:
            return Finding("modal volume", "note", f"{name} is not there yet; the first run makes it")
        except TransportError as error:
            return unlike("modal volume", error, needed)
        return Finding("modal volume", "ok", f"{name} is there, version 2")

    try:
        modal, _ = connect(seconds, gone)
    except TransportError as error:
        return [unlike("modal", error, needed)]
    secrets = options.secrets or (configured_name(settings),)
    questions: list[Callable[[], Finding]] = [lambda: app(modal)]
    questions += [functools.partial(secret, modal, name, bool(options.secrets)) for name in secrets]
    if options.volume is not None:
        kept = options.volume
        questions.append(lambda: volume(modal, kept))
    return at_once(questions, stopped)
