"""The options that say where code runs, the same for every command that runs something."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from fleet_rlm import sandbox_choice, spec
from fleet_rlm.config import Problem

PANEL = "Sandbox"

Sandbox = Annotated[
    str | None,
    typer.Option(
        "--sandbox",
        metavar="|".join(sandbox_choice.CHOICES),
        help="Where generated code runs: an isolated process of this machine (the default), Modal's cloud, or Modal "
        "where it is configured, else local.",
        rich_help_panel=PANEL,
    ),
]
VolumeName = Annotated[
    str | None,
    typer.Option(
        "--volume-name",
        metavar="NAME",
        help="Modal: a volume at /data that keeps documents and results.",
        rich_help_panel=PANEL,
    ),
]
SecretName = Annotated[
    list[str] | None,
    typer.Option(
        "--secret-name",
        metavar="NAME",
        help="Modal: a secret whose values the code may read. May be repeated.",
        rich_help_panel=PANEL,
    ),
]
ImagePackage = Annotated[
    list[str] | None,
    typer.Option(
        "--image-package",
        metavar="NAME",
        help="Modal: a package to install into the image. May be repeated.",
        rich_help_panel=PANEL,
    ),
]
Cpu = Annotated[
    float | None, typer.Option("--cpu", metavar="CORES", help="Modal: cores of the sandbox.", rich_help_panel=PANEL)
]
Memory = Annotated[
    int | None, typer.Option("--memory", metavar="MIB", help="Modal: memory of the sandbox.", rich_help_panel=PANEL)
]
SandboxTimeout = Annotated[
    float | None,
    typer.Option(
        "--sandbox-timeout",
        metavar="SECONDS",
        help="Modal: longest life of the sandbox (3600).",
        rich_help_panel=PANEL,
    ),
]
OnSandboxLost = Annotated[
    str,
    typer.Option(
        "--on-sandbox-lost",
        metavar="|".join(get_args(spec.OnSandboxLost)),
        help="When the sandbox is lost in mid-run: go on in another one, its state rebuilt (twice in a row "
        "at most), or fail.",
        rich_help_panel=PANEL,
    ),
]


def on_sandbox_lost(asked: str) -> spec.OnSandboxLost:
    """Raises `Unusable` when it is no such thing."""
    choices = get_args(spec.OnSandboxLost)
    if asked not in choices:
        raise sandbox_choice.Unusable(
            Problem(f"--on-sandbox-lost is {asked!r}.", f"It is one of: {', '.join(choices)}.")
        )
    return cast(spec.OnSandboxLost, asked)
