"""Find the documents that ship with the package: the guide that `--demo` reads, short documents, recorded runs.

Its documents go by names that mean the same in every installation, such as `bundled:freight-api-guide.md`: as `--docs`,
and in the records of runs, so that a run on them can be replayed on another machine with its documents.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from fleet_rlm.documents.document_work import DocumentError, printable
from fleet_rlm.shipped import shipped_folder

PREFIX = "bundled:"
WEEK_TEN = "week-ten"
"""The folder of short documents, with `week-ten.answers.json` beside it."""
_RUNS = "runs"


class NotBundled(DocumentError):
    """The package was installed without its content, or has no such document."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """A question that the bundled guide answers."""

    document: str
    """File name within the content folder."""
    question: str
    expected_facts: tuple[str, ...]
    """The facts that a right answer names, each as the guide words it."""


class _Answers(msgspec.Struct, frozen=True, kw_only=True):
    demo: Demo


def content_folder() -> Path:
    """The folder with the guide, `README.md` and `answers.json`. Raises `NotBundled`."""
    folder = shipped_folder("_content", "rlm_content")
    if folder is None:
        raise NotBundled("this installation lacks rlm_content/.", "Install it again, in its folder: make clean sync")
    return folder


def document_names() -> tuple[str, ...]:
    """Return the names that may follow `bundled:`. Raises `NotBundled`."""
    folder = content_folder()
    return demo().document, *(f"{WEEK_TEN}/{path.name}" for path in sorted((folder / WEEK_TEN).iterdir()))


def located(path: str) -> Path:
    """The file or folder that a path means: one of ours where it begins with `bundled:`. Raises `NotBundled`."""
    if not path.startswith(PREFIX):
        return Path(path)
    names = document_names()
    name = path.removeprefix(PREFIX).rstrip("/")
    if name not in (*names, WEEK_TEN):
        known = ", ".join(PREFIX + one for one in (names[0], WEEK_TEN))
        raise NotBundled(f"nothing that ships with fleet-rlm is named {printable(name)!r}.", f"There are: {known}.")
    return content_folder() / name


def portable(path: str) -> str:
    """The path as a run records it: by its name in the package where it is one of ours."""
    try:
        within = Path(path).resolve().relative_to(content_folder().resolve())
    except (NotBundled, ValueError, OSError):
        return path
    name = str(PurePosixPath(within))
    return PREFIX + name if name in document_names() else path


def recorded_runs() -> tuple[Path, ...]:
    """The run files that ship with the package, in order. Raises `NotBundled`."""
    return tuple(sorted((content_folder() / _RUNS).glob("*.jsonl")))


def demo() -> Demo:
    """The demo's question; its document is `demo_document()`. Raises `NotBundled`."""
    return msgspec.json.decode((content_folder() / "answers.json").read_bytes(), type=_Answers).demo


def demo_document() -> Path:
    """The guide that the demo reads. Raises `NotBundled`."""
    return content_folder() / demo().document
