"""The person's settings: `config.toml` (theme, mouse, keys). Faults are told once, and never keep the app from opening.

theme = "fleet-light"
mouse = true            # false leaves the mouse to the terminal

[keys]                  # by the names that `fleet-rlm-tui --keys` prints
"home.new_run" = "n,insert"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

MAX_BYTES = 64 * 1024
UNUSABLE_KEYS = {
    "ctrl+m": "terminals send it as enter",
    "ctrl+i": "terminals send it as tab",
    "ctrl+h": "terminals send it as backspace",
    "ctrl+left_square_bracket": "terminals send it as escape",
    "ctrl+[": "terminals send it as escape",
    "ctrl+enter": "most terminals send nothing",
}


@dataclass(frozen=True, slots=True)
class Settings:
    theme: str | None = None
    mouse: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    """From a binding's id to its keys, with commas between."""
    faults: tuple[str, ...] = ()
    """What the file says and what cannot be used, one line each."""


def load_settings(path: Path) -> Settings:
    """What the file says; defaults where it says nothing or something unusable. A missing file is fine."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return Settings(faults=(f"it cannot be read: {error.strerror}",))
    if len(raw) > MAX_BYTES:
        return Settings(faults=("it is larger than 64 KiB",))
    try:
        content = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Settings(faults=(f"it is not TOML: {error}",))
    faults: list[str] = []
    theme, mouse, keys = content.get("theme"), content.get("mouse", True), content.get("keys", {})
    if theme is not None and not isinstance(theme, str):
        faults.append("theme must be a name in quotes")
        theme = None
    if not isinstance(mouse, bool):
        faults.append("mouse must be true or false")
        mouse = True
    if not isinstance(keys, dict):
        faults.append("keys must be a table: [keys]")
        keys = {}
    return Settings(theme, mouse, _usable_keys(keys, faults), tuple(faults))


def _usable_keys(keys: Mapping[str, object], faults: list[str]) -> dict[str, str]:
    usable: dict[str, str] = {}
    for name, value in keys.items():
        if not isinstance(value, str) or not all(key.strip() for key in value.split(",")):
            faults.append(f'the keys of {name} must be a text such as "n" or "n,f2"')
            continue
        wrong = [key for key in (part.strip().lower() for part in value.split(",")) if key in UNUSABLE_KEYS]
        if wrong:
            faults.append(f"{name} cannot be {wrong[0]}: {UNUSABLE_KEYS[wrong[0]]}")
            continue
        usable[name] = value
    return usable


def unknown_keys(keys: Iterable[str], known: Iterable[str]) -> list[str]:
    """One line for every name in `[keys]` that is no action's, with the one that was probably meant."""
    names = sorted(known)
    faults = []
    for name in keys:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.6)
            faults.append(f"there is no action {name}" + (f"; did you mean {near[0]}?" if near else ""))
    return faults
