"""The worker: runs cells one after another in one namespace. Its own failures end it, which the supervisor sees."""

from __future__ import annotations

import ast
import builtins
import contextlib
import faulthandler
import linecache
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from sys import getrecursionlimit, setprofile, setrecursionlimit, settrace
from typing import Any

from .host_functions import OVER, HostFunctions
from .inspector import Inspector, name_of
from .link import Link
from .names import Missing, Names
from .output import Output
from .source import Interrupted, Submitted, let_pass, parse
from .threads import Threads
from .wire import READ_BYTES, Lines, Message, loads

CLOSED = 72
"""Exit code of a worker without its socket."""
_SHOWN_CHARS = 20_000
_TICK_MILLISECONDS = 40


class Worker:
    """Runs the cells that the supervisor sends."""

    def __init__(self, ctl: socket.socket, config: Message) -> None:
        self.ctl, self.commands = ctl, queue.SimpleQueue()  # type: socket.socket, queue.SimpleQueue[Message]
        self.threads = Threads()
        self.link = Link(ctl, self.threads)
        self.output = Output(self.link, self.threads)
        self.host = HostFunctions(self.link, self.threads, config["value"], config["first_call"])
        self.names = Names(self.host, config["helpers"], config["volume"])
        self.inspector = Inspector()
        self.spare: bytearray | None = None
        self.loop: Any = None  # asyncio's, of cells that await

    def main(self) -> None:
        """Run cells for ever."""
        warnings.filterwarnings("ignore", r".*multi-threaded, use of fork")  # the other thread is ours, and in order
        threading.Thread(target=self._read, daemon=True, name="fleet-reader").start()
        lock = self.output.tick_lock
        os.register_at_fork(before=self._before_fork, after_in_parent=lock.release, after_in_child=self._in_child)
        signal.signal(signal.SIGINT, self.link.on_sigint)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            faulthandler.enable(2, all_threads=False)  # a segfault says on which line
        while True:
            self._run(self.commands.get())

    def _before_fork(self) -> None:
        self.output.tick_lock.acquire()
        self.output.flush()

    def _in_child(self) -> None:
        self.output.tick_lock.release()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(OSError):
            self.ctl.close()

    def _read(self) -> None:
        """Take in what the supervisor sends, in a thread of its own; without that nothing would reach the process."""
        poll, lines, code = select.poll(), Lines(1 << 62), 70
        poll.register(self.ctl, select.POLLIN)
        try:
            while True:
                if not poll.poll(_TICK_MILLISECONDS if self.output.ticking else None):
                    self.output.tick()
                    continue
                try:
                    data = self.ctl.recv(READ_BYTES)
                except OSError:  # the code closed it
                    data = b""
                if not data:
                    code = CLOSED
                    return
                for line in lines.feed(data):
                    message = loads((line or b"").decode())
                    if message["t"] == "run":
                        self.output.ticking = True
                        self.commands.put(message)
                    else:
                        self.host.receive(message)
        finally:
            os._exit(code)

    # -- one cell

    def _run(self, message: Message) -> None:
        self.threads.begin(message["cell"])
        self.link.deferred = False
        self.host.begin(message.get("fields"), message["mode"] != "operator")
        signal.signal(signal.SIGINT, self.link.on_sigint)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        self.output.begin()
        done: Message = {"t": "done", "cell": message["cell"], "status": "ok"}
        began, self.threads.running = time.perf_counter(), True
        try:
            try:
                self.names.restore()
                self.names.bind(message.get("variables") or {})
                self.link.shield = 0
                self.link.check_interrupt()
                self._execute(message, done)
            finally:
                self.link.shield = 1
                setrecursionlimit(max(getrecursionlimit(), 1000))
                settrace(None)
                setprofile(None)
                self.names.restore()
        except Submitted:
            self.link.shield = 1
        except BaseException as error:  # noqa: BLE001 - generated code may raise any class, SystemExit too
            self.link.shield, self.spare = 1, None
            if os.getpid() == self.threads.pid:
                if isinstance(error, Interrupted):
                    self.threads.interrupt()
                _describe(error, f"<{message['name']}>", done)
        if os.getpid() != self.threads.pid:  # a child that fell out of the cell
            self.output.flush()
            os._exit(0)
        done["ms"] = round(1000 * (time.perf_counter() - began), 3)
        self._finish(done)

    def _execute(self, message: Message, done: Message) -> None:
        source, filename, namespace = message["code"], f"<{message['name']}>", self.names.namespace
        linecache.cache[filename] = len(source), None, source.splitlines(True), filename
        namespace["__builtins__"] = builtins
        if message["mode"] == "operator":
            done["value"] = _shown(self._evaluate(source.strip(), filename, "eval"))
            return
        self.names.bind_functions(message["tools"])
        before = set(namespace)
        tree = parse(source, filename)
        if "except" in source:
            let_pass(tree)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            target = ast.copy_location(ast.Name("__fleet_value__", ast.Store()), last)
            tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
        self._evaluate(tree, filename, "exec")
        value = namespace.pop("__fleet_value__", None)
        if message["mode"] == "setup":
            self.names.keep(before)
        elif value is not None and os.getpid() == self.threads.pid:
            self.output.stdout.write(_shown(value) + "\n")

    def _evaluate(self, source: ast.Module | str, filename: str, mode: str) -> Any:
        """Run code that may await outside of any function."""
        code = compile(source, filename, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, self.names.namespace)
        return self._await(value) if code.co_flags & 0x80 else value  # CO_COROUTINE

    def _await(self, coroutine: Any) -> Any:
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
            self.link.shield += 1
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
            self.link.shield -= 1

    def _finish(self, done: Message) -> None:
        self.host.answer_all({"ok": False, "error": OVER})  # calls of threads that go on end with their cell
        if self.host.stopping:
            self.threads.interrupt()
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        sys.setswitchinterval(0.005)
        if self.host.final is None:
            self.names.say_what_comes_back(self.output.stdout)
        with self.output.tick_lock:
            self.output.ticking = self.threads.running = False
            self.output.end()
        hidden = {*self.names.functions, *self.names.helpers}
        done["vars"] = self.inspector.report(self.names.namespace, hidden)
        if self.host.final is not None and done["status"] in ("ok", "error"):
            done["status"] = "submit"
            done.pop("error", None)
            self.link.send_value(done, f"d{done['cell']}", "final", self.host.final)
        else:
            self.link.send(done)
        self.host.final = None
        with contextlib.suppress(MemoryError):
            self.spare = bytearray(1 << 18)  # given back when memory runs out, so that there is some to say so


def _shown(value: Any) -> str:
    """Return a cell's last expression, or an operator's, as text of bounded length."""
    if type(value) is str and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]!r}… ({len(value):,} characters)"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text):,} characters)"


def _describe(error: BaseException, filename: str, done: Message) -> None:
    """Put the status and the error of a cell with this file name into its `done`."""
    if isinstance(error, Missing):
        done.update(status="inputs", missing=error.args[0])
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
        _strip(told, set())
        if isinstance(error, SyntaxError) and error.filename == filename and line is None:
            status, line = "syntax", error.lineno
            told.stack.clear()
        text = "".join(told.format())
        words = "".join(told.format_exception_only()).strip()
    if isinstance(error, SystemExit):
        words = "SystemExit: exit() ends only this cell; the session goes on. What stands after it did not run"
    if isinstance(error, Interrupted):
        kind, words, status = "KeyboardInterrupt", "KeyboardInterrupt: interrupted", "interrupted"
    if len(text) > _SHOWN_CHARS:
        half = _SHOWN_CHARS // 2
        text = f"{text[:half]}\n… {len(text) - _SHOWN_CHARS:,} characters left out …\n{text[-half:]}"
    done["status"] = status
    done["error"] = {"type": kind, "message": words[:4000], "line": line, "traceback": text}


def _strip(told: traceback.TracebackException | None, seen: set[int]) -> None:
    """Remove the driver's own frames, which say nothing to a planner: only its code and libraries are left."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [
        frame
        for frame in told.stack
        if not frame.filename.startswith("<driver/")
        and frame.filename != ast.__file__
        and "/asyncio/" not in frame.filename
    ]
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        _strip(other, seen)
