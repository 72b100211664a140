"""`fleet-rlm init` in a home that already has settings, agents and edits of its own."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm.cli import init_command as command
from fleet_rlm.scaffold import manifest, target_files
from fleet_rlm.scaffold.assets import assets
from waiting import until

SETTINGS = """{
    "model": "opus",   "permissions": {"allow": ["Bash(ls:*)"]},
    "hooks": {
        "PreToolUse": [
            { "matcher": "Write", "hooks": [ { "type": "command", "command": "mine.sh" } ] }
        ]
    },
    "zürich": 1.0e5
}"""
FILES = {path: data for asset in assets() for path, data in asset.files.items()}


@pytest.fixture
def claude(fleet: Shell) -> Path:
    """A `~/.claude` with things of a person's own; one file stands where one of ours would."""
    folder = fleet.folder / "user" / ".claude"
    fleet.variables |= {"HOME": str(folder.parent), "CLAUDE_CONFIG_DIR": ""}
    for name, text in {
        "settings.json": SETTINGS,
        "CLAUDE.md": "# mine",
        "agents/mine.md": "---\nname: mine\n---\n",
        "agents/rlm-subcall.md": "my own sub-call",
        "skills/rlm/notes.md": "my notes",
        "hooks/mine.sh": "exit 0",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def contents(folder: Path) -> dict[str, bytes | str]:
    """Everything in the folder; a folder is an entry without content, a link one with where it leads."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = f"→ {path.readlink()}" if path.is_symlink() else "" if path.is_dir() else path.read_bytes()
    return found


def ok(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_it_comes_and_goes_and_leaves_a_home_as_it_was(fleet: Shell, claude: Path) -> None:
    before = contents(claude)
    said = ok(fleet.inside("init", "--yes"))
    assert "kept: agents/rlm-subcall.md (you have a file of your own there)" in said.stdout
    after = contents(claude)
    assert {path for path in after if path not in before} >= {"skills/rlm/SKILL.md", manifest.NAME, "hooks/fleet-rlm"}
    assert {path: after[path] for path in before if path != "settings.json"} == {
        path: data for path, data in before.items() if path != "settings.json"
    }
    settings = json.loads((claude / "settings.json").read_text())
    assert [group["matcher"] for group in settings["hooks"]["PreToolUse"]] == ["Write", "Read"]
    again = ok(fleet.inside("init", "--yes"))
    assert "23 unchanged" in again.stdout
    assert contents(claude) == after
    ok(fleet.inside("init", "--uninstall"))
    assert contents(claude) == before


def test_with_force_what_was_there_is_put_aside_first_and_never_lost(fleet: Shell, claude: Path) -> None:
    before = contents(claude)
    said = ok(fleet.inside("init", "--yes", "--force"))
    assert "put aside: agents/rlm-subcall.md → agents/rlm-subcall.md.before-fleet-rlm-1" in said.stdout
    (claude / "skills/rlm-run/SKILL.md").write_text("my edit")
    (claude / "agents/rlm-subcall.md").write_text("my second")
    kept = ok(fleet.inside("init", "--yes"))
    assert "kept: skills/rlm-run/SKILL.md (you have changed it)" in kept.stdout
    assert fleet.inside("init", "--check").returncode == 1
    ok(fleet.inside("init", "--yes", "--force"))
    assert fleet.inside("init", "--check").returncode == 0
    aside = {
        "agents/rlm-subcall.md.before-fleet-rlm-1": b"my own sub-call",
        "agents/rlm-subcall.md.before-fleet-rlm-2": b"my second",
        "skills/rlm-run/SKILL.md.before-fleet-rlm-1": b"my edit",
    }
    gone = ok(fleet.inside("init", "--uninstall"))
    assert "was put aside by --force, and stays" in gone.stderr
    left = contents(claude)
    del before["agents/rlm-subcall.md"]
    assert left == {**before, **aside, "skills/rlm-run": ""}


def test_what_a_person_changed_survives_the_removal(fleet: Shell, claude: Path) -> None:
    ok(fleet.inside("init", "--yes"))
    edited = claude / "skills/rlm/SKILL.md"
    edited.write_text("mine now")
    settings = claude / "settings.json"
    settings.write_text(settings.read_text().replace('"model": "opus"', '"model": "haiku"'))
    said = ok(fleet.inside("init", "--uninstall"))
    assert "kept: skills/rlm/SKILL.md (you have changed it)" in said.stdout
    assert edited.read_text() == "mine now"
    assert settings.read_text() == SETTINGS.replace("opus", "haiku")
    assert not (claude / manifest.NAME).exists()
    assert "Nothing of this is installed" in ok(fleet.inside("init", "--uninstall")).stderr


def test_an_empty_home_is_empty_again(fleet: Shell) -> None:
    fleet.variables["CLAUDE_CONFIG_DIR"] = str(fleet.folder / "config dir")
    ok(fleet.inside("init", "--yes"))
    assert (fleet.folder / "config dir/settings.json").exists()
    ok(fleet.inside("init", "--check"))
    ok(fleet.inside("init", "--uninstall"))
    assert contents(fleet.folder) == {}


def test_the_hooks_that_were_installed_run_as_the_shell_lines_in_settings(fleet: Shell) -> None:
    target = fleet.folder / "it's here"
    ok(fleet.inside("init", "--hooks-only", "--yes", "--target", str(target)))
    settings = json.loads((target / "settings.json").read_text())
    (line,) = [handler["command"] for group in settings["hooks"]["UserPromptSubmit"] for handler in group["hooks"]]
    (fleet.folder / "book.pdf").write_bytes(b"%PDF-")
    payload = {"hook_event_name": "UserPromptSubmit", "prompt": "What does book.pdf say?", "cwd": str(fleet.folder)}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", line], input=json.dumps(payload), capture_output=True, text=True, timeout=30)

    done = run()
    assert "--docs book.pdf" in json.loads(done.stdout)["hookSpecificOutput"]["additionalContext"]
    shutil.rmtree(target / "hooks")
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "a script that is gone blocks no prompt"


def test_without_a_terminal_and_without_yes_settings_stay_as_they_are(fleet: Shell, claude: Path) -> None:
    said = ok(fleet.inside("init"))
    assert "fleet-rlm init --hooks-only --yes" in said.stderr
    assert (claude / "settings.json").read_text() == SETTINGS
    assert (claude / "hooks/fleet-rlm/large-file.py").exists()
    assert "not in settings.json" in fleet.inside("init", "--check").stdout


def test_at_a_terminal_the_person_is_asked(fleet: Shell, claude: Path) -> None:
    for answer, merged in (("n", False), ("y", True)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "init", "--hooks-only"], stdin=theirs, stdout=theirs, stderr=theirs, env=fleet.environment
        )
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        until(lambda process=process, ours=ours: _drained(ours) and process.poll() is not None)
        os.close(ours)
        assert process.returncode == 0
        assert ("fleet-rlm" in (claude / "settings.json").read_text()) == merged


def _drained(terminal: int) -> bool:
    try:
        os.set_blocking(terminal, False)
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass
    return True


def test_dry_run_and_list_and_check_change_nothing(fleet: Shell, claude: Path) -> None:
    before = contents(fleet.folder)
    said = ok(fleet.inside("init", "--dry-run", "--force"))
    assert "would be installed: skills/rlm/SKILL.md" in said.stdout
    assert "would be replaced: agents/rlm-subcall.md" in said.stdout
    assert len(json.loads(ok(fleet.inside("init", "--list", "--json")).stdout)["assets"]) == 19
    assert fleet.inside("init", "--check").returncode == 1
    assert contents(fleet.folder) == before
    ok(fleet.inside("init", "--yes"))
    installed = contents(claude)
    assert "would be removed" in ok(fleet.inside("init", "--uninstall", "--dry-run")).stdout
    assert contents(claude) == installed


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["--skills-only"], {"skill"}),
        (["--agents-only"], {"agent"}),
        (["--teams-only"], {"team"}),
        (["--hooks-only", "--yes"], {"hook"}),
        (["--no-hooks"], {"skill", "agent", "team"}),
        (["--no-teams", "--no-hooks"], {"skill", "agent"}),
    ],
)
def test_a_part_can_be_chosen_and_removed_alone(fleet: Shell, options: list[str], kinds: set[str]) -> None:
    target = fleet.folder / "t"
    ok(fleet.inside("init", *options, "--target", str(target)))
    wanted = {path for asset in assets() if asset.kind in kinds for path in asset.files}
    assert {path for path, data in contents(target).items() if data and path in FILES} == wanted
    assert (target / "settings.json").exists() == ("hook" in kinds)
    ok(fleet.inside("init", "--check", "--target", str(target)))
    ok(fleet.inside("init", "--yes", "--target", str(target)))
    removal = [option for option in options if option != "--yes"]
    ok(fleet.inside("init", "--uninstall", *removal, "--target", str(target)))
    left = {path for path in contents(target) if path in FILES}
    assert left == set(FILES) - wanted
    ok(fleet.inside("init", "--uninstall", "--target", str(target)))
    assert not target.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--skills-only", "--agents-only"],
        ["--teams-only", "--hooks-only"],
        ["--hooks-only", "--no-hooks"],
        ["--teams-only", "--no-teams"],
        ["--list", "--check"],
        ["--check", "--uninstall"],
        ["--list", "--dry-run"],
        ["--check", "--force"],
        ["--uninstall", "--force"],
        ["--uninstall", "--yes"],
    ],
)
def test_modes_that_contradict_each_other_are_wrong_usage(fleet: Shell, claude: Path, options: list[str]) -> None:
    before = contents(claude)
    done = fleet.inside("init", *options)
    assert done.returncode == 2
    assert all(option in done.stderr for option in options)
    assert contents(claude) == before


@pytest.mark.parametrize("text", ['{\n  // mine\n  "a": 1\n}', "", '{"hooks": 3}', '{"a": 1, "a": 2}', "\x00"])
def test_settings_that_cannot_be_changed_safely_stop_everything(fleet: Shell, claude: Path, text: str) -> None:
    (claude / "settings.json").write_text(text)
    before = contents(claude)
    done = fleet.inside("init", "--yes")
    assert done.returncode == 1
    assert "settings.json can't be changed safely" in done.stderr
    assert "--no-hooks" in done.stderr
    assert contents(claude) == before
    ok(fleet.inside("init", "--no-hooks"))


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"model": "opus"}',
        '{\r\n\t"a": 1,\r\n\t"hooks": {\r\n\t}\r\n}\r\n',
        '\ufeff{\r\n  "hooks": {\r\n    "PreToolUse": [ ]\r\n  }\r\n}',
        "{ }",
        "{\n\n}\n",
        '{"hooks": {"PreToolUse": [\n\t\t], "PostToolUse": [], "UserPromptSubmit": [ ]}}',
        '{\r"hooks":{\r}}',
    ],
)
def test_marks_line_ends_and_blanks_of_settings_are_as_before_in_the_end(fleet: Shell, claude: Path, text: str) -> None:
    settings = claude / "settings.json"
    settings.write_bytes(text.encode())
    assert fleet.inside("init", "--yes").returncode == 0
    assert b"llm-query-error.py" in settings.read_bytes()
    assert settings.read_bytes().startswith(b"\xef\xbb\xbf") == text.startswith("\ufeff")
    json.loads(settings.read_text("utf-8-sig"))
    assert fleet.inside("init", "--yes").returncode == 0  # a second time changes nothing
    assert fleet.inside("init", "--uninstall").returncode == 0
    assert settings.read_bytes() == text.encode()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(path.parent)  # a socket's path may be short only
        bound.bind(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, socket_at, device, Path.mkdir], ids=["pipe", "socket", "device", "folder"])
@pytest.mark.parametrize(
    "name", ["settings.json", "fleet-rlm.manifest.json", "hooks", "hooks/fleet-rlm/large-file.py", "agents"]
)
def test_what_is_no_file_in_the_place_of_one_is_said_without_waiting(
    fleet: Shell, claude: Path, make: Callable[[Path], None], name: str
) -> None:
    if name == "hooks" and make is Path.mkdir:
        return
    path = claude / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    for options in (["--dry-run"], ["--check"], ["--yes"], ["--uninstall"]):
        done = fleet.inside("init", *options)
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr
        assert done.stdout + done.stderr
        assert os.path.lexists(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("name", ["settings.json", "fleet-rlm.manifest.json", "agents", "."])
def test_what_may_not_be_read_is_said(fleet: Shell, claude: Path, name: str) -> None:
    assert fleet.inside("init", "--yes").returncode == 0
    (claude / name).chmod(0)
    done = fleet.inside("init", "--yes")
    (claude / name).chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr


def test_an_upgrade_replaces_what_is_ours_and_unchanged(
    fleet: Shell, claude: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(fleet.inside("init", "--no-hooks"))
    newer = assets(("skill",))
    for asset in newer:
        for path in asset.files:
            asset.files[path] += b"\nnew\n"
    monkeypatch.setattr(command, "assets", lambda kinds=None: newer)
    assert "old       skills/rlm/SKILL.md" in fleet.inside("init", "--check", "--skills-only").stdout
    (claude / "skills/rlm-run/SKILL.md").write_text("mine")
    said = ok(fleet.inside("init", "--skills-only"))
    assert "updated: skills/rlm/SKILL.md" in said.stdout
    assert "kept: skills/rlm-run/SKILL.md" in said.stdout
    assert not list(claude.rglob("*before-fleet-rlm*"))


# Links


def test_a_settings_file_that_is_a_link_stays_one_and_it_is_said(fleet: Shell, claude: Path) -> None:
    real = fleet.folder / "dotfiles.json"
    (claude / "settings.json").rename(real)
    (claude / "settings.json").symlink_to(real)
    said = ok(fleet.inside("init", "--yes"))
    assert f"{real} (settings.json is a link to it)" in said.stdout
    assert (claude / "settings.json").is_symlink()
    ok(fleet.inside("init", "--uninstall"))
    assert real.read_text() == SETTINGS
    real.unlink()
    assert "which does not exist" in fleet.inside("init", "--yes").stderr


def test_a_folder_that_is_a_link_is_written_to_and_it_is_said(fleet: Shell, claude: Path) -> None:
    elsewhere = fleet.folder / "dotskills"
    (claude / "skills").rename(elsewhere)
    (claude / "skills").symlink_to(elsewhere)
    before = contents(elsewhere)
    said = ok(fleet.inside("init", "--no-hooks"))
    assert f"skills is a link to {elsewhere}" in said.stderr
    ok(fleet.inside("init", "--uninstall"))
    assert contents(elsewhere) == before


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_link_in_place_of_a_file_or_a_skill_is_never_written_through(
    fleet: Shell, claude: Path, force: list[str]
) -> None:
    theirs, folder = fleet.folder / "theirs.md", fleet.folder / "skill"
    theirs.write_text("theirs")
    folder.mkdir()
    (claude / "agents/rlm-specialist.md").symlink_to(theirs)
    (claude / "skills/rlm-run").symlink_to(folder)
    said = ok(fleet.inside("init", "--no-hooks", *force))
    assert theirs.read_text() == "theirs"
    assert contents(folder) == {}
    assert "kept: skills/rlm-run/SKILL.md (skills/rlm-run is a link of yours)" in said.stdout
    moved = claude / "agents/rlm-specialist.md.before-fleet-rlm-1"
    assert moved.is_symlink() == bool(force)


# Trouble


def test_a_file_where_a_folder_should_be_stops_it_before_anything_is_written(fleet: Shell, claude: Path) -> None:
    shutil.rmtree(claude / "agents")
    (claude / "agents").write_text("a file")
    before = contents(claude)
    done = fleet.inside("init", "--yes")
    assert done.returncode == 1
    assert "agents is not a folder" in done.stderr
    assert contents(claude) == before
    target = fleet.inside("init", "--target", str(claude / "CLAUDE.md"))
    assert target.returncode == 1
    assert "is not a folder" in target.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(fleet: Shell, claude: Path) -> None:
    claude.chmod(0o500)
    try:
        done = fleet.inside("init", "--yes")
    finally:
        claude.chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("after", [0, 1, 5, 24])
def test_a_full_disk_leaves_whole_files_and_the_same_command_completes_it(
    fleet: Shell, claude: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = contents(claude)
    real, count = target_files.write_whole, 0

    def until_full(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, data)

    monkeypatch.setattr(target_files, "write_whole", until_full)
    done = fleet.inside("init", "--yes")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "run the same command again" in done.stderr
    now = contents(claude)
    assert all(now[path] == data for path, data in FILES.items() if path in now and path not in before)
    monkeypatch.setattr(target_files, "write_whole", real)
    ok(fleet.inside("init", "--yes"))
    assert "hooks in settings.json" in fleet.inside("init", "--check").stdout
    ok(fleet.inside("init", "--uninstall"))
    assert contents(claude) == before


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old")
    path.chmod(0o640)
    (tmp_path / ".settings.json.fleet-rlm-partial").write_text("of a run that was killed")
    target_files.write_whole(path, b"new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        target_files.write_whole(path, b"newer")
    assert contents(tmp_path) == {"settings.json": b"new"}


def test_two_at_once_do_not_get_in_each_others_way(fleet: Shell, claude: Path) -> None:
    held = os.open(claude, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    before = contents(claude)
    try:
        done = fleet.inside("init", "--yes")
    finally:
        os.close(held)
    assert done.returncode == 1
    assert "is at work" in done.stderr
    assert contents(claude) == before
    several = [fleet.start(["init", "--yes"]) for _ in range(3)]
    assert {process.wait(60) for process in several} <= {0, 1}
    for process in several:
        process.communicate()
    ok(fleet.inside("init", "--yes"))
    ok(fleet.inside("init", "--uninstall"))
    assert contents(claude) == before


def test_a_damaged_manifest_changes_nothing_and_says_the_way_out(fleet: Shell, claude: Path) -> None:
    ok(fleet.inside("init", "--yes"))
    path = claude / manifest.NAME
    for text in ("{", '{"files": {"../../etc/passwd": []}}', '{"version": 9}'):
        path.write_text(text)
        before = contents(claude)
        for options in (["--yes"], ["--uninstall"], ["--check"]):
            done = fleet.inside("init", *options)
            assert done.returncode == 1
            assert "Move it away" in done.stderr
        assert contents(claude) == before
    path.unlink()
    ok(fleet.inside("init", "--yes"))
    assert "yours     agents/rlm-subcall.md" in ok(fleet.inside("init", "--check")).stdout


def test_without_a_home_it_says_what_to_name(fleet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    fleet.variables["CLAUDE_CONFIG_DIR"] = ""
    done = fleet.inside("init")
    assert done.returncode == 1
    assert "--target" in done.stderr


def test_json_says_what_was_done(fleet: Shell, claude: Path) -> None:
    said = json.loads(ok(fleet.inside("init", "--yes", "--force", "--json")).stdout)
    did = {one["path"]: one for one in said["files"]}
    assert did["agents/rlm-subcall.md"]["did"] == "replace"
    assert did["agents/rlm-subcall.md"]["put_aside"] == "agents/rlm-subcall.md.before-fleet-rlm-1"
    assert said["hooks"] == "merged"
    checked = json.loads(ok(fleet.inside("init", "--check", "--json")).stdout)
    assert checked["ok"] is True


@pytest.mark.parametrize("name", ["settings.json", "hooks/fleet-rlm/large-file.py", "fleet-rlm.manifest.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(fleet: Shell, name: str) -> None:
    target = fleet.folder / "claude"
    pipe = target / name
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    done = fleet("init", "--target", str(target), "--yes", "--hooks-only")
    assert "Traceback" not in done.stderr
    assert done.stderr or done.stdout
