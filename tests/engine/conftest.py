from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.models.model_settings import Retries, Timeouts
from fleet_rlm.engine.run.session import RunSession
from fleet_rlm.state import RunState, fold_all
from tests.engine.scripted import Script
from tests.waiting import until

E = TypeVar("E", bound=ev.Event)
NAMES = ("DSPY_LM_MODEL", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY", "DSPY_LM_API_BASE", "DSPY_LM_MAX_TOKENS")
QUICK = Retries(first_delay=0.02, longest_delay=0.2)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's: no configuration, no key, no run library."""
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_callback_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """dspy logs what its callbacks raise and goes on: an observer that fails would be missed."""
    caplog.set_level("DEBUG", "fleet_rlm")
    yield
    failed = [record.getMessage() for record in caplog.records if "callback" in record.getMessage()]
    assert not failed


@pytest.fixture
def document(tmp_path: Path) -> str:
    path = tmp_path / "notes.txt"
    path.write_text("The access code of the Marlow depot is 7741.\n" * 3)
    return str(path)


class Running:
    """A session in a thread of its own, with everything that was heard of it."""

    def __init__(self, session: RunSession, heard: list[ev.Event]) -> None:
        self.session, self.heard = session, heard
        self.result: ev.RunFinished | BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="session under test")
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self.session.run()
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it again
            self.result = error

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.heard if isinstance(event, kind)]

    def wait_for(self, kind: type[E], count: int = 1, seconds: float = 10.0) -> E:
        """The event of this kind that makes it `count`."""
        return until(lambda: self.of(kind)[count - 1 : count], seconds, f"{count} {kind.__name__}")[0]

    def wait_at(self, at: ev.Boundary, count: int = 1) -> ev.GateWaiting:
        """The `count`th time that the run waits at this boundary."""

        def there() -> list[ev.GateWaiting]:
            return [event for event in self.of(ev.GateWaiting) if event.at == at][count - 1 : count]

        return until(there, 10, f"the gate at {at}")[0]

    def send(self, command: spec.Command) -> None:
        self.session.command(command)

    def finished(self, seconds: float = 20.0) -> ev.RunFinished:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the run did not end"
        if isinstance(self.result, BaseException):
            raise self.result
        assert self.result is not None
        return self.result

    def state(self) -> RunState:
        return fold_all(self.heard)  # type: ignore[arg-type] # every event is one of the vocabulary's


Start = Callable[..., Running]


@pytest.fixture
def start(document: str) -> Iterator[Start]:
    """Start a run of a script: `start(script, paused=True, budgets=…)`."""
    made: list[Running] = []

    def begin(
        script: Script | None, *, timeouts: Timeouts | None = None, retries: Retries = QUICK, **fields: object
    ) -> Running:
        heard: list[ev.Event] = []
        asked = {"question": "What is the code?", "documents": (document,), **fields}
        session = RunSession(
            spec.RunSpec(**asked),  # type: ignore[arg-type] # fields of the spec, by name
            [lambda event, _line: heard.append(event)],
            models=script.models() if script else None,
            timeouts=timeouts,
            retries=retries,
        )
        made.append(Running(session, heard))
        return made[-1]

    yield begin
    for running in made:
        running.session.abort("the test is over")
        running.thread.join(10)
        assert not running.thread.is_alive()
