"""Is Modal configured here? Answered from the environment and files alone, in a millisecond.

The client itself takes half a second to import, and raises at import when its file is malformed.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleet_rlm.config.ownership import mend, why_not_trusted
from fleet_rlm.config.problem import Problem

TOKEN_HINT = (
    "Run `modal token new` once, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET in the environment or in .env "
    "(modal.com gives them); `--sandbox local` needs none."
)


@dataclass(frozen=True, slots=True)
class ModalLogin:
    """The Modal account that this machine is configured for."""

    source: str = ""
    """Where the token is: `MODAL_TOKEN_ID in the environment`, or a file and its profile. Empty: nowhere."""
    environment: str = ""
    """Modal's environment within the workspace; empty: the workspace's default."""
    problem: Problem | None = None
    """The reason why Modal can't be asked; None if it can."""

    @property
    def ready(self) -> bool:
        return self.problem is None


def modal_login(environment: Mapping[str, str]) -> ModalLogin:
    """Look for a token as Modal's client does: each value in `environment` (completed from `.env`), then in its file.

    A file that the client can't use is a problem even where the environment has a token: the client reads it first.
    """
    profile = _profile(environment)
    where = profile.value(environment, "environment")
    problem = shadowed() or profile.problem
    if problem is not None:
        return ModalLogin(environment=where, problem=problem)
    missing = [name for name in ("token_id", "token_secret") if not profile.value(environment, name)]
    if not missing:
        return ModalLogin(profile.source(environment, "token_id"), where)
    if len(missing) == 2 and profile.value(environment, "oauth_refresh_token"):
        return ModalLogin(profile.source(environment, "oauth_refresh_token"), where)
    if not profile.known and environment.get("MODAL_PROFILE", "").strip():
        lacks = f"has no profile {profile.name!r}, which MODAL_PROFILE names"
    elif not profile.exists:
        lacks = "does not exist"
    else:
        lacks = f"has none for the profile {profile.name!r}"
    words = f"{' and '.join(map(_variable, missing))} {'is' if len(missing) == 1 else 'are'} not set"
    return ModalLogin(
        environment=where, problem=Problem(f"Modal has no token here: {words}, and {profile.path} {lacks}.", TOKEN_HINT)
    )


def has_own_token(environment: Mapping[str, str]) -> Path | None:
    """The file of Modal's client that has a token for the active profile; None: there is none."""
    profile = _profile(environment)
    return profile.path if profile.values.get("token_id") or profile.values.get("oauth_refresh_token") else None


def config_path(environment: Mapping[str, str]) -> Path:
    """The file in which Modal's client keeps its token."""
    given = environment.get("MODAL_CONFIG_PATH", "").strip()
    return Path(os.path.expanduser(given or "~/.modal.toml"))  # noqa: PTH111 - Path's own raises without a home


@dataclass(frozen=True, slots=True)
class _Profile:
    """The part of Modal's file that is used."""

    path: Path
    name: str = "default"
    values: Mapping[str, object] = field(default_factory=dict)
    exists: bool = False
    """True if the file exists."""
    known: bool = False
    """True if the file has this profile."""
    problem: Problem | None = None
    """The reason why Modal's client can't use the file; None if it can."""

    def value(self, environment: Mapping[str, str], setting: str) -> str:
        """What the environment says, else the file; a variable that is empty still hides the file's value."""
        given = environment.get(_variable(setting))
        return str(self.values.get(setting) or "" if given is None else given).strip()

    def source(self, environment: Mapping[str, str], setting: str) -> str:
        variable = _variable(setting)
        in_file = f"{self.path} [{self.name}]{', OAuth' if setting.startswith('oauth') else ''}"
        return f"{variable} in the environment or .env" if variable in environment else in_file


def _variable(setting: str) -> str:
    return f"MODAL_{setting.upper()}"


def _profile(environment: Mapping[str, str]) -> _Profile:
    """The active profile, by the client's own rules: MODAL_PROFILE, else the one marked active, else `default`."""
    path = config_path(environment)
    hint = "Fix or remove that file; `modal token new` writes a new one."
    try:
        if why := why_not_trusted(path):
            return _Profile(path, exists=True, problem=Problem(f"{path} is not trusted: {why}.", mend(path)))
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return _Profile(path, environment.get("MODAL_PROFILE", "").strip() or "default")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        return _Profile(path, exists=True, problem=Problem(f"{path} can't be read: {words}.", hint))
    profiles = {name: value for name, value in content.items() if isinstance(value, dict)}
    if len(profiles) < len(content):
        words = f"{path} must have nothing but a section for each profile."
        return _Profile(path, exists=True, problem=Problem(words, hint))
    active = [name for name, value in profiles.items() if value.get("active") is True]
    name = environment.get("MODAL_PROFILE", "").strip() or (active[0] if active else "default")
    problem = None
    if len(active) > 1:
        problem = f"{path} has more than one active profile: {', '.join(active)}."
    elif not active and len(profiles) > 1 and name == "default":
        problem = f"{path} has {len(profiles)} profiles and none is active."
    activate = "Choose one: modal profile activate NAME"
    return _Profile(
        path,
        name,
        profiles.get(name, {}),
        exists=True,
        known=name in profiles,
        problem=Problem(problem, activate) if problem else None,
    )


def shadowed() -> Problem | None:
    """Is there another `modal` before the installed package on Python's path? Importing it would run that instead."""
    import importlib.machinery  # these load much, and only what needs Modal asks
    import importlib.metadata

    try:
        installed = Path(str(importlib.metadata.distribution("modal").locate_file("modal/__init__.py")))
    except importlib.metadata.PackageNotFoundError:
        return Problem("The package `modal` is not installed.", "Install it with fleet-rlm, in its folder: make sync")
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
