"""Is Modal configured here? Answered from the environment and files alone, in a millisecond.

The client itself takes half a second to import, and raises at import when its file is malformed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm.config import Problem

TOKEN_HINT = (
    "Run `modal token new` once, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET in the environment or in .env "
    "(modal.com gives them); `--sandbox local` needs none."
)


@dataclass(frozen=True, slots=True)
class ModalLogin:
    """Whose account a sandbox in Modal's cloud would run in, as far as this machine knows."""

    source: str = ""
    """Where the token is: `MODAL_TOKEN_ID in the environment`, or a file and its profile. Empty: nowhere."""
    environment: str = ""
    """Modal's environment within the workspace; empty: the workspace's default."""
    problem: Problem | None = None
    """Why Modal can't be asked."""

    @property
    def ready(self) -> bool:
        return self.problem is None


def modal_login(environment: Mapping[str, str]) -> ModalLogin:
    """Look for a token as Modal's client does, in `environment` (completed from `.env`), then in its file."""
    problem = shadowed()
    own, file_problem = _profile(environment)
    where = str(environment.get("MODAL_ENVIRONMENT", own.get("environment", "")) or "")
    if problem is not None:
        return ModalLogin(environment=where, problem=problem)
    names = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")
    set_here = [name for name in names if environment.get(name, "").strip()]
    if len(set_here) == len(names):
        return ModalLogin("MODAL_TOKEN_ID in the environment or .env", where)
    if environment.get("MODAL_OAUTH_REFRESH_TOKEN", "").strip():
        return ModalLogin("MODAL_OAUTH_REFRESH_TOKEN in the environment or .env", where)
    if file_problem is not None:
        return ModalLogin(environment=where, problem=file_problem)
    if own.get("token_id") and own.get("token_secret"):
        return ModalLogin(f"{config_path(environment)} [{own['profile']}]", where)
    if own.get("oauth_refresh_token"):
        return ModalLogin(f"{config_path(environment)} [{own['profile']}], OAuth", where)
    missing = [name for name in names if name not in set_here]
    words = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
    return ModalLogin(
        environment=where,
        problem=Problem(
            f"Modal has no token here: {words}, and {config_path(environment)} has none for "
            f"the profile {own.get('profile', 'default')!r}.",
            TOKEN_HINT,
        ),
    )


def config_path(environment: Mapping[str, str]) -> Path:
    """The file in which Modal's client keeps its token."""
    given = environment.get("MODAL_CONFIG_PATH", "").strip()
    return Path(os.path.expanduser(given or "~/.modal.toml"))  # noqa: PTH111 - Path's own raises without a home


def _profile(environment: Mapping[str, str]) -> tuple[dict[str, object], Problem | None]:
    """The active profile's settings with its name under `profile`, and why the file can't be used."""
    path = config_path(environment)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        content = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, Problem(
            f"{path} can't be read: {error}.", "Mend or remove that file; `modal token new` writes a new one."
        )
    profiles = {name: value for name, value in content.items() if isinstance(value, dict)}
    active = [name for name, value in profiles.items() if value.get("active")]
    name = environment.get("MODAL_PROFILE", "").strip() or (active[0] if active else "default")
    if not active and name == "default" and len(profiles) == 1 and "default" not in profiles:
        name = next(iter(profiles))
    return {**profiles.get(name, {}), "profile": name}, None


def shadowed() -> Problem | None:
    """Is there another `modal` before the installed package on Python's path? Importing it would run that instead."""
    try:
        installed = Path(str(importlib.metadata.distribution("modal").locate_file("modal/__init__.py")))
    except importlib.metadata.PackageNotFoundError:
        return Problem("The package `modal` is not installed.", "Install it: pip install 'fleet-rlm'")
    loaded = sys.modules.get("modal")
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
    else:
        found = importlib.machinery.PathFinder.find_spec("modal")
        origin = found.origin or next(iter(found.submodule_search_locations or ()), None) if found else None
    if origin is None or _same(Path(origin), installed):
        return None
    return Problem(
        f"{origin} hides the installed package `modal`: Python would import that file instead.",
        f"Rename it, or start from another folder. The package is at {installed.parent}.",
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve()
    except OSError:
        return one == other
