"""A driver that was taken over: what it sends is data, bounded, and its worst is the end of its own sandbox."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits, Stored, Transport
from waiting import until

from .places import Background, Witness

HELLO = {"t": "hello", "version": 1, "python": "3.12.0", "pid": 7}
PARTS = b"".join(b'{"t":"part","key":"c%d","data":""}\n' % number for number in range(1100))
DONE = {"t": "done", "cell": 1, "status": "ok", "ms": 1.0}


class Puppet(Transport):
    """Says what the test says, and remembers what it was told."""

    backend = "puppet"
    id = "puppet-1"

    def __init__(self, on_run: Callable[[Puppet, dict[str, Any]], None], hello: dict[str, Any] | None = HELLO) -> None:
        self.told: list[dict[str, Any]] = []
        self._on_run, self._hello = on_run, hello
        self._out, self._in = os.pipe()
        self._closing = threading.Lock()
        self._over = False
        self.windowed = 0

    def start(self, limits: Limits, progress: Callable[[str], None]) -> IsolationReport:
        if self._hello:
            self.say(self._hello)
        return IsolationReport("none", "a puppet")

    def say(self, message: object) -> None:
        self.say_bytes(json.dumps(message).encode() + b"\n")

    def say_bytes(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except OSError:
            pass

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            message = json.loads(line)
            self.told.append(message)
            self.windowed += (len(line) + 1) * (message["t"] in ("run", "ret", "part"))
            if message["t"] == "run":
                threading.Thread(target=self._on_run, args=(self, message), daemon=True).start()

    def read(self) -> bytes:
        return os.read(self._out, 1 << 16)

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        raise AssertionError("no input here is large")

    def diagnostics(self) -> str:
        return "Traceback\nit hurts"

    def end(self) -> str | None:
        return "it ended" if self._over else None

    def kill(self) -> None:
        with self._closing:
            if not self._over:
                self._over = True
                os.close(self._in)


def run_with(on_run: Callable[[Puppet, dict[str, Any]], None], **options: Any) -> tuple[Interpreter, Puppet]:
    puppet = Puppet(on_run, options.pop("hello", HELLO))
    return Interpreter(lambda: puppet, with_toolbox=False, **options), puppet


def test_garbage_among_the_messages_is_passed_over() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        puppet.say_bytes(b"\xff\xfe\x00\n\n[]\nnull\n")
        puppet.say({"t": "weather"})
        puppet.say({"t": "out", "cell": 1, "stream": "stdout", "data": "fine"})
        puppet.say(DONE | {"cell": 999})
        puppet.say(DONE)

    interpreter, _ = run_with(answer)
    assert interpreter.execute("1") == "fine"
    interpreter.shutdown()


@pytest.mark.parametrize(
    "flood",
    [b"garbage\n" * 50, (b"x" * (9 << 20) + b"\n") * 25, b'{"t":"part","key":"c1","data":3}\n' * 50, PARTS],
    ids=["garbage", "long lines", "wrong types", "unfinished values"],
)
def test_a_driver_that_speaks_no_protocol_is_ended(flood: bytes, witness: Witness) -> None:
    interpreter, puppet = run_with(lambda puppet, run: puppet.say_bytes(flood), observer=witness)
    with pytest.raises(CodeInterpreterError, match="it no longer speaks the protocol"):
        interpreter.execute("1")
    assert len(witness.of("lost")) == 1
    assert puppet._over


def test_a_line_without_end_is_not_collected(witness: Witness) -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        for _ in range(200):
            puppet.say_bytes(b"x" * (1 << 18))
        puppet.say_bytes(b"\n")
        puppet.say(DONE)

    interpreter, _ = run_with(answer)
    assert interpreter.execute("1") is None
    interpreter.shutdown()


def test_output_over_the_cap_is_cut_by_the_host_as_well() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        for _ in range(40):
            puppet.say({"t": "out", "cell": 1, "stream": "stdout", "data": "x" * 100_000})
        puppet.say(DONE)

    interpreter, _ = run_with(answer, output_bytes=1000)
    assert len(interpreter.execute("1")) <= 1000 + (1 << 20)
    interpreter.shutdown()


def test_output_and_reports_of_other_cells_are_bounded_or_ignored(witness: Witness) -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        for _ in range(50):
            puppet.say({"t": "out", "cell": 77, "stream": "stdout", "data": "x" * (1 << 18)})
        puppet.say({"t": "vars", "cell": 77, "removed": ["all"]})
        puppet.say({"t": "beat", "cell": 77})
        puppet.say({"t": "died", "code": 1})
        puppet.say(DONE)

    interpreter, _ = run_with(answer, observer=witness)
    assert interpreter.execute("1") is None
    assert len(witness.text(late=True)) == 4 << 20
    assert not witness.of("variables") + witness.of("beat") + witness.of("state lost")
    interpreter.shutdown()


def test_calls_of_unknown_functions_of_other_cells_and_without_arguments_are_refused() -> None:
    called: list[object] = []

    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        body = {"args": [], "kwargs": {}}
        puppet.say({"t": "call", "cell": 1, "id": 1, "name": "__import__", "body": body})
        puppet.say({"t": "call", "cell": 9, "id": 2, "name": "known", "body": body})
        puppet.say({"t": "call", "cell": 1, "id": 3, "name": "known"})
        puppet.say({"t": "call", "cell": 1, "id": 4, "name": "known", "parts": 2})
        until(lambda: len([m for m in puppet.told if m["t"] == "ret"]) == 4)
        puppet.say(DONE)

    interpreter, puppet = run_with(answer, tools={"known": lambda: called.append(1)})
    interpreter.execute("1")
    errors = {message["id"]: message["error"] for message in puppet.told if message["t"] == "ret"}
    assert not called
    assert "Unknown tool: __import__" in errors[1]
    assert "is over" in errors[2]
    assert "no arguments" in errors[3]
    assert "can't be read" in errors[4]
    interpreter.shutdown()


def test_a_flood_of_calls_is_bounded() -> None:
    release = threading.Event()

    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        for number in range(5000):
            body = {"args": [], "kwargs": {}}
            puppet.say({"t": "call", "cell": 1, "id": number, "name": "slow", "body": body})
        until(lambda: "beyond" in seen)
        puppet.say(DONE)

    seen: dict[str, int] = {}
    interpreter, _ = run_with(answer, tools={"slow": lambda: release.wait(20)}, concurrency=4)
    running = Background(lambda: interpreter.execute("1"))
    until(lambda: interpreter._cell and len(interpreter._cell.calls) == 4096)
    assert sum(thread.name == "sandbox-call" for thread in threading.enumerate()) <= 4 + 4
    seen["beyond"] = 1
    assert running.result() is None
    release.set()
    interpreter.shutdown()


def test_parts_without_end_take_bounded_memory() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        for _ in range(400):
            puppet.say({"t": "part", "key": "d1", "data": "x" * (1 << 18)})
        puppet.say(DONE | {"status": "submit", "parts": 400})

    interpreter, _ = run_with(answer)
    with pytest.raises(CodeInterpreterError, match="what it submitted can't be read"):
        interpreter.execute("1")
    assert sum(len(text) for texts in interpreter._parts._texts.values() for text in texts) <= 64 << 20


def test_a_submission_that_is_no_object_is_no_answer() -> None:
    done = DONE | {"status": "submit", "final": ["answer"]}
    interpreter, _ = run_with(lambda puppet, run: puppet.say(done))
    with pytest.raises(CodeInterpreterError, match="what it submitted can't be read"):
        interpreter.execute("1")


def test_the_time_out_is_the_hosts_whatever_the_driver_says() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        while not puppet._over:
            puppet.say({"t": "beat", "cell": 1})
            threading.Event().wait(0.05)

    interpreter, puppet = run_with(answer, execution_timeout=0.2, grace=0.1, silence=0.5)
    with pytest.raises(CodeInterpreterError, match="did not end a cell that it was told to end"):
        interpreter.execute("1")
    assert {"t": "interrupt", "cell": 1, "grace": 0.1, "why": "timeout"} in puppet.told


ROW = {"name": "n", "type": "str", "preview": "v" * 900_000, "digest": "d"}
OUT = {"t": "out", "cell": 1, "stream": "stdout"}


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (OUT | {"data": "x"}, "too many small pieces"),
        (OUT | {"data": "", "gap": 9}, "too many small pieces"),
        ({"t": "part", "key": "c1", "data": ""}, "too many messages"),
        ({"t": "cancel", "id": 1}, "too many messages"),
        ({"t": "call", "cell": 1, "id": 1, "name": "f", "body": {"args": [], "kwargs": {}}}, "calls of host functions"),
        ({"t": "vars", "cell": 1, "added": [ROW]}, "no longer speaks the protocol"),
        ({"t": "ack", "bytes": 0}, "no longer speaks the protocol"),
    ],
    ids=["pieces", "gaps", "parts", "cancels", "calls", "variables", "acknowledgements"],
)
def test_a_flood_of_any_frame_ends_its_cell(frame: dict[str, Any], words: str, witness: Witness) -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        block = (json.dumps(frame) + "\n").encode() * max(1, 60_000 // len(json.dumps(frame)))
        while not puppet._over and not any(told["t"] == "interrupt" for told in puppet.told):
            puppet.say_bytes(block)
        puppet.say(DONE | {"status": "interrupted", "why": "limit"})

    interpreter, _ = run_with(answer, observer=witness, silence=5.0)
    with pytest.raises((CodeFailed, CodeInterpreterError), match=words):
        interpreter.execute("1")
    assert len(witness.heard) < 5000
    interpreter.shutdown()


def test_a_cell_that_was_ended_for_a_flood_keeps_its_sandbox_and_says_why() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        if run["cell"] == 1:
            puppet.say_bytes((json.dumps(OUT | {"data": "x"}) + "\n").encode() * 2000)
            until(lambda: any(told["t"] == "interrupt" for told in puppet.told))
        puppet.say(DONE | {"cell": run["cell"]})

    interpreter, _ = run_with(answer)
    with pytest.raises(CodeFailed, match="HostLimit: the step was ended: it sent output in too many small pieces"):
        interpreter.execute("1")
    assert interpreter.execute("2") is None
    interpreter.shutdown()


def test_arguments_that_are_small_as_text_and_huge_as_objects_end_their_cell() -> None:
    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        body = '{"args":[[' + ",".join(["[]"] * 2_600_000) + ']],"kwargs":{}}'
        for number in range(1, 4):
            call = f'{{"t":"call","cell":1,"id":{number},"name":"slow","body":{body}}}\n'
            puppet.say_bytes(call.encode())
        until(lambda: any(told["t"] == "interrupt" for told in puppet.told))
        puppet.say(DONE | {"status": "interrupted", "why": "limit"})

    release = threading.Event()
    interpreter, _ = run_with(answer, tools={"slow": lambda _: release.wait(20)})
    with pytest.raises(CodeFailed, match="MiB of memory"):
        interpreter.execute("1")
    release.set()
    interpreter.shutdown()


def test_an_outcome_without_its_details_is_still_one() -> None:
    interpreter, _ = run_with(lambda puppet, run: puppet.say({"t": "done", "cell": 1, "status": "error"}))
    with pytest.raises(CodeFailed):
        interpreter.execute("1")
    interpreter.shutdown()


def test_a_driver_of_another_version_is_refused() -> None:
    interpreter, _ = run_with(lambda puppet, run: None, hello=HELLO | {"version": 2})
    with pytest.raises(CodeInterpreterError, match="speaks protocol 2, this host 1"):
        interpreter.start()


def test_a_driver_that_says_nothing_does_not_start() -> None:
    interpreter, _ = run_with(lambda puppet, run: None, hello=None, start_timeout=0.3)
    with pytest.raises(CodeInterpreterError, match=r"did not answer within 0.3 s. Traceback\nit hurts"):
        interpreter.start()


def test_a_driver_that_falls_silent_is_given_up() -> None:
    interpreter, _ = run_with(lambda puppet, run: None, silence=0.3)
    with pytest.raises(CodeInterpreterError, match="nothing was heard from the sandbox"):
        interpreter.execute("1")


def test_an_ended_sandbox_says_why_with_its_last_words() -> None:
    interpreter, _ = run_with(lambda puppet, run: puppet.kill())
    with pytest.raises(
        CodeInterpreterError, match=r"sandbox is gone: it ended; it last said: it hurts.*Start the run again"
    ):
        interpreter.execute("1")


def test_large_answers_wait_for_the_drivers_acknowledgement(witness: Witness) -> None:
    """Not more than the window is on its way at once; an interrupt goes past it."""

    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        puppet.say({"t": "call", "cell": 1, "id": 1, "name": "large", "body": {"args": [], "kwargs": {}}})
        until(lambda: puppet.windowed > 7 << 20)
        assert interpreter.interrupt()
        until(lambda: any(message["t"] == "interrupt" for message in puppet.told))
        at_interrupt.append(puppet.windowed)
        puppet.say({"t": "ack", "bytes": 1 << 40})  # it may claim no more than was sent
        until(lambda: puppet.windowed > 14 << 20)
        until(lambda: interpreter._channel._room._waiters)  # type: ignore[attr-defined] # a sender waits again
        assert puppet.windowed <= 16 << 20
        puppet.say({"t": "ack", "bytes": puppet.windowed})
        until(lambda: any(message["t"] == "ret" for message in puppet.told))
        puppet.say(DONE)

    at_interrupt: list[int] = []
    interpreter, _ = run_with(answer, tools={"large": lambda: "x" * (20 << 20)}, observer=witness)
    interpreter.execute("1")
    assert at_interrupt[0] <= 8 << 20
    interpreter.shutdown()


def test_an_observer_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Witness):
        def on_output(self, execution: int, stream: str, text: str, late: bool) -> None:
            raise ValueError("on purpose")

    def answer(puppet: Puppet, run: dict[str, Any]) -> None:
        puppet.say({"t": "out", "cell": 1, "stream": "stdout", "data": "fine"})
        puppet.say(DONE)

    interpreter, _ = run_with(answer, observer=Failing())
    assert interpreter.execute("1") == "fine"
    assert "an observer of a sandbox failed" in caplog.text
    interpreter.shutdown()
