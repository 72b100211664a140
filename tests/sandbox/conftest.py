from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.transport import Transport
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter

from .places import SMALL, TRANSPORTS, Witness

Maker = Callable[..., Interpreter]


@pytest.fixture(params=sorted(TRANSPORTS))
def transport_factory(request: pytest.FixtureRequest) -> Callable[[], Transport]:
    """Each place that code may run in."""
    if request.param == "modal":
        request.getfixturevalue("modal_server")
    return TRANSPORTS[request.param]


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def place(transport_factory: Callable[[], Transport], witness: Witness) -> Iterator[Interpreter]:
    """Harmless code in each place."""
    interpreter = Interpreter(
        transport_factory, {"double": lambda x: x * 2}, limits=SMALL, observer=witness, grace=10.0
    )
    yield interpreter
    interpreter.shutdown()


@pytest.fixture
def make(witness: Witness) -> Iterator[Maker]:
    """Makes isolated local interpreters with small limits, and ends them; `witness` hears the first."""
    made: list[Interpreter] = []

    def maker(tools: dict[str, Callable[..., Any]] | None = None, **options: Any) -> Interpreter:
        if not made:
            options.setdefault("observer", witness)
        interpreter = LocalInterpreter(tools, limits=options.pop("limits", SMALL), **options)
        made.append(interpreter)
        return interpreter

    yield maker
    for interpreter in made:
        interpreter.shutdown()


@pytest.fixture
def hostile(make: Maker) -> Interpreter:
    """A started interpreter whose place holds even code that attacks it; the test is skipped where there is none."""
    if sys.platform != "linux":
        pytest.skip("hostile code runs only where Linux can hold it")
    interpreter = make(grace=1.0)
    interpreter.start()
    assert interpreter.info is not None
    mode = interpreter.info.isolation.mode
    if mode not in ("namespaces", "bubblewrap"):
        pytest.skip(f"this machine offers only {mode}, which does not hold hostile code")
    return interpreter
