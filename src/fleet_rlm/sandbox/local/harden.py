"""Protect the engine itself: it holds API keys."""

from __future__ import annotations

import sys

from fleet_rlm.sandbox.local.launcher import kernel


def harden_self() -> bool:
    """Close `/proc/PID/environ` and `/proc/PID/mem` of this process to others of the same user; return False if not.

    Also: no core dump of this process, and no debugger may attach. Linux only (elsewhere False). Call it once, early,
    in a process that holds secrets; a program that it starts is not affected.
    """
    if sys.platform != "linux":
        return False
    try:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    except OSError:
        return False
    return True
