"""The Modal fields of New run as typed, and the options that they come to."""

from __future__ import annotations

import shlex

import msgspec

from fleet_rlm.spec import ModalOptions

FIELDS = ("volume", "secrets", "packages", "cpu", "memory")


class CloudDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The Modal fields as typed; empty: as configured, else as Modal has it."""

    volume: str = ""
    secrets: str = ""
    """Names, spaces between."""
    packages: str = ""
    """In pip's notation, spaces between, quotes around one that holds some."""
    cpu: str = ""
    memory: str = ""


class NotAnOption(ValueError):
    """What was typed can't be used; `field` is where."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


def options_of(cloud: CloudDraft, usual: ModalOptions) -> ModalOptions:
    """The options: those typed, else the usual ones. Raises `NotAnOption`."""
    packages = _several("packages", cloud.packages)
    secrets = tuple(cloud.secrets.split())
    memory = _number("memory", cloud.memory, "MiB, such as 4096")
    options = msgspec.structs.replace(
        usual,
        volume=cloud.volume.strip() or usual.volume,
        secrets=secrets or usual.secrets,
        packages=packages or usual.packages,
        cpu=_number("cpu", cloud.cpu, "cores, such as 2 or 0.5") or usual.cpu,
        memory_mb=usual.memory_mb if memory is None else int(memory),
    )
    for field in FIELDS:
        _check(field, options)
    return options


def draft_of(options: ModalOptions) -> tuple[CloudDraft, ModalOptions]:
    """Return the text to type for these options, and the rest of them, which has no field."""
    typed = CloudDraft(
        volume=options.volume or "",
        secrets=" ".join(options.secrets),
        packages=shlex.join(options.packages),
        cpu="" if options.cpu is None else f"{options.cpu:g}",
        memory="" if options.memory_mb is None else str(options.memory_mb),
    )
    rest = msgspec.structs.replace(options, volume=None, secrets=(), packages=(), cpu=None, memory_mb=None)
    return typed, rest


def command_options(cloud: CloudDraft) -> list[str]:
    """Return the typed fields as options of the command line."""
    words = [f"--volume-name {shlex.quote(cloud.volume.strip())}"] if cloud.volume.strip() else []
    words += [f"--secret-name {shlex.quote(name)}" for name in cloud.secrets.split()]
    try:
        packages = shlex.split(cloud.packages)
    except ValueError:
        packages = [cloud.packages]
    words += [f"--image-package {shlex.quote(name)}" for name in packages]
    words += [f"--cpu {shlex.quote(cloud.cpu.strip())}"] if cloud.cpu.strip() else []
    words += [f"--memory {shlex.quote(cloud.memory.strip())}"] if cloud.memory.strip() else []
    return words


def _several(field: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise NotAnOption(field, "a quote is not closed") from error


def _number(field: str, text: str, what: str) -> float | None:
    if not (text := text.strip()):
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise NotAnOption(field, f"{field}: a number of {what}, not {text[:20]!r}")
    return value


def _check(field: str, options: ModalOptions) -> None:
    """One field's part of the options alone, so that the field is known which is wrong."""
    from fleet_rlm import sandbox_choice

    name = "memory_mb" if field == "memory" else field
    problem = sandbox_choice.check(msgspec.structs.replace(ModalOptions(), **{name: getattr(options, name)}))
    if problem is not None:
        raise NotAnOption(field, f"{problem.message} {problem.hint}")
