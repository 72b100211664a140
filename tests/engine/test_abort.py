"""An abort ends everything within a second from wherever the run is, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.models.model_settings import Retries, Timeouts
from fleet_rlm.sandbox.local import clean_launcher
from tests.engine.conftest import Running, Start
from tests.engine.scripted import Script, action
from tests.model_server import ModelServer, Reply, error, planner
from tests.waiting import until

WITHIN = 1.0
SPIN = action("spin", "while True: pass")
SLEEPS = action(
    "sleep",
    "import threading, time\n"
    "for _ in range(4): threading.Thread(target=time.sleep, args=(60,)).start()\n"
    "time.sleep(60)",
)
CHILD = action("child", "import subprocess\nsubprocess.run(['sleep', '60'])")
NESTED = action("nest", "import dspy\nprint(dspy.RLM('context -> answer')(context='x').answer)")
STALL = Reply(stall_before=True)


PROC = Path("/proc/self/fd").exists()
"""Where the system shows no process's children and descriptors, only threads are counted."""


def ours() -> set[threading.Thread]:
    """Threads, without those in which the model server waits for its clients to go."""
    return {thread for thread in threading.enumerate() if "process_request_thread" not in thread.name}


def children() -> set[int]:
    """Processes that this one is the parent of, without the clean launcher, which lives as long as this process."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir() if PROC else ():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, (thread / "children").read_text().split()))
    clean = clean_launcher.of_this_process._clean
    return found - {clean.process.pid} if clean else found


def sockets() -> set[str]:
    """This process's open sockets."""
    found: set[str] = set()
    for fd in Path("/proc/self/fd").iterdir() if PROC else ():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(fd.readlink()))
    return {target for target in found if target.startswith("socket:")}


def abort_when(start: Start, ready: Callable[[Running], object], **run: object) -> Running:
    """Abort once `ready` returned, and check what is left."""
    threads, processes = ours(), children()
    running = start(run.pop("script", None), **run)
    ready(running)
    began = time.monotonic()
    running.session.abort("enough")
    done = running.finished(5)
    assert time.monotonic() - began < WITHIN
    assert (done.status, done.reason) == ("aborted", "enough")
    assert running.heard[-1] is not None
    assert isinstance(running.heard[-1], ev.RunFinished)
    until(lambda: ours() <= threads | {running.thread}, 2, f"threads to end, of {ours() - threads}")
    until(lambda: children() <= processes, 2, "processes to end")
    return running


def server_env(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("cell", [SPIN, SLEEPS, CHILD], ids=["loop", "threads", "child"])
def test_abort_from_a_running_cell(start: Start, cell: str) -> None:
    run = abort_when(start, lambda run: run.wait_for(ev.ExecutionStarted), script=Script([cell]))
    assert run.of(ev.ExecutionFinished)[0].outcome in ("interrupted", "lost")


def test_abort_while_paused(start: Start) -> None:
    abort_when(start, lambda run: run.wait_at("planner"), script=Script([SPIN]), paused=True)


def test_abort_at_a_fan_out(start: Start) -> None:
    script = Script([action("ask", "llm_query_batched(['a'] * 8)")])
    breakpoints = spec.Breakpoints(fanout=8)
    abort_when(start, lambda run: run.wait_at("fanout"), script=script, breakpoints=breakpoints)


def test_abort_before_the_sandbox_is_ready(start: Start) -> None:
    abort_when(start, lambda run: run.wait_for(ev.RunStarted), script=Script([SPIN]))


@pytest.mark.parametrize(
    ("steps", "sub", "stalls"),
    [
        ([STALL], "", 1),
        ([action("one", "llm_query('a')")], STALL, 1),
        ([action("eight", "llm_query_batched(['a'] * 8)")], STALL, 8),
        ([NESTED, STALL], "", 1),
        ([NESTED, action("inner", "llm_query_batched(['a'] * 3)")], STALL, 3),
        ([Reply(SPIN, stall_after=32)], "", 1),
    ],
    ids=["planner", "sub-call", "batch of eight", "nested planner", "nested batch", "stream"],
)
def test_abort_from_inside_model_calls(
    start: Start, monkeypatch: pytest.MonkeyPatch, steps: list[Reply | str], sub: Reply | str, stalls: int
) -> None:
    with ModelServer(planner(steps, lambda _prompt: sub)) as server:
        server_env(server, monkeypatch)
        before = sockets()

        def all_stall(_run: Running) -> None:
            for _ in range(stalls):
                assert server.stalled.acquire(timeout=10)

        abort_when(start, all_stall)
        # what is left are the server's own ends, which it closes as it finds its clients gone
        server.closing.set()
        until(lambda: sockets() <= before, 3, "sockets to close")


def test_abort_from_a_nested_cell(start: Start) -> None:
    run = abort_when(start, lambda run: run.wait_for(ev.ExecutionStarted, 2), script=Script([NESTED, SPIN]))
    assert [call.function for call in run.state().calls] == ["RLM"]


def test_abort_while_a_retry_is_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(planner([error(429, "slow down", "rate_limit_exceeded", retry_after="50")])) as server:
        server_env(server, monkeypatch)
        abort_when(start, lambda run: run.wait_for(ev.ModelRetrying), retries=Retries())


def test_abort_of_a_call_that_queues_for_its_turn(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(planner([action("four", "llm_query_batched(['a'] * 4)")], lambda _: STALL)) as server:
        server_env(server, monkeypatch)
        run = abort_when(start, lambda _: server.stalled.acquire(timeout=10), concurrency=1)
        assert [call.status for call in run.state().calls] == ["failed"] * 5
        assert len(server.asked) == 2


def test_a_stalled_model_is_given_up_after_its_time_not_for_ever(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(planner([STALL])) as server:
        server_env(server, monkeypatch)
        run = start(None, timeouts=Timeouts(first_token=0.1))
        done = run.finished(5)
        assert done.status == "failed"
        assert done.error is not None
        assert "no first token within 0.1 s" in done.error.message
