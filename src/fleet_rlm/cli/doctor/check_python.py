"""The Python that runs this, and the packages beside it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import fleet_rlm
from fleet_rlm.cli.doctor.finding import Finding

DISTRIBUTION = "fleet-rlm"


def look() -> list[Finding]:
    """Versions, against what this package declares."""
    own = _own_metadata()
    return [_python(own), *_packages(own)]


def _own_metadata() -> importlib.metadata.PackageMetadata | None:
    try:
        return importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python(own: importlib.metadata.PackageMetadata | None) -> Finding:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    wanted = (own["Requires-Python"] if own is not None else None) or ""
    words = f"{platform.python_implementation()} {version} ({sys.executable})"
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding("python", "ok", words)
    return Finding("python", "missing", f"{words}: {wanted} is needed", f"Install it with a Python {wanted}.")


def _packages(own: importlib.metadata.PackageMetadata | None) -> list[Finding]:
    if own is None:
        words = f"fleet-rlm {fleet_rlm.__version__} runs from its source, so its packages were not compared"
        return [Finding("packages", "note", words, "Install it: pip install -e .")]
    from packaging.requirements import Requirement

    right: list[str] = []
    wrong: list[str] = []
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        if wanted.specifier.contains(version, prereleases=True):
            right.append(f"{wanted.name} {version}")
        else:
            wrong.append(f"{wanted.name} {version} is not {wanted.specifier}")
    found = [Finding("packages", "ok", f"fleet-rlm {fleet_rlm.__version__}, with {', '.join(right)}")]
    if wrong:
        hint = "Install it again with its packages, in its folder: make clean sync"
        found = [Finding("packages", "missing", "; ".join(wrong), hint)]
    return found
