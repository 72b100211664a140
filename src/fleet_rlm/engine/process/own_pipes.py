"""Reserve the engine's pipes for its events and commands: a library's print or read must not touch them."""

from __future__ import annotations

import os


def own_streams() -> tuple[int, int]:
    """Return private copies of stdin and stdout. From then on prints go to stderr and reads find nothing."""
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return commands, events
