"""Where fleet-rlm keeps runs, settings, themes and what it remembers: the platform's folders, or `FLEET_RLM_HOME`.

`FLEET_RLM_HOME` is a variable of the real environment only: every process of a run must agree on it.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path | None:
    """The one folder for everything, when `FLEET_RLM_HOME` is set."""
    value = os.environ.get("FLEET_RLM_HOME", "").strip()
    return Path(os.path.expanduser(value)).absolute() if value else None  # noqa: PTH111 - Path's own raises without a home


def runs_dir() -> Path:
    """The folder of recorded runs: `$FLEET_RLM_HOME/runs`, else in the platform's folder for a person's data."""
    return _folder("data") / "runs"


def config_file() -> Path:
    """The person's settings; need not exist."""
    return _folder("config") / "config.toml"


def themes_dir() -> Path:
    """The person's own themes; need not exist."""
    return _folder("config") / "themes"


def state_file() -> Path:
    """The file with the last choices; need not exist, and nothing depends on it."""
    return _folder("state") / "state.json"


def _folder(what: str) -> Path:
    own = home()
    if own is not None:
        return own
    import platformdirs  # only needed where FLEET_RLM_HOME is not set

    folders = platformdirs.PlatformDirs("fleet-rlm", appauthor=False)
    try:
        return Path(getattr(folders, f"user_{what}_dir"))
    except RuntimeError:  # nobody's home is known: no HOME, and the user is in no list
        return homeless()


def homeless() -> Path:
    """The folder for a user without a home, when `FLEET_RLM_HOME` is not set."""
    import tempfile

    return Path(tempfile.gettempdir()) / f"fleet-rlm-{os.getuid()}"
