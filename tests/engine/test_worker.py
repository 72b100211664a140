"""The engine as a process: commands and events over pipes, and what is left when any part of it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.process.describe import describe
from fleet_rlm.engine.process.event_outlet import KEPT_BYTES, Outlet
from fleet_rlm.runs.run_reader import RunFile
from tests.engine.scripted import action
from tests.model_server import ModelServer, Reply, planner
from tests.waiting import until

DONE = action("done", "SUBMIT(answer='fine')")
SPIN = action("spin", "import os\nprint('spinning', flush=True)\nwhile True: pass")


class Engine:
    """A worker, driven the way a screen drives it."""

    def __init__(self, environment: dict[str, str], cwd: Path, *, reads: bool = True) -> None:
        self.cwd = cwd
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fleet_rlm.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=cwd,
            start_new_session=True,
        )
        self.lines: list[bytes] = []
        self._arrived: queue.Queue[None] = queue.Queue()
        self.reading = threading.Event()
        self.reading.set()
        if reads:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while True:
            self.reading.wait()
            line = self.process.stdout.readline()
            if not line:
                return
            self.lines.append(line)

    def send(self, command: spec.Command) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(spec.encode_command(command))
        self.process.stdin.flush()

    def begin(self, **fields: Any) -> None:
        self.send(spec.Start(spec=spec.RunSpec(cwd=str(self.cwd), **{"question": "q?", **fields})))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for line in list(self.lines) if (event := json.loads(line))["kind"] == kind]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        return until(lambda: self.events(kind)[count - 1 : count], 20, f"{count} {kind}")[0]

    @property
    def path(self) -> Path:
        return Path(self.wait_for("engine.recording")["path"])

    def end(self, seconds: float = 10) -> int:
        return self.process.wait(seconds)

    def leave(self) -> None:
        """What a screen that is gone looks like."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def engine(tmp_path: Path, document: str) -> Iterator[Any]:
    made: list[Engine] = []

    def begin(server: ModelServer, *, reads: bool = True, **fields: Any) -> Engine:
        made.append(Engine(server.environment(), tmp_path, reads=reads))
        made[-1].begin(**{"documents": (document,), **fields})
        return made[-1]

    yield begin
    for one in made:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait(5)


def processes_of(session: int) -> set[int]:
    """Live processes of a session (a sandbox has one of its own, whose parent is the engine)."""
    listed = subprocess.run(["ps", "-eo", "pid=,sess=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    found = {int(pid) for pid, sess, _, stat in rows if int(sess) == session and not stat.startswith("Z")}
    while True:
        more = {int(pid) for pid, _, parent, stat in rows if int(parent) in found and not stat.startswith("Z")}
        if more <= found:
            return found
        found |= more


def test_the_lines_on_stdout_are_the_lines_of_the_run_file(engine: Any) -> None:
    with ModelServer(planner([action("print", "print(llm_query('x'))"), DONE])) as server:
        one = engine(server)
        assert one.end() == 0
        until(lambda: one.events("run.finished"))
        assert json.loads(one.lines[0])["kind"] == "engine.recording"
        assert b"".join(one.lines[1:]) == one.path.read_bytes()
        assert one.events("run.finished")[0]["status"] == "submitted"


def test_a_screen_steers_over_the_pipe(engine: Any) -> None:
    with ModelServer(planner([action("one", "x = 1"), DONE])) as server:
        one = engine(server, paused=True)
        one.wait_for("gate.waiting")
        one.send(spec.Hint(text="mind the footnotes"))
        one.send(spec.Step())
        assert one.wait_for("gate.waiting", 2)["code"] == "x = 1"
        one.send(spec.Edit(code="x = 2", step=True))
        assert one.wait_for("gate.waiting", 3)["at"] == "planner"
        one.send(spec.Continue())
        assert one.end() == 0
        assert one.events("execution.started")[0]["code"] == "x = 2"
        assert "mind the footnotes" in server.asked[0].text


def test_an_abort_ends_the_process_within_a_second(engine: Any) -> None:
    with ModelServer(planner([SPIN])) as server:
        one = engine(server)
        one.wait_for("output")
        began = time.monotonic()
        one.send(spec.Abort(reason="enough"))
        assert one.end() == 0
        assert time.monotonic() - began < 1.0
        until(lambda: one.events("run.finished"))
        assert one.events("run.finished")[0]["status"] == "aborted"
        until(lambda: not processes_of(one.process.pid), 2, "every process to end")


def test_an_abort_is_not_kept_waiting_by_what_is_still_being_imported(engine: Any) -> None:
    with ModelServer(planner([SPIN])) as server:
        one = engine(server)
        one.wait_for("run.started")
        began = time.monotonic()
        one.send(spec.Abort(reason="changed my mind"))
        assert one.end() == 0
        assert time.monotonic() - began < 1.0
        until(lambda: one.events("run.finished"))
        assert one.events("run.finished")[0]["status"] == "aborted"
        assert not one.events("planner.started")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_aborts_cleanly(engine: Any, number: signal.Signals) -> None:
    with ModelServer(planner([Reply(stall_before=True)])) as server:
        one = engine(server)
        assert server.stalled.acquire(timeout=20)
        one.process.send_signal(number)
        assert one.end(2) == 0
        until(lambda: one.events("run.finished"))
        assert number.name in one.events("run.finished")[0]["reason"]


def test_a_screen_that_goes_away_ends_its_run(engine: Any) -> None:
    with ModelServer(planner([SPIN])) as server:
        one = engine(server)
        one.wait_for("output")
        one.leave()
        assert one.end(3) == 0
        until(lambda: one.events("run.finished"))
        assert one.events("run.finished")[0]["reason"] == "the screen ended"


def test_a_screen_that_detached_may_go_and_the_run_goes_on_without_a_reader(engine: Any) -> None:
    with ModelServer(planner([action("wait", "import time\nprint('going')\ntime.sleep(0.3)"), DONE])) as server:
        one = engine(server, reads=False)
        path = Path(json.loads(one.process.stdout.readline())["path"])
        one.send(spec.Detach())
        one.leave()
        one.process.stdout.close()
        assert one.end() == 0
        assert [event.kind for event in RunFile(path).events()][-1] == "run.finished"


def test_a_stalled_screen_does_not_stall_the_run_and_catches_up_from_the_file(engine: Any) -> None:
    flood = action("flood", "import time\nfor _ in range(60):\n    print('x' * 100_000)\n    time.sleep(0.005)")
    with ModelServer(planner([flood, DONE])) as server:
        one = engine(server)
        one.wait_for("planner.started")
        one.reading.clear()
        path = one.path
        until(lambda: path.exists() and b'"kind":"run.finished"' in path.read_bytes()[-4000:], 20, "the run to end")
        one.reading.set()
        assert one.end() == 0
        until(lambda: one.events("run.finished"))
        assert b"".join(one.lines[1:]) == path.read_bytes()


def test_an_engine_killed_at_any_moment_leaves_a_run_that_opens_and_no_orphan(engine: Any) -> None:
    with ModelServer(planner([SPIN])) as server:
        one = engine(server)
        one.wait_for("output")
        before = processes_of(one.process.pid)
        assert len(before) > 1
        one.process.kill()
        one.end()
        until(lambda: not any(_alive(pid) for pid in before), 5, "the sandbox to end")
        kinds = [event.kind for event in RunFile(one.path).events()]
        assert kinds[0] == "run.started"
        assert "run.finished" not in kinds


def test_a_sandbox_killed_from_outside_is_said_to_be_lost_and_the_run_has_a_clear_end(engine: Any) -> None:
    with ModelServer(planner([SPIN, DONE])) as server:
        one = engine(server, watched=False, on_sandbox_lost="fail")
        one.wait_for("output")
        for pid in processes_of(one.process.pid) - {one.process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert one.end() == 0
        until(lambda: one.events("run.finished"))
        lost = one.events("sandbox.lost")
        assert lost
        assert lost[0]["reason"]
        finished = one.events("run.finished")[0]
        assert finished["status"] == "failed"
        assert "sandbox" in finished["error"]["message"]
        assert one.events("execution.finished")[0]["outcome"] == "lost"


def test_stray_prints_of_libraries_never_reach_the_events(tmp_path: Path, document: str) -> None:
    noisy = tmp_path / "sitecustomize.py"
    noisy.write_text(
        "import os, sys\n"
        "sys.addaudithook(lambda event, args: event == 'import' and args[0] == 'dspy' and os.write(1, b'+oops+\\n'))\n"
    )
    with ModelServer(planner([DONE])) as server:
        one = Engine({**server.environment(), "PYTHONPATH": str(tmp_path)}, tmp_path)
        one.begin(documents=(document,))
        assert one.end(20) == 0
        until(lambda: one.events("run.finished"))
        assert b"+oops+" not in b"".join(one.lines)
        assert one.process.stderr is not None
        assert b"+oops+" in one.process.stderr.read()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"documents": ("nowhere.txt",)}, "nowhere.txt"),
        ({"task": "asks"}, "ask"),
        ({"signature": "context, question"}, "->"),
        ({"signature": "context, print -> answer"}, "print"),
        ({"question": ""}, "No question was given"),
        ({"documents": ()}, "No documents were given"),
        ({"breakpoints": spec.Breakpoints(code_pattern="(")}, "regular expression"),
        ({"record": "notes.txt"}, "notes.txt"),
    ],
)
def test_a_run_that_cannot_begin_says_why_in_one_line(
    tmp_path: Path, document: str, fields: dict[str, Any], words: str
) -> None:
    with ModelServer(planner([DONE])) as server:
        one = Engine(server.environment(), tmp_path)
        one.begin(**{"documents": (document,), **fields})
        assert one.end() == 2
        until(lambda: one.events("engine.failed"))
        assert len(one.lines) == 1
        failure = one.events("engine.failed")[0]["error"]
        assert words in failure["message"] + failure.get("hint", "")
        assert not list((tmp_path / "home").rglob("*.jsonl"))


def test_an_outlet_never_makes_the_run_wait_for_its_reader(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    path = tmp_path / "run.jsonl"
    outlet = Outlet(writer, lambda: path)
    line = b"x" * 9_999 + b"\n"
    lines = KEPT_BYTES // len(line) * 3
    with path.open("wb", buffering=0) as file:
        for _ in range(lines):
            file.write(line)
            outlet.hear(ev.Notice(text=""), line)
    got = bytearray()
    while len(got) < lines * len(line):
        got += os.read(reader, 1 << 20)
    assert got.startswith(b'{"kind":"engine.recording"')
    outlet.close()
    os.close(writer)
    while more := os.read(reader, 1 << 20):
        got += more
    os.close(reader)
    assert got.partition(b"\n")[2] == line * lines


def test_an_outlet_ends_only_when_a_reader_that_stands_still_has_everything_or_is_gone(tmp_path: Path) -> None:
    for gone in (False, True):
        reader, writer = os.pipe()
        outlet = Outlet(writer, lambda: tmp_path / "run.jsonl")
        outlet.hear(ev.Notice(text=""), b"x" * 199_999 + b"\n")
        closing = threading.Thread(target=outlet.close)
        closing.start()
        closing.join(0.5)
        assert closing.is_alive(), "a pipe holds less"
        got = b""
        while not gone and got.count(b"\n") < 2:
            got += os.read(reader, 1 << 20)
        os.close(reader)
        closing.join(10)
        assert not closing.is_alive()
        assert gone or len(got.partition(b"\n")[2]) == 200_000
        os.close(writer)


def test_describe_answers_for_signatures_models_and_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.loads(describe('{"signature": "context, question -> answer: str, sources: list[str]"}'))
    assert [field["type"] for field in answer["signature"]["outputs"]] == ["str", "list[str]"]
    assert answer["models"]["planner"] == {
        "model": "offline", "source": "nothing configured", "offline": True, "problem": None,
    }  # fmt: skip
    wrong = json.loads(describe('{"signature": "context ->"}'))["signature"]
    assert "outputs after" in wrong["error"]
    monkeypatch.setenv("DSPY_LM_MODEL", "openai/gpt-test")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    models = json.loads(describe("{}"))["models"]
    assert models["ready"] is False
    assert "DSPY_LLM_API_KEY" in models["planner"]["problem"]["hint"]
    assert "can't be read" in json.loads(describe("nonsense"))["error"]
    modes = json.loads(describe('{"isolation": true}'))["isolation"]
    assert {mode["mode"]: mode["ready"] for mode in modes}["limits"] is True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.strip().startswith("Z")
