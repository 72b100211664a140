"""Is a file the person's own? One that somebody else made, or may write, decides nothing here."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def why_not_trusted(path: Path) -> str:
    """Why this file is not read, in words after its name; empty when it is the person's (or root's) alone.

    A link counts as well as the file that it leads to. Raises `OSError` when the file can't be looked at.
    """
    ours = {0, os.geteuid()}
    for status in dict.fromkeys((path.lstat(), path.stat())):
        if stat.S_ISCHR(status.st_mode):  # /dev/null, which holds nothing of anybody
            continue
        link = stat.S_ISLNK(status.st_mode)
        if status.st_uid not in ours:
            return f"{'the link' if link else 'it'} belongs to another user (uid {status.st_uid})"
        if not link and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others may write it"
    return ""


def mend(path: Path) -> str:
    """What to type so that the file is trusted."""
    return f"If it is yours: chown $USER '{path}'; chmod go-w '{path}'"
