"""Sources: a real engine process (scripted), real files."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fleet_rlm import events as ev
from fleet_rlm.spec import Abort, Detach, Pause, RunSpec
from fleet_rlm.tui.screens.new_run.ask_engine import COMMAND
from fleet_rlm.tui.sources import EngineClient, FollowFile, ReplayFile
from fleet_rlm.tui.sources import inbox as inbox_module
from fleet_rlm.tui.sources import live_engine as engine_module
from fleet_rlm.tui.sources.inbox import Inbox
from tests.tui.sample_runs import finished, run_started, write_run
from tests.tui.scripted_engine import engine
from tests.waiting import until


def collect(source: EngineClient | ReplayFile, seconds: float = 10) -> list[ev.AnyEvent | ev.Unknown]:
    """Everything until the source ends."""
    wake, events = threading.Event(), []
    source.open(wake.set)

    def over() -> bool:
        events.extend(source.drain())
        return source.end is not None

    until(over, seconds, "the end of the source")
    return events


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").exists() and ") Z " in Path(f"/proc/{pid}/stat").read_text()


def test_a_live_run_s_events_come_in_order_and_end_complete(tmp_path: Path) -> None:
    source = engine(tmp_path, "begin()\nfor _ in range(5000): say(kind='output', stream='stdout', text='x')\nend()")
    events = collect(source)
    assert [event.seq for event in events] == list(range(5002))
    assert source.end is not None
    assert source.end.complete
    source.close()


def test_the_engine_is_told_the_spec_and_every_command(tmp_path: Path) -> None:
    source = engine(
        tmp_path, "begin()\nsay(kind='notice', text=start['spec']['question'] + ' ' + hear()['do'])\nend('stopped')"
    )
    source.send(Pause())
    events = collect(source)
    assert isinstance(events[1], ev.Notice)
    assert events[1].text == "why? pause"
    source.close()


def test_an_engine_that_is_killed_says_so_and_keeps_what_came(tmp_path: Path) -> None:
    source = engine(
        tmp_path, "begin()\nsys.stderr.write('out of luck\\n'); sys.stderr.flush()\nos.kill(os.getpid(), 9)"
    )
    events = collect(source)
    assert len(events) == 1
    assert source.end is not None
    assert not source.end.complete
    assert "SIGKILL" in source.end.words
    assert "out of luck" in source.end.words
    assert source.end.hint


def test_a_run_that_cannot_begin_is_told_in_the_engine_s_words(tmp_path: Path) -> None:
    source = engine(
        tmp_path,
        "say(kind='engine.failed', error={'type': 'Setup', 'message': 'no key', 'hint': 'export IT'})\nsys.exit(2)",
    )
    assert collect(source) == []
    assert source.end is not None
    assert (source.end.words, source.end.hint) == ("no key", "export IT")


def test_a_program_that_is_not_there_is_an_end_with_words(tmp_path: Path) -> None:
    source = EngineClient(RunSpec(), (str(tmp_path / "nothing"),))
    collect(source)
    assert source.end is not None
    assert "did not start" in source.end.words


def test_what_is_no_event_on_the_engine_s_stdout_is_kept_for_the_message_only(tmp_path: Path) -> None:
    source = engine(tmp_path, "begin()\nprint('Downloading \\x1b[2J …', flush=True)\nsys.exit(3)")
    assert len(collect(source)) == 1
    assert source.end is not None
    assert "Downloading" in source.end.words
    assert "exit code 3" in source.end.words
    assert "\x1b" not in source.end.words


def test_the_path_of_the_record_is_known_from_the_spec_or_the_engine(tmp_path: Path) -> None:
    assert EngineClient(RunSpec(record="x.jsonl", cwd=str(tmp_path))).path == str(tmp_path / "x.jsonl")
    source = engine(tmp_path, "say(kind='engine.recording', path='/runs/x.jsonl')\nbegin()\nend()")
    assert [event.kind for event in collect(source)] == ["run.started", "run.finished"]
    assert source.path == "/runs/x.jsonl"


def test_close_aborts_the_run(tmp_path: Path) -> None:
    told = tmp_path / "told"
    source = engine(tmp_path, f"begin()\nopen({str(told)!r}, 'w').write(hear()['do'])")
    source.open(lambda: None)
    until(lambda: source.drain())
    source.close()
    assert source.wait_closed(10)
    assert told.read_text() == "abort"


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_an_engine_that_does_not_listen_is_ended_without_blocking_the_screen(
    tmp_path: Path, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "ABORT_SECONDS", 0.2)
    source = engine(tmp_path, f"{deaf}\nbegin()\nwhile True: time.sleep(60)")
    source.open(lambda: None)
    until(lambda: source.drain())
    assert source.pid is not None
    source.close()
    assert source.wait_closed(10)
    assert until(lambda: gone(source.pid or 0))


def test_a_run_that_is_let_go_outlives_its_screen(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    source = engine(
        tmp_path,
        f"""
        begin()
        assert hear()["do"] == "detach"
        assert hear() is None
        open({str(alive)!r}, "w").write("yes")
        time.sleep(60)
        """,
    )
    source.open(lambda: None)
    until(lambda: source.drain())
    source.send(Detach())
    source.close()
    assert source.wait_closed(5)
    until(alive.exists)
    assert source.pid is not None
    assert not gone(source.pid)
    os.kill(source.pid, signal.SIGKILL)


def test_a_source_that_was_never_opened_closes_at_once() -> None:
    source = EngineClient(RunSpec())
    source.close()
    assert source.wait_closed(0)


def test_one_wake_tells_of_many_events_and_the_next_comes_after_all_were_drained() -> None:
    wakes: list[int] = []
    inbox = Inbox(lambda: wakes.append(1))
    notice = ev.Notice(text="x")
    for _ in range(10):
        inbox.put(notice)
    assert len(wakes) == 1
    inbox.drain(5)
    inbox.put(notice)
    assert len(wakes) == 1
    inbox.drain(100)
    inbox.put(notice)
    assert len(wakes) == 2


def test_a_full_inbox_holds_the_reader_up_until_it_is_drained_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_EVENTS", 3)
    inbox, put = Inbox(), []

    def read() -> None:
        while inbox.put(ev.Notice(text="x")):
            put.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: inbox.full and len(put) == 3)
    inbox.drain(2)
    until(lambda: len(put) == 5)
    inbox.close()
    reader.join(5)
    assert not reader.is_alive()


def test_the_end_is_told_only_after_the_last_event(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started(), finished()])
    source = ReplayFile(path)
    source.open(lambda: None)
    until(lambda: len(source._inbox._events) == 2)
    assert source.end is None
    source.drain(1)
    assert source.end is None
    source.drain(1)
    end = until(lambda: source.end)
    assert end.complete


def test_a_replay_of_a_torn_file_ends_with_words_about_it(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started()])
    with path.open("ab") as file:
        file.write(b'{"kind":"notice","te')
    source = ReplayFile(path)
    assert len(collect(source)) == 1
    assert source.end is not None
    assert not source.end.complete
    assert "torn" in source.end.words


def test_damaged_lines_are_counted_in_the_end_s_words(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started()])
    with path.open("ab") as file:
        file.write(b"nonsense\n")
    write_run(path, [finished()], append=True)
    source = ReplayFile(path)
    assert len(collect(source)) == 2
    assert source.end is not None
    assert source.end.complete
    assert "1 line is damaged" in source.end.words


def test_a_replay_of_no_run_ends_with_the_reason(tmp_path: Path) -> None:
    source = ReplayFile(tmp_path / "missing.jsonl")
    assert collect(source) == []
    assert source.end is not None
    assert "no such file" in source.end.words


def test_a_recorded_run_cannot_be_told_anything(tmp_path: Path) -> None:
    source = ReplayFile(tmp_path / "a.jsonl")
    with pytest.raises(RuntimeError, match="abort"):
        source.send(Abort())


def test_a_followed_file_goes_on_while_its_writer_lives(tmp_path: Path) -> None:
    import fcntl

    path = write_run(tmp_path / "a.jsonl", [run_started()])
    with path.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        source, events = FollowFile(path), []
        source.open(lambda: None)

        def seen() -> int:
            events.extend(source.drain())
            return len(events)

        until(lambda: seen() == 1)
        assert source.end is None
        write_run(path, [finished()], append=True)
        until(lambda: seen() == 2)
        end = until(lambda: source.end)
        assert end.complete


def follower(path: Path) -> tuple[FollowFile, Callable[[], int]]:
    source, events = FollowFile(path), []
    source.open(lambda: None)

    def seen() -> int:
        events.extend(source.drain())
        return len(events)

    return source, seen


def test_a_file_without_a_lock_is_followed_as_long_as_it_grows(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started()])
    source, seen = follower(path)
    until(lambda: seen() == 1)
    gone = until(lambda: source.end)
    assert not gone.complete
    assert "its process was stopped" in gone.words
    note = ev.encode(ev.Notice(text="later", seq=1, t=1.0))
    with path.open("ab") as writer:
        writer.write(note[:20])
        writer.flush()
        until(lambda: seen() == 1 and source.end)
        writer.write(note[20:] + b"\n")
    until(lambda: seen() == 2)
    assert source.end is None
    write_run(path, [finished()], append=True)
    until(lambda: seen() == 3)
    assert until(lambda: source.end).complete
    source.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "deleted"),
        (lambda path: write_run(path.with_name("b"), [run_started()]).replace(path), "another file took"),
        (lambda path: path.write_text(""), "cut short"),
    ],
)
def test_what_becomes_of_a_followed_file_is_said(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started()])
    source, seen = follower(path)
    until(lambda: seen() == 1)
    change(path)
    end = until(lambda: source.end and words in source.end.words and source.end)
    assert not end.complete
    assert end.hint
    source.close()


@pytest.mark.parametrize("command", [engine_module.ENGINE, COMMAND[:-1]])
def test_a_file_beside_the_documents_is_never_imported_by_the_engine(tmp_path: Path, command: tuple[str, ...]) -> None:
    for name in ("msgspec", "dspy", "modal", "random", "json"):
        (tmp_path / f"{name}.py").write_text("open('hijacked', 'w')\nraise SystemExit('hijacked')\n")
    asked = [*command, "--describe", '{"signature": "context -> answer"}']
    said = subprocess.run(asked, cwd=tmp_path, capture_output=True, check=True)
    assert msgspec.json.decode(said.stdout)["signature"]["inputs"]
    assert not (tmp_path / "hijacked").exists()
