"""Runs inside a sandbox: the same bytes in every one, standard library only, Python 3.10 or newer.

A *supervisor* (one thread, no generated code) speaks the protocol of `fleet_rlm.sandbox.host.protocol` on descriptors
that only it holds. A forked *worker* runs the generated code. The worker may print anything, hang, crash or be
killed: the supervisor keeps the channel, reports what happened and forks another one.

The worker's output goes through pipes made anew for each cell, so what a child or a thread of an earlier cell
writes later is still that cell's. Between the two stands a socket with the worker's own, smaller vocabulary.
"""

from __future__ import annotations

import _thread
import ast
import builtins
import codecs
import collections
import contextlib
import faulthandler
import fcntl
import io
import itertools
import json
import linecache
import mmap
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b  # the same; by way of hashlib it costs every start 7 ms for OpenSSL

Message = dict[str, Any]  # JSON, as it came or as it goes

# Generated code may change any module, and the builtins: what runs here has its own copies of both.
BUILTINS, MODULES, THREADING = vars(builtins), sys.modules, (threading, _thread)
globals()["__builtins__"] = dict(BUILTINS)
for _module in (ast, fcntl, io, json, mmap, os, queue, select, signal, socket, threading, time, traceback, types):
    globals()[_module.__name__] = types.ModuleType(_module.__name__)
    vars(globals()[_module.__name__]).update(vars(_module))
get_limit, set_limit, set_trace, set_profile = (
    sys.getrecursionlimit,
    sys.setrecursionlimit,
    sys.settrace,
    sys.setprofile,
)

VERSION = 1
PART_CHARS = 256 << 10  # a value longer than this crosses in parts of this many characters
READ_BYTES = 64 << 10  # more at once costs a memory map for every small message
LINE_BYTES = 8 << 20  # the longest line on the worker's socket
HIGH_BYTES = 4 << 20  # more than this waiting for the host: stop reading from the worker
ACK_BYTES = 1 << 20
TICK_SECONDS = 0.033  # output is forwarded at most once a tick and stream
REPEAT_SECONDS = 0.1  # between the signals of one interrupt
LATE_PIPES, LATE_BYTES = 16, 64 << 10
BEGIN_SECONDS = 20.0  # in which a worker has begun the cell that it was given, or it never will
DIGITS = 4300  # of an integer, as many as Python reads at the other end
CLOSED = 72  # exit code of a worker without its socket
DEFAULTS = {"cap": 2 << 20, "tail": 64 << 10, "value": 64 << 20, "beat": 1.0, "orphan": 0.0}
DRIVER = sys._getframe().f_code.co_filename


as_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder())["scan_once"]


def dumps(message: Message) -> bytes:
    """One line of UTF-8. Lone surrogates, which no host can read, become U+FFFD."""
    return utf8(as_text(message)) + b"\n"


def loads(text: str) -> Any:
    """The value of a JSON text of the host's, which has no space around it."""
    return scan(text, 0)[0]


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class Lines:
    """Complete lines out of chunks of bytes; a line over the limit is skipped."""

    def __init__(self, most: int = LINE_BYTES) -> None:
        self.most, self.size, self.over = most, 0, False
        self.parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        *whole, rest = data.split(b"\n")
        for line in whole:
            self.add(line)
            joined = b"".join(self.parts)
            fits = self.size <= self.most
            self.parts, self.size = [], 0
            if fits and joined:
                yield joined
        if rest:
            self.add(rest)

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= self.most:
            self.parts.append(piece)
        else:
            self.over, self.parts = True, self.parts[:1]


# ---------------------------------------------------------------------------------------------------------------
# Values on their way to the host
# ---------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """`json.dumps(default=…)`: the types of which everybody knows the plain form; anything else is an error."""
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, (collections.deque, range, collections.abc.KeysView, collections.abc.ValuesView)):
        return list(value)
    if module == "datetime" and hasattr(value, "isoformat"):
        return value.isoformat()
    if module == "pathlib":
        return str(value)
    if module in ("numpy", "pandas") and hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    if isinstance(value, collections.abc.ItemsView):
        return list(value)
    raise TypeError(
        f"a value of type {kind.__name__} can't leave the sandbox; make it text, a number, a list or a dict first"
    )


plain_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=plain).encode


UNFIT_WORDS = {  # what json says, and what to do about it
    "Exceeds the limit": f"an integer has more than {DIGITS:,} digits; make it text first, or round it",
    "Out of range float": "nan and infinity are no JSON numbers; make them text or None first",
    "keys must be": "a dict's keys must be text or numbers; make them text first",
    "Circular": "the value contains itself",
}


def check_keys(value: Any) -> None:
    """Raises ValueError for a dict of which JSON would lose a member, such as `{1: "a", "1": "b"}`."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if len({key if isinstance(key, str) else as_text(key) for key in one}) < len(one):
                raise ValueError("two keys of a dict are the same as text")
            rest.extend(one.values())
        elif isinstance(one, (list, tuple)):
            rest.extend(part for part in one if isinstance(part, (dict, list, tuple)))


def body(value: Any, what: str, most: int) -> str:
    """A value as JSON text, or a TypeError or ValueError that says how to repair it."""
    digits = sys.get_int_max_str_digits()
    if not 0 < digits <= DIGITS:  # the host reads no longer integers, whatever the code allowed itself
        sys.set_int_max_str_digits(DIGITS)
    try:
        text = plain_text(value)
        check_keys(value)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
        reason = next((words for start, words in UNFIT_WORDS.items() if reason.startswith(start)), reason)
        raise TypeError(f"{what}: {reason}") from None
    finally:
        sys.set_int_max_str_digits(digits)
    if len(text) > most:
        raise ValueError(f"{what}: {len(text):,} characters as JSON, and at most {most:,} can cross at once")
    return text


# ---------------------------------------------------------------------------------------------------------------
# Variables: what a namespace holds, without running a line of the generated code's
# ---------------------------------------------------------------------------------------------------------------

_raw_name: Callable[[type], str] = type.__dict__["__name__"].__get__
_bases_of: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_dict_of: Callable[[type], dict[str, Any]] = type.__dict__["__dict__"].__get__
CALM = {"date", "time", "datetime", "timedelta", "Decimal"}  # their repr runs no code but the C library's
NODES, ROOM = 2000, 1 << 20  # elements, and characters of texts, looked at in one variable
CONTAINERS: tuple[tuple[Any, str], ...] = (
    (dict, "{}"),
    (list, "[]"),
    (tuple, "()"),
    (set, "{}"),
    (frozenset, "{}"),
    (collections.deque, "[]"),
)
UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, IndexError)


def name_of(kind: type) -> str:
    return str.__str__(_raw_name(kind))[:80]


def is_a(value: Any, base: type) -> bool:
    """`isinstance` by the true type: `__class__` can lie."""
    return base in _bases_of(type(value))


def base_of(value: Any) -> Any:
    """The builtin text or container type that a value's type is or derives from, else None."""
    for base in (str, bytes, bytearray, dict, list, tuple, set, frozenset, collections.deque):
        if is_a(value, base):
            return base
    return None


class Inspector:
    """Bounded previews and digests. No method, property or `__repr__` of generated code is called: whatever a
    value's class defines, only the builtin types' own methods look at it.
    """

    ROWS, TEXT, SECONDS = 500, 200, 0.05

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, int | None, str | None]] = {}
        self.nodes = self.room = self.next = 0

    def report(self, namespace: dict[str, Any], hidden: set[str]) -> Message:
        """What was added, changed and removed since the last report; `whole` is False when time ran out.

        Digests of large values are of samples: a change between the samples that keeps the length goes unseen.
        """
        end = time.perf_counter() + self.SECONDS
        values = {
            name: value
            for name, value in list(namespace.items())
            if type(name) is str and name[:1] != "_" and name not in hidden and type(value) is not types.ModuleType
        }
        known = [name for name in self.seen if name in values]
        now = {name: self.seen[name] for name in known}
        known = known[self.next :] + known[: self.next]  # where the last report had to stop, this one goes on
        added: list[Message] = []
        changed: list[Message] = []
        looked = 0
        for name in [*(name for name in values if name not in now), *known]:
            if time.perf_counter() > end or looked >= self.ROWS:
                break
            looked += 1
            value, before = values[name], now.get(name)
            try:
                row = self.row(name, value)
            except UNFIT:  # such as: a thread of the code's changes it meanwhile
                row = {"name": name[: self.TEXT], "type": name_of(type(value)), "preview": "(can't be looked at)"}
            now[name] = mark = (row["type"], row.get("size"), row.get("digest"))
            if before is None:
                added.append(row)
            elif before != mark:
                changed.append(row)
        removed = [name[: self.TEXT] for name in self.seen if name not in now]
        self.seen, whole = now, looked == len(values)
        self.next = 0 if whole else (self.next + max(0, looked - len(added))) % max(1, len(known))
        return {"added": added, "changed": changed, "removed": removed, "total": len(values), "whole": whole}

    def row(self, name: str, value: Any) -> Message:
        digest, self.nodes, self.room = blake2b(digest_size=8), NODES, ROOM
        self.feed(digest, value, 3)
        preview = self.preview(value, self.TEXT, 2)
        row: Message = {
            "name": name[: self.TEXT],
            "type": name_of(type(value)),
            "preview": preview if len(preview) <= self.TEXT else preview[: self.TEXT] + "…",
            "digest": digest.hexdigest(),
        }
        size = self.size(value)
        if size is not None:
            row["size"] = size
        return row

    def size(self, value: Any) -> int | None:
        """Characters, bytes or elements."""
        base, array = base_of(value), self.array(value)
        if base is not None:
            return int(base.__len__(value))
        if array is None:
            return None
        size = 1
        for length in array[1]:
            size *= length
        return size

    def array(self, value: Any) -> tuple[str, tuple[int, ...]] | None:
        """`(kind, shape)` of a genuine numpy array or pandas object."""
        for module, names in (("numpy", ("ndarray",)), ("pandas", ("DataFrame", "Series"))):
            if module in sys.modules:
                for name in names:
                    if type(value) is getattr(sys.modules[module], name, None):
                        return name, tuple(int(length) for length in value.shape)
        return None

    def preview(self, value: Any, room: int, depth: int) -> str:
        kind, base = type(value), base_of(value)
        if kind is int and value.bit_length() >= 512:
            return f"({value.bit_length():,} bits)"
        if kind in (int, bool, float, complex, type(None), range, type(Ellipsis)):
            return repr(value)
        if base in (str, bytes, bytearray):
            piece = base.__getitem__(value, slice(0, room))
            text = repr(str.__str__(piece) if base is str else bytes(piece))
            return text + ("…" if base.__len__(value) > room else "")
        if base is not None:
            return self.several(value, base, dict(CONTAINERS)[base], room, depth)
        if kind is types.FunctionType:
            code = value.__code__
            names = ", ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
            return f"def {str.__str__(code.co_name)}({names})"
        if is_a(value, type):
            return f"class {name_of(value)}"
        array = self.array(value)
        if array:
            extra = f", {value.dtype}" if array[0] != "DataFrame" else ""
            if array[0] == "DataFrame":
                extra = f", columns {self.preview(value.columns[:8].tolist(), room, 1)}"
            return f"{array[0]} {' × '.join(map(str, array[1]))}{extra}"
        for module in ("datetime", "decimal"):
            if name_of(kind) in CALM and getattr(sys.modules.get(module), name_of(kind), None) is kind:
                return repr(value.replace(tzinfo=None) if hasattr(kind, "tzinfo") else value)
        return self.thing(value, kind, depth)

    def several(self, value: Any, base: Any, marks: str, room: int, depth: int) -> str:
        length = base.__len__(value)
        parts: list[str] = []
        items: Iterator[Any] = iter(dict.items(value)) if base is dict else base.__iter__(value)
        for item in itertools.islice(items, 6 if depth else 0):
            if base is dict:
                parts.append(f"{self.preview(item[0], 40, 0)}: {self.preview(item[1], 60, depth - 1)}")
            else:
                parts.append(self.preview(item, 60, depth - 1))
            room -= len(parts[-1]) + 2
            if room < 0:
                break
        if length > len(parts):
            parts.append(f"… {length:,} in all")
        return marks[0] + ", ".join(parts) + marks[1]

    def thing(self, value: Any, kind: type, depth: int) -> str:
        """An instance of a class that may be the generated code's: only what its own dict holds."""
        held = None
        for base in _bases_of(kind):
            slot = _dict_of(base).get("__dict__")
            if slot is not None:  # the class may have put a property of its own there
                held = slot.__get__(value) if type(slot) is types.GetSetDescriptorType else None
                break
        if type(held) is not dict or not held or not depth:
            return f"<{name_of(kind)}>"
        parts = [
            f"{self.preview(key, 40, 0).strip(chr(39))}={self.preview(item, 40, depth - 1)}"
            for key, item in itertools.islice(held.items(), 5)
        ]
        return f"<{name_of(kind)} {', '.join(parts)}>"

    def feed(self, digest: Any, value: Any, depth: int) -> None:
        """What a digest is made of: everything of small values, evenly spread samples of large ones."""
        self.nodes -= 1
        kind, base = type(value), base_of(value)
        digest.update(utf8(name_of(kind)))
        if base in (str, bytes, bytearray):
            self.feed_text(digest, value, base)
        elif kind is int:
            digest.update(b"%x" % value if value.bit_length() < 4096 else b"%d" % value.bit_length())
        elif kind in (bool, float, complex, type(None)):
            digest.update(repr(value).encode())
        elif base is not None and depth and self.nodes > 0:
            self.feed_items(digest, value, base, depth)
        elif kind is types.FunctionType:
            code = value.__code__
            digest.update(utf8(f"{code.co_filename}:{code.co_firstlineno}") + code.co_code)
        else:
            array = self.array(value)
            if (
                array
                and array[0] == "ndarray"
                and value.size
                and value.dtype.kind in "biufc"
                and value.flags.c_contiguous
            ):
                self.feed_text(digest, memoryview(value).cast("B"), memoryview)
            digest.update(utf8(self.preview(value, 500, 2)))

    def feed_items(self, digest: Any, value: Any, base: Any, depth: int) -> None:
        length = base.__len__(value)
        digest.update(b"%d" % length)
        if base is dict:
            for key, item in itertools.islice(dict.items(value), self.nodes):
                self.feed(digest, key, 1)
                self.feed(digest, item, depth - 1)
                if self.nodes < 0:
                    break
        elif base in (set, frozenset):
            if length <= 64:  # no order to rely on: of a larger one only the size counts
                digest.update(utf8("".join(sorted(self.preview(item, 200, 1) for item in base.__iter__(value)))))
        else:
            chosen: Iterable[int] = range(length)
            if length > 384:
                step = max(1, length // 128)
                chosen = (*range(128), *range(128, length - 128, step), *range(length - 128, length))
            for index in chosen:
                self.feed(digest, base.__getitem__(value, index), depth - 1)
                if self.nodes < 0:
                    break

    def feed_text(self, digest: Any, text: Any, base: Any) -> None:
        length = base.__len__(text)
        digest.update(b"%d" % length)
        starts: Iterable[int] = (0,)
        most = length
        if length > min(self.room, 1 << 16):
            most = 1024 if self.room > 1 << 15 else 64
            starts = (*range(0, length, max(most, length // 32)), length - most) if most > 64 else (0, length - most)
        self.room -= min(length, 33 * most)
        for start in starts:
            piece = base.__getitem__(text, slice(start, start + most))
            digest.update(str.encode(piece, "utf-8", "surrogatepass") if base is str else piece)


# ---------------------------------------------------------------------------------------------------------------
# The worker
# ---------------------------------------------------------------------------------------------------------------


class Submitted(BaseException):
    """Ends a cell that called SUBMIT."""


class Interrupted(KeyboardInterrupt):
    """Ends a cell that was interrupted."""


class Missing(Exception):
    """Inputs whose file is not there, or not what was sent."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class Stream(io.TextIOWrapper):
    """`sys.stdout` and `sys.stderr`: a subclass, so that an instance can have a `write` of its own."""


def guard() -> None:
    """Stands at the head of every handler that would swallow SUBMIT or an interrupt."""
    error = sys.exc_info()[1]
    if isinstance(error, (Submitted, Interrupted)):
        raise error


def catches_all(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(catches_all(item) for item in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id == "BaseException")


def let_pass(tree: ast.AST) -> None:
    """`except:` and `except BaseException:` let SUBMIT and interrupts pass; other handlers stay as they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node.type):
            call = ast.Expr(ast.Call(ast.Name("__fleet_guard__", ast.Load()), [], []))
            for part in ast.walk(call):
                ast.copy_location(part, node)
            node.body.insert(0, call)


NO_SHELL = "there is no shell here: run a program with subprocess.run([...]), and use the packages that are installed"
NOT_PYTHON = (
    ("%%", "a step is Python alone, without cell magics: write Python, and run a program with subprocess.run([...])"),
    ("%", "a step is plain Python, without magics such as %time: call time.perf_counter(), os.chdir and the like"),
    ("?", "a step is plain Python: call help(name) or dir(name) instead of ?"),
    *((start, NO_SHELL) for start in ("!", "$ ", "pip ", "pip3 ", "python ", "python3 ", "conda ", "apt ", "apt-get ")),
)


def notebook_hint(source: str, line: int | None) -> str:
    """What to write instead of a line that only a notebook or a shell understands; empty for any other line."""
    lines = source.splitlines()
    first = next((number for number, text in enumerate(lines, 1) if text.strip()), 0)
    for number in (line or 0, first):
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        left, equals, right = text.partition("=")
        starts = [text, right.strip()] if equals and left.strip().isidentifier() else [text]
        for start, words in NOT_PYTHON:
            if any(one.startswith(start) for one in starts):
                return words
        if text.rstrip("?").rpartition(".")[2].isidentifier() and text.endswith("?"):
            return NOT_PYTHON[2][1]
    return ""


def parsed(source: str, filename: str) -> ast.Module:
    """A cell's tree. SyntaxError, which says what to write instead where notebooks allow more than Python."""
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        if hint := notebook_hint(source, error.lineno):
            error.msg = f"{error.msg}. {hint[0].upper()}{hint[1:]}"
        raise


def leave_step(code: object = None) -> NoReturn:
    """`exit` and `quit`, which end the cell and, other than Python's own, leave stdin open."""
    raise SystemExit(code)


def copied(value: Any) -> Any:
    """An input again: its containers new, its texts and numbers shared (nobody can change those)."""
    if type(value) is dict:
        return {key: item if type(item) is str else copied(item) for key, item in value.items()}
    if type(value) is list:
        return [item if type(item) is str else copied(item) for item in value]
    return value


class Worker:
    """Runs one cell after another in one namespace. Its own failures end the process: the supervisor sees it."""

    def __init__(self, ctl: socket.socket, config: Message) -> None:
        self.ctl, self.config, self.pid = ctl, config, os.getpid()
        self.write_lock, self.tick_lock = threading.Lock(), threading.Lock()
        self.commands: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.pending: dict[int, queue.SimpleQueue[Message | None]] = {}
        self.parts: dict[str, list[str]] = {}
        self.ids, self.functions = itertools.count(config["first_call"]), {}  # type: itertools.count[int], dict[str, Callable[..., Any]]
        self.refs: dict[tuple[str, str], Any] = {}
        self.local = threading.local()
        self.alive: dict[int, dict[object, int | None]] = {}  # cell → its living threads
        self.held: dict[int, tuple[int, int]] = {}  # cell → its output, for threads that outlived it
        self.main_thread = threading.get_ident()
        self.shield, self.deferred = 1, False
        self.cell, self.running, self.ticking, self.stopping, self.may_call = 0, False, False, False, True
        self.fields: list[str] | None = None
        self.final: str | None = None
        self.inspector, self.null = Inspector(), os.open(os.devnull, os.O_RDWR)
        self.reserve: list[int] = []
        self.spare: bytearray | None = None
        self.module = MODULES["__main__"] = types.ModuleType("__main__")
        self.namespace: dict[str, Any] = self.module.__dict__
        self.standard, self.modules = dict(BUILTINS), dict(MODULES)
        self.loop: Any = None  # asyncio's, of cells that await
        self.prepared: dict[str, Any] = {}  # names that set-ups left, such as dspy's
        self.helpers: dict[str, tuple[Any, ...]] = {}  # functions that set-ups put among the builtins, and their parts
        self.homes: list[tuple[dict[str, Any], dict[str, Any]]] = []  # globals of the helpers, as they are and were
        self.open_streams()

    # -- to and from the supervisor

    def send(self, message: Message | bytes, fds: Iterable[int] = ()) -> None:
        """Whole frames only: an interrupt that comes meanwhile waits."""
        data = message if isinstance(message, bytes) else dumps(message)
        main = threading.get_ident() == self.main_thread
        if main:
            self.shield += 1
        try:
            with self.write_lock:
                if fds:
                    data = data[socket.send_fds(self.ctl, [data], list(fds)) :]
                self.ctl.sendall(data)
        finally:
            if main:
                self.shield -= 1
                self.check_interrupt()

    def send_value(self, message: Message, key: str, field: str, text: str) -> None:
        """A message with a value that is JSON text already; a long one goes ahead of it in parts."""
        if len(text) <= PART_CHARS:
            self.send(dumps(message)[:-2] + b',"' + field.encode() + b'":' + utf8(text) + b"}\n")
            return
        starts = range(0, len(text), PART_CHARS)
        for start in starts:
            self.send({"t": "part", "key": key, "data": text[start : start + PART_CHARS]})
        self.send({**message, "parts": len(starts)})

    def check_interrupt(self) -> None:
        if self.deferred and not self.shield and self.running:
            self.deferred = False
            raise Interrupted("interrupted")

    def on_sigint(self, *_: object) -> None:
        if not self.running:
            return
        sys.setswitchinterval(0.0005)  # against threads that spin: this one has something to do now
        if self.shield:
            self.deferred = True
        else:
            raise Interrupted("interrupted")

    def read_loop(self) -> None:
        poll, lines, code = select.poll(), Lines(1 << 62), 70
        poll.register(self.ctl, select.POLLIN)
        try:
            while True:
                if not poll.poll(40 if self.ticking else None):
                    self.tick()
                    continue
                try:
                    data = self.ctl.recv(READ_BYTES)
                except OSError:  # the code closed it
                    data = b""
                if not data:
                    code = CLOSED
                    return
                for line in lines.feed(data):
                    self.receive(loads(line.decode()))
        finally:
            os._exit(code)  # without this thread nothing would reach the process any more

    def receive(self, message: Message) -> None:
        kind = message["t"]
        if kind == "ret":
            if message.get("parts"):
                message["value"] = loads("".join(self.parts.pop(message["key"], ())))
            box = self.pending.get(message["id"])
            if box is not None:
                box.put(message)
        elif kind == "part":
            self.parts.setdefault(message["key"], []).append(message["data"])
        elif kind == "stop":
            self.stopping = True
            for box in list(self.pending.values()):
                box.put(None)
        else:
            self.ticking = True
            self.commands.put(message)

    # -- output

    def open_streams(self) -> None:
        self.stdout, self.stderr = (
            Stream(io.BufferedWriter(io.FileIO(fd, "w", closefd=False), 1 << 16), "utf-8", "backslashreplace", "\n")
            for fd in (1, 2)
        )

    def begin_output(self) -> None:
        """Pipes of this cell's own on descriptors 1 and 2; their other ends go to the supervisor."""
        self.sort_writes()
        for cell in [cell for cell in self.held if not self.alive.get(cell)]:
            for fd in self.held.pop(cell):
                with contextlib.suppress(OSError):
                    os.close(fd)
        while self.reserve:
            with contextlib.suppress(OSError):
                os.close(self.reserve.pop())
        ends = [os.pipe(), os.pipe()]
        for number, (_, write) in enumerate(ends, 1):
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 18)
            os.dup2(write, number)
            os.close(write)
        self.send({"t": "began", "cell": self.cell}, [read for read, _ in ends])
        for read, _ in ends:
            os.close(read)
        with contextlib.suppress(OSError):  # kept for the day when the code has used up all others
            while len(self.reserve) < 6:
                self.reserve.append(os.dup(self.null))
        try:
            self.stdout.reconfigure(line_buffering=True)
            self.stderr.reconfigure(line_buffering=True)
        except ValueError:  # a thread that outlived its cell closed them
            self.open_streams()
        self.sort_writes()
        stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
        sys.stdin = sys.__stdin__ = stdin  # type: ignore[misc] # made again because the code may close or replace them
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def sort_writes(self) -> None:
        """While threads of earlier cells live, what they print goes to their own cell's pipe."""
        late = any(threads for cell, threads in list(self.alive.items()) if cell != self.cell or not self.running)
        for index, stream in enumerate((self.stdout, self.stderr)):
            if late:
                vars(stream)["write"] = self.sorted_write(stream, index)
            else:
                vars(stream).pop("write", None)

    def sorted_write(self, stream: Stream, index: int) -> Callable[[str], int]:
        def write(text: str) -> int:
            cell = getattr(self.local, "cell", self.cell)
            if cell == self.cell and self.running:
                return Stream.write(stream, text)
            fds = self.held.get(cell)
            if fds:
                os.write(fds[index], str(text).encode("utf-8", "backslashreplace"))
            return len(text)

        return write

    def end_output(self) -> None:
        if self.alive.get(self.cell):
            with contextlib.suppress(OSError):
                self.held[self.cell] = os.dup(1), os.dup(2)
        self.sort_writes()  # from here on, and before this cell's pipes make way for the next one's
        try:
            self.stdout.flush()
            self.stderr.flush()
        except (OSError, ValueError):
            self.open_streams()  # without what could not be written
            self.sort_writes()
        for fd in (0, 1, 2):
            os.dup2(self.null, fd)

    def tick(self) -> None:
        """A cell that runs for long: its prints leave in whole blocks, once a tick."""
        if self.ticking and self.tick_lock.acquire(blocking=False):
            try:
                for stream in (self.stdout, self.stderr):
                    with contextlib.suppress(OSError, ValueError):
                        if stream.line_buffering:
                            stream.reconfigure(line_buffering=False)
                        stream.flush()
            finally:
                self.tick_lock.release()

    # -- what the code calls

    def outside(self) -> bool:
        """Is the caller another process, or a thread of another cell's?"""
        return os.getpid() != self.pid or not self.running or getattr(self.local, "cell", self.cell) != self.cell

    def call(self, name: str, args: tuple[Any, ...], kwargs: Message) -> Any:
        if os.getpid() != self.pid:
            raise RuntimeError(f"{name}() works only in the cell's own process; use threads instead of processes")
        if self.outside() or not self.may_call:
            raise RuntimeError(f"{name}() was called outside of the cell that is executing; nothing was asked")
        what = f"{name}() got an argument that can't be sent"
        text = body({"args": args, "kwargs": kwargs}, what, self.config["value"])
        number, box = next(self.ids), queue.SimpleQueue()  # type: int, queue.SimpleQueue[Message | None]
        self.pending[number] = box
        try:
            if self.stopping:
                raise Interrupted("interrupted")
            self.send_value({"t": "call", "cell": self.cell, "id": number, "name": name}, f"c{number}", "body", text)
            answer = box.get()
            if answer is None:
                raise Interrupted("interrupted")
        except BaseException:
            self.send({"t": "cancel", "id": number})
            raise
        finally:
            self.pending.pop(number, None)
        if answer["ok"]:
            return answer.get("value")
        raise RuntimeError(answer.get("error") or f"{name}() failed")

    def function(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, args, kwargs)

        function.__name__ = function.__qualname__ = name
        return function

    def submit(self, *args: Any, **kwargs: Any) -> None:
        if self.outside():
            raise RuntimeError("SUBMIT was called outside of the cell that is executing; nothing was submitted")
        names = self.fields if self.fields is not None else ["output"]
        given = args[0] if len(args) == 1 and len(names) > 1 and not kwargs else None
        if type(given) is dict and set(given) == set(names):
            args, kwargs = (), given
        takes = f"SUBMIT takes {', '.join(names)}"
        if args and kwargs:
            raise TypeError(f"{takes}: all by position or all by name, not both")
        if args and len(args) != len(names):
            raise TypeError(f"{takes} ({len(names)} in all), and got {len(args)}")
        values = dict(zip(names, args, strict=True)) if args else kwargs
        wrong = [f"no {name}" for name in names if name not in values]
        wrong += [f"an unknown {name}" for name in values if name not in names]
        if wrong:
            raise TypeError(f"{takes}, and got {', '.join(wrong)}")
        texts = {
            name: body(value, f"SUBMIT can't deliver {name}", self.config["value"]) for name, value in values.items()
        }
        text = "{" + ",".join(f"{as_text(name)}:{text}" for name, text in texts.items()) + "}"
        if len(text) > self.config["value"]:
            raise ValueError(f"SUBMIT can't deliver {len(text):,} characters; at most {self.config['value']:,}")
        if self.final is None:  # the first one counts
            self.final = text
        raise Submitted

    # -- one execution

    def restore(self) -> None:
        """Give the builtins, the modules that were there at first, and the helpers their own things back."""
        BUILTINS.update(self.standard)
        sys.modules = MODULES
        MODULES.update(self.modules)
        for home, own in self.homes:
            home.update(own)
        for function, *parts in self.helpers.values():
            for part, value in zip(("__code__", "__defaults__", "__kwdefaults__"), parts, strict=True):
                if getattr(function, part) is not value:
                    setattr(function, part, value)

    def keep(self, before: set[str]) -> None:
        """After a set-up: what it put among the builtins and into the namespace comes back before each cell."""
        for name in BUILTINS.keys() - self.standard.keys():
            function = BUILTINS[name]
            if type(function) is types.FunctionType:
                self.helpers[name] = function, function.__code__, function.__defaults__, function.__kwdefaults__
                home = function.__globals__
                if home is not self.namespace and not any(home is known for known, _ in self.homes):
                    self.homes.append((home, dict(home)))
        self.standard, self.modules = dict(BUILTINS), dict(MODULES)
        hidden = {*before, *self.functions, "SUBMIT"}
        self.prepared |= {name: value for name, value in self.namespace.items() if name not in hidden}

    def bind_functions(self, names: list[str]) -> None:
        """The host's functions, SUBMIT and the helpers stand under their names again, whatever a cell made of them."""
        self.functions.update({name: self.function(name) for name in names})
        self.functions["SUBMIT"] = self.submit
        for name in [name for name in self.helpers if name in self.namespace]:
            del self.namespace[name]
        if not callable(self.namespace.get("print", print)):
            del self.namespace["print"]
        for name, value in self.prepared.items():
            self.namespace.setdefault(name, value)
        self.namespace.update({name: self.functions[name] for name in (*names, "SUBMIT")}, __name__="__main__")

    def say_what_comes_back(self) -> None:
        """Tell of values under names that mean a function again in the next cell: they would seem to vanish."""
        mine = [name for name in self.helpers if name in self.namespace]
        mine += [name for name, own in self.functions.items() if self.namespace.get(name, own) is not own]
        if mine:
            names = ", ".join(sorted(mine))
            words = "means the helper" if len(mine) == 1 else "mean the helpers"
            with contextlib.suppress(OSError, ValueError):
                self.stdout.write(f"[{names} {words} again from the next step on: keep yours under another name]\n")

    def awaited(self, coroutine: Any) -> Any:
        """Run a cell that awaits. The loop lasts, so that a task may be awaited in a later cell."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        executor = ThreadPoolExecutor()  # of this cell: threads of an earlier one may not call the host
        self.loop.set_default_executor(executor)
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        finally:
            self.shield += 1
            executor.shutdown(wait=False)
            if task.done():
                task.cancelled() or task.exception()  # or asyncio would log that nobody looked at it
            else:  # interrupted while it waited: it must not go on in the next cell
                self.loop.call_later(1.0, self.loop.stop)
                task.add_done_callback(lambda _: self.loop.stop())
                task.cancel()
                with contextlib.suppress(BaseException):
                    self.loop.run_forever()
                self.loop = None
            self.shield -= 1

    def bind(self, variables: Message) -> None:
        missing = []
        for name, how in variables.items():
            if "path" not in how:
                self.namespace[name] = how.get("value")
                continue
            try:
                self.namespace[name] = copied(self.stored(how))
            except (OSError, ValueError):
                missing.append(name)
        if missing:
            raise Missing(missing)

    def stored(self, how: Message) -> Any:
        """The pristine value of an input's file, read once. OSError or ValueError: it is not what was sent."""
        ref = how["ref"], how["type"]
        if ref not in self.refs:
            import hashlib

            fd = os.open(how["path"], os.O_RDONLY)
            try:
                data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
            with data:
                if hashlib.sha256(data).hexdigest() != how["ref"]:
                    raise ValueError(how["path"])
                if how["type"] == "bytes":
                    self.refs[ref] = bytes(data)
                else:
                    text = str(data, "utf-8", "surrogatepass")
                    self.refs[ref] = text if how["type"] == "text" else loads(text)
        return self.refs[ref]

    def run(self, message: Message) -> None:
        self.cell, self.final, self.fields = message["cell"], None, message.get("fields")
        self.local.cell, self.stopping, self.deferred = self.cell, False, False
        self.may_call = message["mode"] != "operator"
        signal.signal(signal.SIGINT, self.on_sigint)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        self.begin_output()
        done: Message = {"t": "done", "cell": self.cell, "status": "ok"}
        began, self.running = time.perf_counter(), True
        try:
            try:
                self.restore()
                self.bind(message.get("variables") or {})
                self.shield = 0
                self.check_interrupt()
                self.execute(message, done)
            finally:
                self.shield = 1
                set_limit(max(get_limit(), 1000))
                set_trace(None)
                set_profile(None)
                self.restore()
        except Submitted:
            self.shield = 1
        except BaseException as error:  # noqa: BLE001 - generated code may raise anything
            self.shield, self.spare = 1, None
            if os.getpid() == self.pid:
                if isinstance(error, Interrupted):
                    self.interrupt_threads()
                self.describe(error, f"<{message['name']}>", done)
        if os.getpid() != self.pid:  # a child that fell out of the cell
            with contextlib.suppress(OSError, ValueError):
                self.stdout.flush()
                self.stderr.flush()
            os._exit(0)
        done["ms"] = round(1000 * (time.perf_counter() - began), 3)
        self.finish(done)

    def execute(self, message: Message, done: Message) -> None:
        source, filename, namespace = message["code"], f"<{message['name']}>", self.namespace
        linecache.cache[filename] = len(source), None, source.splitlines(True), filename
        namespace["__builtins__"] = builtins
        if message["mode"] == "operator":
            done["value"] = self.shown(self.evaluated(source.strip(), filename, "eval"))
            return
        self.bind_functions(message["tools"])
        before = set(namespace)
        tree = parsed(source, filename)
        if "except" in source:
            let_pass(tree)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body[-1] = ast.copy_location(
                ast.Assign([ast.copy_location(ast.Name("__fleet_value__", ast.Store()), last)], last.value), last
            )
        self.evaluated(tree, filename, "exec")
        value = namespace.pop("__fleet_value__", None)
        if message["mode"] == "setup":
            self.keep(before)
        elif value is not None and os.getpid() == self.pid:
            self.stdout.write(self.shown(value) + "\n")

    def evaluated(self, source: ast.Module | str, filename: str, mode: str) -> Any:
        """Run code that may await outside of any function."""
        code = compile(source, filename, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, self.namespace)
        return self.awaited(value) if code.co_flags & 0x80 else value  # CO_COROUTINE

    def shown(self, value: Any) -> str:
        """A cell's last expression, or an operator's, as text of bounded length."""
        most = 20_000
        if type(value) is str and len(value) > most:
            return f"{value[:most]!r}… ({len(value):,} characters)"
        text = repr(value)
        return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"

    def describe(self, error: BaseException, filename: str, done: Message) -> None:
        if isinstance(error, Missing):
            done.update(status="inputs", missing=error.names)
            return
        kind, status, line, steps = name_of(type(error)), "error", None, 0
        text = words = kind
        step = error.__traceback__
        while step is not None:
            steps += 1
            where = step.tb_frame.f_code.co_filename
            if where == filename or (line is None and where.startswith("<cell ")):
                line = step.tb_lineno
            step = step.tb_next
        with contextlib.suppress(Exception):  # the code's own classes take part, and memory may be short
            limit = -200 if steps > 1000 else None
            told = traceback.TracebackException(type(error), error, error.__traceback__, limit=limit)
            self.strip(told, set())
            if isinstance(error, SyntaxError) and error.filename == filename and line is None:
                status, line = "syntax", error.lineno
                told.stack.clear()
            text = "".join(told.format())
            words = "".join(told.format_exception_only()).strip()
        if isinstance(error, SystemExit):
            words = "SystemExit: exit() ends only this cell; the session goes on. What stands after it did not run"
        if isinstance(error, Interrupted):
            kind, words, status = "KeyboardInterrupt", "KeyboardInterrupt: interrupted", "interrupted"
        if len(text) > 20_000:
            text = f"{text[:10_000]}\n… {len(text) - 20_000:,} characters left out …\n{text[-10_000:]}"
        done["status"] = status
        done["error"] = {"type": kind, "message": words[:4000], "line": line, "traceback": text}

    def strip(self, told: traceback.TracebackException | None, seen: set[int]) -> None:
        """Only frames of the model's code and of libraries: the driver's own say nothing to it."""
        if told is None or id(told) in seen:
            return
        seen.add(id(told))
        told.stack[:] = [
            frame
            for frame in told.stack
            if frame.filename not in (DRIVER, ast.__file__) and "/asyncio/" not in frame.filename
        ]
        for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
            self.strip(other, seen)

    def finish(self, done: Message) -> None:
        for box in list(self.pending.values()):  # of threads that go on: their calls end with their cell
            box.put({"ok": False, "error": "the cell that asked is over"})
        if self.stopping:
            self.interrupt_threads()
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        sys.setswitchinterval(0.005)
        if self.final is None:
            self.say_what_comes_back()
        with self.tick_lock:
            self.ticking = self.running = False
            self.end_output()
        done["vars"] = self.inspector.report(self.namespace, {*self.functions, *self.helpers})
        if self.final is not None and done["status"] in ("ok", "error"):
            done["status"] = "submit"
            done.pop("error", None)
            self.send_value(done, f"d{self.cell}", "final", self.final)
        else:
            self.send(done)
        self.final = None
        with contextlib.suppress(MemoryError):
            self.spare = bytearray(1 << 18)  # given back when memory runs out, so that there is some to say so

    def interrupt_threads(self) -> None:
        """An interrupt ends the cell's other threads as well, as soon as they run Python code."""
        threads = [ident for ident in self.alive.get(self.cell, {}).values() if ident]
        if threads:
            import ctypes

            for ident in threads:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Interrupted))

    # -- set-up

    def tagged(self, start: Callable[..., Any]) -> Callable[..., Any]:
        """A thread starter that remembers in which cell a thread began; its own threads inherit that."""

        def begin(function: Callable[..., Any], *rest: Any, **options: Any) -> Any:
            cell = getattr(self.local, "cell", self.cell)
            threads, me = self.alive.setdefault(cell, {}), object()

            def run(*args: Any, **kwargs: Any) -> None:
                self.local.cell, threads[me] = cell, threading.get_ident()
                try:
                    function(*args, **kwargs)
                finally:
                    threads.pop(me, None)

            threads[me] = None
            try:
                return start(run, *rest, **options)
            except BaseException:
                threads.pop(me, None)
                raise

        return begin

    def before_fork(self) -> None:
        self.tick_lock.acquire()
        with contextlib.suppress(OSError, ValueError):
            self.stdout.flush()
            self.stderr.flush()

    def in_child(self) -> None:
        self.tick_lock.release()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(OSError):
            self.ctl.close()

    def main(self) -> None:
        def no_input(_: object = "") -> str:
            raise EOFError("input() has nobody to ask in this sandbox")

        leave_step.__name__ = leave_step.__qualname__ = "exit"
        BUILTINS.update(input=no_input, exit=leave_step, quit=leave_step, __fleet_guard__=guard)
        self.standard, self.modules = dict(BUILTINS), dict(MODULES)
        warnings.filterwarnings("ignore", r".*multi-threaded, use of fork")  # the other thread is ours, and in order
        threading.Thread(target=self.read_loop, daemon=True, name="fleet-reader").start()
        for module in THREADING:
            for name in ("_start_new_thread", "_start_joinable_thread", "start_new_thread", "start_joinable_thread"):
                if hasattr(module, name):
                    setattr(module, name, self.tagged(getattr(module, name)))
        os.register_at_fork(
            before=self.before_fork, after_in_parent=self.tick_lock.release, after_in_child=self.in_child
        )
        signal.signal(signal.SIGINT, self.on_sigint)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            faulthandler.enable(2, all_threads=False)  # a segfault says on which line
        while True:
            self.run(self.commands.get())


# ---------------------------------------------------------------------------------------------------------------
# The supervisor
# ---------------------------------------------------------------------------------------------------------------


class Pipe:
    """One output stream of one cell: the first `room` bytes at once, the last `keep` bytes at its end."""

    def __init__(self, fd: int, cell: int, stream: str, room: int, keep: int) -> None:
        self.fd, self.cell, self.stream, self.room, self.keep = fd, cell, stream, room, keep
        self.ready: list[str] = []
        self.tail, self.beyond, self.next_at, self.late = bytearray(), 0, 0.0, False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(fd, False)

    def read(self, most: int) -> None:
        """Take what is there, at most about `most` bytes; closes at the end of the stream."""
        while most > 0 and self.fd >= 0:
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            most -= len(data)
            if self.room:
                text = self.decoder.decode(data[: self.room])
                if text:
                    self.ready.append(text)
            if len(data) > self.room:
                data = data[self.room :]
                self.beyond += len(data)
                self.tail += data
                if len(self.tail) > self.keep:
                    del self.tail[: len(self.tail) - self.keep]
                self.room = 0
            else:
                self.room -= len(data)

    def take(self) -> str:
        text = "".join(self.ready)
        self.ready.clear()
        return text

    def end(self) -> tuple[str, str, int]:
        """The rest of the head, the tail, and how many bytes were dropped between them."""
        text, tail, dropped = (
            self.take() + self.decoder.decode(b"", True),
            bytes(self.tail),
            self.beyond - len(self.tail),
        )
        if dropped:
            tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # the cut may have gone through a character
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.tail.clear()
        self.late, self.room, self.keep, self.beyond = True, LATE_BYTES, 0, 0
        return text, tail.decode("utf-8", "replace"), dropped

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def start_of(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


WORKER_ID = 60_321  # the worker's user, where the supervisor is root
FILE_CAPABILITIES = 0b11111  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID: root's, as far as files go


def stand_apart() -> None:
    """In the worker: out of reach of its supervisor, as far as this place allows. Elsewhere the host's own clock
    ends what a supervisor that was stopped or killed no longer does.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = start_of("/proc/self/status")
        capable = int(status.partition(b"CapEff:")[2].split()[0], 16)
        if capable & 0b11100000 == 0b11100000:  # KILL, SETGID, SETUID: root who can end another user's process
            libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
            os.setresgid(WORKER_ID, WORKER_ID, WORKER_ID)
            os.setresuid(WORKER_ID, WORKER_ID, WORKER_ID)
            keep = capable & FILE_CAPABILITIES
            head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(keep, keep, keep)
            libc.capset(head, sets)
            for number in range(5):
                libc.prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE: programs that it starts have them too
    # Landlock from version 6 on holds signals in (and, always, ptrace): nothing above the worker hears them.
    create, restrict = ctypes.c_long(444), ctypes.c_long(446)
    if libc.syscall(create, None, ctypes.c_size_t(0), ctypes.c_uint32(1)) >= 6:
        signals_only = (ctypes.c_uint64 * 3)(0, 0, 2)
        fd = libc.syscall(create, signals_only, ctypes.c_size_t(24), ctypes.c_uint32(0))
        if fd >= 0:
            libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which an ordinary user may not
            libc.syscall(restrict, ctypes.c_int(fd), ctypes.c_uint32(0))
            os.close(fd)


STATUSES = ("ok", "submit", "error", "syntax", "interrupted", "inputs")
WORDS, NAME, MOST = 64 << 10, 256, 1 << 53
"""Longest text and name, and largest number, that the host reads."""
FIELDS: dict[str, dict[str, Any]] = {
    "began": {"cell": 0},
    "call": {"cell": 0, "id": 0, "name": NAME, "body": {}, "parts": 0},
    "cancel": {"id": 0},
    "part": {"key": 32, "data": LINE_BYTES},
    "done": {"cell": 0, "status": NAME, "final": {}, "parts": 0, "value": WORDS, "ms": 0.0, "missing": [NAME]}
    | {
        "error": {"type": NAME, "message": WORDS, "line": 0, "traceback": WORDS},
        "vars": {"added": [{}], "changed": [{}], "removed": [NAME], "total": 0, "whole": True},
    },
}
"""What a worker may say: a length stands for a text, 0 for a number, and `{}` for any object."""
ROW = {"name": NAME, "type": NAME, "preview": 1024, "digest": 64, "size": 0}
NEEDED = {"began": {"cell"}, "call": {"cell", "id", "name"}, "cancel": {"id"}, "part": {"key", "data"}} | {
    "done": {"cell", "status"}
}  # fmt: skip


def fits(value: Any, shape: Any) -> bool:
    """Has a value from a worker this shape, such that the host can read it?"""
    if type(shape) is bool:
        return type(value) is bool
    if type(shape) is float:
        return type(value) is float and 0 <= value < 1e15
    if type(shape) is int:
        return (type(value) is str and len(value) <= shape) if shape else (type(value) is int and 0 <= value <= MOST)
    if type(shape) is list:
        return type(value) is list and len(value) <= 1000 and all(fits(one, shape[0] or ROW) for one in value)
    return type(value) is dict and (
        not shape or all(key in shape and (fits(one, shape[key]) or one is None) for key, one in value.items())
    )


def sound(message: Any) -> bool:
    """Can the host read this frame of a worker's?"""
    kind = message.get("t") if type(message) is dict else None
    if type(kind) is not str or kind not in FIELDS or not NEEDED[kind] <= set(message):
        return False
    said = {key: value for key, value in message.items() if key != "t"}
    if not fits(said, FIELDS[kind]) or any(said[key] is None for key in said):
        return False
    error = message.get("error")
    return kind != "done" or (
        message["status"] in STATUSES
        and (error is None or all(type(error.get(key)) is str for key in ("type", "message", "traceback")))
        and not any(None in row.values() or "name" not in row for row in rows_of(message))
    )


def rows_of(done: Message) -> list[Message]:
    report = done.get("vars") or {}
    return [*(report.get("added") or ()), *(report.get("changed") or ())]


class Supervisor:
    """Between the host and the worker: one loop over descriptors and deadlines that never blocks."""

    def __init__(self) -> None:
        self.hin, self.hout = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        os.set_blocking(self.hout, False)
        self.wake = os.pipe()
        for fd in self.wake:
            os.set_blocking(fd, False)
        self.config: Message = dict(DEFAULTS)
        self.host_lines, self.worker_lines = Lines(2 * LINE_BYTES), Lines()
        self.to_host: collections.deque[bytes] = collections.deque()
        self.to_host_bytes = 0
        self.to_worker: collections.deque[tuple[bytes, int]] = collections.deque()  # bytes, how many to acknowledge
        self.passed = self.acknowledged = 0
        self.pid = 0
        self.ctl: socket.socket
        self.workers = 0
        self.prctl: Callable[..., int] | None = None
        self.pipes: list[Pipe] = []
        self.fds: list[int] = []
        self.calls: set[int] = set()
        self.last_cell, self.stopped_early = 0, {}  # type: int, dict[int, Message]
        self.running: int | None = None
        self.why, self.signals = "", 0
        self.kill_at: float | None = None
        self.signal_at: float | None = None
        self.begin_by: float | None = None
        self.heard, self.beat_at = time.monotonic(), 0.0

    # -- to the host

    def emit(self, message: Message) -> None:
        """Queued: what one turn of the loop says goes out in one write."""
        data = dumps(message)
        self.to_host.append(data)
        self.to_host_bytes += len(data)

    def flush(self) -> None:
        """Write what the host takes now; the loop waits for it to take more."""
        while self.to_host:
            data = self.to_host.popleft()
            while self.to_host and len(data) < READ_BYTES:
                data += self.to_host.popleft()
            try:
                sent = os.write(self.hout, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.leave(0)
            self.to_host_bytes -= sent
            if sent < len(data):
                self.to_host.appendleft(data[sent:])
                return

    def leave(self, code: int) -> NoReturn:
        self.end_worker()
        os._exit(code)

    # -- the worker's life

    def fork(self) -> None:
        ours, theirs = socket.socketpair()
        self.workers += 1  # an answer to a call of an earlier worker's must not find one of this worker's
        pid, tries = -1, 0
        while pid < 0:
            try:
                pid = os.fork()
            except OSError:  # no room for a process: what the code left behind is still dying
                tries += 1
                if tries > 300:
                    sys.stderr.write("no new process could be started for the generated code\n")
                    os._exit(71)
                self.sweep()
                time.sleep(0.01)
        if pid == 0:
            try:
                self.become_worker(ours, theirs)
            finally:
                os._exit(70)  # whatever happened: this process must not go on as a second supervisor
        theirs.close()
        ours.setblocking(False)
        self.pid, self.ctl, self.worker_lines = pid, ours, Lines()

    def become_worker(self, ours: socket.socket, theirs: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        parent = os.getppid()
        with contextlib.suppress(OSError):
            os.setsid()
        if self.prctl:
            stand_apart()
            self.prctl(4, 1, 0, 0, 0)  # or its own files in /proc would be closed to it
            self.prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG: no worker outlives its supervisor
            if os.getppid() != parent:
                os._exit(0)
        for number in {*IGNORED, signal.SIGCHLD} - {signal.SIGINT}:  # which `Worker.main` takes once it can
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        ours.close()
        for fd in (self.hin, self.hout, *self.wake, *self.fds, *(pipe.fd for pipe in self.pipes if pipe.fd >= 0)):
            os.close(fd)
        os.dup2(0, 1)
        os.dup2(0, 2)
        with contextlib.suppress(OSError):  # when memory runs out, this process goes first
            fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(fd, b"1000")
            os.close(fd)
        Worker(theirs, {**self.config, "first_call": self.workers << 32}).main()

    def end_worker(self) -> tuple[int | None, int | None]:
        """Kill the worker and all its descendants; `(exit code, signal)` of the worker."""
        if not self.pid:
            return None, None
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        status = 0
        with contextlib.suppress(ChildProcessError):
            status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        self.sweep()
        return (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)

    def sweep(self) -> None:
        """End what the worker left: as a subreaper the supervisor inherits every orphan."""
        for _ in range(200 if self.prctl and not self.pid else 0):
            orphans = list(self.children())
            if not orphans:
                return
            for kill in (signal.SIGSTOP, signal.SIGKILL):
                for pid in orphans:
                    with contextlib.suppress(OSError):
                        os.kill(pid, kill)
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)

    def children(self) -> Iterator[int]:
        with contextlib.suppress(OSError):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    with contextlib.suppress(OSError, ValueError, IndexError):
                        if int(start_of(f"/proc/{entry.name}/stat").rpartition(b")")[2].split()[1]) == os.getpid():
                            yield int(entry.name)

    def lost(self, closed: bool = False, garbled: bool = False) -> None:
        """The worker is gone, or must go: say so, and begin again with an empty one."""
        self.drain()
        alive = closed and not self.ends_soon()
        code, number = self.end_worker()
        self.drain()
        end: Message = {"lost": True, "code": code, "signal": number, "closed": alive or code == CLOSED}
        if self.running is not None:
            end["garbled"] = garbled
            self.settle({"t": "done", "cell": self.running, "status": "killed" if self.why else "crashed", **end})
        else:
            self.emit({"t": "died", **end})
        self.forget_worker()
        self.fork()

    def forget_worker(self) -> None:
        """Let go of all that an ended worker had, and of what it did not take any more."""
        self.ctl.close()
        for pipe in self.pipes:
            pipe.close()
        for fd in self.fds:
            os.close(fd)
        self.pipes, self.fds, self.calls = [], [], set()
        self.passed += sum(count for _, count in self.to_worker)
        self.to_worker.clear()
        self.acknowledge()

    def ends_soon(self) -> bool:
        """A worker whose socket has ended is dying, as a rule: how it died is worth a moment's wait."""
        for _ in range(20):
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return True
                time.sleep(0.005)
        return False

    # -- output

    def forward(self, now: float) -> None:
        """Send what the pipes hold, each stream at most once a tick."""
        for pipe in self.pipes:
            if pipe.ready and now >= pipe.next_at:
                pipe.next_at = now + TICK_SECONDS
                self.out(pipe, pipe.take(), late=pipe.late)
        self.pipes = [pipe for pipe in self.pipes if pipe.fd >= 0 or pipe.ready or not pipe.late]

    def out(self, pipe: Pipe, text: str, *, gap: int = 0, late: bool = False) -> None:
        for start in range(0, len(text), PART_CHARS):
            piece = text[start : start + PART_CHARS]
            message: Message = {"t": "out", "cell": pipe.cell, "stream": pipe.stream, "data": piece}
            if late:
                message["late"] = True
            if gap and not start:
                message["gap"] = gap
            self.emit(message)

    def drain(self) -> None:
        """What a worker wrote before it spoke or died stands in its pipes by now."""
        for pipe in self.pipes:
            if not pipe.late:
                pipe.read(4 << 20)

    def settle(self, done: Message) -> None:
        """The running cell's last frames: its output, its variables, its outcome."""
        dropped = {}
        for pipe in self.pipes:
            if not pipe.late:
                text, tail, lost = pipe.end()
                self.out(pipe, text)
                self.out(pipe, tail, gap=lost)
                if lost:
                    dropped[pipe.stream] = lost
        while len(self.pipes) > LATE_PIPES:
            self.pipes.pop(0).close()
        report = done.pop("vars", None)
        if report:
            self.emit({"t": "vars", "cell": done["cell"], **report})
        self.emit({**done, "dropped": dropped, "why": self.why})
        self.running = self.kill_at = self.signal_at = None
        self.why = ""
        self.calls.clear()

    # -- messages

    def from_host(self, message: Message, line: bytes) -> None:
        kind = message["t"]
        if kind == "run":
            self.begin(message, line)
        elif kind in ("ret", "part"):
            if kind == "ret":
                self.calls.discard(message["id"])
            self.pass_on(line + b"\n", count=True)
        elif kind == "interrupt":
            if message["cell"] > self.last_cell:
                self.stopped_early[message["cell"]] = message
            elif message["cell"] == self.running:
                self.stop(message["why"], message["grace"])
        elif kind == "ping":
            self.emit({"t": "pong", "n": message["n"]})
        elif kind == "init":
            self.config.update({key: value for key, value in message.items() if key in DEFAULTS})
            self.fork()

    def begin(self, message: Message, line: bytes) -> None:
        cell = self.running = self.last_cell = message["cell"]
        early, now = self.stopped_early.pop(cell, None), time.monotonic()
        if early:
            self.why = early["why"]
            self.settle({"t": "done", "cell": cell, "status": "interrupted"})
            self.passed += len(line) + 1
            return
        self.beat_at, self.begin_by = now + self.config["beat"], now + BEGIN_SECONDS
        self.pass_on(line + b"\n", count=True)

    def stop(self, why: str, grace: float) -> None:
        if self.running is None:
            return
        now = time.monotonic()
        self.why = self.why or why
        self.kill_at = min(self.kill_at or now + grace, now + grace)
        self.signal_at, self.signals = now, 0
        self.pass_on(b'{"t":"stop"}\n')

    def signal_worker(self, now: float) -> None:
        """SIGINT again and again: first to the worker alone, then to what it started as well."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGINT)
            os.kill(self.pid, signal.SIGCONT)
            if self.signals:  # the worker gets a second one by it, in the midst of a handler for the first
                os.killpg(self.pid, signal.SIGINT)
        self.signals += 1
        self.signal_at = now + REPEAT_SECONDS

    def pass_on(self, data: bytes, count: bool = False) -> None:
        self.to_worker.append((data, len(data) if count else 0))
        self.push()

    def push(self) -> None:
        """Write to the worker what it takes."""
        try:
            while self.to_worker:
                data, count = self.to_worker[0]
                sent = self.ctl.send(data)
                if sent < len(data):
                    self.to_worker[0] = data[sent:], count
                else:
                    self.to_worker.popleft()
                    self.passed += count
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass  # stalled; or dead: then its socket ends, and the loop sees that
        self.acknowledge()

    def acknowledge(self) -> None:
        """The host keeps a window of bytes that have not left this process."""
        if self.passed - self.acknowledged >= ACK_BYTES:
            self.acknowledged = self.passed
            self.emit({"t": "ack", "bytes": self.passed})

    def from_worker(self, message: Message) -> None:
        kind = message["t"]
        if kind == "began":
            self.begin_by = None
            if message["cell"] == self.running and len(self.fds) >= 2:
                for stream in ("stdout", "stderr"):
                    fd = self.fds.pop(0)
                    self.pipes.append(Pipe(fd, message["cell"], stream, self.config["cap"], self.config["tail"]))
        elif kind == "done":
            if message["cell"] == self.running:
                self.drain()
                self.settle(message)
        elif kind == "call":
            if message["cell"] == self.running and not self.why:
                self.calls.add(message["id"])
                self.emit(message)
            else:
                words = "the cell that asked is over; nothing was asked"
                self.pass_on(dumps({"t": "ret", "id": message["id"], "ok": False, "error": words}))
        elif kind == "cancel":
            self.calls.discard(message["id"])
            self.emit(message)
        elif kind == "part":
            self.emit(message)

    def hear_worker(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self.ctl, READ_BYTES, 2)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self.fds += fds
        if not data:
            self.lost(closed=True)
            return
        worker = self.pid
        for line in self.worker_lines.feed(data):
            if self.pid != worker:
                return
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if sound(message):
                self.from_worker(message)
            elif self.running is not None:
                self.lost(garbled=True)  # the code wrote it: without this cell's end the host would wait
                return
        if self.pid == worker and self.worker_lines.over:
            self.lost(garbled=True)  # what was lost by it may have been an answer that the cell waits for
        while len(self.fds) > 2:
            os.close(self.fds.pop())

    def hear_host(self) -> None:
        data = os.read(self.hin, READ_BYTES)
        if not data:
            self.leave(0)
        self.heard = time.monotonic()
        for line in self.host_lines.feed(data):
            self.from_host(json.loads(line), line)

    # -- the loop

    def due(self, now: float) -> float:
        """Do what time asks for; the seconds until it asks again."""
        if (self.kill_at or now + 1) <= now or (self.running is not None and (self.begin_by or now + 1) <= now):
            self.lost()
        elif self.signal_at is not None and now >= self.signal_at:
            self.signal_worker(now)
        if self.running is not None and now >= self.beat_at:
            self.beat_at = now + self.config["beat"]
            self.emit({"t": "beat", "cell": self.running, "rss": self.rss(), "calls": len(self.calls)})
        orphan = self.config["orphan"]
        if orphan and now - self.heard > orphan:
            self.leave(75)  # the host is gone: let the place end, so that it costs nothing
        self.forward(now)
        times = [self.kill_at, self.signal_at, self.begin_by if self.running is not None else None]
        times.extend(pipe.next_at for pipe in self.pipes if pipe.ready)
        times.append(self.beat_at if self.running is not None else None)
        times.append(self.heard + orphan + 0.01 if orphan else None)
        return max(0.0, min((at for at in times if at is not None), default=now + 60) - now)

    def rss(self) -> int:
        """Memory of the worker in bytes, 0 where the system does not say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(start_of(f"/proc/{self.pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def turn(self) -> None:
        wait = self.due(time.monotonic())
        if self.to_host:
            self.flush()
        poll = select.poll()
        poll.register(self.hin, select.POLLIN)
        poll.register(self.wake[0], select.POLLIN)
        if self.to_host:
            poll.register(self.hout, select.POLLOUT)
        listening = self.to_host_bytes < HIGH_BYTES
        if self.pid:
            poll.register(self.ctl, (select.POLLIN if listening else 0) | (select.POLLOUT if self.to_worker else 0))
        pipes = {pipe.fd: pipe for pipe in self.pipes if pipe.fd >= 0 and listening}
        for fd in pipes:
            poll.register(fd, select.POLLIN)
        ready = dict(poll.poll(int(wait * 1000) + 1))
        if self.hin in ready:
            self.hear_host()
        for fd, pipe in pipes.items():
            if fd in ready and pipe.fd == fd:
                pipe.read(1 << 20)
        events = ready.get(self.ctl.fileno(), 0) if self.pid else 0
        if events & select.POLLOUT:
            self.push()
        if events & ~select.POLLOUT:
            self.hear_worker()
        if self.wake[0] in ready:
            self.reap()

    def reap(self) -> None:
        """Children that ended: orphans of the code's, or the worker itself."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake[0], 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid == self.pid:
                    self.lost()
                    return
                os.waitpid(found.si_pid, os.WNOHANG)

    def main(self) -> None:
        self.emit({"t": "hello", "version": VERSION, "python": sys.version.split()[0], "pid": os.getpid()})
        self.flush()
        sys.dont_write_bytecode = True
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        if sys.platform == "linux":
            with contextlib.suppress(ImportError, OSError, AttributeError):
                import ctypes

                self.prctl = ctypes.CDLL(None).prctl
                # PR_SET_CHILD_SUBREAPER: orphans of the code's come to this process
                self.prctl(36, 1, 0, 0, 0)
                self.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: nobody but root reads or writes this process
        while True:
            self.turn()


IGNORED = [
    getattr(signal, f"SIG{name}")
    for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "TSTP", "TTIN", "TTOU", "IO")
    if hasattr(signal, f"SIG{name}")
]

if __name__ in ("__main__", "fleet_driver"):
    Supervisor().main()
