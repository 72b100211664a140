"""Check that only the person and root can write a file of settings: nobody else may decide what a run does."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def why_not_trusted(path: Path) -> str:
    """Say why a file is not read, in words after its name; empty when only the person or root can write it.

    A link counts as well as the file that it leads to. Raises `OSError` when the file can't be looked at.
    """
    ours = {0, os.geteuid()}
    for status in dict.fromkeys((path.lstat(), path.stat())):
        if stat.S_ISCHR(status.st_mode):  # /dev/null, which holds nothing of anybody
            continue
        link = stat.S_ISLNK(status.st_mode)
        if status.st_uid not in ours:
            return f"{'the link' if link else 'it'} belongs to another user (uid {status.st_uid})"
        if link:
            continue
        if status.st_mode & stat.S_IWOTH:
            return "others may write it"
        if status.st_mode & stat.S_IWGRP and (_has_access_list(path) or not _is_private_group(status.st_gid)):
            return "others may write it, by its group"
    return ""


def mend(path: Path) -> str:
    """Return what to type so that the file is trusted."""
    return f"If it is yours: chown $USER '{path}'; chmod go-w '{path}'"


def _is_private_group(gid: int) -> bool:
    """True if the group is the person's own, of the same name, and has no other member (the default under umask 002).

    The name counts because a network's directory may not list everybody whose first group this is.
    """
    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    others = {account.pw_name for account in pwd.getpwall() if account.pw_gid == gid and account.pw_uid != me.pw_uid}
    return me.pw_gid == gid and group.gr_name == me.pw_name and not others | ({*group.gr_mem} - {me.pw_name})


def _has_access_list(path: Path) -> bool:
    """True if an access list may give further users what the group's bits say (Linux), or that can't be found out."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except AttributeError:  # macOS, where access lists don't show in the group's bits
        return False
    except OSError:
        return True
