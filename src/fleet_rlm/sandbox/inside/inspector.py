"""Describes the variables of a namespace without running any generated code.

No method, property or `__repr__` of generated code is called: whatever a value's class defines, only the builtin types'
own methods read it.
"""

from __future__ import annotations

import collections
import itertools
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .wire import Message, utf8

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b  # the same; by way of hashlib it costs every start 7 ms for OpenSSL

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
    """Return `isinstance(value, base)` by the true type: `__class__` can lie."""
    return base in _bases_of(type(value))


def base_of(value: Any) -> Any:
    """Return the builtin text or container type that a value's type is or derives from, else None."""
    for base in (str, bytes, bytearray, dict, list, tuple, set, frozenset, collections.deque):
        if is_a(value, base):
            return base
    return None


class Inspector:
    """Makes bounded previews and digests."""

    ROWS, TEXT, SECONDS = 500, 200, 0.05

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, int | None, str | None]] = {}
        self.nodes = self.room = self.next = 0

    def report(self, namespace: dict[str, Any], hidden: set[str]) -> Message:
        """Return what was added, changed and removed since the last report; `whole` is False if time ran out.

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
        """Return the number of characters, bytes or elements; None for a value without a size."""
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
        """Return `(kind, shape)` of a genuine numpy array or pandas object, else None."""
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
        """Return the preview of an instance of any class, from nothing but what its own dict holds."""
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
        """Add a value to a digest: everything of a small one, evenly spread samples of a large one."""
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
