"""What ships with the package: the guide that `--demo` reads, and the themes.

In a checkout they stand at its top (`rlm_content/`, `themes/`); in an installed package, inside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

import fleet_rlm
from fleet_rlm.documents.work import DocumentError


class NotBundled(DocumentError):
    """The package was installed without its content."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """A question that the bundled guide answers."""

    document: str
    """File name within the content folder."""
    question: str
    expected_facts: tuple[str, ...]
    """What a right answer says, each as the guide words it."""


class _Answers(msgspec.Struct, frozen=True, kw_only=True):
    demo: Demo


def content_folder() -> Path:
    """The folder with the guide, `README.md` and `answers.json`. Raises `NotBundled`."""
    return _folder("_content", "rlm_content")


def themes_folder() -> Path:
    """The folder with the themes of the project. Raises `NotBundled`."""
    return _folder("_themes", "themes")


def demo() -> Demo:
    """The demo's question; its document is `demo_document()`. Raises `NotBundled`."""
    return msgspec.json.decode((content_folder() / "answers.json").read_bytes(), type=_Answers).demo


def demo_document() -> Path:
    """The guide that the demo reads. Raises `NotBundled`."""
    return content_folder() / demo().document


def known_answers() -> dict[str, Any]:
    """All of `answers.json`: lists and counts that the guide states (arbitrary JSON, hence the type)."""
    return msgspec.json.decode((content_folder() / "answers.json").read_bytes(), type=dict[str, Any])


def _folder(inside: str, at_the_top: str) -> Path:
    package = Path(fleet_rlm.__file__).resolve().parent
    installed, checkout = package / inside, package.parents[1]
    if installed.is_dir():
        return installed
    if (checkout / "pyproject.toml").is_file() and (checkout / at_the_top).is_dir():
        return checkout / at_the_top
    raise NotBundled(
        f"this installation lacks {at_the_top}/.", "Install it again: pip install --force-reinstall fleet-rlm"
    )
