"""A sandbox that is lost in mid-run is replaced by one with the same state, and nothing is asked twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.runs.verify import verify
from fleet_rlm.sandbox.local import IsolatedProcess
from tests.engine.conftest import Running, Start
from tests.engine.scripted import Script, action
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ends the local sandbox by its process id")

DONE = action("done", "SUBMIT(answer='fine')")
KEEP = action("keep", "kept = [llm_query('first'), len(context)]\nopen('notes.txt', 'w').write('noted')\nprint(kept)")
ASK = action("ask", "print(llm_query('hold'))")
USE = action("use", "print('again:', kept, open('notes.txt').read())")


def kill_sandbox(run: Running, count: int = 1) -> None:
    """kill -9 of the process that holds the run's sandbox, the `count`th that was started."""
    ready = run.wait_for(ev.SandboxReady, count)
    os.kill(int(ready.id.rpartition("-")[2]), signal.SIGKILL)


def printed(run: Running) -> str:
    return "".join(chunk.text for chunk in run.state().output)


def replayed(run: Running) -> list[ev.ExecutionStarted]:
    return [event for event in run.of(ev.ExecutionStarted) if event.origin == "replayed"]


def notices(run: Running) -> str:
    return "\n".join(event.text for event in run.of(ev.Notice))


def valid(run: Running) -> None:
    assert run.session.path is not None
    assert verify(run.session.path) is None


def killed_while_asking(start: Start, script: Script, **fields: object) -> Running:
    """A run whose sandbox dies while its script's sub-call is held."""
    run = start(script, **fields)
    assert script.held.wait(20)
    kill_sandbox(run)
    run.wait_for(ev.SandboxLost)
    return run


def hold_once(script: Script, on: str) -> None:
    """The first sub-call with this prompt waits until it is released."""
    first = threading.Lock()

    def sub(prompt: str) -> str:
        if on in prompt and first.acquire(blocking=False):
            script.held.set()
            assert script.released.wait(30)
        return f"answer to {prompt[:40]}"

    script.sub = sub


def test_killed_in_mid_cell_the_person_is_asked_and_restart_gives_the_same_state(start: Start) -> None:
    script = Script([KEEP, action("ask", "x = llm_query('second')\nprint(x, kept, open('notes.txt').read())"), DONE])
    hold_once(script, "second")
    run = killed_while_asking(start, script)
    waiting = run.wait_at("error")
    assert waiting.why == "the sandbox is lost"
    assert waiting.error is not None
    assert waiting.error.type == "SandboxLost"
    assert run.state().sandbox.status == "lost"
    run.send(spec.Evaluate(expression="kept"))
    assert "restart it first" in (run.wait_for(ev.Operator).error or ev.Failure(type="", message="")).message
    run.send(spec.Restart())
    script.released.set()
    done = run.finished()
    assert (done.status, done.outputs) == ("submitted", {"answer": "fine"})
    assert script.subs == ["first", "second"]
    assert done.totals.calls == 2
    assert [event.code for event in replayed(run)] == [event.code for event in run.of(ev.ExecutionStarted)[:1]]
    assert printed(run) == "['answer to first', 135]\nanswer to second ['answer to first', 135] noted\n"
    assert [event.decision for event in run.of(ev.GateResumed)] == ["restart"]
    state = run.state()
    assert (state.sub_calls, state.sandbox.restarts, state.sandbox.status) == (2, 1, "stopped")
    assert [it.status for it in state.iterations] == ["ok", "ok", "submitted"]
    assert sorted(call.origin for call in run.of(ev.CallFinished)) == ["live", "live", "recorded", "recorded"]
    assert "1 step ran again, 1 call answered from the record" in notices(run)
    assert not [event for event in run.of(ev.Notice) if event.level == "warning"]
    valid(run)


def test_killed_in_mid_batch_no_prompt_is_asked_twice(start: Start) -> None:
    batch = "found = llm_query_batched([f'prompt {i % 9}' for i in range(12)])\nprint(len(found), found[3])"
    script = Script([KEEP, action("ask", batch), action("use", "print(found[11], kept)"), DONE])
    hold_once(script, "prompt 4")
    run = killed_while_asking(start, script, watched=False, concurrency=2)
    run.wait_for(ev.SandboxReady, 2)
    script.released.set()
    assert run.finished().status == "submitted"
    assert sorted(script.subs) == sorted(["first", *(f"prompt {i % 9}" for i in range(12))])
    assert "12 answer to prompt 3" in printed(run)
    assert "restarted, 1 of at most 2" in notices(run)
    valid(run)


def test_killed_between_two_cells_the_next_one_finds_everything_there(start: Start) -> None:
    script = Script([])
    script.steps = [KEEP, action("edit me", "unused = 1"), lambda text: (script.hold(text), USE)[1], DONE]
    run = start(script, watched=False, breakpoints=spec.Breakpoints(code_pattern="unused"))
    run.wait_at("code")
    run.send(spec.Edit(code="edited = kept[1] + 1"))
    assert script.held.wait(20)
    kill_sandbox(run)
    run.wait_for(ev.SandboxLost)
    script.released.set()
    assert run.finished().status == "submitted"
    assert [event.code for event in replayed(run)][1:] == ["edited = kept[1] + 1"]
    assert printed(run).endswith("again: ['answer to first', 135] noted\n")
    assert run.state().variables["edited"].variable.preview == "136"
    assert script.subs == ["first"]
    valid(run)


def test_a_step_that_takes_its_sandbox_down_twice_is_told_to_the_planner(start: Start) -> None:
    script = Script([KEEP, action("ask", "a = llm_query('heavy')\nb = llm_query('heavier')"), USE, DONE])
    calls = threading.Semaphore(0)

    def sub(prompt: str) -> str:
        if prompt == "heavier":
            calls.release()
            assert script.released.wait(30)
        return f"answer to {prompt}"

    script.sub = sub
    run = start(script, watched=False)
    assert calls.acquire(timeout=20)
    kill_sandbox(run, 1)
    until(lambda: len([e for e in run.of(ev.CallStarted) if e.prompt == "heavier"]) == 2, 20, "the second attempt")
    kill_sandbox(run, 2)
    done = run.finished()
    script.released.set()
    assert done.status == "submitted"
    assert "this step did not run" in script.prompts[2]
    assert script.subs.count("heavy") == 1
    assert printed(run).endswith("again: ['answer to first', 135] noted\n")
    assert len(run.of(ev.SandboxLost)) == 2
    valid(run)


def test_lost_again_and_again_the_run_ends_with_a_word_about_it(start: Start) -> None:
    script = Script([action("ask", "llm_query('hold')")], sub=lambda prompt: Script.hold(script, prompt))
    run = start(script, watched=False)
    for count in (1, 2, 3):
        until(lambda count=count: len(run.of(ev.CallStarted)) >= count, 20, f"attempt {count}")  # type: ignore[misc]
        kill_sandbox(run, count)
    done = run.finished()
    script.released.set()
    assert done.status == "failed"
    assert done.error is not None
    assert "restarted 2 times in a row" in done.error.message
    assert "memory" in (done.error.hint or "")
    valid(run)


def test_on_sandbox_lost_fail_ends_the_run_after_a_loss(start: Start) -> None:
    script = Script([action("ask", "llm_query('hold')")], sub=lambda prompt: Script.hold(script, prompt))
    run = killed_while_asking(start, script, watched=False, on_sandbox_lost="fail")
    done = run.finished()
    script.released.set()
    assert done.status == "failed"
    assert done.error is not None
    assert "signal 9" in done.error.message
    assert "--on-sandbox-lost restart" in (done.error.hint or "")
    assert len(run.of(ev.SandboxReady)) == 1


def test_the_person_may_finish_or_have_the_planner_write_another_step(start: Start) -> None:
    held = Script([KEEP, action("ask", "llm_query('hold')"), USE, DONE])
    hold_once(held, "hold")
    finishing = killed_while_asking(start, held)
    finishing.wait_at("error")
    finishing.send(spec.Finish())
    done = finishing.finished()
    held.released.set()
    assert (done.status, done.outputs) == ("stopped", {"answer": "extracted"})

    told = Script([KEEP, action("ask", "llm_query('hold')"), USE, DONE])
    hold_once(told, "hold")
    telling = killed_while_asking(start, told)
    telling.wait_at("error")
    telling.send(spec.Retry(text="count instead of asking"))
    assert telling.finished().status == "submitted"
    told.released.set()
    assert "count instead of asking" in told.prompts[2]
    assert printed(telling).endswith("again: ['answer to first', 135] noted\n")
    valid(telling)


def test_a_screen_that_leaves_lets_the_run_restart_by_itself(start: Start) -> None:
    script = Script([KEEP, action("ask", "print(llm_query('hold'))"), DONE])
    hold_once(script, "hold")
    run = killed_while_asking(start, script)
    run.wait_at("error")
    run.send(spec.Detach())
    run.send(spec.Continue())
    script.released.set()
    assert run.finished().status == "submitted"


def test_differences_of_the_restored_state_are_reported(start: Start) -> None:
    chance = "import random, time\nluck = random.random()\nprint('rolled', luck)"
    script = Script([action("roll", chance), action("quiet", "seed = random.random()"), ASK, DONE])
    hold_once(script, "hold")
    run = killed_while_asking(start, script, watched=False)
    script.released.set()
    assert run.finished().status == "submitted"
    said = notices(run)
    assert "differs from the recorded one: step 1: it printed `rolled" in said
    assert "variables that are different: luck, seed" in said
    valid(run)


def test_functions_errors_and_addresses_are_no_difference(start: Start) -> None:
    first = action("define", "def double(x):\n    return 2 * x\nclass Thing: pass\nprint(double, Thing(), object())")
    fails = action("fail", "half = double(4)\nhalf / 0")
    script = Script([first, fails, ASK, action("use", "print(double(half))"), DONE])
    hold_once(script, "hold")
    run = killed_while_asking(start, script, watched=False)
    script.released.set()
    assert run.finished().status == "submitted"
    assert len(replayed(run)) == 2
    assert "not quite" not in notices(run)
    assert printed(run).endswith("16\n")


def test_an_interrupted_step_is_not_run_again_and_its_variables_are_reported_missing(start: Start) -> None:
    spin = action("spin", "left = 1\nprint('spinning')\nwhile True: pass")
    script = Script([spin, ASK, DONE])
    hold_once(script, "hold")
    run = start(script, watched=False)
    run.wait_for(ev.Output)
    run.send(spec.Interrupt())
    assert script.held.wait(20)
    kill_sandbox(run)
    run.wait_for(ev.SandboxLost)
    script.released.set()
    assert run.finished().status == "submitted"
    assert replayed(run) == []
    assert "step 1: it was interrupted, and was not run again · variables that are missing: left" in notices(run)


def test_a_sandbox_that_cannot_be_started_again_ends_the_run_clearly(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([KEEP, ASK])
    hold_once(script, "hold")
    run = start(script, watched=False)
    assert script.held.wait(20)

    def refuses(*_: object, **__: object) -> IsolatedProcess:
        raise OSError("no room for another process")

    monkeypatch.setattr("fleet_rlm.sandbox.local.local_interpreter.launch", refuses)
    kill_sandbox(run)
    done = run.finished()
    script.released.set()
    assert done.status == "failed"
    assert done.error is not None
    assert "did not start: no room for another process" in done.error.message
    assert run.state().sandbox.status == "lost"
    valid(run)


@pytest.mark.parametrize("end", [spec.Abort(reason="enough"), spec.Finish()], ids=["abort", "finish"])
def test_the_run_can_be_ended_while_the_state_is_rebuilt(start: Start, end: spec.Command) -> None:
    limit = time.time() + 4  # quick at first, endless when it runs again
    slow = action("slow", f"import time\nkept = 1\nwhile time.time() > {limit}: pass")
    script = Script([slow, ASK, DONE])
    hold_once(script, "hold")
    run = killed_while_asking(start, script)
    run.wait_at("error")
    until(lambda: time.time() > limit, 10)
    run.send(spec.Restart())
    until(lambda: replayed(run), 20)
    run.send(end)
    done = run.finished(5)
    assert done.status == ("aborted" if isinstance(end, spec.Abort) else "stopped")
    script.released.set()
    valid(run)


def test_a_sub_agents_sandbox_restarts_by_itself(start: Start, tmp_path: Path) -> None:
    nested = action("nest", "sub = dspy.RLM('text -> answer')\nprint(sub(text='abc').answer)")
    script = Script([nested, action("inner", "y = llm_query('hold')"), action("inner", "SUBMIT(answer=y)"), DONE])
    hold_once(script, "hold")
    others = children()
    run = start(script, watched=True)
    assert script.held.wait(20)
    root = int(run.of(ev.SandboxReady)[0].id.rpartition("-")[2])
    for pid in children() - others - {root}:
        os.kill(pid, signal.SIGKILL)
    until(lambda: "a sub-agent's sandbox is restarted" in notices(run), 20, "the restart")
    script.released.set()
    assert run.finished().status == "submitted"
    assert script.subs == ["hold"]
    assert "answer to hold" in printed(run)
    valid(run)


def children() -> set[int]:
    """Processes that this one started."""
    me, found = os.getpid(), set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == me:
                found.add(int(entry.name))
    return found
