"""Nothing grows without end: memory, processes, CPU, files, the scratch folder. In every mode that is offered."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.local.launcher.watcher import descendants

from .harness import OWN_ROOT, SMALL, Sandbox, not_offered, start

pytestmark = pytest.mark.isolation


def run_within(mode: str, parent: Path, limits: Limits, source: str) -> tuple[dict[str, object], Sandbox]:
    sandbox = start(mode, parent, limits)
    try:
        return sandbox.ask({"run": source}), sandbox
    finally:
        sandbox.process.close()


def test_asking_for_too_much_memory_is_an_error_that_generated_code_survives(mode: str, parent: Path) -> None:
    sandbox = start(mode, parent, replace(SMALL, memory_mb=192))
    with sandbox.process:
        stopped = sandbox.ask({"run": "keep = [bytearray(b'x') * (16 << 20) for _ in range(64)]"})
        assert str(stopped.get("stopped")).startswith("MemoryError")
        assert sandbox.run("result = 1 + 1") == 2


def test_the_memory_of_many_processes_is_added_up(mode: str, parent: Path) -> None:
    source = """
import os, time
pids = []
for _ in range(6):
    pid = os.fork()
    if pid == 0:
        keep = bytearray(b"x") * (80 << 20)
        time.sleep(20)
        os._exit(0)
    pids.append(pid)
pid, status = os.wait()
result = os.WTERMSIG(status)
for pid in pids:
    try: os.kill(pid, 9)
    except OSError: pass
"""
    answer, _ = run_within(mode, parent, replace(SMALL, memory_mb=192), source)
    assert answer == {"got": 9}, "the largest process is ended, the driver lives"


def test_a_file_stops_growing_at_its_limit_sparse_or_full(mode: str, parent: Path) -> None:
    source = """
import os
size = 0
try:
    with open("big", "wb", buffering=0) as file:
        while size < 200 << 20: size += file.write(b"x" * (1 << 20))
except OSError: pass
os.unlink("big")
try:
    with open("sparse", "wb") as file: file.truncate(1 << 40)
    size = 1 << 40
except OSError: pass
result = size
"""
    answer, _ = run_within(mode, parent, replace(SMALL, file_mb=8), source)
    assert answer == {"got": 8 << 20}


HOARDS = {
    "in many files": "keep = lambda number: open(f'part{number}', 'wb', buffering=0)",
    "removed but open": """
kept = []
def keep(number):
    kept.append(open("part", "wb", buffering=0))
    os.unlink("part")
    return os.fdopen(os.dup(kept[-1].fileno()), "wb", buffering=0)
""",
    "removed but mapped": """
import mmap
kept = []
def keep(number):
    fd = os.open(f"part{number}", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x")
    kept.append(mmap.mmap(fd, 1, mmap.MAP_SHARED))
    os.unlink(f"part{number}")
    for copy in range(3, 100):  # mmap keeps one of its own
        try:
            if copy != fd and os.path.samestat(os.fstat(copy), os.fstat(fd)): os.close(copy)
        except OSError: pass
    return os.fdopen(fd, "wb", buffering=0)
""",
    "removed, and on its way in a socket": """
import socket
pairs = []
def keep(number):
    fd = os.open(f"part{number}", os.O_RDWR | os.O_CREAT)
    os.unlink(f"part{number}")
    pairs.append(socket.socketpair())
    socket.send_fds(pairs[-1][0], [b"x"], [fd])
    return os.fdopen(fd, "wb", buffering=0)
""",
    "deeper than a path is long": """
for _ in range(45):
    os.mkdir("x" * 100)
    os.chdir("x" * 100)
keep = lambda number: open(f"part{number}", "wb", buffering=0)
""",
    "in a folder that may not be listed": """
os.mkdir("closed", 0o300)
keep = lambda number: open(f"closed/part{number}", "wb", buffering=0)
""",
}


@pytest.mark.parametrize("how", HOARDS)
def test_the_scratch_folder_is_bounded(mode: str, parent: Path, how: str) -> None:
    source = f"""
import os, time
{HOARDS[how]}
size = 0
try:
    for number in range(60):
        with keep(number) as file:
            size += file.write(b"x" * (1 << 20))
    time.sleep(20)
except OSError: pass
result = size
"""
    answer, _ = run_within(mode, parent, replace(SMALL, scratch_mb=24), source)
    if mode in OWN_ROOT:
        assert 20 << 20 < int(str(answer["got"])) <= 24 << 20
    else:
        assert answer == {"died": "the scratch folder grew past 24 MiB"}


def test_shared_memory_is_bounded(mode: str, parent: Path) -> None:
    if mode.startswith("limits"):
        pytest.skip("files are not protected in this mode, /dev/shm among them: the report says so")
    source = """
size = 0
try:
    for number in range(400):
        with open(f"/dev/shm/part{number}", "wb", buffering=0) as file:
            size += file.write(b"x" * (1 << 20))
except OSError: pass
result = size
"""
    answer, _ = run_within(mode, parent, replace(SMALL, memory_mb=192), source)
    assert int(str(answer["got"])) <= 24 << 20


@pytest.mark.parametrize("source", ["-1", "os.open('/dev/zero', os.O_RDWR)"])
def test_memory_that_nobody_counts_is_refused(mode: str, parent: Path, source: str) -> None:
    if mode == "limits" or (mode == "limits+seccomp" and "zero" in source):
        pytest.skip("nothing is refused in this mode")
    attempt = f"import mmap, os\nkeep = mmap.mmap({source}, 1 << 20, mmap.MAP_SHARED)"
    answer, _ = run_within(mode, parent, SMALL, attempt)
    assert "stopped" in answer, answer


def test_memory_is_counted_after_the_first_thread_of_its_process_has_ended(mode: str, parent: Path) -> None:
    source = """
import ctypes, os, threading, time
def hoard():
    time.sleep(0.2)
    keep = bytearray(b"x") * (150 << 20)
    time.sleep(20)
pids = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        threading.Thread(target=hoard).start()
        ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
    pids.append(pid)
status = os.wait()[1]
result = os.WTERMSIG(status)
for pid in pids:
    try: os.kill(pid, 9)
    except OSError: pass
"""
    answer, _ = run_within(mode, parent, replace(SMALL, memory_mb=256), source)
    assert answer == {"got": 9}


def test_no_flood_of_signals_keeps_the_watcher_from_looking(parent: Path) -> None:
    if reason := not_offered("limits", parent) or (os.geteuid() == 0 and "as root no signal reaches the watcher"):
        pytest.skip(reason)
    source = """
import os, signal
watcher = os.getppid()
if os.fork() == 0:
    while True:
        os.kill(watcher, signal.SIGCHLD)
while True: pass
"""
    answer, _ = run_within("limits", parent, replace(SMALL, cpu_seconds=2), source)
    assert answer == {"died": "the sandbox used its 2 CPU seconds"}


def test_whoever_stops_the_watcher_ends_the_sandbox(parent: Path) -> None:
    if reason := not_offered("limits", parent) or (os.geteuid() == 0 and "as root no signal reaches the watcher"):
        pytest.skip(reason)
    source = "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(20)"
    answer, _ = run_within("limits", parent, SMALL, source)
    assert answer == {"died": "the watcher was stopped"}


def test_processes_are_limited(mode: str, parent: Path) -> None:
    source = """
import os, time
count = 0
try:
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        count += 1
    time.sleep(5)
except OSError: pass
result = count
"""
    answer, sandbox = run_within(mode, parent, replace(SMALL, processes=16), source)
    if "at most 16 processes and threads" in sandbox.process.report.proven:
        assert int(str(answer["got"])) <= 16, "the kernel refuses more"
    else:
        assert answer == {"died": "the sandbox ran more than 16 processes"}


def test_a_fork_bomb_is_held_down_and_ends_with_its_sandbox(mode: str, parent: Path) -> None:
    fuse = 400  # forks in all: were nothing in force, this bomb would still not hurt the machine
    bomb = f"""
import mmap, os, time
with open("counter", "wb") as file: file.truncate(1 << 12)
counter = mmap.mmap(os.open("counter", os.O_RDWR), 1 << 12)
def burn():
    while True:
        lit = counter.find(b"\\0")
        if lit >= {fuse}: time.sleep(60)
        counter[lit] = 1
        try:
            if os.fork() == 0 and lit % 2: os.setsid()
        except OSError: time.sleep(0.01)
pid = os.fork()
if pid == 0: burn()
until = time.monotonic() + 0.5
while time.monotonic() < until: time.sleep(0.1)
result = None
"""
    sandbox = start(mode, parent, replace(SMALL, processes=16))
    with sandbox.process:
        answer = sandbox.ask({"run": bomb})
        assert answer in ({"got": None}, {"died": "the sandbox ran more than 16 processes"})
        below = descendants(sandbox.process.pid)
        assert len(below) <= 16 + 3
        sandbox.process.kill()
        assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def test_a_loop_ends_when_its_cpu_seconds_are_used(mode: str, parent: Path) -> None:
    answer, _ = run_within(mode, parent, replace(SMALL, cpu_seconds=1), "while True: pass")
    assert "used its 1 CPU seconds" in str(answer["died"])


def test_cpu_seconds_of_many_processes_are_added_up(mode: str, parent: Path) -> None:
    source = """
import os
for _ in range(3):
    if os.fork() == 0:
        while True: pass
os.wait()
"""
    answer, _ = run_within(mode, parent, replace(SMALL, cpu_seconds=2), source)
    assert answer == {"died": "the sandbox used its 2 CPU seconds"}


def test_open_files_are_limited(sandbox: Sandbox) -> None:
    answer = sandbox.ask({"run": "import os\nkeep = [os.open('/dev/null', 0) for _ in range(500)]"})
    assert "Too many open files" in str(answer["stopped"])


def test_a_crash_dumps_no_core(sandbox: Sandbox) -> None:
    source = """
import os, signal
pid = os.fork()
if pid == 0: os.kill(os.getpid(), signal.SIGSEGV)
status = os.waitpid(pid, 0)[1]
result = [os.WTERMSIG(status), os.WCOREDUMP(status)]
"""
    assert sandbox.run(source) == [11, False]


def test_zero_means_no_limit_of_ours(mode: str, parent: Path) -> None:
    unlimited = Limits(memory_mb=0, processes=0, cpu_seconds=0, file_mb=0, scratch_mb=0, open_files=0)
    source = """
import resource as r
result = [r.getrlimit(n)[1] for n in (r.RLIMIT_DATA, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_CPU)]
"""
    answer, _ = run_within(mode, parent, unlimited, source)
    import resource as r

    ours = [r.getrlimit(which)[1] for which in (r.RLIMIT_DATA, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_CPU)]
    assert answer == {"got": ours}


@pytest.mark.parametrize("shown", ["landlock", "limits+seccomp"])
def test_no_signal_reaches_who_guards_the_sandbox(shown: str, parent: Path) -> None:
    if reason := not_offered(shown, parent):
        pytest.skip(reason)
    source = """
import os
refused = []
for target in (os.getppid(), -os.getppid(), -1):
    try: os.kill(target, 0)
    except PermissionError: refused.append(True)
result = refused
"""
    answer, _ = run_within(shown, parent, SMALL, source)
    assert answer == {"got": [True, True, True]}


@pytest.mark.parametrize("shown", ["landlock", "limits+seccomp"])
def test_no_process_may_hide_from_the_watcher(shown: str, parent: Path) -> None:
    if reason := not_offered(shown, parent):
        pytest.skip(reason)
    source = "import ctypes\nlibc = ctypes.CDLL(None)\nresult = [libc.prctl(4, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0)]"
    answer, _ = run_within(shown, parent, SMALL, source)
    assert answer == {"got": [-1, 1]}


def test_no_pipe_keeps_pages_that_a_process_let_go_of(mode: str, parent: Path) -> None:
    if mode == "limits":
        pytest.skip("nothing is refused in this mode")
    source = """
import ctypes, os
page = ctypes.create_string_buffer(4096)
class Piece(ctypes.Structure): _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t)]
piece = Piece(ctypes.addressof(page), 4096)
libc = ctypes.CDLL(None, use_errno=True)
result = [libc.vmsplice(os.pipe()[1], ctypes.byref(piece), ctypes.c_size_t(1), 0), ctypes.get_errno()]
"""
    answer, _ = run_within(mode, parent, SMALL, source)
    assert answer == {"got": [-1, 1]}
