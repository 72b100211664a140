"""Keep an engine's pipes for itself: no stray print or read of a library may touch them."""

from __future__ import annotations

import os


def own_streams() -> tuple[int, int]:
    """Private descriptors of what stdin and stdout were; prints now go to stderr, and reads find nothing."""
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return commands, events
