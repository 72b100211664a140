"""Where things are kept and what is configured."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path | None:
    """The one folder for everything, when `FLEET_RLM_HOME` is set."""
    value = os.environ.get("FLEET_RLM_HOME", "").strip()
    return Path(value).expanduser().absolute() if value else None


def runs_dir() -> Path:
    """Where runs are recorded: `$FLEET_RLM_HOME/runs`, else in the platform's folder for a person's data."""
    return (home() or platformdirs.user_data_path("fleet-rlm", appauthor=False)) / "runs"


def config_file() -> Path:
    """The person's settings; need not exist."""
    return (home() or platformdirs.user_config_path("fleet-rlm", appauthor=False)) / "config.toml"


def themes_dir() -> Path:
    """The person's own themes; need not exist."""
    return config_file().parent / "themes"


def state_file() -> Path:
    """What is remembered between starts (last choices); need not exist, and nothing depends on it."""
    return (home() or platformdirs.user_state_path("fleet-rlm", appauthor=False)) / "state.json"
