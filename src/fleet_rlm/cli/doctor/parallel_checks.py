"""Questions that are asked at the same time, by threads that let a person go who leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")
LEAVE_SECONDS = 3.0
"""How long those that were stopped may take to let go of what they hold."""


def at_once(questions: Sequence[Callable[[], _T]], stopped: threading.Event) -> list[_T]:
    """The answers in the order of the questions. Raises what the first of them raises.

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
