"""`fleet-rlm init`: skills, agents, a team and hooks for Claude Code. What a person wrote is never changed or lost."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fleet_rlm.cli import printing
from fleet_rlm.figures import plural
from fleet_rlm.scaffold import apply_plan, install_plan, target_files
from fleet_rlm.scaffold.assets import KINDS, Asset, Kind, assets
from fleet_rlm.scaffold.target_files import Refused

_DONE: dict[install_plan.What, str] = {
    "install": "installed",
    "update": "updated",
    "same": "unchanged",
    "keep": "kept",
    "replace": "replaced",
    "remove": "removed",
    "gone": "gone already",
}
_NOTHING = "Nothing was changed."


def init(
    list_assets: Annotated[bool, typer.Option("--list", help="List what there is, and how it is called.")] = False,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="FOLDER", help="Default: $CLAUDE_CONFIG_DIR, else ~/.claude."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what you have changed, too; it is put aside first.")
    ] = False,
    teams_only: Annotated[bool, typer.Option("--teams-only", help="Only the team, a skill of its name.")] = False,
    hooks_only: Annotated[bool, typer.Option("--hooks-only", help="Only the hooks.")] = False,
    skills_only: Annotated[bool, typer.Option("--skills-only", help="Only the skills.")] = False,
    agents_only: Annotated[bool, typer.Option("--agents-only", help="Only the agents.")] = False,
    no_hooks: Annotated[bool, typer.Option("--no-hooks", help="All but the hooks.")] = False,
    no_teams: Annotated[bool, typer.Option("--no-teams", help="All but the team.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Say what is missing, old or changed; exit 1 if any.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove what was installed and not changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Put the hooks into settings.json without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Install skills, agents, a team and hooks that teach Claude Code to use fleet-rlm.

    Files of your own and files that you have changed stay as they are. Hooks run only once they stand in
    settings.json, which is changed when you say so.
    """
    modes = {"--list": list_assets, "--check": check, "--uninstall": uninstall}
    only_options: tuple[tuple[str, Kind, bool], ...] = (
        ("--teams-only", "team", teams_only),
        ("--hooks-only", "hook", hooks_only),
        ("--skills-only", "skill", skills_only),
        ("--agents-only", "agent", agents_only),
    )
    no_options: tuple[tuple[str, Kind, bool], ...] = (
        ("--no-hooks", "hook", no_hooks),
        ("--no-teams", "team", no_teams),
    )
    only = {name: kind for name, kind, on in only_options if on}
    without = {name: kind for name, kind, on in no_options if on}
    chosen_modes = [name for name, on in modes.items() if on]
    _one_of(chosen_modes, as_json)
    _one_of(list(only), as_json)
    for name, kind in without.items():
        if kind in only.values():
            _one_of([*only, name], as_json)
    forbidden = {"--force": force, "--yes": yes, "--dry-run": dry_run}
    if chosen_modes:
        allowed = ("--dry-run",) if uninstall else ()
        _one_of([chosen_modes[0], *(name for name, on in forbidden.items() if on and name not in allowed)], as_json)
    kinds = tuple(kind for kind in KINDS if kind in (set(only.values()) or set(KINDS)) - set(without.values()))
    if list_assets:
        _list(kinds, as_json)
        return
    with _refusals(as_json):
        folder = _target(target)
        if check:
            _check(folder, kinds, as_json)
        elif uninstall:
            _uninstall(folder, kinds, dry_run=dry_run, as_json=as_json)
        else:
            again = shlex.join(
                ["fleet-rlm", "init", "--hooks-only", "--yes", *(["--target", target] if target else [])]
            )
            _install(folder, kinds, force=force, dry_run=dry_run, yes=yes, as_json=as_json, again=again)


def _install(
    folder: Path, kinds: tuple[Kind, ...], *, force: bool, dry_run: bool, yes: bool, as_json: bool, again: str
) -> None:
    wanted = assets(kinds)
    planned = install_plan.to_install(folder, wanted, force=force)  # refuses before anything is made
    if dry_run:
        _tell_steps(planned, as_json, would=True)
        if planned.settings is not None and planned.settings.changes and not as_json:
            count = plural(len(planned.settings.commands), "entry", "entries")
            printing.say(f"{_where(planned.settings)}: {count} for the hooks would be added, when you say so")
        return
    made = _make_target(folder)
    with target_files.alone(folder):
        planned = install_plan.to_install(folder, wanted, force=force)
        merge = _consent(planned, yes=yes, as_json=as_json)
        backups = apply_plan.install(planned, made, merge=merge)
    waiting = planned.settings is not None and planned.settings.changes and not merge
    _tell_steps(planned, as_json, backups=backups, merged=merge, waiting=waiting)
    if as_json:
        return
    for note in planned.notes:
        printing.tell(note)
    for backup in backups:
        printing.say(f"put aside: {backup.path} → {backup.at}")
    settings = planned.settings
    if settings is not None and settings.changes and merge:
        printing.say(f"changed: {_where(settings)} (the hooks; the rest of it is as it was)")
    if settings is not None and settings.disabled:
        printing.tell(f"disableAllHooks is on in {settings.path}: Claude Code runs no hook.")
    if waiting and settings is not None:
        printing.tell(f"The hooks are not in {settings.path} yet, so they don't run. To put them there: {again}")
    if planned.count("keep"):
        printing.tell("What was kept is yours. --force replaces it and puts yours aside.")


def _consent(planned: install_plan.Plan, *, yes: bool, as_json: bool) -> bool:
    """Return True if settings.json may be changed; asks the person where that is possible."""
    settings = planned.settings
    if settings is None or not settings.changes:
        return settings is not None
    if yes:
        return True
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    printing.tell(f"Hooks run only when they stand in {_where(settings)}. These would be added, nothing else changed:")
    for command in dict.fromkeys(settings.commands):
        printing.tell(f"  {command}")
    try:
        return typer.confirm("Add them?", default=False, err=True)
    except typer.Abort:
        printing.tell(_NOTHING)
        raise typer.Exit(printing.ABORTED) from None


def _uninstall(folder: Path, kinds: tuple[Kind, ...], *, dry_run: bool, as_json: bool) -> None:
    team = {asset.name for asset in assets(("team",))}
    planned = install_plan.to_remove(folder, kinds, team)
    if not planned.steps and planned.settings is None:
        if as_json:
            printing.say_json({"target": str(folder), "files": []})
        else:
            printing.tell(f"Nothing of this is installed in {folder}.")
        return
    emptied = False
    if not dry_run:
        with target_files.alone(folder):
            planned = install_plan.to_remove(folder, kinds, team)
            emptied = apply_plan.remove(planned)
    _tell_steps(planned, as_json, would=dry_run)
    if as_json:
        return
    if planned.settings is not None:
        what = "would be taken out of" if dry_run else "removed, which held only them:" if emptied else "taken out of"
        printing.say(f"the hooks: {what} {_where(planned.settings)}")
    for aside in sorted(folder.glob(f"**/*{target_files.BACKUP}*")) if folder.is_dir() else []:
        printing.tell(f"{aside} was put aside by --force, and stays.")


def _check(folder: Path, kinds: tuple[Kind, ...], as_json: bool) -> None:
    """Exit status 1 unless everything that was installed is there, current and as it was installed."""
    installed = install_plan.read_manifest(folder)
    team = {asset.name for asset in assets(("team",))}
    known = [path for path in installed.files if install_plan.kind_of(path, team) in kinds]
    wanted = [asset for asset in assets(kinds) if asset.kind in {install_plan.kind_of(path, team) for path in known}]
    words: dict[install_plan.What, str] = {"same": "ok", "install": "missing", "update": "old", "keep": "changed"}
    planned = install_plan.to_install(folder, wanted)
    found = [
        (step.path, words[step.what] if step.what != "keep" or step.path in known else "yours", step.why)
        for step in planned.steps
    ]
    current = {step.path for step in planned.steps}
    found += [(path, "no longer shipped", "") for path in known if path not in current and (folder / path).exists()]
    settings = planned.settings
    hooks = None if settings is None else "not in settings.json" if settings.changes else "in settings.json"
    right = (
        bool(found) and all(state in ("ok", "yours") for _, state, _ in found) and not (settings and settings.changes)
    )
    if as_json:
        files = [{"path": path, "state": state} for path, state, _ in found]
        printing.say_json({"target": str(folder), "ok": right, "files": files, "hooks": hooks})
    elif not found:
        printing.tell(f"Nothing of this is installed in {folder}. To install it: fleet-rlm init")
    else:
        for path, state, why in found:
            if state != "ok":
                printing.say(f"{state:<9} {path}{f' ({why})' if why else ''}")
        ok = sum(state == "ok" for _, state, _ in found)
        printing.say(
            f"{folder}: {ok} of {plural(len(found), 'file')} as installed{f'; hooks {hooks}' if hooks else ''}"
        )
        if not right:
            printing.tell(
                "To fix what is missing or old: fleet-rlm init (--yes for settings.json, --force for changed files)"
            )
    raise typer.Exit(printing.OK if right else printing.FAILED)


def _list(kinds: tuple[Kind, ...], as_json: bool) -> None:
    every = assets(kinds)
    if as_json:
        printing.say_json(
            {
                "assets": [
                    {
                        "kind": one.kind,
                        "name": one.name,
                        "call": one.call,
                        "description": one.description,
                        "files": list(one.files),
                    }
                    for one in every
                ]
            }
        )
        return
    for one in every:
        printing.say(f"{one.kind:<6} {one.name:<26} {one.call}")
        printing.say(f"         {_first_sentence(one)}")
    if "team" in kinds:
        printing.tell(
            "A team of Claude Code can't be written beforehand: this one is a skill that convenes the agents."
        )


def _first_sentence(asset: Asset) -> str:
    return asset.description.partition(". ")[0].rstrip(".")


def _tell_steps(
    planned: install_plan.Plan,
    as_json: bool,
    *,
    would: bool = False,
    backups: list[apply_plan.Backup] | None = None,
    merged: bool = False,
    waiting: bool = False,
) -> None:
    if as_json:
        aside = {backup.path: backup.at for backup in backups or []}
        files = [
            {"path": step.path, "did": step.what, "why": step.why or None, "put_aside": aside.get(step.path)}
            for step in planned.steps
        ]
        hooks = None if planned.settings is None else "waiting" if waiting else "merged" if merged else None
        printing.say_json({"target": str(planned.target), "dry_run": would, "files": files, "hooks": hooks})
        return
    for step in planned.steps:
        if step.what in ("same", "gone"):
            continue
        word = f"would be {_DONE[step.what]}" if would else _DONE[step.what]
        printing.say(f"{word}: {step.path}{f' ({step.why})' if step.why else ''}")
    counts = [(planned.count(what), _DONE[what]) for what in _DONE]
    done = ", ".join(f"{count} {word}" for count, word in counts if count)
    printing.say(f"{planned.target}: {done or 'no file'}{' (nothing was changed yet)' if would else ''}")


def _where(settings: install_plan.Settings) -> str:
    return f"{settings.path} (settings.json is a link to it)" if settings.link else str(settings.path)


def _target(given: str | None) -> Path:
    """The folder, its own links followed. Raises `Refused`."""
    named = given if given is not None else os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude"
    if not named.strip():
        raise Refused("--target names a folder; it is empty.", "Leave it out for ~/.claude.")
    path = Path(os.path.expanduser(named))  # noqa: PTH111 - Path's own raises without a home
    if str(path).startswith("~"):
        raise Refused("There is no home folder to install into.", "Name a folder with --target, or set HOME.")
    return path.resolve()


def _make_target(folder: Path) -> list[str]:
    """Make the folder; return the paths to remove again at an uninstall."""
    if folder.is_dir():
        return []
    folder.mkdir(parents=True, exist_ok=True)
    return ["."]


def _one_of(names: list[str], as_json: bool) -> None:
    if len(names) > 1:
        message = f"{' and '.join(names)} can't be used together."
        printing.fail(message, "Use one of them.", code=printing.USAGE, as_json=as_json)


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """Turn errors into the command's messages and exit status."""
    try:
        yield
    except Refused as error:
        printing.fail(error.message, error.hint, as_json=as_json)
    except OSError as error:
        where = error.filename2 or error.filename or "the target folder"
        message = f"{where}: {error.strerror or error}."
        hint = "What was done so far is whole and known: run the same command again once this is fixed."
        printing.fail(message, hint, as_json=as_json)
    except KeyboardInterrupt:
        printing.tell("Stopped. What was done so far is whole: run the same command again to complete it.")
        raise typer.Exit(printing.ABORTED) from None
