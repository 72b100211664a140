"""Where a run's code is to run, as a person says it: by options, in the environment or in config.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast, get_args

from fleet_rlm.config import Problem, Settings
from fleet_rlm.modal_login import ModalLogin, modal_login
from fleet_rlm.spec import ModalOptions, SandboxChoice

CHOICES: tuple[str, ...] = get_args(SandboxChoice)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PYTHON = re.compile(r"3\.(1[0-9]|2[0-9])(\.\d{1,2})?")
_ENVIRONMENT_NAME = "FLEET_RLM_SANDBOX"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """What was said on a command line; None and empty: nothing."""

    sandbox: str | None = None
    app: str | None = None
    image: str | None = None
    image_packages: tuple[str, ...] = ()
    volume_name: str | None = None
    secret_names: tuple[str, ...] = ()
    cpu: float | None = None
    memory: int | None = None
    timeout: float | None = None
    """Longest life of the sandbox, in seconds."""


class Unusable(ValueError):
    """An option that can't be used; `hint` says what to write."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.hint = problem.hint


def choose(settings: Settings, asked: SandboxRequest) -> tuple[SandboxChoice, ModalOptions]:
    """As asked, else as configured, else local. Raises `Unusable` naming what is wrong."""
    configured = settings.find(_ENVIRONMENT_NAME, key="run.sandbox")
    name = (asked.sandbox or (configured.text if configured else "") or "local").strip().lower()
    if name not in CHOICES:
        where = "" if asked.sandbox or configured is None else f" ({configured.variable} in {configured.source})"
        raise Unusable(Problem(f"There is no sandbox named {name!r}{where}.", f"There are: {', '.join(CHOICES)}."))
    own = settings.table.get("modal", {})

    def text(option: str | None, key: str) -> str | None:
        value = option if option is not None else own.get(key)
        return str(value).strip() or None if value is not None else None

    def several(option: tuple[str, ...], key: str) -> tuple[str, ...]:
        value = own.get(key)
        found = option or (tuple(map(str, value)) if isinstance(value, list | tuple) else ())
        return tuple(dict.fromkeys(one.strip() for one in found if one.strip()))

    default = ModalOptions()
    options = ModalOptions(
        app=text(asked.app, "app") or default.app,
        image=text(asked.image, "image"),
        python_version=text(None, "python_version") or default.python_version,
        packages=several(asked.image_packages, "packages"),
        cpu=asked.cpu if asked.cpu is not None else cast("float | None", own.get("cpu")),
        memory_mb=asked.memory if asked.memory is not None else cast("int | None", own.get("memory")),
        volume=text(asked.volume_name, "volume"),
        secrets=several(asked.secret_names, "secrets"),
        network=bool(own.get("network", False)),
        timeout=asked.timeout if asked.timeout is not None else cast(float, own.get("timeout", default.timeout)),
    )
    problem = check(options)
    if problem is not None:
        raise Unusable(problem)
    for_modal = {
        "--volume-name": asked.volume_name,
        "--secret-name": asked.secret_names,
        "--image-package": asked.image_packages,
        "--image": asked.image,
        "--app": asked.app,
        "--cpu": asked.cpu,
        "--memory": asked.memory,
        "--sandbox-timeout": asked.timeout,
    }
    given = [option for option, value in for_modal.items() if value]
    if given and name == "local":
        words = f"{given[0]} is for a sandbox in Modal's cloud, and this run's is local."
        raise Unusable(Problem(words, f"Add --sandbox modal, or leave {given[0]} out."))
    return cast(SandboxChoice, name), options


def check(options: ModalOptions) -> Problem | None:
    """What is wrong with these options, before anybody is asked at Modal."""
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
    if options.cpu is not None and not 0.125 <= options.cpu <= 64:
        return Problem(f"--cpu is {options.cpu:g}.", "It is a number of cores from 0.125 to 64.")
    if options.memory_mb is not None and not 128 <= options.memory_mb <= 344_064:
        return Problem(f"--memory is {options.memory_mb:,}.", "It is a number of MiB from 128 to 344,064.")
    if not 10 <= options.timeout <= 86_400:
        return Problem(f"--sandbox-timeout is {options.timeout:g}.", "It is a number of seconds from 10 to 86,400.")
    path = PurePosixPath(options.volume_path)
    if not path.is_absolute() or len(path.parts) < 2 or path.parts[1] in ("tmp", "proc", "sys", "dev", "etc", "usr"):
        return Problem(
            f"A volume can't stand at {options.volume_path!r}.", "Choose a folder of its own, such as /data."
        )
    return None


def check_name(what: str, name: str) -> Problem | None:
    """Whether this can be the name of `what` (`a volume`) at Modal."""
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
