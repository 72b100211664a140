"""What planners write that is more, or less, than a plain Python file; and what a cell breaks for the next."""

from __future__ import annotations

import re
import threading

import pytest
from dspy.primitives.code_interpreter import FinalOutput

from fleet_rlm.sandbox.host.execution import CodeFailed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.inside import toolbox
from waiting import until

from .places import Background, Witness

AWAITS = "import asyncio\nasync def seven():\n    await asyncio.sleep(0)\n    return 7\n"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("print(await seven())", "7"),
        ("await seven()", "7"),
        ("x = await seven()\nx + 1", "8"),
        ("[await seven() for _ in 'ab']", "[7, 7]"),
        ("sum(await asyncio.gather(seven(), seven()))", "14"),
        ("t = asyncio.create_task(seven())\nawait t", "7"),
        ("async def many():\n    for n in range(3): yield n\nasync for n in many(): print(n)", "0\n1\n2"),
        (
            ("import contextlib\n@contextlib.asynccontextmanager\nasync def held(): yield 5\n"
            "async with held() as value: print(value)"),
            "5",
        ),
        ("asyncio.run(seven())", "7"),
        ("await seven()\nasyncio.run(seven())", "cannot be called from a running event loop"),
        ("await asyncio.to_thread(double, 4)", "8"),
        ("await asyncio.to_thread(double, 1)\nawait asyncio.gather(*[asyncio.to_thread(double, n) for n in (1, 2)])",
         "[2, 4]"),
        ("async def fails():\n    1 / 0\nawait fails()", "ZeroDivisionError"),
        ("try: await seven() / 0\nexcept ZeroDivisionError: print('caught')", "caught"),
    ],
)  # fmt: skip
def test_await_works_outside_of_functions(place: Interpreter, code: str, shown: str) -> None:
    place.tools["double"] = lambda n: 2 * n
    place.execute(AWAITS)
    place.execute("import asyncio\nawait asyncio.to_thread(double, 1)")
    try:
        said = str(place.execute(code))
    except CodeFailed as failed:
        said = str(failed)
        assert shown in said
        assert "/asyncio/base_events" not in said
    else:
        assert said == shown


def test_a_task_may_be_awaited_in_a_later_step(place: Interpreter) -> None:
    place.execute(f"{AWAITS}t = asyncio.create_task(seven())\nawait asyncio.sleep(0)")
    assert place.execute("await t") == "7"


def test_what_is_submitted_after_an_await_arrives(place: Interpreter) -> None:
    assert place.execute(f"{AWAITS}SUBMIT(await seven())") == FinalOutput({"output": 7})
    code = f"{AWAITS}async def end(): SUBMIT(await seven())\nawait asyncio.gather(end(), asyncio.sleep(60))"
    assert place.execute(code) == FinalOutput({"output": 7})


@pytest.mark.parametrize(
    "code",
    [
        "await asyncio.sleep(60)",
        "await asyncio.gather(*[asyncio.sleep(60) for _ in 'ab'])",
        "async def spin():\n    while True: pass\nawait spin()",
        "asyncio.run(asyncio.sleep(60))",
        "await asyncio.to_thread(wait)",
        ("async def deaf():\n    while True:\n        try: await asyncio.sleep(9)\n        except: pass\nawait deaf()"),
    ],
)
def test_an_interrupt_ends_a_step_that_awaits(place: Interpreter, code: str, witness: Witness) -> None:
    release = threading.Event()
    place.tools["wait"] = lambda: release.wait(20)
    place.execute(f"{AWAITS}kept = 41")
    running = Background(lambda: place.execute(f"print('on', flush=True)\n{code}"))
    until(lambda: "on\n" in witness.text())
    assert place.interrupt()
    with pytest.raises(CodeFailed, match="interrupted; variables are kept"):
        running.result()
    release.set()
    assert place.execute("kept + await seven()") == "48"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("!pip install pandas", "There is no shell here"),
        ("x = 1\n!ls -la", "There is no shell here"),
        ("files = !ls", "There is no shell here"),
        ("pip install pandas", "There is no shell here"),
        ("python -m pip install x", "There is no shell here"),
        ("$ ls", "There is no shell here"),
        ("%time len(context)", "without magics"),
        ("%pip install pandas", "without magics"),
        ("if True:\n    %cd /tmp", "without magics"),
        ("%%bash\necho 'it''s'; for f in *; do echo \"$f\"; done", "without cell magics"),
        ("?len", "call help"),
        ("len?", "call help"),
        ("x = 1\nx.real??", "call help"),
        ("x = = 1", ""),
        ("print('what?'", ""),
        ("return 1", "outside function"),
    ],
)
def test_what_only_a_notebook_understands_is_told_as_such(place: Interpreter, code: str, says: str) -> None:
    with pytest.raises(SyntaxError) as failed:
        place.execute(code)
    assert says in str(failed.value)
    assert bool(re.search("shell|magics|help", str(failed.value))) == bool(says and says != "outside function")


@pytest.mark.parametrize("code", ["exit()", "quit()", "exit(3)", "import sys\nsys.exit('bye')", "raise SystemExit"])
def test_exit_ends_the_step_alone_and_leaves_stdin_open_and_empty(place: Interpreter, code: str) -> None:
    place.execute("kept = 1")
    with pytest.raises(CodeFailed, match=r"exit\(\) ends only this cell; the session goes on. What stands after it"):
        place.execute(f"{code}\nkept = 2")
    assert place.execute("import sys\nsys.stdin.read(), sys.stdin.closed, kept") == "('', False, 1)"
    place.execute("help(len)")


@pytest.mark.parametrize(
    "code", ["import sys\nsys.stdin.close()", "import sys\nsys.stdin.detach()", "import os\nos.close(0)"]
)
def test_a_stdin_that_was_closed_is_open_again(place: Interpreter, code: str) -> None:
    place.execute(f"import os, sys\n{code}")
    assert place.execute("import sys\nsys.stdin.read()") == "''"
    assert place.execute("import subprocess\nsubprocess.run(['cat'], capture_output=True).returncode") == "0"


NAMES = (*toolbox.install(None), "double", "SUBMIT", "print", "len", "exit")
WORKS = (
    "peek('text', 1, 2), grep('a\\nb', 'b'), len(search('harbour line', 'harbour')), double(2), text, "
    "len(chunk_by_size('abcd', 2)), get_buffer('none'), __name__"
)


@pytest.mark.parametrize(
    "code",
    [
        "; ".join(f"{name} = None" for name in NAMES if name != "len"),
        "\n".join(f"def {name}(*a): return 'mine'" for name in NAMES if name not in ("len", "print")),
        "del double, SUBMIT, text",
        "from re import search",
        "globals().clear()",
        "globals().update({name: None for name in list(globals())})",
        "import builtins\nfor name in list(vars(builtins)):\n    if name[0] != '_': setattr(builtins, name, None)",
        "import builtins\nvars(builtins).clear()",
        "import builtins\nbuiltins.__import__ = builtins.__build_class__ = None",
        "import builtins\nbuiltins.len = builtins.isinstance = builtins.open = lambda *a: 1 / 0",
        "peek.__code__ = (lambda *a: 1).__code__\ngrep.__defaults__ = None\ndouble.__code__ = (lambda *a: 1).__code__",
        "home = peek.__globals__\nfor name in list(home): home[name] = None\nhome = None",
        "import sys\nsys.modules.clear()",
        "import sys\nsys.modules = {}",
        "import sys\nfor name in list(sys.modules): sys.modules[name] = None",
        "__name__ = __builtins__ = None",
    ],
    ids=str.split,
)
def test_names_are_there_again_in_the_next_step(place: Interpreter, code: str) -> None:
    place.tools["double"] = lambda n: 2 * n
    place.execute("kept = 1", {"text": "t"})
    try:
        place.execute(code)
    except (CodeFailed, SyntaxError):
        assert place.last is not None
        assert not place.last.state_lost
    assert place.execute(WORKS, {"text": "t"}) == "('ex', ['b'], 1, 4, 't', 2, [], '__main__')"
    assert place.execute("print(len('ab'))\nimport json, colorsys\nclass A: pass") == "2"
    assert place.execute("SUBMIT(1)") == FinalOutput({"output": 1})


@pytest.mark.parametrize(
    "code",
    [
        "import json\njson.dumps = json.loads = json.JSONEncoder = json.JSONDecoder = None",
        "import json.encoder\njson.encoder.JSONEncoder.encode = json.encoder.JSONEncoder.iterencode = None",
        "import json.encoder\njson.encoder.c_make_encoder = json.encoder._make_iterencode = None",
        "import sys\nsys.setrecursionlimit(50)",
        "import sys\nsys.setrecursionlimit(10 ** 8)",
        "import sys\nsys.settrace(lambda *a: 1 / 0)",
        "import sys\nsys.setprofile(lambda *a: 1 / 0)",
        "import sys\nsys.exc_info = sys.getrecursionlimit = sys.setswitchinterval = sys._getframe = None",
        "import os\nfor name in 'write read dup dup2 close pipe getpid _exit'.split(): setattr(os, name, None)",
        ("import threading, _thread\nfor module in (threading, _thread):\n"
        "    for name in list(vars(module)):\n        if name[:1] != '_': setattr(module, name, None)"),
        ("import time, queue, select, socket, io, traceback, linecache, ast, signal, itertools, collections\n"
        "for module in (time, queue, select, socket, io, traceback, linecache, ast, signal, itertools, collections):\n"
        "    for name in list(vars(module)):\n        if name[:1] != '_': setattr(module, name, None)"),
        "import signal\nfor number in signal.valid_signals() - {9, 19}: signal.signal(number, signal.SIG_IGN)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "import gc\ngc.disable()\ngc.freeze()",
        ("import gc, queue\nworker = next(o for o in gc.get_objects() if type(o).__name__ == 'Worker')\n"
        "worker.commands = None"),
        "import gc\nworker = next(o for o in gc.get_objects() if type(o).__name__ == 'Worker')\nvars(worker).clear()",
        ("import gc\nworker = next(o for o in gc.get_objects() if type(o).__name__ == 'Worker')\n"
        "type(worker)._run = type(worker)._read = type(worker)._finish = None"),
        "import gc\nfor o in gc.get_objects():\n  if type(o) is dict and 'fleet' in str(o.get('__name__')): o.clear()",
        "import asyncio\nasyncio.new_event_loop = asyncio.run = None",
    ],
)  # fmt: skip
def test_what_a_step_replaces_costs_at_most_the_worker_and_that_is_said(hostile: Interpreter, code: str) -> None:
    hostile.tools["double"] = lambda n: 2 * n
    hostile.execute("kept = 1")
    told = ""
    for one in (code, "double(2)", "'kept' in globals(), double(2)"):
        try:
            told += str(hostile.execute(one))
        except CodeFailed as failed:
            told += str(failed)
    lost = "(False, 4)" in told or "NameError" in told
    assert ("variables of earlier steps are gone" in told or "All variables are lost" in told) == lost, told
    assert "(True, 4)" in told or lost, told
