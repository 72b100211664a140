"""What was installed: kept in the target folder, so that nothing but that is ever changed or removed."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import msgspec

from fleet_rlm.scaffold import target_files

NAME = "fleet-rlm.manifest.json"


class DamagedManifest(ValueError):
    """The manifest can't be read."""


class Manifest(msgspec.Struct, frozen=True):
    """Paths are relative to the target folder, with forward slashes."""

    version: int = 1
    files: dict[str, list[str]] = {}
    """Every SHA-256 that was ever written to a path: a file with another one was changed by somebody else."""
    folders: list[str] = []
    """Folders that were made; `.` is the target itself."""
    commands: list[str] = []
    """Hook commands that were put into settings.json."""
    made: list[str] = []
    """What settings.json lacked: `hooks`, `hooks.EVENT`; and `.` for the file itself."""


def sha256(data: bytes) -> str:
    """The hash that the manifest holds."""
    return hashlib.sha256(data).hexdigest()


def read(target: Path) -> Manifest:
    """What was installed in the folder; an empty one if nothing was. Raises `DamagedManifest` and `OSError`."""
    try:
        data = target_files.read_file(target / NAME)
    except FileNotFoundError:
        return Manifest()
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise DamagedManifest(str(error)) from error
    if manifest.version != 1:
        raise DamagedManifest(f"it has version {manifest.version}, which this fleet-rlm does not know")
    for path in (*manifest.files, *manifest.folders):
        parts = PurePosixPath(path).parts
        inside = path == "." or (bool(parts) and parts[0] in ("skills", "agents", "hooks") and ".." not in parts)
        if not inside:
            raise DamagedManifest(f"it names {path!r}, which was never installed")
    return manifest


def encode(manifest: Manifest) -> bytes:
    """Encode the manifest as its file holds it, with sorted names."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"
