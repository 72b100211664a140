"""A sandbox that ends in Modal's cloud is replaced there by another one with the same state."""

from __future__ import annotations

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.runs.verify import verify
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action
from tests.modal_server import ModalServer

DONE = action("done", "SUBMIT(answer=str(kept))")


def test_a_terminated_sandbox_is_restarted_in_the_cloud(start: Start, modal_server: ModalServer) -> None:
    script = Script(
        [action("keep", "kept = [llm_query('first'), len(context)]"), action("ask", "x = llm_query('hold')"), DONE]
    )
    first = iter([True])

    def sub(prompt: str) -> str:
        return script.hold() if prompt == "hold" and next(first, False) else f"answer to {prompt}"

    script.sub = sub
    run = start(script, sandbox="modal", modal=spec.ModalOptions(volume="kept"), watched=False)
    assert script.held.wait(60)
    ready = run.of(ev.SandboxReady)[0]
    assert ready.backend == "modal"
    modal_server.end_sandbox(ready.id, "TERMINATED")
    again = run.wait_for(ev.SandboxReady, 2, seconds=60)
    script.released.set()
    done = run.finished(60)
    assert (done.status, done.outputs) == ("submitted", {"answer": "['answer to first', 135]"})
    assert again.id != ready.id
    assert script.subs == ["first", "hold"]
    assert "1 step ran again, 1 call answered from the record" in "\n".join(one.text for one in run.of(ev.Notice))
    assert run.session.path is not None
    assert verify(run.session.path) is None
