"""Knows to which cell each thread of the worker belongs, and ends those of a cell that is interrupted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from .source import Interrupted


class Threads:
    """The cell that runs, and the threads that cells have started; those threads' own threads are of the same cell."""

    def __init__(self) -> None:
        self.pid, self.cell, self.running = os.getpid(), 0, False
        self.alive: dict[int, dict[object, int | None]] = {}
        """By cell: its living threads, and their identifiers once they run."""
        self._local = threading.local()
        for module in (sys.modules["threading"], sys.modules["_thread"]):
            for name in ("_start_new_thread", "_start_joinable_thread", "start_new_thread", "start_joinable_thread"):
                if hasattr(module, name):
                    setattr(module, name, self._starter(getattr(module, name)))

    def begin(self, cell: int) -> None:
        """Call this in the main thread when a cell begins."""
        self.cell = self._local.cell = cell

    def cell_of_caller(self) -> int:
        """Return the cell to which the calling thread belongs."""
        cell: int = getattr(self._local, "cell", self.cell)
        return cell

    def outside(self) -> bool:
        """Return True if the caller is another process, or no thread of the cell that runs."""
        return os.getpid() != self.pid or not self.running or self.cell_of_caller() != self.cell

    def left(self) -> bool:
        """Return True if a thread of a cell that has ended still lives."""
        return any(threads for cell, threads in list(self.alive.items()) if cell != self.cell or not self.running)

    def interrupt(self) -> None:
        """End the cell's other threads as soon as they run Python code."""
        identifiers = [identifier for identifier in self.alive.get(self.cell, {}).values() if identifier]
        if identifiers:
            import ctypes

            for identifier in identifiers:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identifier), ctypes.py_object(Interrupted))

    def _starter(self, start: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that starts a thread as `start` does, and remembers its cell."""

        def begin(function: Callable[..., Any], *rest: Any, **options: Any) -> Any:
            cell, key = self.cell_of_caller(), object()
            threads = self.alive.setdefault(cell, {})

            def run(*args: Any, **kwargs: Any) -> None:
                self._local.cell, threads[key] = cell, threading.get_ident()
                try:
                    function(*args, **kwargs)
                finally:
                    threads.pop(key, None)

            threads[key] = None
            try:
                return start(run, *rest, **options)
            except BaseException:
                threads.pop(key, None)
                raise

        return begin
