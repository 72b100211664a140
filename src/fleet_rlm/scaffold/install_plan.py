"""What an installation or a removal would do: found by looking, before anything is changed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fleet_rlm.scaffold import manifest as kept
from fleet_rlm.scaffold import settings_text, target_files
from fleet_rlm.scaffold.assets import EVENTS, FOLDERS, Asset, Kind
from fleet_rlm.scaffold.manifest import Manifest
from fleet_rlm.scaffold.target_files import Refused

What = Literal["install", "update", "same", "keep", "replace", "remove", "gone"]
SETTINGS = "settings.json"
_MARK = "\ufeff"
"""The byte order mark with which some editors on Windows begin a file: it stays."""


@dataclass(frozen=True)
class Step:
    """One file of the target."""

    path: str
    what: What
    why: str = ""
    data: bytes = b""


@dataclass(frozen=True)
class Settings:
    """`settings.json` as it is and as it would be."""

    path: Path
    """The file itself: what a link points to."""
    link: bool
    before: str | None
    """None: there is none."""
    after: str
    commands: list[str]
    made: list[str]
    disabled: bool = False
    """The person has switched all hooks off."""

    @property
    def changes(self) -> bool:
        """Is there anything to write?"""
        return self.before != self.after


@dataclass(frozen=True)
class Plan:
    """All that would be done."""

    target: Path
    manifest: Manifest
    steps: list[Step]
    settings: Settings | None = None
    notes: list[str] = field(default_factory=list)

    def count(self, *what: What) -> int:
        """Count the steps of these kinds."""
        return sum(step.what in what for step in self.steps)


def to_install(target: Path, assets: Iterable[Asset], *, force: bool = False) -> Plan:
    """Plan the installation of these assets. Raises `Refused`."""
    assets = list(assets)
    manifest = read_manifest(target)
    steps = []
    notes: dict[str, None] = {}
    for asset in assets:
        for path, data in asset.files.items():
            _room_for(target, path)
            steps.append(_step(target, path, data, manifest.files.get(path, []), force=force))
            link = target_files.link_above(target, target / path)
            if link is not None and link.parent == target and steps[-1].what not in ("same", "keep"):
                notes[f"{link} is a link to {link.resolve()}: files are written there."] = None
    hooks = [asset for asset in assets if asset.kind == "hook"]
    settings = _settings_with(target, hooks, manifest) if hooks else None
    return Plan(target, manifest, steps, settings, list(notes))


def to_remove(target: Path, kinds: tuple[Kind, ...], team: set[str]) -> Plan:
    """What removing what was installed of these kinds would do; `team`: names of skills that are a team.

    Raises `Refused`.
    """
    manifest = read_manifest(target)
    steps = []
    for path, hashes in manifest.files.items():
        if kind_of(path, team) not in kinds:
            continue
        place = target / path
        if not os.path.lexists(place):
            steps.append(Step(path, "gone"))
        elif (
            place.is_symlink()
            or not place.is_file()
            or target_files.link_above(target, place) not in (None, _top(place, target))
        ):
            steps.append(Step(path, "keep", "something else stands there now"))
        elif kept.sha256(target_files.read_file(place)) in hashes:
            steps.append(Step(path, "remove"))
        else:
            steps.append(Step(path, "keep", "you have changed it"))
    settings = _settings_without(target, manifest) if "hook" in kinds and manifest.commands else None
    return Plan(target, manifest, steps, settings)


def kind_of(path: str, team: set[str]) -> Kind:
    """Return the kind of asset that an installed file belongs to."""
    top, _, rest = path.partition("/")
    if top == "skills":
        return "team" if rest.partition("/")[0] in team else "skill"
    return "agent" if top == "agents" else "hook"


def read_manifest(target: Path) -> Manifest:
    """Read the list of installed files. Raises `Refused`."""
    if os.path.lexists(target) and not target.is_dir():
        raise Refused(f"{target} is not a folder.", "Name another one with --target.")
    try:
        return kept.read(target)
    except kept.DamagedManifest as error:
        raise Refused(
            f"{target / kept.NAME} can't be read: {error}.",
            "Move it away and run `fleet-rlm init` again: files that are as they were installed are known without it.",
        ) from error


def entries_for(target: Path, hooks: Iterable[Asset]) -> list[settings_text.Entry]:
    """The hooks' lines in settings.json."""
    return [
        settings_text.Entry(on, command_for(target / f"{FOLDERS['hook']}/{hook.name}.py"))
        for hook in hooks
        for on in EVENTS[hook.name]
    ]


def command_for(script: Path) -> str:
    """The shell line that runs a hook. It never fails: an exit status of 2 would block what the person does."""
    home = os.environ.get("HOME")
    quoted = shlex.quote(str(script))
    if home and script.is_relative_to(home):
        quoted = '"$HOME"/' + shlex.quote(script.relative_to(home).as_posix())
    return f"test -f {quoted} && python3 -I {quoted} || true"


def _top(place: Path, target: Path) -> Path:
    return target / place.relative_to(target).parts[0]


def _room_for(target: Path, path: str) -> None:
    place = target / path
    blocked = target_files.blocked_by(target, place)
    if blocked is not None:
        what = "a link to nothing" if blocked.is_symlink() else "not a folder"
        raise Refused(f"{blocked} is {what}, and a folder is needed there.", "Nothing was changed. Move it away first.")


def _step(target: Path, path: str, data: bytes, hashes: list[str], *, force: bool) -> Step:
    place = target / path
    link = target_files.link_above(target, place)
    if link is not None and link.parent != target:
        return Step(path, "keep", f"{link.relative_to(target)} is a link of yours")
    if not os.path.lexists(place):
        return Step(path, "install", data=data)
    if place.is_symlink():
        why = "a link of yours stands there"
    elif not place.is_file():
        why = "something else stands there"
    else:
        there = target_files.read_file(place)
        if there == data:
            return Step(path, "same", data=data)
        if kept.sha256(there) in hashes:
            return Step(path, "update", data=data)
        why = "you have changed it" if hashes else "you have a file of your own there"
    return Step(path, "replace", why, data) if force else Step(path, "keep", why)


def _settings_with(target: Path, hooks: list[Asset], manifest: Manifest) -> Settings:
    path, link, mark, text = _read_settings(target)
    entries = entries_for(target, hooks)
    wanted = {entry.command for entry in entries}
    try:
        current, _ = settings_text.unmerged(
            "{}" if text is None else text, {old for old in manifest.commands if old not in wanted}, []
        )
        after, made = settings_text.merged(current, entries)
        disabled = settings_text.parse(after).get("disableAllHooks") is True
    except settings_text.NotSettings as error:
        raise _unusable(path, error, "or leave the hooks out with --no-hooks") from error
    if text is None:
        after, made = after + "\n", [*made, "."]
    before = None if text is None else mark + text
    return Settings(path, link, before, mark + after, [entry.command for entry in entries], made, disabled)


def _settings_without(target: Path, manifest: Manifest) -> Settings | None:
    path, link, mark, text = _read_settings(target)
    if text is None:
        return None
    try:
        after, count = settings_text.unmerged(text, set(manifest.commands), [m for m in manifest.made if m != "."])
    except settings_text.NotSettings as error:
        raise _unusable(path, error, "then run this again") from error
    return Settings(path, link, mark + text, mark + after, [], []) if count else None


def _unusable(path: Path, error: Exception, otherwise: str) -> Refused:
    return Refused(
        f"{path} can't be changed safely: {error}.",
        f"Nothing was changed. Fix it (it has to be plain JSON), {otherwise}.",
    )


def _read_settings(target: Path) -> tuple[Path, bool, str, str | None]:
    """The file itself, whether a link leads there, the byte order mark before its text, and the text."""
    place = target / SETTINGS
    link = place.is_symlink()
    path = place.resolve() if link else place
    if not os.path.lexists(path):
        if link:
            raise Refused(f"{place} is a link to {path}, which does not exist.", "Nothing was changed. Fix the link.")
        return path, link, "", None
    if not path.is_file():
        raise Refused(f"{path} is not a file.", "Nothing was changed. Move it away, or use --no-hooks.")
    try:
        text = target_files.read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unusable(path, error, "or leave the hooks out with --no-hooks") from error
    plain = text.removeprefix(_MARK)
    return path, link, text[: len(text) - len(plain)], plain
