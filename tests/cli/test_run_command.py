"""`fleet-rlm run`: the answer alone on stdout, everything else on stderr, and a record whatever happens."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.shell import COMMAND, Shell
from engine.scripted import action
from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.run_settings import budgets
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify
from fleet_rlm.spec import Budgets
from model_server import ModelServer, planner
from waiting import until

CODE = "The access code of the Marlow depot is 7741."
QUESTION = "What is the access code of the Marlow depot?"


@pytest.fixture
def document(fleet: Shell) -> Path:
    path = fleet.folder / "depots.txt"
    other = "\n".join(f"Depot {n} keeps its doors shut after {n % 12 + 1} o'clock." for n in range(500))
    path.write_text(f"{other}\n{CODE}\n{other}\n")
    return path


class Stalling:
    """An OpenAI-compatible server that takes a request and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            connection.recv(1)
            self.asked.set()

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def stalling(fleet: Shell) -> Iterator[Stalling]:
    server = Stalling()
    fleet.variables.update(DSPY_LM_MODEL="openai/stalls", DSPY_LM_API_BASE=server.address, DSPY_LLM_API_KEY="sk-none")
    yield server
    server.close()


def test_the_answer_alone_is_on_stdout_and_the_record_is_right(fleet: Shell, document: Path) -> None:
    done = fleet("run", QUESTION, "--docs", str(document))
    assert done.returncode == 0, done.stderr
    assert "7741" in done.stdout
    assert "OFFLINE" in done.stderr
    assert "submitted in" in done.stderr
    (run_file,) = fleet.runs
    assert f"fleet-rlm-tui {run_file}" in done.stderr
    assert verify(run_file) is None


def test_json_is_one_object_with_everything(fleet: Shell, document: Path) -> None:
    done = fleet("run", QUESTION, "--docs", str(document), "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert {"status", "outputs", "run_id", "run_file", "totals"} <= set(said)
    assert said["status"] == "submitted"
    assert "7741" in said["outputs"]["answer"]
    assert said["run_file"] == str(fleet.runs[0])
    assert said["run_id"] in said["run_file"]
    assert said["totals"]["iterations"] >= 1


def test_record_names_the_run_file_and_never_overwrites_one(fleet: Shell, document: Path) -> None:
    arguments = ("run", QUESTION, "--docs", str(document), "--record", "mine.jsonl", "--quiet")
    assert fleet(*arguments).returncode == 0
    assert verify(fleet.folder / "mine.jsonl") is None
    assert fleet.runs == []
    before = (fleet.folder / "mine.jsonl").read_bytes()
    done = fleet(*arguments)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr
    assert (fleet.folder / "mine.jsonl").read_bytes() == before


def test_a_signature_of_ones_own_with_typed_inputs_and_several_documents(fleet: Shell, document: Path) -> None:
    (fleet.folder / "other.txt").write_text("Nothing of interest.\n")
    done = fleet(
        *("run", QUESTION, "--docs", str(document), "--docs", "other.txt", "--json", "--quiet"),
        *("--signature", "docs, question, limit: int, note -> answer: str, found: bool"),
        *("--input", "limit=5", "--input", "note=5", "--max-iterations", "9"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said["outputs"]["found"], bool)
    with RunFile(said["run_file"]) as run:
        assert run.header is not None
        inputs = {given.name: given for given in run.header.inputs}
        assert (inputs["limit"].value, inputs["note"].value) == (5, "5")
        assert len(inputs["docs"].documents) == 2
        assert run.header.budgets.max_iterations == 9


def test_documents_that_the_shell_spread_out_are_documents(fleet: Shell, document: Path) -> None:
    (fleet.folder / "other.txt").write_text("Nothing of interest.\n")
    done = fleet("run", "--quiet", "--docs", "depots.txt", "other.txt", QUESTION)
    assert done.returncode == 0, done.stderr
    assert "7741" in done.stdout


NO_RUN = {
    "missing document": (("q", "--docs", "nowhere.txt"), "nowhere.txt"),
    "binary document": (("q", "--docs", "picture.bin"), "picture.bin"),
    "no document": (("q",), "--docs"),
    "no question": (("--docs", "text.txt"), "question"),
    "unknown task": (("q", "--docs", "text.txt", "--task", "aks"), "'aks'"),
    "wrong signature": (("q", "--docs", "text.txt", "--signature", "nonsense"), "->"),
    "unknown sandbox": (("q", "--docs", "text.txt", "--sandbox", "moon"), "moon"),
    "wrong input": (("q", "--docs", "text.txt", "--input", "novalue"), "NAME=VALUE"),
    "input of the wrong type": (
        ("q", "--docs", "text.txt", "--signature", "docs, question, n: int -> a", "--input", "n=many"),
        "n must be int",
    ),
    "two questions": (("one", "two", "--docs", "text.txt"), "more than one question"),
    "model without key": (("q", "--docs", "text.txt", "--model", "openai/x"), "OPENAI_API_KEY"),
    "record in no folder": (("q", "--docs", "text.txt", "--record", "text.txt/x.jsonl"), "can't be recorded"),
}


@pytest.mark.parametrize(("arguments", "words"), NO_RUN.values(), ids=NO_RUN.keys())
def test_what_cannot_be_run_is_status_2_with_the_reason(fleet: Shell, arguments: tuple[str, ...], words: str) -> None:
    (fleet.folder / "text.txt").write_text("Some text.\n")
    (fleet.folder / "picture.bin").write_bytes(bytes(range(256)) * 50)
    done = fleet.inside("run", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert fleet.runs == []


def test_json_says_why_there_was_no_run(fleet: Shell) -> None:
    done = fleet.inside("run", "q", "--docs", "nowhere.txt", "--json")
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert said["status"] == "failed"
    assert (said["outputs"], said["run_file"]) == ({}, None)
    assert "nowhere.txt" in said["error"]["message"]


class Refusing(BaseHTTPRequestHandler):
    """A server that refuses every key, and repeats it in its answer as some do."""

    def do_POST(self) -> None:
        key = self.headers["Authorization"]
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "type": "invalid_request_error"}})
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, message: str, *values: object) -> None:
        pass


def test_a_refused_key_fails_the_run_and_is_written_nowhere(fleet: Shell, document: Path) -> None:
    key = "a-key-of-no-known-shape-4711"
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fleet.variables.update(
            DSPY_LM_MODEL="openai/x",
            DSPY_LM_API_BASE=f"http://127.0.0.1:{server.server_port}/v1",
            DSPY_LLM_API_KEY=key,
        )
        done = fleet("run", QUESTION, "--docs", str(document), "--json")
        server.shutdown()
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == "failed"
    assert said["error"]["message"]
    assert verify(Path(said["run_file"])) is None
    assert key not in done.stdout + done.stderr + Path(said["run_file"]).read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl+c", "SIGTERM"])
def test_an_interrupted_run_is_aborted_kept_and_named(
    fleet: Shell, document: Path, stalling: Stalling, number: signal.Signals
) -> None:
    process = fleet.start(["run", QUESTION, "--docs", str(document)])
    try:
        assert stalling.asked.wait(60)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    (run_file,) = fleet.runs
    assert f"fleet-rlm-tui {run_file}" in err
    assert verify(run_file) is None
    with RunFile(run_file) as run:
        last = list(run.events())[-1]
    assert isinstance(last, ev.RunFinished)
    assert last.status == "aborted"


def test_a_second_interrupt_ends_the_process_at_once(fleet: Shell, document: Path, stalling: Stalling) -> None:
    process = fleet.start(["run", QUESTION, "--docs", str(document), "--quiet"])
    try:
        assert stalling.asked.wait(60)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()


def test_on_a_terminal_there_is_one_line_that_moves_and_the_answer_stays_clean(fleet: Shell, document: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", QUESTION, "--docs", str(document)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=fleet.folder,
        env={**fleet.environment, "TERM": "xterm"},
    )
    os.close(theirs)
    screen: list[bytes] = []

    def look() -> None:
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                return
            if not piece:
                return
            screen.append(piece)

    reader = threading.Thread(target=look)
    reader.start()
    out, _ = process.communicate(timeout=90)
    reader.join(10)
    os.close(ours)
    assert process.returncode == 0
    assert b"7741" in out
    assert b"\x1b" not in out
    text = b"".join(screen).decode()
    assert "\x1b[2K" in text
    assert "submitted in" in text


def test_hostile_text_in_a_document_cannot_act_on_the_terminal(fleet: Shell) -> None:
    hostile = "\x1b]0;owned\x07 \x1b[2J \u202e \x9b2J"
    (fleet.folder / "bad.txt").write_text(f"{CODE} {hostile}\n" * 3)
    done = fleet("run", QUESTION, "--docs", "bad.txt")
    assert done.returncode == 0, done.stderr
    assert "7741" in done.stdout
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e\x9b")


def test_a_record_that_does_not_fit_on_the_disk_costs_no_answer_and_is_told(fleet: Shell) -> None:
    """A limit on the size of files, set after the start, stands for the disk."""
    (fleet.folder / "small.txt").write_text(f"{CODE}\n")
    limited = (
        "import resource; from fleet_rlm.engine.run import session; began = session.RunSession._started\n"
        "def full(*a):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n"
        "    return began(*a)\n"
        "session.RunSession._started = full\n"
        "from fleet_rlm.cli.entry import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "run", QUESTION, "--docs", "small.txt"],
        capture_output=True,
        text=True,
        cwd=fleet.folder,
        env=fleet.environment,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "7741" in done.stdout
    assert "error: events are not recorded at the moment" in done.stderr
    assert "The record is incomplete" in done.stderr
    with RunFile(fleet.runs[0]) as run:
        events = list(run.events())
        assert events
        assert [event.seq for event in events] == list(range(len(events)))
        assert run.damaged_lines == 0
        assert run.end is not None
        assert run.end.torn_bytes == 0


def test_an_engine_that_cannot_be_loaded_says_so(fleet: Shell, document: Path) -> None:
    (fleet.folder / "broken").mkdir()
    (fleet.folder / "broken" / "dspy.py").write_text("raise ImportError('no dspy here')\n")
    fleet.variables["PYTHONPATH"] = str(fleet.folder / "broken")
    done = fleet("run", QUESTION, "--docs", str(document))
    assert done.returncode == 1
    assert "The engine can't be loaded: no dspy here" in done.stderr
    assert "Traceback" not in done.stderr


def test_budgets_are_those_asked_for_then_the_persons_then_the_tasks(tmp_path: Path) -> None:
    task = Budgets(max_iterations=20, max_llm_calls=50, max_seconds=900.0)
    assert budgets(config.load(tmp_path, {}), task) == task
    preferred = config.load(tmp_path, {"FLEET_RLM_MAX_ITERATIONS": "7", "FLEET_RLM_MAX_COST_USD": "0.5"})
    assert budgets(preferred, task) == Budgets(max_iterations=7, max_llm_calls=50, max_seconds=900.0, max_cost_usd=0.5)
    asked = {"run.max_iterations": 3, "run.max_llm_calls": 0, "run.max_seconds": 0.0, "run.max_tokens": 9}
    assert budgets(config.load(tmp_path, {"FLEET_RLM_MAX_ITERATIONS": "7"}, asked), task) == Budgets(
        max_iterations=3, max_llm_calls=None, max_seconds=None, max_tokens=9
    )


def test_an_interrupt_while_the_engine_is_loaded_is_status_130(fleet: Shell, document: Path) -> None:
    fifo = fleet.folder / "slow"
    fifo.mkdir()
    (fifo / "dspy.py").write_text(
        f"import pathlib, time\npathlib.Path({str(fifo / 'ready')!r}).touch()\ntime.sleep(60)\n"
    )
    fleet.variables["PYTHONPATH"] = str(fifo)
    process = fleet.start(["run", QUESTION, "--docs", str(document)])
    try:
        until(lambda: (fifo / "ready").exists(), seconds=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err


ASKS = action("look", "kept = len(context)\nprint(kept)"), action("ask", "print(llm_query('hold'), kept)")
DONE = action("done", "SUBMIT(answer='fine')")


@pytest.mark.skipif(sys.platform != "linux", reason="ends the local sandbox by its process id")
@pytest.mark.parametrize("choice", ["restart", "fail"])
def test_a_sandbox_lost_in_mid_run_is_replaced_or_ends_it_as_asked(fleet: Shell, document: Path, choice: str) -> None:
    asked, answer = threading.Event(), threading.Event()

    def sub(_: str) -> str:
        asked.set()
        assert answer.wait(60)
        return "yes"

    with ModelServer(planner([*ASKS, DONE], sub)) as server:
        fleet.variables.update(server.environment())
        process = fleet.start(["run", QUESTION, "--docs", str(document), "--on-sandbox-lost", choice])
        assert asked.wait(60)
        (run_file,) = fleet.runs
        (ready,) = (event for event in RunFile(run_file).events() if isinstance(event, ev.SandboxReady))
        os.kill(int(ready.id.rpartition("-")[2]), signal.SIGKILL)
        until(lambda: b"sandbox.lost" in run_file.read_bytes(), 20)
        answer.set()
        said, told = process.communicate(timeout=60)
    assert "sandbox lost" in told
    if choice == "restart":
        assert (process.returncode, said.strip()) == (0, "fine"), told
        assert "restarted, 1 of at most 2" in told
        assert "1 step ran again" in told
        assert [line[:5] for line in told.splitlines() if line[2:].startswith(("1/", "2/", "3/"))] == [
            "✓ 1/2", "✗ 2/2", "✓ 2/2", "✓ 3/2",
        ]  # fmt: skip
    else:
        assert (process.returncode, said) == (1, "")
        assert "--on-sandbox-lost restart" in told
    assert verify(run_file) is None


def test_a_lost_sandbox_has_two_choices(fleet: Shell, document: Path) -> None:
    done = fleet.inside("run", QUESTION, "--docs", str(document), "--on-sandbox-lost", "pray")
    assert done.returncode == 2
    assert "restart, fail" in done.stderr


def test_settings_of_models_reach_their_requests(fleet: Shell, document: Path) -> None:
    script = planner([action("", "SUBMIT(answer=llm_query('Which code?'))")], lambda prompt: "7741")
    with ModelServer(script) as server:
        fleet.variables.update(DSPY_LM_API_BASE=server.url, DSPY_LLM_API_KEY="k" * 20, DSPY_LM_TEMPERATURE="0.25")
        (fleet.folder / ".env").write_text("DSPY_SUB_LM_MAX_TOKENS=77\n")
        (fleet.folder / "home").mkdir(exist_ok=True)
        (fleet.folder / "home" / "config.toml").write_text("[model]\nsub_temperature = 0.75\n")
        done = fleet(
            *("run", QUESTION, "--docs", str(document), "--model", "openai/big", "--answer-tokens", "99"),
            *("--sub-model", "openai/small", "--sub-key-from", "OTHER_KEY", "--quiet"),
        )
        assert done.returncode == 2
        assert "--sub-key-from OTHER_KEY: there is no such variable" in done.stderr
        fleet.variables["OTHER_KEY"] = "o" * 20
        done = fleet(
            *("run", QUESTION, "--docs", str(document), "--model", "openai/big", "--answer-tokens", "99"),
            *("--sub-model", "openai/small", "--sub-key-from", "OTHER_KEY", "--quiet"),
        )
    assert done.returncode == 0, done.stderr
    sent = {asked.model: asked for asked in server.asked}
    limit = ("max_tokens", "max_completion_tokens")

    def settings(model: str) -> tuple[object, object, str]:
        body, headers = sent[model].body, sent[model].headers
        return body["temperature"], next(body[name] for name in limit if name in body), headers["authorization"]

    assert settings("big") == (0.25, 99, f"Bearer {'k' * 20}")
    assert settings("small") == (0.75, 77, f"Bearer {'o' * 20}")
