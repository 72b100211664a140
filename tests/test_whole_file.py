"""A file is there whole or not at all, and never in another's place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fleet_rlm.atomic_write import usual_mode, whole_file


def no_links(*_: object) -> None:
    raise PermissionError(errno.EPERM, "this file system knows no links")


def write(path: Path, data: bytes, *, replace: bool = False) -> None:
    with whole_file(path, usual_mode(), replace=replace) as file:
        file.write(data)


@pytest.mark.parametrize("links", [True, False])
def test_it_takes_its_name_at_the_end_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "text"
    with whole_file(path, 0o640, replace=False) as file:
        file.write(b"one")
        assert not path.exists()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o640)
    with pytest.raises(FileExistsError):
        write(path, b"two")
    assert path.read_bytes() == b"one"
    write(path, b"three", replace=True)
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with whole_file(tmp_path / "text", 0o600, replace=True) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list(tmp_path.iterdir()) == []
