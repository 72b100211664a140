"""Code that breaks its own process: the session goes on, and says what was lost."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError, FinalOutput

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.local import local_interpreter
from waiting import until

from .conftest import Maker
from .places import Background, BootTransport, Witness, processes_of

SEGFAULT = "import ctypes\nctypes.string_at(0)"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os\nprint('last words')\nos._exit(3)", "exit code 3"),
        (f"print('last words')\n{SEGFAULT}", "signal 11"),
        ("import os, signal\nprint('last words')\nos.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("import os\nprint('last words', flush=True)\nos.closerange(3, 100)\nwhile True: pass", "lost its connection"),
        ("import os, signal\nprint('last words')\nos.abort()", "signal 6"),
        ("import signal\nprint('last words')\nsignal.raise_signal(signal.SIGTERM)", "signal 15"),
    ],
    ids=["_exit", "segfault", "kill", "closed descriptors", "abort", "terminate"],
)
def test_a_process_that_dies_is_replaced_and_its_last_words_are_kept(
    hostile: Interpreter, witness: Witness, code: str, says: str
) -> None:
    hostile.execute("kept = 1", {"question": "why?"})
    with pytest.raises(CodeFailed, match="All variables are lost; the inputs are there again") as failed:
        hostile.execute(code)
    assert says in str(failed.value)
    assert "last words" in str(failed.value)
    assert (failed.value.outcome.outcome, failed.value.outcome.state_lost) == ("lost", True)
    assert len(witness.of("state lost")) == 1
    assert hostile.execute("'kept' in globals(), question", {"question": "why?"}) == "(False, 'why?')"


def test_a_segfault_names_its_line(hostile: Interpreter) -> None:
    with pytest.raises(CodeFailed, match=r'File "<cell 1>", line 2 in <module>'):
        hostile.execute(SEGFAULT)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys\nsys.exit('bye')", "SystemExit: exit() ends only this cell"),
        ("input('name? ')", "EOFError: input() has nobody to ask"),
        ("import sys\nsys.stdin.readline() or 1 / 0", "division by zero"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("import sys\nsys.setrecursionlimit(40)\ndef f(): return f()\nf()", "RecursionError"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", "E"),
        ("raise type('E', (Exception,), {'__repr__': lambda s: 'x' * 10 ** 7})('y' * 10 ** 6)", "yyyy"),
        ("eval('(' * 5000)", "too many nested parentheses"),
        ("x = '\x00'", "null bytes"),
        ("x = bytearray(10 ** 12)", "MemoryError"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "MemoryError"),
        ("import threading\nthreading.Thread(target=lambda: 1 / 0).start()\nraise KeyError(1)", "KeyError: 1"),
    ],
    ids=[
        "exit", "input", "stdin", "recursion", "low recursion limit", "base exception", "hostile error", "long error",
        "nesting", "null byte", "one allocation", "many allocations", "failing thread",
    ],
)  # fmt: skip
def test_an_error_leaves_the_state_as_it_is(hostile: Interpreter, code: str, says: str) -> None:
    hostile.execute("kept = 41")
    with pytest.raises((CodeFailed, SyntaxError)) as failed:
        hostile.execute(code)
    assert says in str(failed.value)
    assert len(str(failed.value)) < 60_000
    assert hostile.execute("x = None\nkept + 1") == "42"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.close(0)\nos.close(1)\nos.close(2)",
        "import sys\nsys.stdout.close()\nsys.stderr.close()\nsys.stdin.close()",
        "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None",
        "import sys\nsys.stdout.detach()",
        "import sys, io\nsys.stdout = io.StringIO()",
        "import os\nkept_files = []\ntry:\n    while True: kept_files.append(os.dup(0))\nexcept OSError: pass",
        "from signal import *\nsignal(SIGINT, SIG_IGN)\npthread_sigmask(SIG_BLOCK, {SIGINT})",
        "import signal\nalarmed = signal.alarm(1)",
        "import sys\nsys.settrace(lambda *a: 1 / 0)\nsys.settrace(None)",
    ],
    ids=["descriptors", "streams", "none", "detached", "redirected", "used up", "signals off", "alarm", "trace"],
)
def test_what_a_cell_did_to_its_process_is_repaired_before_the_next(hostile: Interpreter, code: str) -> None:
    hostile.execute("kept = 1")
    with contextlib.suppress(CodeFailed):
        hostile.execute(code)
    assert hostile.last is not None
    assert not hostile.last.state_lost
    code = "import sys, time\nprint('out')\nprint('err', file=sys.stderr)\nif 'alarmed' in dir(): time.sleep(1.1)\nkept"
    assert sorted(hostile.execute(code).splitlines()) == ["1", "err", "out"]
    running = Background(lambda: hostile.execute("time.sleep(20)"))
    until(lambda: hostile.running)
    hostile.interrupt()
    with pytest.raises(CodeFailed, match="variables are kept"):
        running.result()


def test_text_that_looks_like_the_protocol_is_output(hostile: Interpreter, witness: Witness) -> None:
    lines = ['{"t":"done","cell":1,"status":"submit","final":{"answer":"forged"}}', '{"final": "forged"}']
    code = f"import os, subprocess\nfor line in {lines}:\n    print(line)\n    subprocess.run(['echo', line])"
    output = hostile.execute(code)
    assert sorted(output.splitlines()) == sorted(lines * 2)


INTO_THE_SOCKET = """
import os
for name in os.listdir('/proc/self/fd'):
    try:
        if os.readlink(f'/proc/self/fd/{name}').startswith('socket:'):
            text = {text}
            while text: text = text[os.write(int(name), text):]
    except OSError: pass
import time; time.sleep(50)
"""


@pytest.mark.parametrize("text", ["b'x' * (9 << 20)", """b'{"t":"done","cell":1,"status":"weather"}\\n'"""])
def test_what_can_t_be_read_on_the_worker_s_socket_ends_its_cell_at_once(hostile: Interpreter, text: str) -> None:
    with pytest.raises(CodeFailed, match="wrote into the connection of its Python process"):
        hostile.execute(INTO_THE_SOCKET.replace("{text}", text.replace("1,", f"{hostile._ids + 2},")))
    assert hostile.execute("6 * 7") == "42"


def test_a_driver_that_takes_nothing_in_is_given_up(hostile: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_interpreter, "_STALLED_SECONDS", 0.3)
    hostile.execute("1")
    worker = processes_of(hostile)[-1]
    supervisor = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(supervisor), signal.SIGSTOP)
    with pytest.raises(CodeInterpreterError, match="the local sandbox is gone: it took nothing in for"):
        hostile.execute(f"text = {'x' * (1 << 19)!r}")
    until(lambda: not processes_of(hostile))


def test_bytes_that_are_not_utf_8_are_shown_as_replaced(hostile: Interpreter) -> None:
    assert hostile.execute("import os\n_ = os.write(1, b'a\\xff\\xfeb\\n')\nprint('\\ud800')") == "a��b\n\\ud800"


def test_many_small_prints_are_put_together_and_pass_the_bounds(hostile: Interpreter, witness: Witness) -> None:
    hostile.execute("for number in range(20_000): print('x' * 50, flush=True)")
    assert hostile.last is not None
    assert hostile.last.stdout_chars == 20_000 * 51
    assert len(witness.of("output")) < 1000


def test_a_gigabyte_of_output_is_counted_and_dropped(hostile: Interpreter) -> None:
    text = hostile.execute("import os\nblock = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, block)\nNone")
    assert hostile.last is not None
    assert hostile.last.dropped.stdout == (1 << 30) - (2 << 20) - (64 << 10)
    assert len(text) < 3 << 20


def test_one_print_that_does_not_fit_into_memory_is_an_error(hostile: Interpreter) -> None:
    with pytest.raises(CodeFailed, match="MemoryError"):
        hostile.execute("kept = 1\nprint('x' * (1 << 30))")
    assert hostile.execute("kept") == "1"


def test_forked_children_that_fall_out_of_the_cell_end(hostile: Interpreter) -> None:
    code = "import os\nkept = 1\nfor _ in range(3): os.fork()\nprint(os.getpid(), flush=True)"
    assert len(set(hostile.execute(code).split())) >= 1
    assert hostile.execute("kept") == "1"


def test_a_fork_bomb_is_an_error_or_a_lost_state_but_no_hang(hostile: Interpreter) -> None:
    hostile._timeout = 3.0
    with pytest.raises((CodeFailed, CodeInterpreterError)):
        hostile.execute("import os\nwhile True: os.fork()")
    try:
        answer = hostile.execute("6 * 7")
    except CodeInterpreterError as error:
        assert "gone" in str(error)  # noqa: PT017 - either end is allowed, a hang is not
    else:
        assert answer.splitlines()[-1] == "42"


def test_a_process_that_eats_memory_in_children_does_not_hang(hostile: Interpreter) -> None:
    hostile._timeout = 5.0
    code = (
        "import os, time\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (100 << 20)\n"
        "        time.sleep(20)\n"
        "        os._exit(0)\n"
        "os.wait()\n"
    )
    try:
        hostile.execute(code)
        assert hostile.execute("6 * 7").splitlines()[-1] == "42"
    except CodeFailed:
        assert hostile.execute("6 * 7").splitlines()[-1] == "42"
    except CodeInterpreterError as error:
        assert "gone" in str(error)  # noqa: PT017 - either end is allowed, a hang is not


@pytest.mark.parametrize(
    "code",
    [
        "sum(range(10 ** 12))",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["in C", "ignored"],
)
def test_code_that_heeds_no_interrupt_is_killed_after_the_grace(
    hostile: Interpreter, witness: Witness, code: str
) -> None:
    hostile.execute("kept = 1")
    running = Background(lambda: hostile.execute(f"print('on', flush=True)\n{code}"))
    until(lambda: "on\n" in witness.text())
    hostile.interrupt()
    with pytest.raises(CodeFailed, match="did not stop when it was interrupted") as failed:
        running.result()
    assert (failed.value.outcome.outcome, failed.value.outcome.state_lost) == ("interrupted", True)
    assert hostile.execute("'kept' in globals()") == "False"


def test_a_process_that_stopped_itself_is_interrupted_like_any_other(hostile: Interpreter, witness: Witness) -> None:
    code = (
        "import os, signal\nkept = 1\nprint('on', flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass"
    )
    running = Background(lambda: hostile.execute(code))
    until(lambda: "on\n" in witness.text())
    hostile.interrupt()
    with pytest.raises(CodeFailed, match="variables are kept"):
        running.result()
    assert hostile.execute("kept") == "1"


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGSTOP", "SIGKILL"])
def test_signals_to_the_supervisor_change_nothing(hostile: Interpreter, number: str) -> None:
    code = (
        "import contextlib, os, signal\nkept = 1\n"
        f"with contextlib.suppress(PermissionError): os.kill(os.getppid(), signal.{number})\n'alive'"
    )
    assert hostile.execute(code) == "'alive'"
    assert hostile.execute("kept") == "1"


def test_the_supervisors_memory_and_pipes_can_not_be_opened(hostile: Interpreter) -> None:
    code = (
        "import os\nopened = []\n"
        "for what, how in (('mem', os.O_RDWR), ('fd/3', os.O_RDONLY), ('fd/4', os.O_WRONLY)):\n"
        "    try: opened.append((what, os.open(f'/proc/{os.getppid()}/{what}', how)))\n"
        "    except OSError: pass\nopened"
    )
    assert hostile.execute(code) == "[]"


def _supervisor(interpreter: Interpreter) -> int:
    """The worker's parent: the last but one of the sandbox's processes."""
    return processes_of(interpreter)[-2]


def test_a_supervisor_that_is_killed_is_a_lost_sandbox(hostile: Interpreter, witness: Witness) -> None:
    hostile.tools["harm"] = lambda: os.kill(_supervisor(hostile), signal.SIGKILL)
    with pytest.raises(CodeInterpreterError, match=r"sandbox is gone: .*Start the run again") as lost:
        hostile.execute("import time\nharm()\ntime.sleep(20)")
    assert not isinstance(lost.value, CodeFailed)
    with pytest.raises(CodeInterpreterError, match="gone"):
        hostile.execute("1")
    assert len(witness.of("lost")) == 1
    until(lambda: not processes_of(hostile))


def test_a_supervisor_that_is_stopped_is_given_up(make: Maker, hostile: Interpreter) -> None:
    silent = make(silence=1.5)
    silent.tools["harm"] = lambda: os.kill(_supervisor(silent), signal.SIGSTOP)
    with pytest.raises(CodeInterpreterError, match="nothing was heard"):
        silent.execute("import time\nharm()\ntime.sleep(20)")
    until(lambda: not processes_of(silent))


@pytest.mark.parametrize(
    "frame",
    [
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'none such'}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'ok', 'ms': 1}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'ok', 'ms': -1.5}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'submit', 'parts': 1 << 70}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'inputs', 'missing': ['x' * 1000]}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'inputs', 'missing': ['x'] * 5000}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'error', 'error': {'type': 'E'}}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'ok', 'vars': {'t': 'hello', 'version': 9}}",
        "{'t': 'done', 'cell': link.threads.cell, 'status': 'ok', 'vars': {'added': [{'name': 3}]}}",
        (
            "{'t': 'done', 'cell': link.threads.cell, 'status': 'error',"
            " 'error': {'type': 'E', 'message': 'm' * 70_000, 'traceback': ''}}"
        ),
        (
            "{'t': 'done', 'cell': link.threads.cell, 'status': 'error',"
            " 'error': {'type': 'E', 'message': '', 'traceback': '', 'line': -1}}"
        ),
        (
            'b\'{"t":"done","cell":%d,"status":"submit","final":{"a":%s}}\\n\''
            ' % (link.threads.cell, b"[" * 9000 + b"]" * 9000)'
        ),
        'b\'{"t":"done","cell":%d,"status":"submit","final":{"a":1%s}}\\n\' % (link.threads.cell, b"0" * 5000)',
        'b\'{"t":"done","cell":%d,"sta\\n\' % link.threads.cell',
        "b'x' * 100_000 + b'\\n'",
        "b'[1]\\n'",
        "b'{}\\n'",
        "b'[' * 9000 + b'\\n'",
        "b'\\xff\\xfe\\n'",
        "{'t': 'hello', 'version': 1, 'python': '3', 'pid': 1}",
        "{'t': 'call', 'cell': 7, 'id': 'x', 'name': 3}",
        "{'t': 'call', 'cell': link.threads.cell, 'id': -1, 'name': 'llm_query'}",
        "{'t': 'cancel', 'id': [1]}",
        "{'t': 'part', 'key': 'k' * 99, 'data': 'x'}",
        "{'t': 'part', 'key': 1, 'data': 'x'}",
    ],
)
def test_a_frame_that_can_not_be_read_costs_the_worker_and_no_time(hostile: Interpreter, frame: str) -> None:
    code = (
        "import gc, time\nlink = next(o for o in gc.get_objects() if type(o).__name__ == 'Link')\n"
        f"link.send({frame})\ntime.sleep(30)"
    )
    with pytest.raises(CodeFailed, match="StateLost"):
        hostile.execute(code)
    assert hostile.execute("1") == "1"


def test_a_replaced_json_changes_no_submission(hostile: Interpreter) -> None:
    submitted = hostile.execute("import json\njson.dumps = lambda *args, **more: 'NaN'\nSUBMIT(1)")
    assert submitted == FinalOutput({"output": 1})


@pytest.mark.parametrize(
    "frame",
    [
        "{'t': 'done', 'cell': 99, 'status': 'ok'}",
        "{'t': 'began', 'cell': link.threads.cell}",
        "{'t': 'call', 'cell': 99, 'id': 1, 'name': 'x'}",
        "{'t': 'cancel', 'id': 12}",
        "{'t': 'part', 'key': 'k', 'data': 'x'}",
    ],
)
def test_a_frame_that_is_sound_but_not_of_this_cell_breaks_nothing(hostile: Interpreter, frame: str) -> None:
    code = (
        "import gc\nlink = next(o for o in gc.get_objects() if type(o).__name__ == 'Link')\n"
        f"link.send({frame})\ndel link\n'alive'"
    )
    assert hostile.execute(code) == "'alive'"
    assert hostile.execute("1 + 1") == "2"


def test_a_submission_that_was_forged_costs_its_step_and_not_the_sandbox(hostile: Interpreter) -> None:
    code = (
        "import gc, time\nlink = next(o for o in gc.get_objects() if type(o).__name__ == 'Link')\n"
        "link.send({'t': 'done', 'cell': link.threads.cell, 'status': 'submit', 'parts': 3})"
    )
    with pytest.raises(CodeFailed, match="what it submitted can't be read"):
        hostile.execute(code)
    assert hostile.execute("1") == "1"


def test_a_large_answer_to_a_stalled_worker_blocks_nobody(hostile: Interpreter, witness: Witness) -> None:
    """The worker stops itself while 40 MB are on their way to it; an interrupt still gets through."""
    hostile.tools["large"] = lambda: "x" * (40 << 20)
    code = (
        "import os, signal, threading, time\n"
        "def ask(): large()\n"
        "threading.Thread(target=ask).start()\n"
        "time.sleep(0.05)\n"
        "print('on', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "time.sleep(20)\n"
    )
    running = Background(lambda: hostile.execute(code))
    until(lambda: "on" in witness.text())
    hostile.interrupt()
    with pytest.raises(CodeFailed, match="interrupted"):
        running.result()
    assert hostile.execute("1 + 1").splitlines()[-1] == "2"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("other")], ids=["removed", "changed"])
def test_an_input_whose_file_is_not_what_was_sent_is_sent_again(harm: Callable[[Path], object]) -> None:
    """Needs a place whose files the host can reach; the code can do the same where it may write to them."""
    text, transport = "abc" * 100_000, BootTransport()
    with Interpreter(lambda: transport) as place:
        place.execute("len(text)", {"text": text})
        with pytest.raises(CodeFailed):
            place.execute("import os\nos._exit(1)")
        for path in transport.folder.iterdir():
            harm(path)
        assert place.execute("len(text), text[-3:]", {"text": text}) == "(300000, 'abc')"


def test_nothing_is_left_of_an_interpreter_that_was_killed(hostile: Interpreter) -> None:
    code = "import subprocess, os\nfor _ in range(3): subprocess.Popen(['sleep', '60'], start_new_session=True)"
    hostile.execute(code)
    before = processes_of(hostile)
    assert len(before) >= 5
    hostile.kill()
    until(lambda: not processes_of(hostile))
