"""Sub-agents lease their sandboxes from the run's pool: each a fresh one, started ahead."""

from __future__ import annotations

import pytest

from fleet_rlm import events as ev
from fleet_rlm.sandbox.local import IsolatedProcess, local_interpreter
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action

DONE = action("done", "SUBMIT(answer='fine')")
NEST = """
for number in range(6):
    sub = dspy.RLM('text -> answer')
    print(number, sub(text='the text ' * 20_000).answer)
"""
INNER = """
import os, builtins
seen = ('left' in globals(), 'left.txt' in os.listdir('.'), hasattr(builtins, 'left'), len(text))
left = builtins.left = 1
open('left.txt', 'w').write('left')
SUBMIT(answer=str(seen))
"""


def test_each_sub_agent_has_a_sandbox_of_its_own_that_was_started_ahead(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[float] = []
    launch = local_interpreter.launch

    def counted(*args: object, **options: object) -> IsolatedProcess:
        launched.append(1)
        return launch(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(local_interpreter, "launch", counted)
    script = Script([action("nest", NEST), *[action("inner", INNER)] * 6, DONE])
    run = start(script)
    assert run.finished().status == "submitted"
    printed = "".join(chunk.text for chunk in run.state().output)
    assert printed == "".join(f"{number} (False, False, False, 180000)\n" for number in range(6))
    assert 1 + 6 <= len(launched) <= 1 + 6 + 1, "its own, one a sub-agent, and one that waits for the next"
    assert len(run.of(ev.SandboxReady)) == 1
    assert len(run.of(ev.SandboxStopped)) == 1
