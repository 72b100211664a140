"""A run file as a source: complete (`ReplayFile`), or still being written (`FollowFile`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from fleet_rlm.events import AnyEvent, Unknown
from fleet_rlm.runs.run_reader import NotARun, RunEnd, RunFile
from fleet_rlm.spec import Command
from fleet_rlm.tui.sources.event_source import Mode, SourceEnd
from fleet_rlm.tui.sources.inbox import Inbox


class ReplayFile:
    """A `RunSource` of everything that stands in a run file now."""

    mode: Mode = "replay"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file_path = str(Path(path).absolute())
        self.path: str | None = self._file_path
        self._inbox = Inbox()
        self._stop = threading.Event()

    @property
    def end(self) -> SourceEnd | None:
        return self._inbox.end

    def open(self, wake: Callable[[], None]) -> None:
        self._inbox.wake = wake
        threading.Thread(target=self._work, name="run-file-reader", daemon=True).start()

    def drain(self, limit: int = 2000) -> list[AnyEvent | Unknown]:
        return self._inbox.drain(limit)

    def send(self, command: Command) -> None:
        raise RuntimeError(f"a recorded run cannot be told to {type(command).__name__.lower()}")

    def close(self) -> None:
        self._stop.set()
        self._inbox.close()

    def _events(self, file: RunFile) -> Iterator[AnyEvent | Unknown]:
        return file.events()

    def _work(self) -> None:
        try:
            with RunFile(self._file_path) as file:
                taken = file.offset
                for event in self._events(file):
                    if not self._inbox.put(event, file.offset - taken):
                        return
                    taken = file.offset
                self._inbox.finish(_end_of(file))
        except NotARun as error:
            self._inbox.finish(SourceEnd(False, str(error), error.hint))
        except OSError as error:
            words = f"the run file could not be read further: {error.strerror or error}"
            self._inbox.finish(SourceEnd(False, words, "What was read until then is shown."))


class FollowFile(ReplayFile):
    """A `RunSource` of everything in a run file and everything that another process still writes to it."""

    mode: Mode = "follow"

    def _events(self, file: RunFile) -> Iterator[AnyEvent | Unknown]:
        return file.follow(self._stop, self._writer_gone)

    def _writer_gone(self, end: RunEnd) -> None:
        """Say so, until more comes."""
        hint = "Everything until then is shown; what is still written to it will be shown, too."
        self._inbox.finish(SourceEnd(False, end.words, hint), for_now=True)


def _end_of(file: RunFile) -> SourceEnd:
    end = file.end
    if end is None:
        return SourceEnd(False, "reading was stopped")
    words = end.words
    if file.damage:
        words = f"{words}; {file.damage}" if words else file.damage
    return SourceEnd(end.complete, words, end.hint)
