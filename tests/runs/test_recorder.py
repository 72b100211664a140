"""What was emitted stands in the file: stamped, without secrets, in order, whatever happens to the disk."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import Recorder, RecordError, RunIsOver, new_run_id, run_path
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify
from runs.recording import finished, middle, record, started
from waiting import until

TESTS = Path(__file__).parents[1]
KEY = "correct-horse-battery"


def events_in(path: Path) -> list[ev.AnyEvent | ev.Unknown]:
    with RunFile(path) as file:
        return list(file.events())


def test_events_are_stamped_without_gaps_and_written_as_they_are_told(tmp_path: Path) -> None:
    told: list[tuple[ev.Event, bytes]] = []
    path = tmp_path / "run.jsonl"
    with Recorder(path, listeners=[lambda event, line: told.append((event, line))]) as recorder:
        returned = [recorder.emit(event) for event in (started(), *middle(), finished())]
    assert [event for event, _ in told] == returned == events_in(path)
    assert [event.seq for event in returned] == list(range(len(returned)))
    assert all(a.t <= b.t for a, b in pairwise(returned))
    assert returned[0].t == 0.0
    assert b"".join(line for _, line in told) == path.read_bytes()


def test_an_event_is_in_the_file_before_anybody_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    seen: list[bool] = []
    with Recorder(path, listeners=[lambda _, line: seen.append(path.read_bytes().endswith(line))]) as recorder:
        recorder.emit(started())
        recorder.emit(ev.Notice(text="x"))
    assert seen == [True, True]


def test_only_the_owner_may_read_a_run(tmp_path: Path) -> None:
    path = record(tmp_path / "new" / "folder" / "run.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)} == {0o700}


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl")
    before = path.read_bytes()
    with pytest.raises(RecordError, match="never overwritten"):
        Recorder(path)
    assert path.read_bytes() == before


def test_an_empty_file_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "made-by-mktemp"
    path.touch()
    assert len(events_in(record(path))) > 2


def test_two_recorders_never_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recorder(path), pytest.raises(RecordError, match="Another process is recording"):
        Recorder(path)


def test_a_recorder_without_events_leaves_no_file(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError) as caught:
        Recorder(tmp_path / "file" / "run.jsonl")
    assert "--record" in caught.value.hint
    assert "FLEET_RLM_HOME" in caught.value.hint
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError):
        Recorder(tmp_path / "pipe")


def test_names_sort_by_time_and_hold_no_separator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path))
    path = run_path("../my task", new_run_id())
    assert path.is_relative_to(tmp_path / "runs")
    assert path.parent.parent == tmp_path / "runs"
    assert path.name[6:15] == "-my-task-"


def test_an_event_after_the_end_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.jsonl") as recorder:
        with pytest.raises(ValueError, match=r"run\.started"):
            recorder.emit(ev.Notice(text="too early"))
        recorder.emit(started())
        recorder.emit(finished())
        with pytest.raises(RunIsOver):
            recorder.emit(ev.Notice(text="too late"))


def test_a_listener_whose_pipe_broke_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    heard: list[str] = []

    def broken(event: ev.Event, line: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, "gone")

    with Recorder(tmp_path / "run.jsonl", listeners=[broken, lambda event, _: heard.append(event.kind)]) as recorder:
        recorder.emit(started())
        recorder.emit(ev.Notice(text="x"))
    assert heard == ["run.started", "notice"]


def test_many_threads_emit_one_sequence(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started())
        threads = [
            threading.Thread(target=lambda n=n: [recorder.emit(ev.Notice(text=f"{n} {i}")) for i in range(100)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.emit(finished())
    assert verify(path) is None
    notices = [event.text for event in events_in(path) if isinstance(event, ev.Notice)]
    assert len(notices) == 800
    for n in range(8):
        own = [text for text in notices if text.startswith(f"{n} ")]
        assert own == [f"{n} {i}" for i in range(100)]


def test_a_secret_reaches_neither_file_nor_listener(tmp_path: Path) -> None:
    told: list[bytes] = []
    path = tmp_path / "run.jsonl"
    with Recorder(path, secrets=[KEY], listeners=[lambda _, line: told.append(line)]) as recorder:
        recorder.emit(started(task=ev.Task(name="ask", signature="q -> a", question=f"use {KEY}")))
        stamped = recorder.emit(ev.Notice(text=f"the key is {KEY}"))
        recorder.emit(finished(outputs={KEY: [KEY]}))
    assert isinstance(stamped, ev.Notice)
    assert stamped.text.startswith("the key is [secret]")
    assert KEY.encode() not in path.read_bytes() + b"".join(told)


@given(st.lists(st.integers(1, len(KEY) - 1), max_size=4, unique=True), st.sampled_from(["output", "planner", "call"]))
def test_a_secret_cut_into_pieces_is_kept_out(cuts: list[int], kind: str) -> None:
    import tempfile

    bounds = [0, *sorted(cuts), len(KEY)]
    parts = [KEY[a:b] for a, b in pairwise(bounds)]
    parts = ["before " + parts[0], *parts[1:], " after corr"]
    make = {
        "output": lambda text: ev.Output(stream="stdout", text=text, span="s"),
        "planner": lambda text: ev.PlannerDelta(text=text, span="s"),
        "call": lambda text: ev.CallDelta(text=text, span="s"),
    }[kind]
    end = {
        "output": ev.ExecutionFinished(outcome="ok", span="s"),
        "planner": ev.PlannerFinished(span="s"),
        "call": ev.CallFinished(span="s"),
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        with Recorder(path, secrets=[KEY]) as recorder:
            recorder.emit(started())
            for part in parts:
                recorder.emit(make(part))
            recorder.emit(end)
            recorder.emit(finished())
        came = [event for event in events_in(path) if isinstance(event, ev.Output | ev.PlannerDelta | ev.CallDelta)]
        assert "".join(event.text for event in came) == f"before {'[secret]'.ljust(len(KEY), '*')} after corr"
        assert all(event.seq < stop.seq for event in came for stop in events_in(path)[-2:])


def test_streams_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    half = len(KEY) // 2
    with Recorder(path, secrets=[KEY]) as recorder:
        recorder.emit(started())
        recorder.emit(ev.Output(stream="stdout", text=KEY[:half], span="x"))
        recorder.emit(ev.Output(stream="stderr", text=KEY[:half], span="x"))
        recorder.emit(ev.Output(stream="stdout", text="other", span="x"))
        recorder.emit(ev.Output(stream="stderr", text=KEY[half:], span="x"))
    text = {"stdout": "", "stderr": ""}
    for event in events_in(path):
        if isinstance(event, ev.Output):
            text[event.stream] += event.text
    assert text == {"stdout": KEY[:half] + "other", "stderr": "[secret]".ljust(len(KEY), "*")}


def test_a_full_disk_ends_no_run_and_nothing_is_missing_once_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system writes a part of a line, then refuses."""
    script = textwrap.dedent("""
        import json, resource, signal, sys
        from fleet_rlm import events as ev
        from fleet_rlm.runs.recorder import Recorder
        from runs.recording import started, finished
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        now = [0.0]
        heard = []
        recorder = Recorder(sys.argv[1], listeners=[lambda e, _: heard.append(e)], clock=lambda: now[0])
        recorder.emit(started())
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        for n in range(100):
            recorder.emit(ev.Notice(text=f"{n} " + "x" * 90))
        size, problem = recorder.path.stat().st_size, recorder.problem
        whole = recorder.path.read_bytes().endswith(b"\\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        now[0] += 1.0
        recorder.emit(ev.Notice(text="after"))
        recorder.emit(finished())
        recorder.close()
        notices = [e.text for e in heard if isinstance(e, ev.Notice) and "x" * 90 not in e.text]
        print(json.dumps({"size": size, "problem": problem, "whole": whole, "notices": notices,
                          "heard": len(heard), "end": recorder.problem}))
    """)
    path = tmp_path / "run.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, cwd=TESTS, check=True, timeout=60
    )
    said = json.loads(done.stdout)
    assert said["size"] <= 4000
    assert said["whole"], "a half line was left in the file"
    assert "not recorded" in said["problem"]
    assert said["end"] is None
    assert "not recorded" in said["notices"][0]
    assert any("nothing is missing" in text for text in said["notices"])
    assert verify(path) is None
    assert len(events_in(path)) == said["heard"]


def test_what_does_not_fit_into_memory_either_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_rlm.runs.recorder.BACKLOG_BYTES", 2000)
    path = tmp_path / "run.jsonl"
    full = [False]
    write = os.write

    def writing(file: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("fleet_rlm.runs.recorder.os.write", writing)
    with Recorder(path) as recorder:
        recorder.emit(started())
        full[0] = True
        for _ in range(100):
            recorder.emit(ev.Notice(text="x" * 100))
        assert recorder.problem is not None
        assert "the disk is full" in recorder.problem
        assert recorder.lost_events > 50
        full[0] = False
        recorder.close()
    assert recorder.problem is None
    events = events_in(path)
    assert events[0].kind == "run.started"
    assert all(a.seq < b.seq for a, b in pairwise(events))


WRITER = textwrap.dedent("""
    import sys
    from fleet_rlm import events as ev
    from fleet_rlm.runs.recorder import Recorder
    from runs.recording import started
    recorder = Recorder(sys.argv[1], secrets=["correct-horse-battery"])
    recorder.emit(started())
    n = 0
    while True:
        recorder.emit(ev.Output(stream="stdout", text=f"{n} " + "x" * (n % 5000), span="x"))
        n += 1
""")


@pytest.mark.parametrize("kilobytes", [1, 40, 333, 1000, 2500])
def test_a_writer_that_is_killed_leaves_a_run_that_opens(tmp_path: Path, kilobytes: int) -> None:
    path = tmp_path / "run.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=TESTS)
    try:
        until(lambda: path.exists() and path.stat().st_size > kilobytes * 1000, what="the file to grow")
        with RunFile(path) as file:
            assert file.is_being_written()
    finally:
        writer.kill()
        writer.wait()
    with RunFile(path) as file:
        events = list(file.events())
        assert not file.is_being_written()
        assert file.damaged_lines == 0
        assert [event.seq for event in events] == list(range(len(events)))
        assert file.end is not None
        assert not file.end.complete
        assert "its process was stopped" in file.end.words
        assert sum(1 for _ in path.open("rb")) - len(events) in (0, 1)


def test_processes_that_record_at_once_never_collide(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        from fleet_rlm.runs.recorder import Recorder, new_run_id, run_path
        from runs.recording import started, finished
        for _ in range(50):
            run_id = new_run_id()
            with Recorder(run_path("ask", run_id)) as recorder:
                recorder.emit(started(run_id)); recorder.emit(finished())
    """)
    environment = {**os.environ, "FLEET_RLM_HOME": str(tmp_path)}
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=TESTS, env=environment) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    files = list((tmp_path / "runs").rglob("*.jsonl"))
    assert len(files) == 100
    assert all(verify(path) is None for path in files)


def test_a_number_out_of_range_is_recorded_as_the_nearest_that_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started())
        recorder.emit(ev.CallFinished(usage=ev.Usage(input=10**30, output=-7), answer=10**30, span="c"))
    call = ev.decode(path.read_bytes().splitlines()[1])
    assert isinstance(call, ev.CallFinished)
    assert call.usage == ev.Usage(input=2**63 - 1)
    assert call.answer == 10**30
