"""The network goes away in the midst of an execution, and comes back."""

from __future__ import annotations

import threading
import time

import pytest

from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone
from fleet_rlm.sandbox.modal.modal_client import Deadlines
from modal_server import ModalServer
from tests.sandbox.places import Background, Witness
from waiting import until

from .conftest import Cloud

CHATTER = (
    "import time\n"
    "answers = []\n"
    "for n in range({times}):\n"
    "    print(f'line {{n}}', flush=True)\n"
    "    answers.append(double(n))\n"
    "    time.sleep({pause})\n"
    "answers == [2 * n for n in range({times})]"
)


@pytest.mark.parametrize(
    ("seconds", "kind"), [(1.5, "refused"), (1.5, "silent"), (20.0, "refused")], ids=["broken", "silent", "20 s"]
)
def test_a_cut_in_mid_execution_loses_no_output_and_no_call(
    modal_server: ModalServer, cloud: Cloud, witness: Witness, seconds: float, kind: str
) -> None:
    calls: list[int] = []

    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    interpreter = cloud({"double": double})
    times = 60
    running = Background(lambda: interpreter.execute(CHATTER.format(times=times, pause=0.02)))
    until(lambda: "line 3" in witness.text(), 30.0)
    modal_server.blackout(seconds, kind)
    output = running.result(60.0)
    assert output == "\n".join(f"line {number}" for number in range(times)) + "\nTrue"
    assert calls == list(range(times))
    assert interpreter.execute("1") == "1"


def test_a_connection_that_breaks_again_and_again_loses_nothing(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    interpreter = cloud({"double": lambda number: 2 * number})
    running = Background(lambda: interpreter.execute(CHATTER.format(times=60, pause=0.02)))
    for number in (3, 10, 20, 30, 45):
        until(lambda line=f"line {number}\n": line in witness.text(), 30.0)
        modal_server.drop_connections()
    output = running.result(60.0)
    assert output == "\n".join(f"line {number}" for number in range(60)) + "\nTrue"


def test_a_cut_that_lasts_too_long_ends_the_run_with_the_reason(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    interpreter = cloud(deadlines=Deadlines(reconnect=0.5, close=0.5), orphan=4.0, idle_timeout=2)
    running = Background(lambda: interpreter.execute("print('on', flush=True)\nimport time\ntime.sleep(100)"))
    until(lambda: "on" in witness.text(), 30.0)
    modal_server.blackout(25.0, "refused")
    began = time.monotonic()
    with pytest.raises(SandboxGone, match="network to Modal was cut") as failed:
        running.result(40.0)
    assert time.monotonic() - began < 25.0
    assert "Check the network" in failed.value.hint
    modal_server.reset()


def test_calls_of_the_host_go_on_while_the_network_is_away(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    release = threading.Event()
    interpreter = cloud({"ask": lambda: release.wait(60)})
    running = Background(lambda: interpreter.execute("print('on', flush=True)\nask()"))
    until(lambda: "on" in witness.text(), 30.0)
    modal_server.blackout(1.0)
    release.set()
    assert str(running.result(60.0)).endswith("True")


def test_a_token_that_expires_in_mid_execution_is_renewed(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    modal_server.rules(router_token_seconds=10)
    interpreter = cloud({"double": lambda number: 2 * number})
    running = Background(lambda: interpreter.execute(CHATTER.format(times=30, pause=0.02)))
    until(lambda: "line 3\n" in witness.text(), 30.0)
    modal_server.expire_router_tokens()
    modal_server.drop_connections()
    assert str(running.result(60.0)).endswith("line 29\nTrue")
    assert modal_server.calls("SandboxGetCommandRouterAccess")
