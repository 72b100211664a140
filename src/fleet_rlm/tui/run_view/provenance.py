"""Which parts of a run's documents a model has seen, and where a call's text came from: derived, never recorded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm import events as ev
from fleet_rlm.documents import bundled, reading_process
from fleet_rlm.documents.coverage import Coverage, Seen
from fleet_rlm.documents.document_work import BLOCK_BYTES, Cancelled, DocumentError, Stopped, never, size_in_words
from fleet_rlm.documents.locate import Locator, Span
from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.state import ExecutionState, RunState

MOST_KNOWN = 20_000
MOST_DOCUMENTS = 256
"""That many are open at once; of the others no coverage is known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that the Document pane can show: a file that an input was made of, or an input's own value."""

    name: str
    reference: ev.DocumentRef | None = None
    value: ev.Json = None

    def open(self, cancelled: Cancelled = never) -> TextFile:
        """Its text; takes seconds where it has to be taken out of a PDF or the like.

        Raises `DocumentError` when the file is gone or is no text any more, `Stopped` when cancelled.
        """
        ref = self.reference
        if ref is None:
            return TextFile.of_text(ev.as_text(self.value), self.name)
        try:
            path = bundled.located(ref.path)
            if ref.format or ref.member:
                return reading_process.open_extracted(
                    path, self.name, kind=ref.format, member=ref.member, cancelled=cancelled
                )
            return TextFile.open(path, self.name, encoding=ref.encoding)
        except (ValueError, LookupError) as error:  # a path with a NUL, an encoding that there is not
            raise DocumentError(f"The record's reference to this document can't be used: {error}.") from error


def entries_of(started: ev.RunStarted | None) -> tuple[Entry, ...]:
    """A run's documents, then its other inputs. The question is shown in the header: here only when it is alone."""
    if started is None:
        return ()
    documents = [Entry(ref.name or ref.path, ref) for one in started.inputs for ref in one.documents]
    values = [Entry(one.name, None, one.value) for one in started.inputs if not one.documents and one.value is not None]
    others = [entry for entry in values if entry.value != started.task.question]
    return (*documents, *others) or tuple(values)


def difference(entry: Entry, text: TextFile, cancelled: Cancelled = never) -> str:
    """How a document differs from what the run was given, in words; '' when it does not. Reads all of the file."""
    ref = entry.reference
    if ref is None:
        return ""
    if text.path is not None and text.file_bytes != ref.bytes:
        return _changed(ref.bytes, text.file_bytes)
    try:
        digest, size = _digest(bundled.located(ref.path), ref.member, cancelled)
    except Stopped:
        return ""
    except (OSError, ValueError, DocumentError):
        return "gone since it was opened"
    if cancelled() or digest == ref.sha256:
        return ""
    return _changed(ref.bytes, size) if size != ref.bytes else "changed since the run: same size, other text"


def _digest(path: Path, member: str, cancelled: Cancelled) -> tuple[str, int]:
    """SHA-256 and size of a file, or of an archive's member."""
    if member:
        return reading_process.digest_of(path, member, cancelled)
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while (block := file.read(BLOCK_BYTES)) and not cancelled():
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _changed(then: int, now: int) -> str:
    return f"changed since the run: {size_in_words(then)} then, {size_in_words(now)} now"


def shown_text(execution: ExecutionState) -> str:
    """What of an execution's output the planner was shown."""
    text = "".join(chunk.text for chunk in execution.chunks if chunk.stream == "stdout")
    shown = execution.finished.shown_to_planner if execution.finished else None
    if shown is None or shown.head + shown.tail >= len(text):
        return text
    return text[: shown.head] + "\n" + (text[-shown.tail :] if shown.tail else "")


class SeenSoFar:
    """What was seen in a state that grows: tells only what is new since it was asked last."""

    def __init__(self) -> None:
        self._executions: set[str] = set()
        self._calls = 0

    def fresh(self, state: RunState) -> list[tuple[str, Seen]]:
        """Texts that a model saw, and how."""
        found: list[tuple[str, Seen]] = []
        for iteration in state.iterations[-3:] if self._executions else state.iterations:
            for execution in iteration.executions:
                if execution.finished is not None and execution.span not in self._executions:
                    self._executions.add(execution.span)
                    if text := shown_text(execution):
                        found.append((text, Seen.PRINTED))
        found += [(call.prompt, Seen.SENT) for call in state.calls[self._calls :] if call.prompt]
        self._calls = len(state.calls)
        return found


class Provenance:
    """Finds texts in a run's documents. Every method may take long: call them from worker threads."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = [(place, entry) for place, entry in enumerate(entries) if entry.reference or entry.value]
        self._lock = threading.Lock()
        self._locator: Locator | None = None
        self._places: list[int] = []
        self._known: dict[str, tuple[Span, ...]] = {}
        """What was found before: every step back in a run asks for the same texts again."""

    def build(self, cancelled: Cancelled = never) -> bool:
        """Read the documents, once; False when cancelled. Those that are gone are left out."""
        with self._lock:
            if self._locator is not None:
                return True
            texts: list[TextFile] = []
            places: list[int] = []
            for place, entry in self._entries[:MOST_DOCUMENTS]:
                try:
                    text = entry.open(cancelled)
                    if not text.fill_all(cancelled=cancelled):
                        return False
                except DocumentError:
                    continue
                texts.append(text)
                places.append(place)
            locator = Locator(texts)
            try:
                if not locator.build(cancelled=cancelled):
                    return False
            except DocumentError:
                return False
            self._locator, self._places = locator, places
            return True

    def coverage(self) -> Coverage:
        """An empty one for these documents; `build` must have been called."""
        assert self._locator is not None
        return Coverage(text.size for text in self._locator.texts)

    def place_of(self, entry: int) -> int | None:
        """A document's number in the coverage, by its place among the entries."""
        return self._places.index(entry) if entry in self._places else None

    def mark(self, coverage: Coverage, seen: Iterable[tuple[str, Seen]], cancelled: Cancelled = never) -> None:
        """Find texts and mark where they stand."""
        for text, how in seen:
            if cancelled():
                return
            coverage.add(self._locate(text, cancelled), how)

    def locate(self, text: str, cancelled: Cancelled = never) -> list[tuple[int, Span]]:
        """(entry, span) for each piece of a text that stands in a document."""
        return [(self._places[span.document], span) for span in self._locate(text, cancelled)]

    def _locate(self, text: str, cancelled: Cancelled) -> tuple[Span, ...]:
        with self._lock:
            if self._locator is None:
                return ()
            if (known := self._known.get(text)) is not None:
                return known
            try:
                found = self._locator.locate(text, cancelled)
            except DocumentError:  # cancelled, or the disk failed: what is known stays
                return ()
            if len(self._known) < MOST_KNOWN:
                self._known[text] = found
            return found
