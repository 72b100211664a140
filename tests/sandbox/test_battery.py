"""What code in any sandbox can rely on: the same claims for every transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError, FinalOutput

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.transport import Transport
from waiting import until

from .places import Background, Witness

FIELDS = [{"name": "answer", "type": "str"}, {"name": "count", "type": "int"}]


def test_state_lasts_and_the_last_expression_is_shown(place: Interpreter) -> None:
    assert place.execute("x = 20") is None
    assert place.execute("print('x is', x)\nx + 1") == "x is 20\n21"


def test_output_arrives_while_the_code_still_runs(place: Interpreter, witness: Witness) -> None:
    release = threading.Event()
    place.tools["wait"] = lambda: release.wait(20)
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nwait()\nprint('after')"
    running = Background(lambda: place.execute(code))
    until(lambda: {"out\n", "err\n"} <= {text for _, _, text, _ in witness.of("output")})
    assert not running.over
    release.set()
    assert sorted(str(running.result()).splitlines()) == ["after", "err", "out"]


def test_output_comes_in_few_chunks_however_often_it_is_printed(place: Interpreter, witness: Witness) -> None:
    began = time.monotonic()
    place.execute("for i in range(20_000): print(i)")
    ticks = (time.monotonic() - began) / 0.033
    assert len(witness.of("output")) <= ticks + 4
    assert witness.text() == "".join(f"{i}\n" for i in range(20_000))


def test_a_traceback_shows_the_line_of_the_code_and_nothing_of_the_driver(place: Interpreter) -> None:
    place.execute("def half(x):\n    return x / 0\n")
    with pytest.raises(CodeFailed) as failed:
        place.execute("print('before')\n\nhalf(3)")
    error = failed.value.outcome.error
    assert error is not None
    assert (error.type, error.line) == ("ZeroDivisionError", 3)
    assert 'File "<cell 2>", line 3, in <module>\n    half(3)' in str(failed.value)
    assert 'File "<cell 1>", line 2, in half\n    return x / 0' in str(failed.value)
    assert "driver" not in str(failed.value)
    assert str(failed.value).endswith("Output until then:\nbefore")


def test_a_syntax_error_names_its_line(place: Interpreter) -> None:
    with pytest.raises(SyntaxError, match=r"line 2\n    def f\(:"):
        place.execute("x = 1\ndef f(:")
    assert place.last is not None
    assert place.last.error is not None
    assert (place.last.outcome, place.last.error.line) == ("error", 2)


def test_calls_reach_the_host_and_their_errors_the_code(place: Interpreter) -> None:
    def fail(what: str) -> None:
        raise KeyError(what)

    def refuse() -> None:
        raise ValueError("no \ud800 no")

    place.tools |= {"fail": fail, "refuse": refuse}
    assert place.execute("double('ab')") == "'abab'"
    assert place.execute("try: fail(what='x')\nexcept RuntimeError as e: print(e)") == "KeyError: 'x'"
    assert place.execute("try: refuse()\nexcept RuntimeError as e: print(e)") == "ValueError: no ? no"
    with pytest.raises(CodeFailed, match=r"TypeError: .*missing 1 required positional argument"):
        place.execute("double()")


def test_each_thread_gets_its_own_answers(place: Interpreter) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(16) as pool: got = list(pool.map(double, range(200)))\n"
        "got == [2 * n for n in range(200)]"
    )
    assert place.execute(code) == "True"


def test_calls_from_threads_run_at_once(place: Interpreter) -> None:
    together = threading.Barrier(8, timeout=20)
    place.tools["meet"] = lambda: together.wait() >= 0
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: print(sum(f.result() for f in [pool.submit(meet) for _ in range(8)]))"
    )
    assert place.execute(code) == "8"


def test_submitted_values_arrive(place: Interpreter) -> None:
    place.output_fields = FIELDS
    assert place.execute("SUBMIT('yes', 3)\nprint('not reached')") == FinalOutput({"answer": "yes", "count": 3})
    assert place.execute("SUBMIT(count=3, answer='no')") == FinalOutput({"answer": "no", "count": 3})
    place.output_fields = None
    assert place.execute("SUBMIT([1, {'a': None}])") == FinalOutput({"output": [1, {"a": None}]})


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("SUBMIT('yes')", r"SUBMIT takes answer, count \(2 in all\), and got 1"),
        ("SUBMIT('yes', 3, 4)", "and got 3"),
        ("SUBMIT(answer='yes')", "and got no count"),
        ("SUBMIT(answer='yes', count=1, sure=True)", "and got an unknown sure"),
        ("SUBMIT('yes', count=1)", "all by position or all by name"),
        ("SUBMIT(object(), 1)", "SUBMIT can't deliver answer: a value of type object can't leave the sandbox"),
        ("SUBMIT('yes', float('nan'))", "SUBMIT can't deliver count: nan and infinity are no JSON numbers"),
        ("x = []\nx.append(x)\nSUBMIT(x, 1)", "SUBMIT can't deliver answer"),
        ("SUBMIT({('a', 'b'): 1}, 1)", "SUBMIT can't deliver answer: a dict's keys must be text or numbers"),
    ],
)
def test_a_wrong_submission_is_an_error_that_the_planner_reads(place: Interpreter, code: str, says: str) -> None:
    place.output_fields = FIELDS
    with pytest.raises(CodeFailed, match=says):
        place.execute(code)
    assert place.execute("SUBMIT('yes', 1)") == FinalOutput({"answer": "yes", "count": 1})


def test_plain_forms_of_common_types_can_be_submitted(place: Interpreter) -> None:
    place.output_fields = [{"name": "value"}]
    code = (
        "import datetime, dataclasses, collections, pathlib\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "SUBMIT([(1, 2), {3}, datetime.date(2024, 1, 2), Point(4), collections.Counter('aa'), {'k': 1}.keys()])"
    )
    assert place.execute(code) == FinalOutput({"value": [[1, 2], [3], "2024-01-02", {"x": 4}, {"a": 2}, ["k"]]})


def test_odd_values_arrive_as_what_they_are_or_are_refused(place: Interpreter) -> None:
    place.output_fields = FIELDS[:1]
    nested: Any = "x"
    for _ in range(330):
        nested = [nested]
    arrive = {
        "None": None, "{'answer': 'x'}": {"answer": "x"}, "10**400": 10**400, "{3, 1}": [1, 3], "{1: 'a'}": {"1": "a"},
        "'a\\ud800b'": "a\ufffdb", "__import__('datetime').date(2024, 1, 2)": "2024-01-02", "-0.0": -0.0,
        "__import__('functools').reduce(lambda v, _: [v], range(330), 'x')": nested,
    }  # fmt: skip
    for code, value in arrive.items():
        assert place.execute(f"SUBMIT({code})") == FinalOutput({"answer": value}), code
    refused = {
        "10**5000": "more than 4,300 digits", "float('nan')": "no JSON numbers", "[float('inf')]": "no JSON numbers",
        "b'abc'": "type bytes can't leave", "{1: 'a', '1': 'b'}": "two keys", "(x for x in 'ab')": "type generator",
    }  # fmt: skip
    for code, words in refused.items():
        with pytest.raises(CodeFailed, match=words):
            place.execute(f"SUBMIT({code})")


def test_handlers_for_everything_swallow_no_submission(place: Interpreter) -> None:
    place.output_fields = FIELDS[:1]
    code = "try: SUBMIT('first')\nexcept: swallowed = True\nreached = True"
    assert place.execute(code) == FinalOutput({"answer": "first"})
    assert place.execute("'swallowed' in dir(), 'reached' in dir()") == "(False, False)"
    code = "def f():\n    try: SUBMIT('first')\n    except (ValueError, BaseException) as e: return e\nf()"
    assert place.execute(code) == FinalOutput({"answer": "first"})
    code = "def f():\n    try: SUBMIT('first')\n    finally: return 1\nf()\nSUBMIT('second')"
    assert place.execute(code) == FinalOutput({"answer": "first"})
    code = "from threading import Thread\nt = Thread(target=SUBMIT, args=['first'])\nt.start()\nt.join()\n1 / 0"
    assert place.execute(code) == FinalOutput({"answer": "first"})


def test_handlers_for_everything_still_catch_what_is_theirs(place: Interpreter) -> None:
    assert place.execute("try:\n    1 / 0\nexcept:\n    print('caught')") == "caught"
    assert place.execute("try:\n    exit()\nexcept BaseException as e:\n    print(type(e).__name__)") == "SystemExit"


def test_shadowing_a_function_of_the_host_lasts_one_cell(place: Interpreter) -> None:
    assert "[SUBMIT, double mean the helpers again" in place.execute("double = SUBMIT = print = None")
    assert place.execute("print('there')") == "there"
    assert place.execute("double(2)") == "4"
    assert place.execute("SUBMIT(1)") == FinalOutput({"output": 1})
    place.execute("del double, SUBMIT")
    assert place.execute("double(2)") == "4"


def test_inputs_are_bound_again_before_each_cell(place: Interpreter) -> None:
    inputs = {"text": "abc", "rows": [{"a": 1}], "nothing": None}
    assert place.execute("rows[0]['a'] = 2\nrows.append(3)\ntext = text[:1]\ntext", inputs) == "'a'"
    assert place.execute("text, rows, nothing", inputs) == "('abc', [{'a': 1}], None)"


def test_large_inputs_cross_once_and_are_bound_again(place: Interpreter, witness: Witness) -> None:
    inputs: dict[str, Any] = {"text": "ä" * 100_000, "rows": [{"n": n} for n in range(20_000)], "raw": bytes(200_000)}
    code = "n = len(text), len(rows), rows[5].pop('n'), len(raw), type(raw).__name__\nrows.clear()\ntext = ''\nn"
    for _ in range(3):
        assert place.execute(code, dict(inputs)) == "(100000, 20000, 5, 200000, 'bytes')"
    assert [(name, how) for name, _, how in witness.of("input")] == [(n, "file") for n in ("text", "rows", "raw")]


def test_texts_that_are_not_utf_8_cross_unchanged(place: Interpreter) -> None:
    inputs = {"short": "a\ud800b\x00\x85", "long": "\udcff" * 70_000}
    assert place.execute("[ord(c) for c in short], len(long), ord(long[-1])", inputs) == (
        "([97, 55296, 98, 0, 133], 70000, 56575)"
    )


def test_an_input_that_is_not_json_is_named(place: Interpreter) -> None:
    with pytest.raises(CodeInterpreterError, match="the input picture can't cross into the sandbox"):
        place.execute("pass", {"picture": object()})
    assert place.execute("1") == "1"


def test_variables_are_told_after_each_cell_and_before_its_end(place: Interpreter, witness: Witness) -> None:
    place.execute("rows = [1, 2, 3]\nimport os\n_hidden = 1", {"question": "why?"})
    place.execute("rows.append(4)\ndel question")
    first, second = (told for (told,) in witness.of("variables"))
    assert [(one.name, one.type, one.size) for one in first.added] == [("question", "str", 4), ("rows", "list", 3)]
    assert [one.preview for one in second.changed] == ["[1, 2, 3, 4]"]
    assert second.removed == ("question",)
    kinds = [what[0] for what in witness.heard if what[0] in ("execution", "variables", "finished")]
    assert kinds == ["execution", "variables", "finished"] * 2


def test_an_operators_expression_is_evaluated_between_cells(place: Interpreter) -> None:
    place.execute("rows = [1, 2]")
    assert place.evaluate("len(rows) * 10").value == "20"
    broken = place.evaluate("rows[7]")
    assert broken.error is not None
    assert broken.error.type == "IndexError"
    refused = place.evaluate("double(1)")
    assert refused.error is not None
    assert "nothing was asked" in refused.error.message
    statement = place.evaluate("y = 1")
    assert statement.error is not None
    assert statement.error.type == "SyntaxError"
    endless = place.evaluate("[0 for _ in iter(int, 1)]", timeout=0.2)
    assert endless.outcome == "timeout"
    assert place.execute("rows") == "[1, 2]"


def test_an_expression_is_not_evaluated_while_code_runs(place: Interpreter) -> None:
    inside, release = threading.Event(), threading.Event()
    place.tools["wait"] = lambda: inside.set() or release.wait(20)
    running = Background(lambda: place.execute("wait()"))
    assert inside.wait(20)
    with pytest.raises(CodeInterpreterError, match="code is running"):
        place.evaluate("1")
    with pytest.raises(CodeInterpreterError, match="executing already"):
        place.execute("1")
    release.set()
    assert running.result() == "True"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "while True:\n    try:\n        while True: pass\n    except: pass",
        "wait()",
        "import threading\nthreading.Event().wait()",
        "import concurrent.futures as c\nwith c.ThreadPoolExecutor(3) as pool: list(pool.map(lambda _: wait(), 'abc'))",
        "import threading\ndef spin():\n    while True: pass\nt = threading.Thread(target=spin)\nt.start()\nt.join()",
        "import subprocess\nsubprocess.run(['sleep', '60'])",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwait()",
    ],
    ids=[
        "loop",
        "sleep",
        "bare except",
        "call",
        "event",
        "pool of calls",
        "spinning thread",
        "subprocess",
        "deaf call",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_variables(place: Interpreter, code: str, witness: Witness) -> None:
    release = threading.Event()
    place.tools["wait"] = lambda: release.wait(20)
    place.execute("kept = 41")
    running = Background(lambda: place.execute(f"print('on', flush=True)\n{code}"))
    until(lambda: "on\n" in witness.text())
    assert place.interrupt()
    with pytest.raises(CodeFailed, match="interrupted; variables are kept") as failed:
        running.result()
    assert failed.value.outcome.outcome == "interrupted"
    assert place.execute("kept + 1") == "42"
    release.set()


def test_an_interrupt_ends_the_cells_other_threads_too(place: Interpreter, witness: Witness) -> None:
    code = (
        "import threading\n"
        "def spin():\n    while True: pass\n"
        "t = threading.Thread(target=spin)\nt.start()\nprint('on', flush=True)\nt.join()"
    )
    running = Background(lambda: place.execute(code))
    until(lambda: "on" in witness.text())
    place.interrupt()
    with pytest.raises(CodeFailed, match="variables are kept"):
        running.result()
    assert place.execute("t.join(20)\nt.is_alive()").splitlines()[-1] == "False"


def test_an_interrupt_cancels_open_calls(place: Interpreter, witness: Witness) -> None:
    from fleet_rlm.sandbox.host.host_calls import current_call

    seen: list[bool] = []
    inside = threading.Event()

    def patient() -> None:
        call = current_call.get()
        assert call is not None
        inside.set()
        seen.append(call.cancelled.wait(20))

    place.tools["patient"] = patient
    running = Background(lambda: place.execute("print('on', flush=True)\npatient()"))
    assert inside.wait(20)
    place.interrupt()
    with pytest.raises(CodeFailed):
        running.result()
    assert until(lambda: seen) == [True]


def test_an_interrupt_that_overtakes_its_cell_still_ends_it(place: Interpreter, witness: Witness) -> None:
    place.start()
    witness.on_execution = lambda _: Background(lambda: until(place.interrupt)) and None  # type: ignore[method-assign]
    with pytest.raises(CodeFailed, match="interrupted; variables are kept"):
        place.execute("while True: pass")
    with pytest.raises(CodeFailed, match="interrupted; variables are kept"):
        place.execute("while True: pass")


def test_a_cell_that_runs_too_long_is_interrupted_at_its_line(place: Interpreter) -> None:
    place._timeout = 0.3
    with pytest.raises(CodeFailed, match="ran for too long") as failed:
        place.execute("kept = 1\nwhile True:\n    pass")
    assert failed.value.outcome.outcome == "timeout"
    assert failed.value.outcome.error is not None
    assert failed.value.outcome.error.line in (2, 3)
    assert place.execute("kept") == "1"


def test_time_stands_still_while_a_person_decides(place: Interpreter) -> None:
    place._timeout = 0.5

    def decide() -> str:
        with place.clock_stopped():
            threading.Event().wait(1.0)
        return "go on"

    place.tools["decide"] = decide
    assert place.execute("decide()") == "'go on'"
    with pytest.raises(CodeFailed, match="ran for too long"):
        place.execute("decide()\nwhile True: pass")


def test_values_of_many_megabytes_cross_both_ways(place: Interpreter) -> None:
    place.tools["grow"] = lambda text, times: text * times
    assert place.execute("big = grow('ab', 5_000_000)\nlen(big), len(grow(big, 1))") == "(10000000, 10000000)"
    final = place.execute("SUBMIT(big)")
    assert isinstance(final, FinalOutput)
    assert final.output == {"output": "ab" * 5_000_000}


def test_values_over_the_limit_are_refused_both_ways(place: Interpreter) -> None:
    place.tools["large"] = lambda: "x" * (65 << 20)
    with pytest.raises(CodeFailed, match=r"RuntimeError: the answer of large\(\) is 68,157,442 characters"):
        place.execute("large()")


def test_an_answer_that_is_not_json_is_an_error_that_names_the_function(place: Interpreter) -> None:
    place.tools["odd"] = lambda: object()
    with pytest.raises(CodeFailed, match=r"the answer of odd\(\) can't cross into the sandbox: a object is not JSON"):
        place.execute("odd()")


def test_output_is_capped_and_says_how_much_was_dropped(transport_factory: Callable[[], Transport]) -> None:
    with Interpreter(transport_factory, output_bytes=100_000) as place:
        text = place.execute("for i in range(100_000): print(f'{i:09}')\nprint('the end')")
        assert place.last is not None
        dropped = place.last.dropped.stdout
        assert dropped == 1_000_008 - 100_000 - (64 << 10)
        assert text.startswith("000000000\n000000001\n")
        assert f"\n[… {dropped:,} bytes of stdout dropped …]\n" in text
        assert text.endswith("000099999\nthe end")


def test_a_sandbox_that_was_shut_down_says_so(place: Interpreter, witness: Witness) -> None:
    place.execute("1")
    place.shutdown()
    place.shutdown()
    with pytest.raises(CodeInterpreterError, match="shut down"):
        place.execute("1")
    assert len(witness.of("stopped")) == 1
    assert not witness.of("lost")


def test_a_kill_releases_whoever_waits(place: Interpreter) -> None:
    place.start()
    running = Background(lambda: place.execute("while True: pass"))
    until(lambda: place.running)
    place.kill("the run was aborted")
    with pytest.raises(CodeInterpreterError, match="the run was aborted"):
        running.result()


def test_an_abort_inside_a_host_function_leaves_through_execute(place: Interpreter) -> None:
    class Abort(BaseException):
        pass

    def abort() -> None:
        raise Abort

    place.tools["abort"] = abort
    with pytest.raises(Abort):
        place.execute("abort()")
    with pytest.raises(CodeInterpreterError):
        place.execute("1")
