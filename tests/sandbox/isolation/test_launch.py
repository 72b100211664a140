"""The engine's side: what it is told, what it may ask, and how it fails."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.local import IsolatedProcess, IsolationError, harden_self, launch
from fleet_rlm.sandbox.local.isolation_report import report
from fleet_rlm.sandbox.local.launcher.folder import remove
from fleet_rlm.sandbox.local.sandbox_folders import SandboxFolder

from .harness import HOSTILE, SMALL, Sandbox, start

pytestmark = pytest.mark.isolation


def test_an_input_larger_than_memory_and_scratch_is_read_inside(mode: str, parent: Path) -> None:
    limits = Limits(memory_mb=128, scratch_mb=16, file_mb=16, processes=8, cpu_seconds=60, open_files=64)
    sandbox = start(mode, parent, limits)
    with sandbox.process:
        path = sandbox.process.put("a1b2-c3.txt", (b"%07d\n" % number * 131072 for number in range(200)))
        source = f"""
import os
with open({path!r}, "rb") as file:
    file.seek(-8, os.SEEK_END)
    last = file.read()
result = [os.path.getsize({path!r}), last.decode(), [n for n in os.listdir(os.path.dirname({path!r})) if n[0] != "."]]
"""
        assert sandbox.run(source) == [200 << 20, "0000199\n", ["a1b2-c3.txt"]]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\0b", "/etc/passwd", "x" * 200, "a\n"])
def test_an_input_needs_a_plain_name(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(IsolationError, match="not a plain file name"):
        sandbox.process.put(name, iter([b"x"]))


def test_an_input_that_fails_half_way_is_not_there(sandbox: Sandbox) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        sandbox.process.put("an-input", broken())
    path = sandbox.process.put("another", iter([b"whole"]))
    assert sandbox.run(f"import os; result = os.listdir(os.path.dirname({path!r}))") == ["another"]


def test_no_input_after_the_end(sandbox: Sandbox) -> None:
    sandbox.process.kill()
    with pytest.raises(IsolationError, match="the sandbox has ended: ended by us"):
        sandbox.process.put("an-input", iter([b"x"]))


def test_a_sandbox_may_be_started_from_a_thread_that_ends(mode: str, parent: Path) -> None:
    started: list[Sandbox] = []
    thread = threading.Thread(target=lambda: started.append(start(mode, parent)))
    thread.start()
    thread.join()
    with started[0].process:
        assert started[0].run("result = 1") == 1


def test_what_ended_the_driver_is_said(mode: str, parent: Path) -> None:
    for source, words in {
        "import os; os._exit(3)": "the driver ended by itself with exit code 3",
        "import os; os.kill(os.getpid(), 11)": "killed by signal 11 (SIGSEGV)",
        "import os; os.kill(os.getpid(), 9)": "killed by signal 9 (SIGKILL) (out of memory?)",
    }.items():
        with start(mode, parent).process as process:
            assert process.poll() is None
            assert process.end() is None
            assert Sandbox(process, mode).ask({"run": source}) == {"died": words}


def test_what_the_driver_says_on_standard_error_is_only_its_own(mode: str, parent: Path) -> None:
    sandbox = start(mode, parent)
    with sandbox.process:
        sandbox.run("import sys; sys.stderr.write('mine'); sys.stderr.flush(); result = None")
        assert os.read(sandbox.process.stderr_fd, 1000) == b"mine"


def test_progress_names_what_is_tried(parent: Path) -> None:
    heard: list[str] = []
    with launch(HOSTILE, limits=SMALL, scratch_parent=parent, progress=heard.append) as process:
        assert heard[-1] == f"trying isolation by {process.report.mode}"


def test_a_folder_that_is_not_there_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(IsolationError, match=r"no folder for the sandbox in .*absent: No such file.*; set another"):
        launch(HOSTILE, limits=SMALL, scratch_parent=tmp_path / "absent")


def test_the_pipes_are_the_callers_until_close(parent: Path) -> None:
    process: IsolatedProcess = launch(HOSTILE, limits=SMALL, scratch_parent=parent)
    fds = (process.stdin_fd, process.stdout_fd, process.stderr_fd)
    process.kill()
    assert [os.fstat(fd) for fd in fds]
    process.close()
    assert (process.stdin_fd, process.stdout_fd, process.stderr_fd) == (-1, -1, -1)
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_folder_of_any_shape_is_removed_and_no_link_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "link").symlink_to(kept)
    os.mkfifo(hostile / "pipe")
    (hostile / "closed").mkdir()
    (hostile / "closed" / "inner").mkdir(mode=0)
    (hostile / "closed").chmod(0)
    here = os.open(hostile, os.O_RDONLY)
    for _ in range(1500):  # deeper than any path may be long, and than Python's stack
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert remove(str(hostile))
    assert not hostile.exists()
    assert (kept / "file").read_text() == "x"
    assert remove(str(hostile)), "what is gone is gone"


def test_others_may_not_look_into_a_sandboxs_folder(parent: Path) -> None:
    folder = SandboxFolder(parent)
    try:
        assert stat.S_IMODE(folder.path.stat().st_mode) & 0o007 == 0
        folder.put("an-input", iter([b"x"]))
        assert stat.S_IMODE((folder.path / "inputs" / "an-input").stat().st_mode) == 0o440
    finally:
        os.close(folder.lock_fd)
        assert folder.remove()


def test_a_report_claims_only_what_held() -> None:
    nothing = report("limits", {}, {}, (), Limits())
    assert nothing.words == "NOT isolated: limits only"
    assert nothing.proven == ("at most 1024 MiB of scratch (checked each second)",)
    assert "no TCP connections: could not be tried here" in nothing.not_protected
    names = ("no tcp", "no udp", "no path sockets", "files unread", "files unwritten", "metadata safe", "names hidden")
    everything = dict.fromkeys(names, True)
    watched = "no network, no files of yours, limits (kernel buffers not counted)"
    assert report("x", everything, {}, (), Limits()).words == watched
    limited = report("namespaces", everything, {"group": True}, (), Limits())
    assert limited.words == "no network, no files of yours, memory limited by the kernel"
    assert not [words for words in limited.not_protected if words.startswith("not counted")]
    for mode in ("namespaces", "bubblewrap", "landlock", "limits"):
        assert any(
            words.startswith("not counted") for words in report(mode, everything, {}, (), Limits()).not_protected
        )
    for name in names[:3]:
        assert report("x", everything | {name: False}, {}, (), Limits()).words == "NOT isolated: limits only"
    for name in names[3:6]:
        words = report("x", everything | {name: False}, {}, (), Limits()).words
        assert words == "no network; your files are NOT protected"


def test_hardening_is_said_to_have_worked_only_where_it_did() -> None:
    pid = os.fork()
    if pid == 0:
        hardened = harden_self()
        os._exit(0 if hardened == (sys.platform == "linux") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
