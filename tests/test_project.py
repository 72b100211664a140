"""The project's own tools: what make and pre-commit offer, and what a release refuses."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from scripts import release_check

PROJECT = Path(__file__).parent.parent
PROMISED = {
    *(
        "help",
        "tui",
        "sync",
        "sync-dev",
        "test",
        "test-quick",
        "lint",
        "format",
        "check",
        "release-check",
        "precommit-install",
    ),
    *("precommit-run", "bench", "screenshots", "clean"),
}


def test_make_help_names_every_target_with_a_word() -> None:
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    told = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert set(told) >= PROMISED
    assert set(told) == set(phony[1].split())


def test_the_quick_tests_are_there_and_start_nothing_slow() -> None:
    done = subprocess.run(["make", "-n", "test-quick"], cwd=PROJECT, capture_output=True, text=True, check=True)
    paths = re.findall(r"tests/\S+", done.stdout)
    assert len(paths) >= 10
    assert not [path for path in paths if not (PROJECT / path).exists()]
    assert not {"cli", "e2e", "engine", "sandbox", "tui"} & {Path(path).parts[1] for path in paths}


def test_the_hooks_before_a_commit_fetch_nothing() -> None:
    told = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in told["repos"]] == ["local"]
    hooks = told["repos"][0]["hooks"]
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in hooks)
    named = {path for hook in hooks for path in re.findall(r"tests/\S+", hook["entry"])}
    assert all((PROJECT / path).exists() for path in named)


def wheel_with(folder: Path, **more: bytes) -> Path:
    path = folder / "fleet_rlm-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*release_check.NEEDED, "fleet_rlm-1.dist-info/METADATA"):
            archive.writestr(name, b"x")
        for name, data in more.items():
            archive.writestr(name, data)
    return path


def test_a_wheel_as_it_should_be_passes(tmp_path: Path) -> None:
    release_check.look_into(wheel_with(tmp_path, **{"fleet_rlm/more.py": b"x = 1\n"}))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("fleet_rlm/_content/.env", b"", "does not belong"),
        ("fleet_rlm/inbox.sqlite", b"", "does not belong"),
        ("tests/test_x.py", b"", "does not belong"),
        ("fleet_rlm/big.py", b"#" * (release_check.LARGEST_BYTES + 1), "1,048,577 bytes"),
        ("fleet_rlm/where.py", f"HERE = {str(PROJECT)!r}".encode(), "names a folder of this machine"),
    ],
)
def test_a_wheel_with_what_is_private_or_astray_is_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(release_check.Wrong, match=words):
        release_check.look_into(wheel_with(tmp_path, **{name: data}))


def test_a_wheel_that_lacks_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fleet_rlm/__init__.py", b"")
    with pytest.raises(release_check.Wrong, match=r"py\.typed is missing"):
        release_check.look_into(path)
