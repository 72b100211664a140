"""Where a run's code is to run, as a person says it: by options, in the environment or in config.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast, get_args

from fleet_rlm.config import BY_KEY, SETTINGS, Problem, Settings
from fleet_rlm.config.modal_login import ModalLogin, modal_login
from fleet_rlm.spec import ModalOptions, SandboxChoice

CHOICES: tuple[str, ...] = get_args(SandboxChoice)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PYTHON = re.compile(r"3\.(1[0-9]|2[0-9])(\.\d{1,2})?")


class Unusable(ValueError):
    """An option that can't be used; `hint` says what to write."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem, self.hint = problem, problem.hint


def choose(settings: Settings) -> tuple[SandboxChoice, ModalOptions]:
    """Choose the sandbox: as asked, else as configured, else local. Raises `Unusable` naming what is wrong."""
    if settings.stopping is not None:
        raise Unusable(settings.stopping)
    name, default = settings.text("run.sandbox") or "local", ModalOptions()
    options = ModalOptions(
        app=settings.text("modal.app") or default.app,
        image=settings.text("modal.image"),
        python_version=settings.text("modal.python_version") or default.python_version,
        packages=settings.names("modal.packages"),
        cpu=settings.number("modal.cpu"),
        memory_mb=settings.whole("modal.memory"),
        volume=settings.text("modal.volume"),
        secrets=settings.names("modal.secrets"),
        network=bool(settings.get("modal.network")),
        timeout=settings.number("modal.timeout") or default.timeout,
    )
    problem = check(options)
    if problem is not None:
        raise Unusable(problem)
    given = [setting.options[0] for setting in SETTINGS if setting.section == "modal" and setting.key in settings.asked]
    if given and name == "local":
        words = f"{given[0]} is for a sandbox in Modal's cloud, and this run's is local."
        raise Unusable(Problem(words, f"Add --sandbox modal, or leave {given[0]} out."))
    return cast(SandboxChoice, name), options


def check(options: ModalOptions) -> Problem | None:
    """Return the first fault of these options, found without asking Modal."""
    for what, names in (
        ("the app", (options.app,)),
        ("a volume", (options.volume,) if options.volume else ()),
        ("a secret", options.secrets),
    ):
        for name in names:
            if problem := check_name(what, name):
                return problem
    if options.image is None and not _PYTHON.fullmatch(options.python_version):
        return Problem(
            f"{options.python_version!r} is no version of Python for a sandbox.", "It is 3.10 or newer, such as 3.12."
        )
    for package in options.packages:
        if package.startswith("-") or not package.isprintable():
            return Problem(f"{package!r} is no package's name.", "Write it like numpy or 'pandas>=2'.")
    sizes = {"modal.cpu": options.cpu, "modal.memory": options.memory_mb, "modal.timeout": options.timeout}
    for key, value in sizes.items():
        setting = BY_KEY[key]
        if value is not None and not setting.accepts(value):
            return Problem(f"{setting.options[0]} is {value:,}, not {setting.takes}.", setting.help)
    path = PurePosixPath(options.volume_path)
    if not path.is_absolute() or len(path.parts) < 2 or path.parts[1] in ("tmp", "proc", "sys", "dev", "etc", "usr"):
        return Problem(
            f"A volume can't stand at {options.volume_path!r}.", "Choose a folder of its own, such as /data."
        )
    return None


def check_name(what: str, name: str) -> Problem | None:
    """Return a problem if this can't be the name of `what` (`a volume`) at Modal."""
    if _NAME.fullmatch(name):
        return None
    return Problem(
        f"{name!r} can't be the name of {what} at Modal.",
        "Names have up to 63 letters, digits, dots, dashes and underscores.",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run's code will run, and why there."""

    sandbox: SandboxChoice
    """Never `auto`."""
    notice: str = ""
    problem: Problem | None = None


def settle(choice: SandboxChoice, settings: Settings) -> Place:
    """`auto` becomes Modal where it is configured, else local; Modal without a token has a problem."""
    if choice == "local":
        return Place("local")
    login: ModalLogin = modal_login(settings.environment)
    if login.ready:
        return Place("modal", f"--sandbox auto chose Modal, by {login.source}." if choice == "auto" else "")
    assert login.problem is not None
    if choice == "auto":
        return Place(
            "local", f"--sandbox auto: local, for {login.problem.message[0].lower()}{login.problem.message[1:]}"
        )
    return Place("modal", problem=login.problem)
