"""The host's functions as generated code calls them, and SUBMIT."""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Callable
from typing import Any

from .link import Link
from .source import Interrupted, Submitted
from .threads import Threads
from .values import to_json
from .wire import Message, as_text, loads

OVER = "the cell that asked is over"


class HostFunctions:
    """Sends calls to the host and waits for their answers; keeps what a cell submits."""

    def __init__(self, link: Link, threads: Threads, most: int, first_call: int) -> None:
        """`most` is the limit of characters of a value as JSON; calls are numbered from `first_call`."""
        self.link, self.threads, self.most = link, threads, most
        self.ids = itertools.count(first_call)
        self.pending: dict[int, queue.SimpleQueue[Message | None]] = {}
        self.parts: dict[str, list[str]] = {}
        self.stopping, self.allowed = False, True
        self.fields: list[str] | None = None
        self.final: str | None = None
        """The submitted values, as the JSON text of an object."""

    def begin(self, fields: list[str] | None, allowed: bool) -> None:
        """Prepare for a cell that may submit these fields, and may call the host if `allowed`."""
        self.fields, self.allowed, self.final, self.stopping = fields, allowed, None, False

    def receive(self, message: Message) -> None:
        """Take in a message about calls: an answer, a part of one, or `stop`."""
        kind = message["t"]
        if kind == "part":
            self.parts.setdefault(message["key"], []).append(message["data"])
        elif kind == "ret":
            if message.get("parts"):
                message["value"] = loads("".join(self.parts.pop(message["key"], ())))
            box = self.pending.get(message["id"])
            if box is not None:
                box.put(message)
        else:
            self.stopping = True
            self.answer_all(None)

    def answer_all(self, answer: Message | None) -> None:
        """Give every open call this answer; None interrupts it."""
        for box in list(self.pending.values()):
            box.put(answer)

    def named(self, name: str) -> Callable[..., Any]:
        """Return the function of this name for generated code."""

        def function(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, args, kwargs)

        function.__name__ = function.__qualname__ = name
        return function

    def _call(self, name: str, args: tuple[Any, ...], kwargs: Message) -> Any:
        if os.getpid() != self.threads.pid:
            raise RuntimeError(f"{name}() works only in the cell's own process; use threads instead of processes")
        if self.threads.outside() or not self.allowed:
            raise RuntimeError(f"{name}() was called outside of the cell that is executing; nothing was asked")
        text = to_json({"args": args, "kwargs": kwargs}, f"{name}() got an argument that can't be sent", self.most)
        number, box = next(self.ids), queue.SimpleQueue()  # type: int, queue.SimpleQueue[Message | None]
        self.pending[number] = box
        try:
            if self.stopping:
                raise Interrupted("interrupted")
            call = {"t": "call", "cell": self.threads.cell, "id": number, "name": name}
            self.link.send_value(call, f"c{number}", "body", text)
            answer = box.get()
            if answer is None:
                raise Interrupted("interrupted")
        except BaseException:
            self.link.send({"t": "cancel", "id": number})
            raise
        finally:
            self.pending.pop(number, None)
        if answer["ok"]:
            return answer.get("value")
        raise RuntimeError(answer.get("error") or f"{name}() failed")

    def submit(self, *args: Any, **kwargs: Any) -> None:
        """Implement SUBMIT: keep the values and end the cell. Raises TypeError or ValueError for unfit values."""
        if self.threads.outside():
            raise RuntimeError("SUBMIT was called outside of the cell that is executing; nothing was submitted")
        values = self._by_name(args, kwargs, self.fields if self.fields is not None else ["output"])
        parts = [(name, to_json(value, f"SUBMIT can't deliver {name}", self.most)) for name, value in values.items()]
        text = "{" + ",".join(f"{as_text(name)}:{part}" for name, part in parts) + "}"
        if len(text) > self.most:
            raise ValueError(f"SUBMIT can't deliver {len(text):,} characters; at most {self.most:,}")
        if self.final is None:  # the first one counts
            self.final = text
        raise Submitted

    @staticmethod
    def _by_name(args: tuple[Any, ...], kwargs: Message, names: list[str]) -> Message:
        """Return SUBMIT's values by name, given by position, by name or as one dict. Raises TypeError."""
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
        return values
