"""What the distance to Modal costs: 80 ms a round trip, beside what the same execution takes without it."""

from __future__ import annotations

import threading
import time

import pytest

from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter
from modal_server import ModalServer

from .conftest import Cloud

ROUND_TRIP = 0.08
THINKING = 0.2
"""Seconds that a call takes by itself."""
ONE_BATCH = "answers = ask_all([f'part {n} ' + 'x' * 2000 for n in range(100)])\nanswers[99][:7]"
AT_ONCE = (
    "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(100) as pool: answers = list(pool.map(ask, [f'part {n}' for n in range(100)]))\n"
    "answers[99][:7]"
)


def think() -> None:
    threading.Event().wait(THINKING)


def ask(prompt: str) -> str:
    think()
    return prompt.upper()


def ask_all(prompts: list[str]) -> list[str]:
    think()
    return [prompt.upper() for prompt in prompts]


def fastest(interpreter: ModalInterpreter, code: str) -> float:
    """Seconds of the quickest of some executions: the others met a busy machine."""
    taken = []
    for _ in range(5):
        began = time.monotonic()
        assert interpreter.execute(code) == "'PART 99'"
        taken.append(time.monotonic() - began)
    return min(taken)


@pytest.mark.parametrize(("code", "most"), [(ONE_BATCH, 3), (AT_ONCE, 5)], ids=["one batch", "a hundred at once"])
def test_a_hundred_calls_cost_a_few_round_trips(modal_server: ModalServer, cloud: Cloud, code: str, most: int) -> None:
    interpreter = cloud({"ask": ask, "ask_all": ask_all}, concurrency=100)
    near = fastest(interpreter, code)
    modal_server.latency(ROUND_TRIP)
    far = fastest(interpreter, code)
    assert far - near <= most * ROUND_TRIP
    assert far - near >= ROUND_TRIP  # or the network was not slow at all
