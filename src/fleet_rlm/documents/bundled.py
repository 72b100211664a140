"""The guide that `--demo` reads, which ships with the package, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fleet_rlm.documents.work import DocumentError
from fleet_rlm.shipped import shipped_folder


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
    folder = shipped_folder("_content", "rlm_content")
    if folder is None:
        raise NotBundled(
            "this installation lacks rlm_content/.", "Install it again: pip install --force-reinstall fleet-rlm"
        )
    return folder


def demo() -> Demo:
    """The demo's question; its document is `demo_document()`. Raises `NotBundled`."""
    return msgspec.json.decode((content_folder() / "answers.json").read_bytes(), type=_Answers).demo


def demo_document() -> Path:
    """The guide that the demo reads. Raises `NotBundled`."""
    return content_folder() / demo().document


def known_answers() -> dict[str, Any]:
    """All of `answers.json`: lists and counts that the guide states (arbitrary JSON, hence the type)."""
    return msgspec.json.decode((content_folder() / "answers.json").read_bytes(), type=dict[str, Any])
