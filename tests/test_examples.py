"""The patterns in `examples/` run as they stand, show what they say, and leave a run that opens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.shell import Shell
from fleet_rlm import events as ev
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify
from modal_server import ModalServer

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = ("navigate_query_synthesize", "parallel_chunks", "stateful_steps")


@pytest.fixture
def fleet(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def run(fleet: Shell, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{program}.py", *arguments],
        capture_output=True,
        text=True,
        cwd=fleet.folder,
        env=fleet.environment,
        timeout=100,
    )


def events_of(path: Path) -> list[ev.AnyEvent | ev.Unknown]:
    with RunFile(path) as run_file:
        return list(run_file.events())


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_runs_as_it_stands_and_names_a_run_that_opens(fleet: Shell, program: str) -> None:
    done = run(fleet, program)
    assert done.returncode == 0, done.stderr
    (path,) = fleet.runs
    assert done.stdout.rstrip().endswith(f"fleet-rlm-tui {path}")
    assert verify(path) is None
    events = events_of(path)
    started, finished = events[0], events[-1]
    assert isinstance(started, ev.RunStarted)
    assert started.models.offline
    assert isinstance(finished, ev.RunFinished)
    assert finished.status == "submitted"
    assert CLAIMS[program](done.stdout, events)


def _asked_after_searching(said: str, events: list[ev.AnyEvent | ev.Unknown]) -> bool:
    """Sections were looked for before a sub-LLM was asked, and the answer came after."""
    calls = [int(count) for count in re.findall(r"\[(\d+) sub-LLM calls\]", said)]
    asking = next(n for n, count in enumerate(calls) if count)
    sources = said.partition("sources:")[2].partition("\n\n")[0]
    return 0 < asking < len(calls) - 1 and ".md:" in sources


def _in_one_batch(said: str, events: list[ev.AnyEvent | ev.Unknown]) -> bool:
    """All pieces were asked about in one call of code, several at once."""
    size, together = map(int, re.findall(r"A batch of (\d+): (\d+) in flight at once", said)[0])
    sizes = [event.size for event in events if isinstance(event, ev.CallStarted) and event.type == "batch"]
    return sizes == [size] and size >= 8 and 2 <= together <= 8


def _later_steps_used(said: str, events: list[ev.AnyEvent | ev.Unknown]) -> bool:
    """A name that one cell made was used by another, in the cells as they were recorded."""
    cells = [event.code for event in events if isinstance(event, ev.ExecutionStarted)]
    name, made, used = re.findall(r"`(\w+)` was made in step (\d+) and used in (\d+)", said)[0]
    return int(made) < int(used) and name in cells[int(made) - 1] and name in cells[int(used) - 1]


CLAIMS = {
    "navigate_query_synthesize": _asked_after_searching,
    "parallel_chunks": _in_one_batch,
    "stateful_steps": _later_steps_used,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_documents_and_the_record_can_be_ones_own(fleet: Shell, program: str) -> None:
    (fleet.folder / "depots.txt").write_text("ERROR 17: the door is shut. Ring the bell.\n" * 3 + "All is well.\n")
    done = run(fleet, program, "--docs", "depots.txt", "--question", "Which error is there?", "--record", "mine.jsonl")
    assert done.returncode == 0, done.stderr
    assert verify(fleet.folder / "mine.jsonl") is None
    assert fleet.runs == []


@pytest.mark.parametrize("program", ["parallel_chunks", "stateful_steps"])
def test_one_option_takes_it_to_modal(fleet: Shell, program: str, modal_server: ModalServer) -> None:
    done = run(fleet, program, "--sandbox", "modal")
    assert done.returncode == 0, done.stderr
    (path,) = fleet.runs
    assert verify(path) is None
    assert len(modal_server.sandboxes()) == 1
    assert modal_server.running() == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_missing_is_said_before_anything_runs(fleet: Shell, program: str) -> None:
    for arguments, words in (
        (("--docs", "nowhere.txt"), "nowhere.txt"),
        (("--model", "openai/x"), "DSPY_LLM_API_KEY"),
        (("--sandbox", "moon"), "moon"),
    ):
        done = run(fleet, program, *arguments)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert fleet.runs == []
