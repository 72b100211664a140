"""`fleet-rlm run --sandbox modal`: the same answer as in the local sandbox, and each document sent once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.shell import Shell
from fleet_rlm import events as ev
from fleet_rlm.runs.run_reader import RunFile
from modal_server import ModalServer

CODE = "The access code of the Marlow depot is 7741."
QUESTION = "What is the access code of the Marlow depot?"
MEGABYTE = 1 << 20


@pytest.fixture
def cloud(modal_server: ModalServer, fleet: Shell) -> ModalServer:
    fleet.variables.update(modal_server.environment)
    return modal_server


def document(folder: Path, megabytes: int) -> Path:
    """A text of this size in which the answer stands once, past its middle."""
    path = folder / "depots.txt"
    line = "Depot %09d keeps its doors shut after nine o'clock, and opens them again at six.\n"
    lines = megabytes * MEGABYTE // len(line % 0)
    with path.open("w") as file:
        file.writelines(line % number for number in range(lines // 3 * 2))
        file.write(f"{CODE}\n")
        file.writelines(line % number for number in range(lines // 3 * 2, lines))
    return path


def ask(fleet: Shell, path: Path, *options: str) -> str:
    done = fleet("run", QUESTION, "--model", "offline", "--docs", str(path), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)  # on a busy machine
def test_forty_megabytes_have_the_same_answer_and_cross_once(fleet: Shell, cloud: ModalServer) -> None:
    path = document(fleet.folder, 40)
    here = ask(fleet, path, "--sandbox", "local")
    assert "7741" in here
    there = ask(fleet, path, "--sandbox", "modal")
    assert there == here
    size = path.stat().st_size
    assert size <= cloud.sent_bytes() < size + 2 * MEGABYTE
    assert not cloud.running()
    (create,) = cloud.calls("SandboxCreateV2")
    definition = create.request["definition"]
    assert definition["network_access"]["network_access_type"] == "BLOCKED"
    assert "secret_sources" not in create.request
    assert "secret_ids" not in definition
    assert [seen.environment for seen in cloud.sandboxes()] == [{}]


def test_a_second_run_on_the_same_volume_sends_no_document(fleet: Shell, cloud: ModalServer) -> None:
    path = document(fleet.folder, 2)
    first = ask(fleet, path, "--sandbox", "modal", "--volume-name", "kept")
    assert sum(call.sent for call in cloud.calls("PUT block")) == path.stat().st_size
    cloud.forget_calls()
    assert ask(fleet, path, "--sandbox", "modal", "--volume-name", "kept") == first
    assert not cloud.calls("PUT block")
    assert cloud.sent_bytes() < MEGABYTE


def test_the_record_says_where_the_code_ran(fleet: Shell, cloud: ModalServer) -> None:
    cloud.add_secret("keys", SOME_KEY="some-value")
    ask(fleet, document(fleet.folder, 1), "--sandbox", "modal", "--secret-name", "keys")
    (run,) = fleet.runs
    (ready,) = [event for event in RunFile(run).events() if isinstance(event, ev.SandboxReady)]
    assert ready.backend == "modal"
    assert "some-value" not in run.read_text()
    assert [seen.environment for seen in cloud.sandboxes()] == [{"SOME_KEY": "some-value"}]


@pytest.mark.parametrize(
    ("rpc", "status", "says"),
    [
        ("AppGetOrCreate", "UNAUTHENTICATED", "Modal refused the token"),
        ("SandboxCreateV2", "RESOURCE_EXHAUSTED", "a limit of the Modal workspace is reached"),
    ],
)
def test_a_run_that_can_t_start_says_why_and_leaves_a_record(
    fleet: Shell, cloud: ModalServer, rpc: str, status: str, says: str
) -> None:
    cloud.fault(rpc, "fail", status=status, times=-1)
    path = document(fleet.folder, 1)
    done = fleet("run", QUESTION, "--model", "offline", "--docs", str(path), "--sandbox", "modal")
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(fleet.runs) == 1
    assert not cloud.running()
