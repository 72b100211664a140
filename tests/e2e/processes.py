"""Which processes descend from one, and whether they are still there (Linux)."""

from __future__ import annotations

from pathlib import Path

Process = tuple[int, int]
"""Process id and start time: an id alone may be taken again."""


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _fields() -> dict[int, list[str]]:
    found = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {pid: fields for pid, fields in found.items() if fields is not None}


def descendants(root: int) -> dict[Process, str]:
    """All processes below `root`, with their command lines."""
    fields = _fields()
    below, more = {root}, True
    while more:
        new = {pid for pid, of in fields.items() if int(of[1]) in below} - below
        below |= new
        more = bool(new)
    return {(pid, int(fields[pid][19])): _command(pid) for pid in below - {root} if pid in fields}


def alive(processes: dict[Process, str]) -> dict[Process, str]:
    """Those of them that still run (zombies don't)."""
    fields = _fields()
    return {
        (pid, began): command
        for (pid, began), command in processes.items()
        if pid in fields and int(fields[pid][19]) == began and fields[pid][0] not in "ZX"
    }


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
