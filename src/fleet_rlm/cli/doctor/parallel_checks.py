"""Run checks in parallel; after ctrl+c wait at most 3 seconds for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")
LEAVE_SECONDS = 3.0
"""Time that checks get to end after ctrl+c."""


def at_once(questions: Sequence[Callable[[], _T]], stopped: threading.Event) -> list[_T]:
    """Ask all questions in parallel and return their answers in order. Raises what the first of them raises.

    On ctrl+c `stopped` is set, for the questions to see, and those that see it are waited for.
    """
    boxes: list[Future[_T]] = [Future() for _ in questions]

    def ask(question: Callable[[], _T], box: Future[_T]) -> None:
        try:
            box.set_result(question())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            box.set_exception(error)

    threads = [
        threading.Thread(target=ask, args=(question, box), name="doctor", daemon=True)
        for question, box in zip(questions, boxes, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        return [box.result() for box in boxes]
    except KeyboardInterrupt:
        stopped.set()
        end = time.monotonic() + LEAVE_SECONDS
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        raise
