"""Values that the app keeps between starts: theme, last choices, sizes of panes. Losing it loses no work."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
MAX_BYTES = 256 * 1024


class Memory:
    """Values by name (`theme`, `new_run`, `run.layout`) in one small JSON file, written in the background.

    `path` None remembers only while the app runs. A file that cannot be read counts as empty; one that cannot be
    written is left as it is: nothing here is worth interrupting a person for.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, object] = {}
        self._lock = threading.Lock()
        if path is not None:
            try:
                raw = path.read_bytes()
                found = json.loads(raw) if len(raw) <= MAX_BYTES else {}
            except (OSError, ValueError, RecursionError):
                found = {}
            self._values = found if isinstance(found, dict) else {}

    def get(self, name: str, kind: type[T], default: T) -> T:
        """What was remembered under a name, when it has the type `kind` (anything msgspec can convert to)."""
        if name not in self._values:
            return default
        import msgspec  # not before there is something to convert: the first paint does without

        try:
            return msgspec.convert(self._values[name], kind)
        except msgspec.ValidationError:
            return default

    def set(self, name: str, value: object) -> None:
        """Remember a value (anything msgspec can encode)."""
        import msgspec

        plain = msgspec.to_builtins(value)
        if name in self._values and self._values[name] == plain:
            return
        self._values[name] = plain
        if self._path is not None:
            threading.Thread(target=self._write, args=(self._path,), name="memory-writer").start()

    def _write(self, path: Path) -> None:
        with self._lock:
            scratch = path.with_name(f"{path.name}.{os.getpid()}")
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                scratch.write_text(json.dumps(dict(self._values)))
                scratch.replace(path)
            except OSError:
                with suppress(OSError):
                    scratch.unlink()
