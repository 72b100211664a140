"""The library of recorded runs: a SQLite index beside the files, made again from them at any time.

The files are the truth. The index may be deleted, damaged or written by several processes at once: it is refreshed by
modification time and size, and a broken one is replaced without a word to anybody but `notices`.
Every method may be called from any thread, and none from a UI thread: they wait for disks and for other processes.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from fleet_rlm import config
from fleet_rlm.runs.run_reader import NotARun, RunFile
from fleet_rlm.runs.summary import Growing, RunRow, summarise

T = TypeVar("T")

Column = Literal[
    "when", "task", "question", "documents", "iterations", "calls", "tokens", "cost", "seconds", "status", "answer",
    "model", "sandbox", "size",
]  # fmt: skip
_COLUMNS: dict[str, str] = {
    "when": "started", "task": "task COLLATE NOCASE", "question": "question COLLATE NOCASE", "documents": "documents",
    "iterations": "iterations", "calls": "calls", "tokens": "tokens", "cost": "cost", "seconds": "seconds",
    "status": "status", "answer": "answer COLLATE NOCASE", "model": "model", "sandbox": "sandbox", "size": "bytes",
}  # fmt: skip

_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, mtime INTEGER NOT NULL, bytes INTEGER NOT NULL,
    run_id TEXT, started TEXT, task TEXT, question TEXT, documents TEXT, iterations INTEGER, calls INTEGER,
    tokens INTEGER, cost REAL, seconds REAL, status TEXT, answer TEXT, model TEXT, sandbox TEXT, offline INTEGER,
    words TEXT NOT NULL DEFAULT '', problem TEXT
);
CREATE INDEX runs_by_id ON runs (run_id);
CREATE INDEX runs_by_start ON runs (started);
"""
_FULL_TEXT = """
CREATE VIRTUAL TABLE runs_text USING fts5 (words, content='runs', content_rowid='number', tokenize='trigram');
CREATE TRIGGER runs_added AFTER INSERT ON runs BEGIN
    INSERT INTO runs_text (rowid, words) VALUES (new.number, new.words);
END;
CREATE TRIGGER runs_removed AFTER DELETE ON runs BEGIN
    INSERT INTO runs_text (runs_text, rowid, words) VALUES ('delete', old.number, old.words);
END;
CREATE TRIGGER runs_changed AFTER UPDATE ON runs BEGIN
    INSERT INTO runs_text (runs_text, rowid, words) VALUES ('delete', old.number, old.words);
    INSERT INTO runs_text (rowid, words) VALUES (new.number, new.words);
END;
"""
_FIELDS = (
    "path, run_id, started, task, question, documents, iterations, calls, tokens, cost, seconds, status, answer, "
    "model, sandbox, offline, bytes"
)
_GOING_ON = ("running", "waiting")
_BATCH = 200
BUSY_SECONDS = 10.0
"""Seconds to wait for another process that writes the index; after that the index lives in memory."""
_SHORTEST_TRIGRAM_TERM = 3


class NoSuchRun(LookupError):
    """No run, or more than one, goes by that name; the message says which there are."""


class RunIsRunning(RuntimeError):
    """A run that is being recorded can't be deleted."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Counts of the run files that a refresh found."""

    new: int = 0
    changed: int = 0
    gone: int = 0
    unreadable: int = 0
    """Files in the runs folder that are no runs."""


class Library:
    """All runs below one folder."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """The person's runs folder unless another is named. Touches nothing yet."""
        self.folder = Path(folder) if folder is not None else config.runs_dir()
        self.notices: list[str] = []
        """Notices for the person about the index."""
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._full_text = False
        self._growing: dict[bytes, Growing] = {}

    @property
    def index(self) -> Path:
        """The SQLite file."""
        return self.folder / "index.sqlite"

    def close(self) -> None:
        """Let go of the index and of files that are being followed. The library may be used again afterwards."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            for growing in self._growing.values():
                growing.run.close()
            self._growing.clear()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Refreshed:
        """Bring the index up to date with the files; `progress` hears how many of the changed ones are read."""
        return self._with_index(lambda db: self._refresh(db, progress))

    def list(
        self, words: str = "", sort: Column = "when", *, descending: bool = True, limit: int | None = None
    ) -> list[RunRow]:
        """Runs whose task, question, document names, model, status or answer hold every one of `words`.

        From the index alone: call `refresh` first to see what is new. Unknown values come last whatever the order.
        """
        column, direction = _COLUMNS[sort], "DESC" if descending else "ASC"

        def select(db: sqlite3.Connection) -> Sequence[Sequence[object]]:
            conditions, values = _conditions(words, self._full_text)
            query = (
                f"SELECT {_FIELDS} FROM runs WHERE {' AND '.join(conditions)} ORDER BY {column.split()[0]} IS NULL, "
                f"{column} {direction}, started DESC, number DESC LIMIT ?"
            )
            return db.execute(query, (*values, -1 if limit is None else limit)).fetchall()

        return [*self._rows(self._with_index(select))]

    def get(self, name: str) -> RunRow:
        """A run by the beginning of its id, its path, or `latest`, as the files have it now.

        Raises `NoSuchRun`, or `NotARun` for a path.
        """
        self.refresh()
        if name == "latest":
            newest = self.list(limit=1)
            if not newest:
                raise NoSuchRun("There are no runs yet.")
            return newest[0]
        found = []
        if name and name.isalnum():
            query = f"SELECT {_FIELDS} FROM runs WHERE run_id >= ? AND run_id < ? AND problem IS NULL LIMIT 6"
            found = self._with_index(lambda db: db.execute(query, (name, name + "\U0010ffff")).fetchall())
        rows = self._rows(found)
        exact = [row for row in rows if row.run_id == name]
        if len(exact or rows) == 1:
            return (exact or rows)[0]
        if rows:
            raise NoSuchRun(f"Several runs begin with {name!r}: {', '.join(row.run_id for row in rows[:5])} …")
        path = Path(name).expanduser()
        if path.exists() or "/" in name or path.suffix:
            return summarise(path)
        raise NoSuchRun(f"No run's id begins with {name!r}; `fleet-rlm runs list` shows them all.")

    def delete(self, run: RunRow) -> None:
        """Delete a run's file and its row, for good. Raises `RunIsRunning`, or `OSError` when the system refuses."""
        from fleet_rlm.documents import piped  # on the way to the first screen nobody needs it

        with self._lock:
            key = os.fsencode(os.path.relpath(run.path, self.folder))
            if (growing := self._growing.pop(key, None)) is not None:
                growing.run.close()
            try:
                file = os.open(run.path, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                file = -1
            try:
                if file >= 0:
                    _claim(file)
                    run.path.unlink()
            finally:
                if file >= 0:
                    os.close(file)
            self._with_index(lambda db: _delete(db, [key]))
            piped.forget(self.folder, [name for name in filter(piped.is_kept, run.documents) if not self._reads(name)])

    def _reads(self, document: str) -> bool:
        """True if any run names this document."""
        query = "SELECT 1 FROM runs WHERE instr(documents, ?) LIMIT 1"
        return self._with_index(lambda db: bool(db.execute(query, (document,)).fetchall()))

    def _rows(self, found: Iterable[Sequence[object]]) -> Sequence[RunRow]:
        rows = []
        for values in found:
            try:
                rows.append(self._row(values))
            except msgspec.MsgspecError as error:
                self.notices.append(f"A run is left out of the list: its row in the index can't be read ({error}).")
        return rows

    def _row(self, values: Sequence[object]) -> RunRow:
        named = dict(zip(_FIELDS.split(", "), values, strict=True))
        path, documents = named.pop("path"), named.pop("documents")
        fields = {
            **{_ATTRIBUTES.get(name, name): value for name, value in named.items() if name != "bytes"},
            "path": self.folder / os.fsdecode(path if isinstance(path, bytes) else str(path)),
            "documents": msgspec.json.decode(str(documents), type=tuple[str, ...]),
            "offline": bool(named["offline"]),
            "size": named["bytes"],
        }
        return msgspec.convert(fields, RunRow)

    def _refresh(self, db: sqlite3.Connection, progress: Callable[[int, int], None]) -> Refreshed:
        known: dict[bytes, tuple[int, int, str | None, str | None]] = {
            row[0]: row[1:] for row in db.execute("SELECT path, mtime, bytes, status, problem FROM runs")
        }
        present: set[bytes] = set()
        stale: list[tuple[bytes, int, int]] = []
        unreadable = 0
        for path, mtime, size in _files(self.folder):
            present.add(path)
            before = known.get(path)
            settled = before is not None and (before[0], before[1]) == (mtime, size)
            if settled and before is not None and before[2] not in _GOING_ON:
                unreadable += before[3] is not None
                continue
            stale.append((path, mtime, size))
        gone = [path for path in known if path not in present]
        for begin in range(0, len(stale), _BATCH):
            rows = [self._read(*file) for file in stale[begin : begin + _BATCH]]
            unreadable += sum(row["problem"] is not None for row in rows)
            _store(db, rows)
            progress(min(begin + _BATCH, len(stale)), len(stale))
        _delete(db, gone)
        for path in gone:
            if (growing := self._growing.pop(path, None)) is not None:
                growing.run.close()
        new = sum(path not in known for path, _, _ in stale)
        return Refreshed(new, len(stale) - new, len(gone), unreadable)

    def _read(self, key: bytes, mtime: int, size: int) -> dict[str, object]:
        """The values of one file's row."""
        about: dict[str, object] = {**dict.fromkeys(_ALL), "path": key, "mtime": mtime, "bytes": size, "words": ""}
        path = self.folder / os.fsdecode(key)
        try:
            row = self._read_on(key) or summarise(path)
            if row.status in _GOING_ON and key not in self._growing:
                self._growing[key] = Growing(RunFile(path))
        except (NotARun, ValueError, ArithmeticError, RecursionError) as error:  # no other run suffers
            return {**about, "problem": _storable(str(error))}
        words = (row.run_id, row.task, row.question, *row.documents, row.model, row.status, row.answer)
        return {
            **about,
            **{column: getattr(row, attribute) for column, attribute in _ATTRIBUTES.items()},
            "documents": msgspec.json.encode([_storable(name) for name in row.documents]).decode(),
            "words": _storable("\n".join(words).casefold()),
        }

    def _read_on(self, key: bytes) -> RunRow | None:
        """The row of a run that this library has seen running before."""
        growing = self._growing.get(key)
        if growing is None:
            return None
        growing.read_on()
        row = growing.row()
        if row.status not in _GOING_ON:
            growing.run.close()
            del self._growing[key]
        return row

    def _with_index(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return work(self._open())
            except sqlite3.DatabaseError as error:
                if _is_busy(error):
                    self._use_memory(error)
                else:
                    self._start_over(error)
            db = self._open()
            self._refresh(db, lambda _done, _of: None)
            return work(db)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._db = self._connect(str(self.index))
            except (OSError, sqlite3.OperationalError) as error:
                self._use_memory(error)
                return self._open()
        return self._db

    def _use_memory(self, error: Exception) -> None:
        """Go on without the file: it can't be written here, or another process has held it for too long."""
        self.notices.append(f"The index of runs can't be kept in {self.folder} ({error}); it lives in memory.")
        if self._db is not None:
            self._db.close()
        self._db = self._connect(":memory:")
        self._refresh(self._db, lambda _done, _of: None)

    def _connect(self, where: str) -> sqlite3.Connection:
        if where != ":memory:" and not self.index.exists():
            os.close(os.open(self.index, os.O_WRONLY | os.O_CREAT, 0o600))
        db = sqlite3.connect(where, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            _use_write_ahead_log(db)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _statements(_SCHEMA):
                    db.execute(statement)
                try:
                    for statement in _statements(_FULL_TEXT):
                        db.execute(statement)
                except sqlite3.OperationalError:  # an SQLite without FTS5: the filter then reads every row
                    db.execute("DROP TABLE IF EXISTS runs_text")
                db.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"it is of version {version}")
            db.commit()
            self._full_text = bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs_text'").fetchone())
        except BaseException:
            db.close()
            raise
        return db

    def _start_over(self, error: sqlite3.Error) -> None:
        """Throw a broken index away."""
        self.notices.append(f"The index of runs was made again from the files ({error}).")
        if self._db is not None:
            self._db.close()
            self._db = None
        for end in ("", "-wal", "-shm"):
            Path(f"{self.index}{end}").unlink(missing_ok=True)


_ATTRIBUTES = {
    "run_id": "run_id", "started": "when", "task": "task", "question": "question", "iterations": "iterations",
    "calls": "calls", "tokens": "tokens", "cost": "cost", "seconds": "seconds", "status": "status", "answer": "answer",
    "model": "model", "sandbox": "sandbox", "offline": "offline",
}  # fmt: skip
_ALL = ("path", "mtime", "bytes", *_ATTRIBUTES, "documents", "words", "problem")
_UPSERT = (
    f"INSERT INTO runs ({', '.join(_ALL)}) VALUES ({', '.join(':' + name for name in _ALL)}) "
    f"ON CONFLICT (path) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _ALL[1:])}"
)


def _conditions(words: str, full_text: bool) -> tuple[Sequence[str], Sequence[str]]:
    """Return the SQL conditions, and their values, of rows that hold every word."""
    conditions, values = ["problem IS NULL"], []
    terms = [_storable(word.casefold()) for word in words.split()]
    if full_text:
        long = [term for term in terms if len(term) >= _SHORTEST_TRIGRAM_TERM and term.isprintable()]
        if long:
            conditions.append("number IN (SELECT rowid FROM runs_text WHERE runs_text MATCH ?)")
            values.append(" AND ".join('"' + term.replace('"', '""') + '"' for term in long))
        terms = [term for term in terms if term not in long]
    return [*conditions, *["instr(words, ?) > 0"] * len(terms)], [*values, *terms]


def _files(folder: Path) -> Iterator[tuple[bytes, int, int]]:
    """Every `.jsonl` in the folder and in the folders of its days: its path in there, modification time (ns), size."""
    waiting, above = [str(folder)], len(str(folder)) + 1
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.endswith(".jsonl") and entry.is_file():
                        about = entry.stat()
                        yield os.fsencode(entry.path[above:]), about.st_mtime_ns, about.st_size
        except OSError:  # a folder that vanished, or that is not ours to read, holds no runs of ours
            continue


def _store(db: sqlite3.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Store rows; one that SQLite can't hold is stored as a problem of its own."""
    try:
        with db:
            db.executemany(_UPSERT, rows)
    except (OverflowError, UnicodeEncodeError) as error:
        if len(rows) > 1:
            for row in rows:
                _store(db, [row])
            return
        about = {name: rows[0][name] for name in ("path", "mtime", "bytes")}
        with db:
            db.execute(_UPSERT, {**dict.fromkeys(_ALL), **about, "words": "", "problem": str(error)})


def _delete(db: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    with db:
        db.executemany("DELETE FROM runs WHERE path = ?", [(key,) for key in keys])


def _claim(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunIsRunning("The run is still being recorded: abort it first.") from error
    except OSError:  # a file system without locks
        return


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """SQLite doesn't wait by itself while another process changes a new index over: two that start at once collide."""
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > patience:
                raise
            time.sleep(0.01)
        else:
            return


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one, so that they run inside the caller's transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
