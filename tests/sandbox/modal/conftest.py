from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleet_rlm.sandbox.modal.modal_client import Deadlines
from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter
from modal_server import ModalServer
from tests.sandbox.places import Witness

SHORT = Deadlines(look_up=2.0, build=2.0, create=2.0, boot=2.0, reconnect=1.0, file=2.0, close=1.0)
"""For tests that wait until a step is given up; a call takes some ten milliseconds here."""

Cloud = Callable[..., ModalInterpreter]


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def cloud(modal_server: ModalServer, witness: Witness) -> Iterator[Cloud]:
    """Makes interpreters with options, and ends them; `witness` hears the first."""
    made: list[ModalInterpreter] = []

    def make(tools: dict[str, Callable[..., Any]] | None = None, **options: Any) -> ModalInterpreter:
        if not made:
            options.setdefault("observer", witness)
        made.append(ModalInterpreter(tools, **options))
        return made[-1]

    yield make
    for interpreter in made:
        interpreter.kill()
