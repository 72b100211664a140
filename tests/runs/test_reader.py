"""A run file opens whatever happened to it, and says what is wrong with it; anything else is refused in words."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm.runs import run_reader
from fleet_rlm.runs.recorder import Recorder
from fleet_rlm.runs.run_reader import NotARun, RunEnd, RunFile
from fleet_rlm.runs.summary import summarise
from runs.recording import finished, middle, record, started
from waiting import until

TESTS = Path(__file__).parents[1]


def read(path: Path) -> tuple[list[ev.AnyEvent | ev.Unknown], RunFile]:
    with RunFile(path) as file:
        return list(file.events()), file


def test_a_whole_run_is_read_and_known_to_be_whole(tmp_path: Path) -> None:
    events, file = read(record(tmp_path / "run.jsonl"))
    assert [event.kind for event in events] == ["run.started", *(event.kind for event in middle()), "run.finished"]
    assert file.header == events[0]
    assert file.end == RunEnd(True)
    assert file.damages == []


def test_a_file_torn_at_any_byte_gives_every_event_before_it(tmp_path: Path) -> None:
    whole = record(tmp_path / "run.jsonl").read_bytes()
    first, torn = whole.index(b"\n") + 1, tmp_path / "torn.jsonl"
    for cut in range(first, len(whole)):
        torn.write_bytes(whole[:cut])
        events, file = read(torn)
        lines = whole[:cut].count(b"\n")
        complete = whole[cut : cut + 1] == b"\n"  # only the newline is missing: nothing of the event is
        assert len(events) == lines + complete
        assert file.damaged_lines == 0
        assert file.end is not None
        rest = 0 if complete else cut - whole.rfind(b"\n", 0, cut) - 1
        assert file.end.torn_bytes == rest
        assert ("torn" in file.end.words) == bool(rest)
        assert file.end.complete == (complete and cut == len(whole) - 1)


def test_a_file_torn_within_its_first_line_is_refused(tmp_path: Path) -> None:
    whole = record(tmp_path / "run.jsonl").read_bytes()
    torn = tmp_path / "torn.jsonl"
    for cut in range(0, whole.index(b"\n"), 7):
        torn.write_bytes(whole[:cut])
        with pytest.raises(NotARun):
            RunFile(torn)


def test_damaged_lines_are_reported_with_their_place_and_passed_over(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    bad = [
        b"\0" * 50 + b"\n",
        b"not json\n",
        b"\n",
        b'{"kind":"notice","text":5}\n',
        b"\xff\xfe\n",
        b"[" * 9999 + b"\n",
    ]
    path.write_bytes(b"".join([*lines[:3], *bad, *lines[3:]]))
    events, file = read(path)
    assert len(events) == len(lines)
    assert [damage.line for damage in file.damages] == [4, 5, 6, 7, 8, 9]
    assert file.damages[0].offset == sum(map(len, lines[:3]))
    assert "notice" in file.damages[3].reason
    assert file.end == RunEnd(True)


@pytest.mark.parametrize(
    ("line", "text", "reason"),
    [
        (b'{"kind":"notice","text":"a\xff\xfeb"}', "a\ufffd\ufffdb", "no UTF-8"),
        (b'{"kind":"notice","text":"gr\xf6\xdfer"}', "gr\ufffd\ufffder", "no UTF-8"),
        (b'{"kind":"notice","text":"a\\ud800b"}', "a\ufffdb", "surrogate"),
        (b'{"kind":"notice","text":"\\ude00\\ud83d\\ude00"}', "\ufffd\U0001f600", "surrogate"),
    ],
)
def test_text_that_is_not_whole_is_repaired_and_said(tmp_path: Path, line: bytes, text: str, reason: str) -> None:
    path = record(tmp_path / "run.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], line + b"\n", *lines[3:]]))
    events, file = read(path)
    assert len(events) == len(lines) + 1
    assert isinstance(events[3], ev.Notice)
    assert events[3].text == text
    assert (file.damaged_lines, file.repaired_lines, file.repairs[0].line) == (0, 1, 4)
    assert reason in file.repairs[0].reason
    assert file.damage.startswith("1 line is repaired (line 4: ")


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**25, -(10**25), 10**400])
def test_a_number_beyond_63_bits_is_made_smaller_and_an_answer_keeps_its_own(tmp_path: Path, number: int) -> None:
    path = record(tmp_path / "run.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    last = json.loads(lines[-1])
    last["totals"]["input_tokens"], last["outputs"] = number, {"answer": number}
    first = json.loads(lines[0])
    first["inputs"][0]["chars"] = number
    path.write_text("".join([json.dumps(first) + "\n", *lines[1:-1], json.dumps(last) + "\n"]))
    events, file = read(path)
    assert len(events) == len(lines)
    assert file.repaired_lines == 2
    assert file.header is not None
    nearest = 2**63 - 1 if number > 0 else 0
    assert file.header.inputs[0].chars == nearest
    assert isinstance(events[-1], ev.RunFinished)
    assert events[-1].totals.input_tokens == nearest
    assert events[-1].outputs == {"answer": number}
    assert summarise(path).answer == str(number)


def test_a_count_below_zero_is_read_as_zero_and_an_exit_code_keeps_its_sign(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    odd = [
        '{"kind":"execution.finished","outcome":"ok","stdout_chars":-5,"shown_to_planner":{"head":-9,"tail":-1}}\n',
        '{"kind":"sandbox.lost","backend":"local","reason":"killed","exit_code":-9}\n',
    ]
    path.write_text("".join([*lines[:3], *odd, *lines[3:]]))
    events, file = read(path)
    finished, lost = events[3:5]
    assert isinstance(finished, ev.ExecutionFinished)
    assert (finished.stdout_chars, finished.shown_to_planner) == (0, ev.Shown(head=0))
    assert isinstance(lost, ev.SandboxLost)
    assert lost.exit_code == -9
    assert (file.repaired_lines, file.repairs[0].line) == (1, 4)


def test_unknown_kinds_and_fields_are_kept(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    strange = b'{"kind":"dream","seq":99,"t":0.1,"fields":[1],"depth":{"a":null}}\n'
    more = b'{"kind":"notice","seq":1,"t":0.0,"text":"x","colour":"blue"}\n'
    path.write_bytes(b"".join([lines[0], strange, more, *lines[1:]]))
    events, file = read(path)
    assert events[1] == ev.Unknown(kind="dream", seq=99, t=0.1, fields={"fields": [1], "depth": {"a": None}})
    assert isinstance(events[2], ev.Notice)
    assert file.damaged_lines == 0


def test_a_line_too_long_to_hold_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_reader, "MAX_LINE_BYTES", 3 << 20)
    path = record(tmp_path / "run.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    huge = json.dumps({"kind": "notice", "seq": 1, "t": 0, "text": "x" * (7 << 20)}).encode() + b"\n"
    path.write_bytes(b"".join([lines[0], huge, *lines[1:]]))
    events, file = read(path)
    assert len(events) == len(lines)
    assert [(damage.line, damage.offset) for damage in file.damages] == [(2, len(lines[0]))]


def test_a_large_file_with_enormous_lines_stays_within_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started())
        for _ in range(3):
            recorder.emit(ev.Notice(text="x" * (16 << 20)))
        recorder.emit(finished())
    code = textwrap.dedent("""
        import resource, sys
        from fleet_rlm.runs.run_reader import RunFile
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with RunFile(sys.argv[1]) as run:
            count = sum(1 for _ in run.events())
        print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 5
    assert grown / (1024 if sys.platform == "linux" else 1 << 20) < 4 * 16 + 30, "MiB"


def test_opening_reads_the_header_alone(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl", *[ev.Notice(text="x" * 1000)] * 5000)
    with RunFile(path) as run:
        assert run.header is not None
        assert run.offset == 0
        assert len(run.poll(limit=10)) == 10
        assert run.offset < run.size / 100


def test_a_growing_file_is_followed_to_its_end(tmp_path: Path) -> None:
    path, came = tmp_path / "run.jsonl", []
    recorder = Recorder(path)
    recorder.emit(started())
    run = RunFile(path)
    follower = threading.Thread(target=lambda: came.extend(run.follow()))
    follower.start()
    until(lambda: len(came) == 1)
    for event in middle():
        recorder.emit(event)
    until(lambda: len(came) == 1 + len(middle()))
    assert run.end is None
    recorder.emit(finished())
    follower.join(10)
    recorder.close()
    assert not follower.is_alive()
    assert run.end == RunEnd(True)
    assert [event.seq for event in came] == list(range(len(middle()) + 2))


def test_a_run_without_a_first_line_yet_is_waited_for(tmp_path: Path) -> None:
    path, came = tmp_path / "run.jsonl", []
    with Recorder(path) as recorder:
        run = RunFile(path)
        assert run.header is None
        follower = threading.Thread(target=lambda: came.extend(run.follow()))
        follower.start()
        recorder.emit(started())
        until(lambda: run.header is not None)
    follower.join(10)
    assert run.end is not None
    assert not run.end.complete


def test_following_ends_when_the_recording_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    code = (
        "import sys, time; from fleet_rlm.runs.recorder import Recorder; from runs.recording import started;"
        'r = Recorder(sys.argv[1]); r.emit(started()); import os; os.write(r._file, b\'{"kind":"noti\'); time.sleep(60)'
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=TESTS)
    try:
        until(lambda: path.exists() and path.read_bytes().endswith(b"noti"))
        came: list[ev.AnyEvent | ev.Unknown] = []
        with RunFile(path) as run:
            follower = threading.Thread(target=lambda: came.extend(run.follow()))
            follower.start()
            until(lambda: len(came) == 1)
            assert follower.is_alive()
            writer.kill()
            follower.join(10)
            assert not follower.is_alive()
            assert run.end is not None
            assert run.end.torn_bytes == 13
            assert "process was stopped" in run.end.words
    finally:
        writer.kill()
        writer.wait()


def test_following_stops_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    with Recorder(tmp_path / "run.jsonl") as recorder:
        recorder.emit(started())
        with RunFile(recorder.path) as run:
            follower = threading.Thread(target=lambda: list(run.follow(stop)))
            follower.start()
            stop.set()
            follower.join(10)
            assert not follower.is_alive()


def test_a_half_line_that_is_taken_back_is_not_read_twice_or_torn(tmp_path: Path) -> None:
    """What a recorder does when the disk fills up within a line, and there is room later."""
    path = tmp_path / "run.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started())
        with RunFile(path) as run:
            assert len(run.poll()) == 1
            good = path.stat().st_size
            with path.open("ab") as file:
                file.write(b'{"kind":"notice","seq":1,"text":"half')
            assert run.poll() == []
            os.truncate(path, good)
            recorder.emit(ev.Notice(text="whole"))
            (event,) = run.poll()
            assert isinstance(event, ev.Notice)
            assert event.text == "whole"
            assert run.damaged_lines == 0


def test_a_file_cut_short_under_the_reader_ends_with_words(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started())
        recorder.emit(ev.Notice(text="x"))
        with RunFile(path) as run:
            run.poll()
            os.truncate(path, 10)
            assert list(run.follow()) == []
            assert run.end is not None
            assert "cut short" in run.end.words


def test_a_file_replaced_under_the_reader_ends_with_words(tmp_path: Path) -> None:
    path, other = tmp_path / "run.jsonl", record(tmp_path / "other.jsonl")
    with Recorder(path) as recorder:
        recorder.emit(started())
        with RunFile(path) as run:
            other.replace(path)
            assert len(list(run.follow())) == 1
            assert run.end is not None
            assert "another file" in run.end.words


def header_with(**changes: object) -> bytes:
    fields = json.loads(ev.encode(started()))
    return json.dumps({**fields, **changes}).encode() + b"\n"


RLMS = b'{"type": "metadata", "timestamp": "2026-01-01T00:00:00", "root_model": "m", "max_depth": 3}\n'
ATIF = b'{\n "schema_version": "ATIF-v1.8",\n "session_id": "s", "steps": []\n}'
DSPY = b'{\n "outputs": {"n": 3},\n "trajectory": [{"reasoning": "look", "code": "print(1)", "output": "1"}]\n}'
MINI = b'{\n "info": {"model_stats": {}, "mini_version": "1.1"},\n "messages": []\n}'
REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "binary": (b"\x7fELF\x02\x01\0\0" * 100, "not text"),
    "gzip": (gzip.compress(b"x"), "is compressed"),
    "text": (b"Dear diary,\n", "first line is not an event"),
    "json list": (b"[1, 2, 3]\n", "first line is not an event"),
    "other json": (b'{"kind": "Pod", "apiVersion": "v1"}\n', "begins with 'Pod'"),
    "no kind": (b'{"a": 1}\n', "first line is not an event"),
    "middle of a run": (b'{"kind":"notice","seq":7,"t":1.0,"text":"x"}\n', "begins with 'notice'"),
    "other format": (header_with(format="x"), "another format"),
    "newer version": (header_with(version=99), "newer fleet-rlm"),
    "newer version with other fields": (header_with(version=2, task="renamed"), "newer fleet-rlm"),
    "damaged first line": (header_with(task=5), "first event of"),
    "deep": (b'{"kind":' + b"[" * 100_000, "first line is not an event"),
    "rlms": (RLMS, "an rlms log"),
    "atif": (ATIF, "an ATIF trajectory"),
    "dspy": (DSPY, "a dspy.RLM trajectory"),
    "mini-swe-agent": (MINI, "a mini-swe-agent trajectory"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_run_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    with pytest.raises(NotARun, match=words):
        RunFile(path)


@pytest.mark.parametrize("content", [RLMS, ATIF, DSPY, MINI], ids=["rlms", "atif", "dspy", "mini"])
def test_other_tools_records_are_named_and_no_import_is_promised(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotARun, match="import of such files is not there yet"):
        RunFile(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "not a regular file"), ("", "not a regular file"), ("none", "no such file")):
        with pytest.raises(NotARun, match=words):
            RunFile(tmp_path / name)
