"""`fleet-rlm check-secret` and `check-secret-key`: which keys a Modal secret has. Values stay at Modal."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from fleet_rlm import config
from fleet_rlm.cli import modal_access, printing
from fleet_rlm.cli.printing import AsJson

DEFAULT_SECRET = "LITELLM"
REQUIRED: tuple[tuple[str, ...], ...] = (("DSPY_LM_MODEL",), ("DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"))
"""Variables that a model call needs: one of each group."""
OPTIONAL = ("DSPY_LM_API_BASE", "DSPY_LM_MAX_TOKENS")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

SecretName = Annotated[
    str | None,
    typer.Option(
        "--secret-name",
        metavar="NAME",
        help=f"The secret; without it FLEET_RLM_SECRET_NAME, the first of [modal] secrets in config.toml, or "
        f"{DEFAULT_SECRET}.",
    ),
]


def check_secret(secret_name: SecretName = None, as_json: AsJson = False) -> None:
    """Say which keys of a model's configuration a Modal secret has. Starts no sandbox and shows no value.

    Exit status: 0 when a model could be asked with it, 1 when a key is missing or Modal can't say, 2 for wrong usage.
    """
    name = _name(secret_name, as_json)
    keys = (*(key for group in REQUIRED for key in group), *OPTIONAL)
    missing = _missing(name, keys, as_json)
    lacking = [group for group in REQUIRED if all(key in missing for key in group)]
    if as_json:
        printing.say_json(
            {
                "secret": name,
                "ok": not lacking,
                "keys": {key: key not in missing for key in keys},
                "missing": [" or ".join(group) for group in lacking],
            }
        )
    else:
        printing.say(f"secret {name}")
        for group in REQUIRED:
            for key in group:
                instead = next((other for other in group if other not in missing), None)
                _say_key(key, key not in missing, "MISSING" if instead is None else f"not set ({instead} is)")
        for key in OPTIONAL:
            _say_key(key, key not in missing, "not set (optional)")
    if lacking:
        words = ", ".join(" or ".join(group) for group in lacking)
        hint = " ".join(f"{group[0]}=…" for group in lacking)
        printing.tell(f"Missing: {words}.")
        printing.tell(f"Make the secret again with all its keys: modal secret create --force {name} {hint} …")
    raise typer.Exit(printing.FAILED if lacking else printing.OK)


def check_secret_key(
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The key to look for.")] = "DSPY_LLM_API_KEY",
    secret_name: SecretName = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a Modal secret has one key, never its value. Starts no sandbox.

    Exit status: 0 when it has, 1 when it has not or Modal can't say, 2 for wrong usage.
    """
    if not _KEY.fullmatch(key):
        message = f"{key!r} can't be the name of a variable."
        printing.fail(message, "Write it like DSPY_LLM_API_KEY.", code=printing.USAGE, as_json=as_json)
    name = _name(secret_name, as_json)
    present = not _missing(name, (key,), as_json)
    if as_json:
        printing.say_json({"secret": name, "key": key, "present": present})
    else:
        printing.say(f"secret {name}")
        _say_key(key, present, "MISSING")
    raise typer.Exit(printing.OK if present else printing.FAILED)


def _name(option: str | None, as_json: bool) -> str:
    """The secret that is meant."""
    if option is not None:
        return modal_access.usable_name("a secret", option.strip(), as_json)
    return modal_access.usable_name("a secret", configured_name(config.load()), as_json)


def configured_name(settings: config.Settings) -> str:
    """The secret that is meant where none is named."""
    return settings.text("FLEET_RLM_SECRET_NAME") or next(iter(settings.names("modal.secrets")), DEFAULT_SECRET)


def _missing(name: str, keys: tuple[str, ...], as_json: bool) -> tuple[str, ...]:
    modal_access.settings(as_json)
    from fleet_rlm.sandbox.modal.modal_secrets import missing_keys

    with modal_access.refusals(as_json):
        return missing_keys(name, keys, seconds=modal_access.ANSWER_SECONDS)


def _say_key(key: str, present: bool, otherwise: str) -> None:
    mark = "✓" if present else "✗" if otherwise == "MISSING" else "–"
    printing.say(f"  {mark} {key:<20} {'present' if present else otherwise}")
