"""The strongest mode that works is taken, by trying; what was passed over is said, and nothing is claimed too much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

from fleet_rlm.sandbox.local import DEFAULT_ORDER, IsolationError, launch, parse_modes
from fleet_rlm.sandbox.local.launcher import kernel, seccomp

from .harness import HOSTILE, SMALL, not_offered

pytestmark = pytest.mark.isolation
TESTS = Path(__file__).parents[2]


class Said(TypedDict, total=False):
    mode: str
    words: str
    notes: list[str]
    error: str


def start_without(what: str, parent: Path, modes: str = ",".join(DEFAULT_ORDER)) -> Said:
    if not kernel.KNOWN:
        pytest.skip("needs a filter of system calls to play a poorer kernel")
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.isolation.poorer_kernel", what, str(parent), modes],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        check=True,
    )
    said: Said = json.loads(done.stdout)
    return said


def need(parent: Path, *modes: str) -> None:
    for mode in modes:
        if reason := not_offered(mode, parent):
            pytest.skip(reason)


def test_the_strongest_offered_mode_is_taken(parent: Path) -> None:
    offered = [mode for mode in DEFAULT_ORDER if not not_offered(mode, parent)]
    with launch(HOSTILE, limits=SMALL, scratch_parent=parent) as process:
        assert process.report.mode == offered[0]


@pytest.mark.parametrize("what", ["no-userns", "no-mounts"])
def test_without_namespaces_landlock_is_next(what: str, parent: Path) -> None:
    need(parent, "landlock")
    said = start_without(what, parent)
    assert said["mode"] == "landlock", said
    assert said["words"] == "isolated; file names and sizes may be visible"
    assert [note.split(":")[0] for note in said["notes"][:2]] == ["namespaces", "bubblewrap"]


def test_without_landlock_a_filter_is_next_and_says_that_files_are_open(parent: Path) -> None:
    need(parent, "limits+seccomp")
    said = start_without("no-userns,no-landlock", parent)
    assert said["mode"] == "limits+seccomp", said
    assert said["words"] == "no network; your files are NOT protected"
    assert "landlock: this kernel has no Landlock" in said["notes"]


def test_without_anything_it_says_that_it_is_not_isolated(parent: Path) -> None:
    need(parent, "limits")
    said = start_without("no-userns,no-landlock,no-filters", parent)
    assert said["mode"] == "limits", said
    assert said["words"] == "NOT isolated: limits only"


def test_namespaces_hold_without_landlock_as_their_second_wall(parent: Path) -> None:
    need(parent, "namespaces")
    said = start_without("no-landlock", parent)
    assert said["mode"] == "namespaces", said
    assert said["notes"] == ["no second wall: this kernel has no Landlock"]


def test_nothing_but_limits_is_taken_where_calls_cannot_be_filtered(parent: Path) -> None:
    need(parent, "limits")
    said = start_without("no-filters", parent)
    assert said["mode"] == "limits", said
    assert said["words"] == "NOT isolated: limits only"


def test_when_no_wanted_mode_works_the_reasons_are_said(parent: Path) -> None:
    said = start_without("no-userns", parent, "namespaces")
    assert said == {"error": "no isolation works here: namespaces: clone: Operation not permitted"}
    assert not list(parent.glob("fleet-rlm-sandbox-*"))


def test_a_person_may_name_modes() -> None:
    assert parse_modes("") == DEFAULT_ORDER
    assert parse_modes(" landlock, limits ") == ("landlock", "limits")
    with pytest.raises(IsolationError, match="there are: namespaces, bubblewrap"):
        parse_modes("chroot")


@pytest.mark.parametrize("shared_host", [False, True])
@pytest.mark.parametrize("column", [0, 1], ids=["x86-64", "aarch64"])
def test_the_filter_answers_every_call_on_both_architectures(
    shared_host: bool, column: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "COLUMN", column)
    monkeypatch.setattr(kernel, "AUDIT_ARCHITECTURE", (0xC000003E, 0xC00000B7)[column])
    answers = {number: evaluate(seccomp.program(shared_host), number, column) for number in range(600)}
    refused = {numbers[column] for numbers in seccomp.REFUSED.values()} - {None}
    assert {answers[number] for number in refused} == {0x50001}
    assert answers[seccomp.SOCKET[column]] == (0x5000D if shared_host else 0x50061)
    assert answers[(0, 63)[column]] == 0x7FFF0000, "read"
    assert answers[500] == 0x50026, "an unknown call is answered as on an older kernel"
    assert evaluate(seccomp.program(shared_host), 0, column, architecture=0x40000003) == 0x80000000


def evaluate(program: bytes, number: int, column: int, arguments: tuple[int, ...] = (), architecture: int = 0) -> int:
    """A filter's answer to a call, by the rules of classic BPF as far as the filter uses them."""
    import struct

    words = {0: number, 4: architecture or (0xC000003E, 0xC00000B7)[column]}
    for index in range(6):
        value = (arguments[index] if index < len(arguments) else 0) & (1 << 64) - 1
        words[16 + 8 * index], words[20 + 8 * index] = value & 0xFFFFFFFF, value >> 32
    steps = list(struct.iter_unpack("HBBI", program))
    assert len(steps) < 4096
    at, loaded = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            loaded = words[value]
        elif code == 0x54:
            loaded &= value
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += yes if holds else no


ALLOWED, REFUSED, NO_MEMORY, NO_ACCESS, NO_FAMILY = 0x7FFF0000, 0x50001, 0x5000C, 0x5000D, 0x50061
GUARD, OTHER = 4321, 4400
KILL, TGKILL = seccomp.SIGNALS["kill"], seccomp.SIGNALS["tgkill"]
SHARED, PRIVATE, ANONYMOUS, HUGE = 1, 2, 0x20, 0x40000
ON_ARGUMENTS: list[tuple[str, tuple[int, int], tuple[int, ...], int, int]] = [
    ("a thread", kernel.NR_CLONE, (0x10000 | 0x400 | 0x100,), ALLOWED, ALLOWED),
    ("a thread with open files of its own", kernel.NR_CLONE, (0x10000 | 0x100,), REFUSED, REFUSED),
    ("a process", kernel.NR_CLONE, (17,), ALLOWED, ALLOWED),
    ("a process with a namespace", kernel.NR_CLONE, (0x10000000 | 17,), REFUSED, REFUSED),
    ("private memory", seccomp.MMAP, (0, 4096, 3, PRIVATE | ANONYMOUS), ALLOWED, ALLOWED),
    ("shared memory without a file", seccomp.MMAP, (0, 4096, 3, SHARED | ANONYMOUS), REFUSED, REFUSED),
    ("the same, validated", seccomp.MMAP, (0, 4096, 3, 3 | ANONYMOUS), REFUSED, REFUSED),
    ("a shared file", seccomp.MMAP, (0, 4096, 3, SHARED, 5), ALLOWED, ALLOWED),
    ("huge pages", seccomp.MMAP, (0, 1 << 21, 3, PRIVATE | ANONYMOUS | HUGE), NO_MEMORY, NO_MEMORY),
    ("typing into a terminal", seccomp.IOCTL, (0, 0x5412), REFUSED, REFUSED),
    ("a terminal's size", seccomp.IOCTL, (0, 0x5413), ALLOWED, ALLOWED),
    ("limits of oneself", seccomp.SELF_ONLY["prlimit64"], (0, 7), ALLOWED, ALLOWED),
    ("limits of another", seccomp.SELF_ONLY["prlimit64"], (OTHER, 7), REFUSED, REFUSED),
    ("a signal to another", KILL, (OTHER, 15), ALLOWED, ALLOWED),
    ("a signal to a guard", KILL, (GUARD, 15), ALLOWED, REFUSED),
    ("a signal to a guard's group", KILL, (-GUARD, 15), ALLOWED, REFUSED),
    ("a signal to everybody", KILL, (-1, 15), ALLOWED, REFUSED),
    ("a signal to a guard's thread", TGKILL, (GUARD, GUARD, 15), ALLOWED, REFUSED),
    ("signals of a file to anybody", seccomp.FCNTL, (3, 8, GUARD), ALLOWED, REFUSED),
    ("a copy of a file", seccomp.FCNTL, (3, 0), ALLOWED, ALLOWED),
    ("a stream pair", seccomp.SOCKETPAIR, (1, 1 | 0x80000), ALLOWED, ALLOWED),
    ("a datagram pair", seccomp.SOCKETPAIR, (1, 2), ALLOWED, NO_ACCESS),
    ("a TCP socket", seccomp.SOCKET, (2, 1), ALLOWED, NO_ACCESS),
    ("a socket to the hypervisor", seccomp.SOCKET, (40, 1), NO_FAMILY, NO_ACCESS),
    ("hiding from the watcher", seccomp.PRCTL, (kernel.PR_SET_DUMPABLE, 0), ALLOWED, REFUSED),
    ("showing oneself to the watcher", seccomp.PRCTL, (kernel.PR_SET_DUMPABLE, 1), ALLOWED, ALLOWED),
    ("a name for a thread", seccomp.PRCTL, (15, 0), ALLOWED, ALLOWED),
]
"""What is asked: the call, its arguments, the answer in namespaces, the answer on the shared host."""


@pytest.mark.parametrize("column", [0, 1], ids=["x86-64", "aarch64"])
@pytest.mark.parametrize(
    ("call", "arguments", "apart", "shared"), [one[1:] for one in ON_ARGUMENTS], ids=[one[0] for one in ON_ARGUMENTS]
)
def test_the_filter_looks_at_arguments(
    call: tuple[int, int],
    arguments: tuple[int, ...],
    apart: int,
    shared: int,
    column: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "COLUMN", column)
    monkeypatch.setattr(kernel, "AUDIT_ARCHITECTURE", (0xC000003E, 0xC00000B7)[column])
    assert evaluate(seccomp.program(False), call[column], column, arguments) == apart
    assert evaluate(seccomp.program(True, (GUARD,)), call[column], column, arguments) == shared
