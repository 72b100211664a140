"""Do what was planned, in an order in which it can be broken off at any moment and done again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleet_rlm.scaffold import manifest as kept
from fleet_rlm.scaffold import target_files
from fleet_rlm.scaffold.install_plan import Plan
from fleet_rlm.scaffold.manifest import Manifest


@dataclass(frozen=True)
class Backup:
    """A file of the person's that was renamed to make room."""

    path: str
    at: str


def install(plan: Plan, made_folders: list[str], *, merge: bool) -> list[Backup]:
    """Write the files, and the hooks into settings.json if `merge`. Raises `OSError`.

    The manifest goes first: whatever is written after it is known to be ours, also if this is broken off.
    """
    target, before = plan.target, plan.manifest
    writes = [step for step in plan.steps if step.what in ("install", "update", "replace")]
    files = {path: list(hashes) for path, hashes in before.files.items()}
    for step in plan.steps:
        if step.what == "keep":
            continue
        known = files.setdefault(step.path, [])
        if (mark := kept.sha256(step.data)) not in known:
            known.append(mark)
    planned = {
        parent.as_posix()
        for step in writes
        for parent in Path(step.path).parents
        if parent != Path() and not (target / parent).exists()
    }
    settings = plan.settings if merge else None
    manifest = Manifest(
        files=files,
        folders=sorted({*before.folders, *made_folders, *planned}),
        commands=_joined(before.commands, settings.commands if settings else []),
        made=_joined(before.made, settings.made if settings else []),
    )
    _write_manifest(target, manifest)
    backups = []
    for step in writes:
        place = target / step.path
        target_files.make_folders(target, place.parent)
        if step.what == "replace":
            aside = target_files.backup_of(place)
            place.rename(aside)
            backups.append(Backup(step.path, aside.relative_to(target).as_posix()))
        target_files.write_whole(place, step.data)
    if settings is not None and settings.changes:
        target_files.write_whole(settings.path, settings.after.encode("utf-8"))
    return backups


def remove(plan: Plan) -> bool:
    """Take the hooks out of settings.json, then remove the files. Was settings.json removed? Raises `OSError`."""
    target, before = plan.target, plan.manifest
    emptied = False
    commands, made = before.commands, before.made
    if plan.settings is not None:
        if "." in before.made and plan.settings.after.strip() == "{}" and not plan.settings.link:
            plan.settings.path.unlink()
            emptied = True
        else:
            target_files.write_whole(plan.settings.path, plan.settings.after.encode("utf-8"))
    for step in plan.steps:
        if step.what == "remove":
            (target / step.path).unlink()
    done = {step.path for step in plan.steps}
    files = {path: hashes for path, hashes in before.files.items() if path not in done}
    if not any(path.startswith("hooks/") for path in files):
        commands, made = [], []
    deepest_first = sorted((one for one in before.folders if one != "."), key=lambda one: -one.count("/"))
    folders = [folder for folder in deepest_first if not _remove_empty(target / folder)]
    if "." in before.folders:
        folders.append(".")
    if files:
        _write_manifest(
            target, msgspec.structs.replace(before, files=files, folders=sorted(folders), commands=commands, made=made)
        )
        return emptied
    (target / kept.NAME).unlink(missing_ok=True)
    if "." in before.folders:
        _remove_empty(target)
    return emptied


def _remove_empty(folder: Path) -> bool:
    """Is the folder gone?"""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # somebody else's files are in it, or it is a link
    return True


def _write_manifest(target: Path, manifest: Manifest) -> None:
    data = kept.encode(manifest)
    path = target / kept.NAME
    if not path.exists() or target_files.read_file(path) != data:
        target_files.write_whole(path, data)


def _joined(a: list[str], b: list[str]) -> list[str]:
    return list(dict.fromkeys([*a, *b]))
