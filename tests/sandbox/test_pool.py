"""A sandbox serves one lease and ends with it; the next lease gets another one, which was started ahead."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import dspy
import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.pool import Lease, SandboxPool
from fleet_rlm.sandbox.host.transport import TransportError
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter
from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter
from tests.waiting import until

from .places import SMALL, BootTransport, Witness, processes_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes there are")


def local(**options: object) -> Interpreter:
    return LocalInterpreter(limits=SMALL, **options)  # type: ignore[arg-type]


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(local) as one:
        yield one


def given_back(lease: Lease, pool: SandboxPool) -> None:
    lease.shutdown()
    assert pool.settled(20)


def test_a_sandbox_serves_one_lease_and_another_is_ready_for_the_next(pool: SandboxPool) -> None:
    ids = []
    for _ in range(3):
        assert pool.settled(20)
        assert pool.idle == 1
        with pool.lease() as lease:
            assert lease.interpreter.info is not None, "it was not started ahead"
            ids.append(lease.interpreter.info.id)
            assert lease.execute("print('left' in globals())\nleft = 1") == "False"
            behind = lease.interpreter
        assert pool.settled(20)
        assert behind.stopped
    assert len(set(ids)) == 3


@linux
def test_nothing_of_a_lease_is_left_when_it_is_over(pool: SandboxPool) -> None:
    lease = pool.lease()
    lease.execute(
        "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\nlen(a)", {"a": "x" * 99_999}
    )
    pids = processes_of(lease.interpreter)
    assert len(pids) > 3
    given_back(lease, pool)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_lease_that_is_over_does_nothing_any_more(pool: SandboxPool) -> None:
    lease = pool.lease()
    lease.execute("x = 1")
    behind = lease.interpreter
    given_back(lease, pool)
    with pytest.raises(CodeInterpreterError, match="is over"):
        lease.execute("print(x)")
    with pytest.raises(CodeInterpreterError, match="shut down"):
        behind.execute("print(x)")
    behind.kill()
    behind.shutdown()
    assert not behind.interrupt()
    with pool.lease() as other:
        assert other.execute("print('there')") == "there"
    lease.shutdown()


def test_host_functions_and_observers_of_a_lease_end_with_it(pool: SandboxPool) -> None:
    held, asked = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        held.wait(20)
        return "late"

    heard = Witness()
    first = pool.take(heard)
    first.tools["slow"] = slow
    first.execute("import threading\nthreading.Thread(target=slow, daemon=True).start()")
    assert asked.wait(10)
    pool.give_back(first)
    assert pool.settled(20)
    before = len(heard.heard)
    with pool.lease() as second:
        assert second.tools == {}
        assert second.execute("print('slow' in globals())") == "False"
        held.set()
        assert second.execute("print('on')") == "on"
    assert len(heard.heard) == before
    assert heard.heard[-1] == ("stopped",)


@linux
@pytest.mark.parametrize("how", ["killed", "lost", "executing"])
def test_a_lease_that_broke_costs_the_next_one_nothing(pool: SandboxPool, how: str) -> None:
    lease = pool.lease()
    lease.execute("pass")
    below = processes_of(lease.interpreter)
    called = threading.Event()
    lease.tools["told"] = called.set

    def spin() -> None:
        with pytest.raises(CodeInterpreterError):
            lease.execute("told()\nwhile True: pass")

    thread = threading.Thread(target=spin)
    thread.start()
    assert called.wait(10)
    if how == "killed":
        lease.interpreter.kill()
    elif how == "lost":
        os.kill(below[0], signal.SIGKILL)
    given_back(lease, pool)
    thread.join(10)
    with pool.lease() as other:
        assert other.execute("print(2)") == "2"


@linux
def test_one_that_dies_while_it_is_idle_is_not_leased(pool: SandboxPool) -> None:
    assert pool.settled(20)
    (waiting, _) = pool._idle[0]
    pids = processes_of(waiting)
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids[1:]), 10, "its end")
    with pool.lease() as other:
        assert other.execute("print(2)") == "2"
        assert other.interpreter is not waiting


def test_how_many_wait_how_long_and_the_end_are_kept(pool: SandboxPool) -> None:
    with SandboxPool(local, warm=2, max_idle=0.05) as small:
        assert small.settled(20)
        until(lambda: small.idle == 0, 20, "the end of what nobody leases")
        leases = [small.lease() for _ in range(3)]
        assert [lease.execute("print(1)") for lease in leases] == ["1", "1", "1"]
        for lease in leases:
            lease.shutdown()
        last = small.lease()
        last.execute("pass")
    assert last.interpreter.stopped
    with pytest.raises(CodeInterpreterError, match="closed"):
        small.lease()
    with pytest.raises(ValueError, match="0 to 16"):
        SandboxPool(local, warm=-1)
    pool.kill("enough")
    with pytest.raises(CodeInterpreterError, match="enough"):
        pool.lease()


def test_more_are_kept_ready_when_more_are_asked_for() -> None:
    with SandboxPool(lambda: Interpreter(BootTransport), warm=0) as pool:
        assert (pool.settled(0), pool.idle) == (True, 0)
        pool.warm(3)
        assert pool.settled(30)
        assert pool.idle == 3


def test_leases_from_many_threads_never_meet(pool: SandboxPool) -> None:
    errors: list[str] = []

    def work(number: int) -> None:
        for _ in range(4):
            with pool.lease() as lease:
                said = lease.execute(f"print('mine' not in globals(), {number})\nmine = {number}")
                if said != f"True {number}":
                    errors.append(said)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert pool.settled(30)
    assert pool.idle == 1


def test_a_sandbox_that_can_not_start_says_so_and_the_pool_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet_rlm.sandbox")

    def refuses(*_: object) -> object:
        raise TransportError("no room", "Make room.")

    class Nowhere(BootTransport):
        start = refuses  # type: ignore[assignment]

    with SandboxPool(lambda: Interpreter(Nowhere), warm=1) as pool:
        assert pool.settled(20)
        lease = pool.lease()
        with pytest.raises(CodeInterpreterError, match="no room"):
            lease.execute("pass")
        given_back(lease, pool)
        assert pool.idle == 0
    assert "is not kept warm" in caplog.text


def test_dspy_leases_for_each_forward(pool: SandboxPool) -> None:
    from dspy.utils.dummies import DummyLM

    answers = [{"reasoning": "r", "code": "x = globals().get('x', 0) + 1\nSUBMIT(answer=str(x))"}] * 3
    with dspy.context(lm=DummyLM(answers)):
        rlm = dspy.RLM("question -> answer", interpreter_factory=pool)
        for _ in range(3):
            assert rlm(question="?").answer == "1"
            assert pool.settled(20)
    assert "SUBMIT takes plain data" in pool.execution_instructions


def test_a_modal_sandbox_serves_one_lease(modal_server: object) -> None:
    with SandboxPool(ModalInterpreter) as pool:
        first = pool.lease()
        assert (
            first.execute("open('/tmp/left.txt', 'w').write('left')\nlen(context)", {"context": "an input " * 20_000})
            == "180000"
        )
        there = first.interpreter.info
        given_back(first, pool)
        with pool.lease() as second:
            assert second.execute("import os\nprint(os.path.exists('/tmp/left.txt'))") == "False"
            assert second.interpreter.info is not None
            assert there is not None
            assert second.interpreter.info.id != there.id


class Keeping(BootTransport):
    """Counts how often it was asked to make lasting what should last."""

    asked: ClassVar[list[str]] = []

    def settle(self) -> str:
        self.asked.append("kept" if self.end() is None else "too late")
        return "the last file may be lost"


def test_a_lease_that_ends_keeps_what_is_to_last_and_says_what_could_not_be_kept() -> None:
    Keeping.asked.clear()
    witness = Witness()
    with SandboxPool(lambda: Interpreter(Keeping, limits=SMALL)) as pool:
        interpreter = pool.take(witness)
        interpreter.execute("1")
        pool.give_back(interpreter)
        assert pool.settled(20)
    assert Keeping.asked == ["kept"]
    assert witness.of("unkept") == [("the last file may be lost",)]
