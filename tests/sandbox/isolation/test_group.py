"""Where the kernel limits a group of processes, all that a sandbox makes it keep counts, and no group is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.local.launcher import group
from fleet_rlm.sandbox.local.launcher.watcher import descendants

from .harness import SMALL, Sandbox, not_offered, start

pytestmark = pytest.mark.isolation
TIGHT = replace(SMALL, memory_mb=128, scratch_mb=512, file_mb=400, processes=48, open_files=200)
BY_KERNEL = "memory limited by the kernel: files in memory, buffers of sockets and pipes, page tables count"


def groups() -> list[Path]:
    return [path for _, place in group.places() for path in Path(place).glob(group.PREFIX + "*")]


@pytest.fixture
def grouped(mode: str, parent: Path) -> Iterator[Sandbox]:
    """A sandbox whose memory the kernel limits. A machine that lets us make a group must use it."""
    probe = group.make(f"{group.PREFIX}probe-{os.getpid()}", 64)
    if probe is None:
        pytest.skip("this machine lets us make no group that limits memory")
    Path(probe.path).rmdir()
    sandbox = start(mode, parent, TIGHT)
    yield sandbox
    name = Path(sandbox.process._folder.path).name
    sandbox.process.close()
    assert name not in [path.name for path in groups()]


def test_everything_of_the_sandbox_is_in_its_group_before_the_driver_runs(grouped: Sandbox) -> None:
    name = grouped.process._folder.path.name
    inside = descendants(grouped.process.pid)
    assert len(inside) >= 2
    for pid in inside:
        assert name in Path(f"/proc/{pid}/cgroup").read_text()
    assert name not in Path(f"/proc/{grouped.process.pid}/cgroup").read_text(), "the launcher removes the group"


def test_the_kernels_limit_is_claimed_where_nobody_can_leave_it(grouped: Sandbox) -> None:
    report = grouped.process.report
    holds = "files outside cannot be written" in report.proven
    assert (BY_KERNEL in report.proven) == holds
    assert any(words.startswith("not counted") for words in report.not_protected) != holds


def test_buffers_of_sockets_count(grouped: Sandbox) -> None:
    source = """
import os, socket, time
pids = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        pairs = []
        while True:
            try:
                pairs.append(socket.socketpair())
                pairs[-1][0].setblocking(False)
                while True: pairs[-1][0].send(b"x" * 65536)
            except BlockingIOError: continue
            except OSError: break
        time.sleep(20)
        os._exit(0)
    pids.append(pid)
pid, status = os.wait()
result = os.WTERMSIG(status)
for pid in pids:
    try: os.kill(pid, 9)
    except OSError: pass
"""
    answer = grouped.ask({"run": source})
    words = "the sandbox used its 128 MiB of memory (files in memory and the kernel's buffers included)"
    if answer != {"died": words}:  # the kernel ended the driver, else another process: these are equally large
        assert answer == {"got": 9}


WATCH = """
import os, subprocess, sys
from fleet_rlm.sandbox.local.launcher.plan import Plan
from fleet_rlm.sandbox.local.launcher.watcher import Tree, Watcher
class Pipes:
    life_read, kills = os.pipe()[0], os.open(sys.argv[1], os.O_RDONLY)
fields = dict.fromkeys(("processes", "cpu_seconds", "scratch_mb"), 0)
driver = subprocess.Popen(["sleep", "60"], start_new_session=True)
watcher = Watcher(Plan.of({**fields, "memory_mb": 128, "report_fd": 1}), Tree(driver.pid, own_pids=False), Pipes)
watcher._no_hiding = watcher._shared_host = lambda *_: None
with open(sys.argv[1], "w") as file: file.write("oom_kill 1\\n")
watcher._look()
driver.kill()
watcher.run()
"""


def test_a_driver_that_dies_slowly_of_a_full_group_is_said_to_have_used_its_memory(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 0\n")
    done = subprocess.run([sys.executable, "-c", WATCH, str(events)], capture_output=True, text=True, check=True)
    assert "the sandbox used its 128 MiB of memory" in done.stdout, done.stderr


def test_files_in_memory_count(grouped: Sandbox) -> None:
    if grouped.mode != "namespaces" and grouped.mode != "bubblewrap":
        pytest.skip("the scratch lies on the disk in this mode")
    source = """
with open("big", "wb", buffering=0) as file:
    for _ in range(380): file.write(b"x" * (1 << 20))
"""
    answer = grouped.ask({"run": source})
    assert "died" in answer or "stopped" in answer, answer


def test_a_group_whose_owners_are_dead_is_swept_and_a_living_one_is_not(mode: str, parent: Path) -> None:
    left = group.make(f"{group.PREFIX}dead-{os.getpid()}", 64)
    if left is None:
        pytest.skip("this machine lets us make no group that limits memory")
    assert group.sweep() == 0, "its owner lives"
    pid = os.fork()
    if pid == 0:
        signal.pause()
    assert left.holds([pid])
    os.close(left._lock)
    assert group.sweep() == 0, "a process lives in it"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with start(mode, parent).process:
        assert not Path(left.path).exists()


PROC = {
    "version 1": ("4:memory:/a/b", "30 1 0:1 / {} rw - cgroup cgroup rw,memory", [(1, "a/b")]),
    "version 1, a container's part": ("4:memory:/pod/x", "30 1 0:1 /pod {} rw - cgroup cgroup rw,memory", [(1, "x")]),
    "version 1, not ours to see": ("4:memory:/pod", "30 1 0:1 /other {} rw - cgroup cgroup rw,memory", []),
    "version 2, beside our own": ("0::/apps/one", "30 1 0:1 / {} rw - cgroup2 cgroup rw", [(2, "apps")]),
    "no memory": ("4:cpu:/", "30 1 0:1 / {} rw - cgroup cgroup rw,cpu", []),
}


@pytest.mark.parametrize("machine", PROC)
def test_the_places_for_a_group_are_found(machine: str, tmp_path: Path) -> None:
    own, mount, expected = PROC[machine]
    tree = tmp_path / "tree"
    (tree / "apps/one").mkdir(parents=True)
    (tree / "cgroup.subtree_control").write_text("cpu memory\n")
    (tree / "apps/cgroup.subtree_control").write_text("memory pids\n")
    (tree / "apps/one/cgroup.subtree_control").write_text("\n")
    (tmp_path / "cgroup").write_text(own + "\n")
    (tmp_path / "mountinfo").write_text(mount.format(tree) + "\n")
    assert group.places(str(tmp_path)) == [(version, f"{tree}/{below}") for version, below in expected]


def test_without_a_limit_there_is_no_group(parent: Path) -> None:
    if reason := not_offered("limits", parent):
        pytest.skip(reason)
    with start("limits", parent, Limits(memory_mb=0)).process as process:
        assert process._folder.path.name not in [path.name for path in groups()]
