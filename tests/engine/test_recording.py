"""`fleet_rlm.record` around programs of many forms: each call leaves a whole record and the program notices nothing."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest
from dspy import lm15

import fleet_rlm
from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import RecordError
from fleet_rlm.runs.run_reader import RunFile
from tests.engine.scripted import Script, action

DONE = action("done", "SUBMIT(answer='fine')")
ASKS = action("asks", "x = llm_query_batched(['a', 'b'])\nSUBMIT(answer=x[0])")
KEY = "the-secret-key-of-the-program"


class AsyncScript:
    """The scripted engine for `acall`."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return await asyncio.to_thread(self.script.complete, request)


def model(*steps: str | Callable[[str], str] | Exception) -> dspy.LM:
    script = Script(steps or [DONE])
    return dspy.LM("scripted/model", engine=script, async_engine=AsyncScript(script), cache=False)


def rlm(kind: type[dspy.RLM] = dspy.RLM, **options: object) -> dspy.RLM:
    return kind("context, question -> answer", max_iters=4, interpreter_factory=dspy.LocalInterpreter, **options)


def ask(module: dspy.RLM, question: str = "what?") -> dspy.Prediction:
    return module(context="some text", question=question)


def events(path: Path) -> list[ev.AnyEvent | ev.Unknown]:
    with RunFile(path) as run:
        return list(run.events())


def ends(paths: Iterable[Path]) -> list[ev.RunFinished]:
    last = [events(path)[-1] for path in paths]
    assert all(isinstance(event, ev.RunFinished) for event in last)
    return [event for event in last if isinstance(event, ev.RunFinished)]


def examples(number: int) -> list[dspy.Example]:
    made = (dspy.Example(context="some text", question=f"q{n}", answer="fine") for n in range(number))
    return [example.with_inputs("context", "question") for example in made]


def by_evaluate(module: dspy.RLM) -> None:
    dspy.Evaluate(devset=examples(4), metric=lambda *_: 1.0, num_threads=4, display_progress=False)(module)


def by_parallel(module: dspy.RLM) -> None:
    dspy.Parallel(num_threads=4, disable_progress_bar=True)([(module, example) for example in examples(4)])


def by_plain_threads(module: dspy.RLM) -> None:
    lm = dspy.settings.lm

    def one(number: int) -> None:
        with dspy.context(lm=lm):
            ask(module, f"q{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))


def by_gather(module: dspy.RLM) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(module.acall(context="some text", question=f"q{n}") for n in range(4)))

    asyncio.run(all_at_once())


def by_asyncify(module: dspy.RLM) -> None:
    async def all_at_once() -> None:
        asked = dspy.asyncify(module)
        await asyncio.gather(*(asked(context="some text", question=f"q{n}") for n in range(4)))

    asyncio.run(all_at_once())


WAYS = [by_evaluate, by_parallel, by_plain_threads, by_gather, by_asyncify]


@pytest.mark.parametrize("together", WAYS)
def test_calls_of_one_module_at_once_have_a_record_each_with_all_its_tokens(
    together: Callable[[dspy.RLM], None],
) -> None:
    module = rlm()
    with dspy.context(lm=model(ASKS)):
        with fleet_rlm.record() as alone:
            ask(module, "q0")
        with fleet_rlm.record() as recording:
            together(module)
    (one,) = ends(alone.runs)
    several = ends(recording.runs)
    assert not recording.problems
    assert [end.status for end in several] == ["submitted"] * 4
    assert [end.totals.input_tokens for end in several] == [one.totals.input_tokens] * 4
    assert [end.totals.calls for end in several] == [2] * 4
    assert len(module.history) == len(set(map(id, module.history))) == 5 * 3  # dspy's own history is whole too


def test_a_context_with_callbacks_of_its_own_does_not_end_the_recording() -> None:
    with fleet_rlm.record() as recording, dspy.context(lm=model(), callbacks=[]):
        ask(rlm())
    assert [end.status for end in ends(recording.runs)] == ["submitted"]


def test_dspy_can_be_configured_inside_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = importlib.import_module("dspy.dsp.utils.settings")
    monkeypatch.setattr(settings, "config_owner_thread_id", None)
    monkeypatch.setattr(settings, "config_owner_async_task", None)
    monkeypatch.setitem(settings.main_thread_config, "lm", None)
    with fleet_rlm.record() as recording:
        dspy.configure(lm=model())
        ask(rlm())
    assert [end.status for end in ends(recording.runs)] == ["submitted"]


class PairRLM(dspy.RLM):
    def forward(self, **inputs: object) -> tuple[dspy.Prediction, str]:
        return super().forward(**inputs), "trace"


class TextRLM(dspy.RLM):
    def forward(self, **inputs: object) -> str:
        return str(super().forward(**inputs).answer)


@pytest.mark.parametrize("kind", [PairRLM, TextRLM])
def test_a_program_that_returns_something_else_than_a_prediction_has_a_whole_record(kind: type[dspy.RLM]) -> None:
    with dspy.context(lm=model()), fleet_rlm.record() as recording:
        returned = ask(rlm(kind))
    assert returned == "fine" if kind is TextRLM else returned[1] == "trace"
    (end,) = ends(recording.runs)
    assert (end.status, end.outputs) == ("submitted", {"answer": "fine"})
    assert not recording.problems


def test_an_optimizer_that_makes_calls_return_tuples_leaves_whole_records() -> None:
    from dspy.teleprompt.bootstrap_trace import bootstrap_trace_data

    with dspy.context(lm=model()), fleet_rlm.record() as recording:
        bootstrap_trace_data(rlm(), examples(2), num_threads=2)
    assert [(end.status, end.outputs) for end in ends(recording.runs)] == [("submitted", {"answer": "fine"})] * 2


def test_an_optimizer_that_keeps_a_failure_as_an_answer_leaves_a_failed_record() -> None:
    from dspy.teleprompt.bootstrap_trace import bootstrap_trace_data

    with dspy.context(lm=model("garbage")), fleet_rlm.record() as recording:
        bootstrap_trace_data(rlm(), examples(1), num_threads=1, capture_failed_parses=True)
    (end,) = ends(recording.runs)
    assert (end.status, end.outputs) == ("failed", {})


def test_a_bootstrapped_program_is_recorded_and_can_be_saved(tmp_path: Path) -> None:
    with dspy.context(lm=model()), fleet_rlm.record() as recording:
        optimizer = dspy.BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=1, max_labeled_demos=0)
        optimizer.compile(rlm(), trainset=examples(2)).save(tmp_path / "program.json")
    assert all(end.status == "submitted" for end in ends(recording.runs))


class OwnError(Exception):
    """An error of the program's own."""


class RaisingRLM(dspy.RLM):
    error: BaseException = OwnError("the disk of the program is full")

    def forward(self, **inputs: object) -> dspy.Prediction:
        super().forward(**inputs)
        raise self.error


def test_an_error_of_the_program_is_raised_and_not_reported_as_ours() -> None:
    with dspy.context(lm=model()), fleet_rlm.record() as recording, pytest.raises(OwnError) as raised:
        ask(rlm(RaisingRLM))
    assert raised.value is RaisingRLM.error
    (end,) = ends(recording.runs)
    assert end.status == "failed"
    assert end.error is not None
    assert (end.error.type, end.error.message) == ("OwnError", "the disk of the program is full")
    assert end.error.hint is None
    assert end.totals.input_tokens > 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_a_program_that_is_ended_leaves_an_aborted_record(error: BaseException) -> None:
    kind = type("Ending", (RaisingRLM,), {"error": error})
    with dspy.context(lm=model()), fleet_rlm.record() as recording, pytest.raises(type(error)) as raised:
        ask(rlm(kind))
    assert raised.value is error
    assert [(end.status, end.reason) for end in ends(recording.runs)] == [("aborted", type(error).__name__)]


def test_a_cancelled_call_leaves_an_aborted_record() -> None:
    script = Script([])
    script.steps = [script.hold]

    async def cancelled(module: dspy.RLM) -> None:
        task = asyncio.create_task(module.acall(context="some text", question="what?"))
        await asyncio.to_thread(script.held.wait, 10)
        task.cancel()
        script.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    lm = dspy.LM("scripted/model", engine=script, async_engine=AsyncScript(script), cache=False)
    with dspy.context(lm=lm), fleet_rlm.record() as recording:
        asyncio.run(cancelled(rlm()))
    assert [end.status for end in ends(recording.runs)] == ["aborted"]


def test_a_models_failure_in_a_program_shows_the_providers_words_without_our_settings() -> None:
    refused = lm15.AuthError("no such key", provider="scripted")
    with dspy.context(lm=model(refused)), fleet_rlm.record() as recording, pytest.raises(dspy.LMAuthError):
        ask(rlm())
    assert "no such key" in str(ends(recording.runs)[0].error)
    assert "DSPY_" not in recording.runs[0].read_text()


def test_a_path_that_holds_something_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("something else")
    ran = []
    with pytest.raises(RecordError, match=r"mine\.jsonl.*never overwritten") as raised, fleet_rlm.record(path):
        ran.append(True)
    assert not ran
    assert "does not exist yet" in "".join(raised.value.__notes__)
    assert path.read_text() == "something else"


def test_two_open_recordings_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    with dspy.context(lm=model()), fleet_rlm.record(path) as recording:
        with pytest.raises(RecordError), fleet_rlm.record(path):
            pass
        ask(rlm())
    assert recording.runs == [path]
    assert [end.status for end in ends([path])] == ["submitted"]
    with pytest.raises(RecordError), fleet_rlm.record(path):
        pass


def test_a_call_that_outlives_its_recording_is_recorded_to_its_end() -> None:
    script = Script([])
    script.steps = [script.hold, DONE]
    lm = dspy.LM("scripted/model", engine=script, cache=False)

    def one() -> str:
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            return str(ask(rlm()).answer)

    with ThreadPoolExecutor(1) as pool:
        with fleet_rlm.record() as recording:
            script.steps = [lambda prompt: (script.hold(), DONE)[1]]
            future = pool.submit(one)
            assert script.held.wait(10)
        script.released.set()
        assert future.result(10) == "fine"
    (end,) = ends(recording.runs)
    assert end.status == "submitted"
    assert end.totals.input_tokens > 0


def test_recordings_in_two_threads_keep_their_calls_apart() -> None:
    both_open = threading.Barrier(2, timeout=10)
    lm = model()

    def one(question: str) -> list[Path]:
        with dspy.context(lm=lm), fleet_rlm.record() as recording:
            both_open.wait()
            dspy.Parallel(num_threads=2, disable_progress_bar=True)(
                [(rlm(), dspy.Example(context="", question=question).with_inputs("context", "question"))] * 2
            )
            both_open.wait()
        return recording.runs

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(one, ["first", "second"])
    for runs, question in ((first, "first"), (second, "second")):
        headers = [events(path)[0] for path in runs]
        assert [header.task.question for header in headers if isinstance(header, ev.RunStarted)] == [question] * 2


def test_nested_recordings_both_have_the_call_and_a_sub_agent_is_no_run_of_its_own() -> None:
    sub = action("sub", "import dspy\nx = dspy.RLM('context, question -> answer')(context='c', question='q')")
    with dspy.context(lm=model(sub, DONE)), fleet_rlm.record() as outer, fleet_rlm.record() as inner:
        ask(rlm())
    for recording in (outer, inner):
        (end,) = ends(recording.runs)
        assert end.status == "submitted"
    assert outer.runs != inner.runs


def test_a_run_of_ours_inside_a_recording_is_recorded_once(document: str) -> None:
    with fleet_rlm.record() as recording:
        fleet_rlm.run("What is the access code of the Marlow depot?", docs=document)
    assert recording.runs == []


def test_keys_that_a_program_gives_its_models_are_not_recorded() -> None:
    lm = model(action("leaks", f"print('{KEY}')"), DONE)
    lm.kwargs["api_key"] = KEY
    with dspy.context(lm=lm), fleet_rlm.record() as recording:
        ask(rlm())
    text = recording.runs[0].read_text()
    assert "[secret]" in text
    assert KEY not in text


def test_a_program_without_histories_is_told_that_its_tokens_are_not_known() -> None:
    with dspy.context(lm=model(), disable_history=True), fleet_rlm.record() as recording:
        ask(rlm())
    notices = [event.text for event in events(recording.runs[0]) if isinstance(event, ev.Notice)]
    assert any("history is off" in text for text in notices)


def test_nothing_of_a_recording_is_left_in_dspy() -> None:
    call, acall = dspy.RLM.__call__, dspy.RLM.acall
    with fleet_rlm.record():
        assert dspy.RLM.__call__ is not call
    assert (dspy.RLM.__call__, dspy.RLM.acall) == (call, acall)
    assert "fleet_rlm_recordings" not in dspy.settings
