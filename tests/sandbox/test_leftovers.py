"""Threads and processes that outlive their cell: their output stays its, and nothing answers them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from fleet_rlm.sandbox.host.artefact import BOOT, driver, framed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from waiting import until

from .places import BootTransport, Witness

COMMAND = [sys.executable, "-I", "-c", BOOT]


def test_what_a_child_writes_later_is_still_its_own_cells(place: Interpreter, witness: Witness) -> None:
    child = "echo early; read line; echo late $line"
    place.execute(
        f"import subprocess\nchild = subprocess.Popen(['sh', '-c', {child!r}], stdin=subprocess.PIPE, text=True)\n"
    )
    code = "child.stdin.write('words\\n')\nchild.stdin.close()\n_ = child.wait()\nprint('mine')"
    assert place.execute(code) == "mine"
    until(lambda: "late words" in witness.text(1, late=True))
    assert "late words" not in witness.text(2)


def test_a_thread_that_outlives_its_cell_keeps_its_output_and_loses_its_calls(
    place: Interpreter, witness: Witness
) -> None:
    asked: list[str] = []
    place.tools["ask"] = asked.append
    code = (
        "import threading\n"
        "go = threading.Event()\n"
        "said = []\n"
        "def linger():\n"
        "    go.wait(20)\n"
        "    print('from the thread')\n"
        "    try: ask('late')\n"
        "    except RuntimeError as e: said.append(str(e))\n"
        "t = threading.Thread(target=linger)\n"
        "t.start()\n"
    )
    place.execute(code)
    output = place.execute("print('mine')\ngo.set()\nt.join(20)\nsaid[0]")
    assert output.splitlines() == [
        "mine",
        "'ask() was called outside of the cell that is executing; nothing was asked'",
    ]
    until(lambda: "from the thread" in witness.text(1, late=True))
    assert not asked


def test_a_thread_that_always_prints_never_speaks_in_another_cell(place: Interpreter) -> None:
    place.execute(
        "import threading\nover = threading.Event()\n"
        "def chat():\n    while not over.is_set(): print('from the thread')\n"
        "t = threading.Thread(target=chat)\nt.start()"
    )
    heard = [place.execute(f"print({number})") for number in range(30)]
    place.execute("over.set()\nt.join(20)")
    assert heard == [str(number) for number in range(30)]


def test_a_call_ends_with_its_cell(place: Interpreter) -> None:
    release = threading.Event()
    place.tools["wait"] = lambda: release.wait(20)
    code = (
        "import threading\nsaid = []\n"
        "def ask():\n    try: wait()\n    except RuntimeError as e: said.append(str(e))\n"
        "t = threading.Thread(target=ask)\nt.start()\nimport time\ntime.sleep(0.1)"
    )
    place.execute(code)
    assert place.execute("t.join(20)\nsaid") == "['the cell that asked is over']"
    release.set()


def test_another_process_can_not_call_the_host(place: Interpreter) -> None:
    place.tools["ask"] = lambda: "answer"
    code = (
        "import os\nread, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    try: ask()\n"
        "    except RuntimeError as e: os.write(write, str(e).encode())\n"
        "    os._exit(0)\n"
        "os.wait()\nprint(os.read(read, 1000).decode())\nask()"
    )
    assert place.execute(code) == (
        "ask() works only in the cell's own process; use threads instead of processes\n'answer'"
    )


def test_a_logger_that_was_set_up_in_one_cell_speaks_in_the_next(place: Interpreter, witness: Witness) -> None:
    place.execute("import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO', format='%(message)s')")
    assert place.execute("logging.info('heard')") == "heard"
    assert witness.text(2) == "heard\n"


def test_output_that_never_ends_does_not_hold_up_the_next_cells(place: Interpreter, witness: Witness) -> None:
    place.execute("import subprocess\nchild = subprocess.Popen(['yes'])")
    until(lambda: witness.text(1, late=True))
    for number in range(3):
        assert place.execute(str(number)) == str(number)
    assert len(witness.text(1, late=True)) <= 64 << 10
    assert place.execute("child.kill()\nchild.wait()") == "-9"


def test_a_driver_whose_host_is_silent_ends() -> None:
    """Where no end of stdin tells it: the host vanished without a word."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(framed(driver()) + b'{"t":"init","orphan":0.3}\n')
        process.stdin.flush()
        assert process.wait(20) == 75


def test_pings_keep_an_idle_driver_alive() -> None:
    transport = BootTransport()
    with Interpreter(lambda: transport, orphan=0.4) as interpreter:
        threading.Event().wait(1.2)  # the time itself is what is tested
        assert interpreter.execute("6 * 7") == "42"
    assert transport.process.poll() is not None


def test_a_driver_ends_with_its_stdin_and_takes_all_that_it_started_along() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(driver()))
        code = "import os, subprocess as s\nc = s.Popen(['sleep', '9'], start_new_session=1)\nprint(os.getpid(), c.pid)"
        run = {"t": "run", "cell": 1, "name": "cell 1", "mode": "cell", "code": code, "tools": [], "grace": 1.0}
        for message in ({"t": "init"}, run):
            process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        pids: list[str] = []
        for line in process.stdout:
            message = json.loads(line)
            pids += message["data"].split() if message["t"] == "out" else []
            if message["t"] == "done":
                break
        assert [Path(f"/proc/{pid}").exists() for pid in pids] == [True, True]
        process.stdin.close()
        process.wait(20)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
