"""The engine's small parts, each by itself."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.control import cancel
from fleet_rlm.engine.control.budgets import Estimate, Spending
from fleet_rlm.engine.control.cancel import CancelToken, Scope, Slots
from fleet_rlm.engine.prepare import preparation, run_inputs, signature_notation
from fleet_rlm.engine.process.quiet_libraries import quiet_libraries
from fleet_rlm.engine.run_errors import RunAborted, SetupError
from fleet_rlm.engine.trace.stored_prompts import added, common_prefix
from fleet_rlm.state import fold_all
from tests.waiting import until


@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=50))
def test_a_common_prefix_is_the_longest(shared: str, one: str, other: str) -> None:
    a, b = shared + one, shared + other
    length = common_prefix(a, b)
    assert a[:length] == b[:length]
    assert length == min(len(a), len(b)) or a[length] != b[length]


@given(st.lists(st.lists(st.text(max_size=300), min_size=1, max_size=3), min_size=1, max_size=4))
def test_prompts_stored_by_what_was_added_are_read_back_whole(texts: list[list[str]]) -> None:
    events: list[ev.Event] = [ev.IterationStarted(of=9, iteration=1, span="i")]
    base, whole = None, []
    for number, parts in enumerate(texts):
        prompt = tuple(("user", "shared beginning " * 8 + part) for part in parts)
        stored = added(prompt, base[1] if base else None)
        span = f"p{number}"
        events.append(ev.PlannerStarted(prompt=stored, base=base[0] if base else None, iteration=1, span=span))
        base = (span, prompt)
        whole.append(prompt)
    state = fold_all(events)  # type: ignore[arg-type] # events of the vocabulary
    assert [planner.prompt for planner in state.iterations[0].planners] == whole


def test_the_end_of_a_scope_wakes_what_waits_and_reaches_its_children() -> None:
    scope, seen = Scope(), []
    child = scope.child()
    child.on_end(lambda: seen.append("child"))
    waiting: Future[None] = Future()
    threads = [threading.Thread(target=lambda: seen.append(child.wait(waiting))) for _ in range(3)]
    for thread in threads:
        thread.start()
    scope.end()
    for thread in threads:
        thread.join(2)
    assert sorted(map(str, seen)) == ["False", "False", "False", "child"]
    assert child.ended


def test_interrupting_the_work_under_way_leaves_later_work_alone() -> None:
    token = CancelToken()
    before = token.work
    token.interrupt()
    assert before.ended
    assert not token.work.ended
    token.check()
    token.cancel("enough")
    assert token.work.ended
    with pytest.raises(RunAborted, match="enough"):
        token.check()


def test_a_hook_that_fails_keeps_no_other_from_running() -> None:
    scope, ran = Scope(), []
    scope.on_end(lambda: 1 / 0)
    scope.on_end(lambda: ran.append(True))
    scope.end()
    assert ran == [True]


def test_turns_are_given_in_order_and_a_waiter_that_leaves_loses_none() -> None:
    slots, scope, leaving, order = Slots(1), Scope(), Scope(), []
    assert slots.take(scope) == 0.0

    def queue(name: str, within: Scope) -> threading.Thread:
        ahead = len(slots._queue)
        thread = threading.Thread(target=lambda: order.append((name, slots.take(within) is not None)))
        thread.start()
        until(lambda: len(slots._queue) > ahead)
        return thread

    threads = [queue("first", scope), queue("leaves", leaving), queue("last", scope)]
    leaving.end()
    threads[1].join(2)
    slots.give()
    threads[0].join(2)
    slots.give()
    threads[2].join(2)
    assert order == [("leaves", False), ("first", True), ("last", True)]
    slots.give()
    assert slots.take(scope) == 0.0


def test_calls_are_counted_one_by_one_whoever_makes_them() -> None:
    told: list[str] = []
    spending = Spending(spec.Budgets(max_llm_calls=2), told.append)
    assert [spending.admit(call, lambda: Estimate(), Scope()) for call in "ab"] == [None, None]
    assert "budget of 2 sub-LLM calls is spent" in (spending.admit("c", lambda: Estimate(), Scope()) or "")
    assert spending.calls == 2
    assert "budget of 2 sub-LLM calls is spent" in (spending.refusal() or "")
    assert spending.refusal() is not None
    assert told == ["the budget of 2 sub-LLM calls is spent; further calls are refused"]


def test_a_batch_is_refused_with_the_calls_that_are_left() -> None:
    spending = Spending(spec.Budgets(max_llm_calls=50))
    for call in range(40):
        spending.admit(call, lambda: Estimate(), Scope())
    assert "a batch of 40 exceeds the 10 calls left of the budget of 50" in (spending.refusal(40) or "")
    assert spending.refusal(10) is None


def test_money_for_calls_in_flight_is_reserved() -> None:
    spending, asking = Spending(spec.Budgets(max_cost_usd=0.10)), Estimate(100, 400, 0.03, 0.06)
    waiting: list[str | None] = []
    assert spending.admit("first", lambda: asking, Scope()) is None
    second = threading.Thread(target=lambda: waiting.append(spending.admit("second", lambda: asking, Scope())))
    second.start()
    assert waiting == []  # 0.06 and 0.06 are more than there is
    spending.add(ev.Usage(input=100, output=100), 0.06, sub_call=True)
    spending.settle("first")
    second.join(5)
    assert waiting == [None]
    spending.add(ev.Usage(input=100, output=100), 0.03, sub_call=True)
    spending.settle("second")
    assert "about $0.03 does not fit into the $0.01 left" in (spending.admit("third", lambda: asking, Scope()) or "")


def test_the_final_answer_is_kept_the_planners_whole_next_prompt_and_the_request() -> None:
    spending = Spending(spec.Budgets(max_cost_usd=0.10))
    spending.add(ev.Usage(input=4000, output=1000), 0.02, sub_call=False, input_price=0.000_002)
    # 0.08 left, 0.02 as the planner's call, 0.002 for its answer, 0.0008 for the request, 0.005 for what is printed
    assert "into the $0.05 left" in (spending.admit("too much", lambda: Estimate(0, 0, 0.053, 0.053), Scope()) or "")
    assert spending.admit("fits", lambda: Estimate(0, 0, 0.052, 0.052), Scope()) is None
    spending.add(ev.Usage(input=100, output=100), 0.052, sub_call=True)
    spending.settle("fits")
    assert spending.exhausted() is None
    assert "but for the final answer" in (spending.exhausted(planning=True) or "")


def test_a_call_that_waits_for_money_ends_with_its_scope() -> None:
    spending, scope, told = Spending(spec.Budgets(max_tokens=100)), Scope(), list[str | None]()
    spending.admit("first", lambda: Estimate(50, 90), scope)
    waiting = threading.Thread(target=lambda: told.append(spending.admit("second", lambda: Estimate(50, 90), scope)))
    waiting.start()
    scope.end()
    waiting.join(5)
    assert "interrupted" in (told[0] or "")


def wanted(**types: str) -> run_inputs.Wanted:
    return run_inputs.Wanted(types=types, document_field="context", question_field="question", needs_question=True)


def read(tmp_path: Path, *names: str) -> tuple[spec.RunSpec, run_inputs.Documents]:
    for name in names:
        (tmp_path / name).write_text(f"text of {name}")
    asked = spec.RunSpec(question="why?", documents=names, cwd=str(tmp_path))
    return asked, run_inputs.read_documents(asked)


def test_one_document_is_text_and_several_are_a_dict_of_names(tmp_path: Path) -> None:
    asked, documents = read(tmp_path, "a.txt")
    one = run_inputs.bind(asked, wanted(context="str", question="str"), documents)
    assert one.values == {"context": "text of a.txt", "question": "why?"}
    assert "one string" in one.told["context"]
    asked, documents = read(tmp_path, "a.txt", "b.txt")
    two = run_inputs.bind(asked, wanted(context="str", question="str"), documents)
    assert two.values["context"] == {"a.txt": "text of a.txt", "b.txt": "text of b.txt"}
    assert "dict from each document's name" in two.told["context"]
    assert "a.txt (13 characters)" in two.told["context"]
    assert [record.type for record in two.records] == ["dict[str, str]", "str"]
    assert two.records[0].chars == 26
    assert [ref.sha256 for ref in two.records[0].documents] == [d.sha256 for d in documents.all]


def test_a_signature_that_says_dict_or_list_gets_one_for_a_single_document_too(tmp_path: Path) -> None:
    asked, documents = read(tmp_path, "a.txt")
    as_dict = run_inputs.bind(asked, wanted(context="dict[str, str]", question="str"), documents)
    assert as_dict.values["context"] == {"a.txt": "text of a.txt"}
    as_list = run_inputs.bind(asked, wanted(context="list[str]", question="str"), documents)
    assert as_list.values["context"] == ["text of a.txt"]


@pytest.mark.parametrize(
    ("fields", "types", "words"),
    [
        ({"inputs": {"other": 1}}, {"context": "str", "question": "str"}, "no input named other"),
        ({"documents": ()}, {"context": "str", "question": "str"}, "No documents were given"),
        ({"question": None}, {"context": "str", "question": "str"}, "No question was given"),
        ({}, {"context": "str", "question": "str", "year": "int"}, "The input year has no value"),
        ({"inputs": {"context": "x"}}, {"context": "str", "question": "str"}, "takes no documents"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    tmp_path: Path, fields: dict[str, object], types: dict[str, str], words: str
) -> None:
    (tmp_path / "a.txt").write_text("text")
    base = {"question": "why?", "documents": ("a.txt",), "cwd": str(tmp_path)}
    asked = spec.RunSpec(**{**base, **fields})  # type: ignore[arg-type] # fields of the spec, by name
    with pytest.raises(SetupError, match=words):
        run_inputs.bind(asked, wanted(**types), run_inputs.read_documents(asked))


@pytest.mark.parametrize(
    ("notation", "words"),
    [
        ("context, question", "no `->`"),
        ("-> answer", "no inputs before"),
        ("context ->", "no outputs after"),
        ("context, question -> answer: nonsense", "can't be used"),
        ("context, print -> answer", "print"),
        ("dspy, question -> answer", "dspy"),
        ("context -> trajectory", "trajectory"),
        ("context question -> answer", "can't be used"),
    ],
)
def test_a_signature_that_cannot_run_is_refused_in_words(notation: str, words: str) -> None:
    with pytest.raises(SetupError) as refused:
        signature_notation.parse(notation)
    assert words in refused.value.message
    assert "inputs -> outputs" in refused.value.hint


def test_every_preset_can_run(tmp_path: Path) -> None:
    from fleet_rlm.tasks import TASKS

    (tmp_path / "a.txt").write_text("text")
    for task in TASKS.values():
        asked = spec.RunSpec(task=task.name, question="why?", documents=("a.txt",), cwd=str(tmp_path))
        if task.document_field is None:
            asked = spec.RunSpec(task=task.name, question="why?", cwd=str(tmp_path))
        elif task.question_field is None:
            asked = spec.RunSpec(task=task.name, documents=("a.txt",), cwd=str(tmp_path))
        prepared = preparation.prepare(asked)
        built = signature_notation.build(prepared.task.signature, prepared.task.instructions, prepared.field_words)
        assert set(built.input_fields) == set(prepared.bound.values)


def test_preparing_a_preset_is_quick_because_dspy_is_not_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, fleet_rlm.engine.run.session as s; assert not {'dspy', 'litellm'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_cancelled_wait_returns_long_before_its_time() -> None:
    scope = Scope()
    threading.Timer(0.05, scope.end).start()
    began = time.monotonic()
    assert scope.sleep(30) is False
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "fields",
    [
        {"budgets": spec.Budgets(max_iterations=0)},
        {"budgets": spec.Budgets(max_seconds=0)},
        {"budgets": spec.Budgets(max_cost_usd=-1)},
        {"concurrency": 0},
    ],
)
def test_numbers_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(SetupError, match=r"max_\w+|concurrency"):
        preparation.prepare(spec.RunSpec(question="why?", **fields))  # type: ignore[arg-type] # by name


def test_overlapping_runs_give_dspys_log_back_as_it_was() -> None:
    logger = logging.getLogger("dspy")
    before = (logger.handlers, logger.propagate)
    first, second = quiet_libraries(), quiet_libraries()
    first.__enter__()
    second.__enter__()
    assert logger.handlers != before[0]
    first.__exit__(None, None, None)
    assert logger.handlers != before[0]
    second.__exit__(None, None, None)
    assert (logger.handlers, logger.propagate) == before


def test_a_wait_without_limit_is_made_in_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before the main thread begins to wait is handled when it stops waiting."""
    turns: list[float | None] = []
    scope, wait = Scope(), cancel.futures.wait

    def counted(several: object, timeout: float | None = None, **options: object) -> object:
        turns.append(timeout)
        if len(turns) == 3:
            scope.end()
        return wait(several, timeout=0, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cancel.futures, "wait", counted)
    assert not scope.wait(Future())
    assert turns == [cancel.TURN_SECONDS] * 3
    assert not Scope().wait(Future(), timeout=0.001)
