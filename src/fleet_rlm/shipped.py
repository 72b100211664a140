"""Where the folders stand that ship with the package: inside it when it is installed, at the top of a checkout.

On its own and without imports of ours, since the app needs a theme before it can paint.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(inside: str, at_the_top: str) -> Path | None:
    """The folder by its name inside the package or at the top of a checkout; None when it was not installed."""
    installed, checkout = _PACKAGE / inside, _PACKAGE.parents[1]
    if installed.is_dir():
        return installed
    if (checkout / "pyproject.toml").is_file() and (checkout / at_the_top).is_dir():
        return checkout / at_the_top
    return None


def themes_folder() -> Path | None:
    """The themes of the project."""
    return shipped_folder("_themes", "themes")
