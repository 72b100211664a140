"""Whatever ends a sandbox, or keeps one from starting, is named, with what to do about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone
from modal_server import ModalServer
from tests.sandbox.places import Background, Witness
from waiting import until

from .conftest import Cloud


def start_fails(cloud: Cloud, **options: Any) -> SandboxGone:
    with pytest.raises(SandboxGone) as failed:
        cloud(**options).start()
    return failed.value


def cell_fails(
    cloud: Cloud, witness: Witness, after: Any, code: str = "while True: pass", **options: Any
) -> SandboxGone:
    """What a running cell is told when something happens to its sandbox."""
    interpreter = cloud(**options)
    running = Background(lambda: interpreter.execute(f"print('on', flush=True)\n{code}"))
    until(lambda: "on" in witness.text(), 30.0)
    assert interpreter.info is not None
    after(interpreter.info.id)
    with pytest.raises(SandboxGone) as failed:
        running.result(60.0)
    return failed.value


@pytest.mark.parametrize(
    ("status", "says", "advises"),
    [
        ("TERMINATED", "somebody or something else terminated it at Modal", "page"),
        ("KERNEL_OOM_KILL", "out of memory (it may use 512 MiB)", "--memory"),
        ("TIMEOUT", "its life of 600 s was over", "--sandbox-timeout"),
        ("FAILURE", "its container ended with exit code 1", "page"),
    ],
)
def test_a_sandbox_that_modal_ends_says_why(
    modal_server: ModalServer, cloud: Cloud, witness: Witness, status: str, says: str, advises: str
) -> None:
    error = cell_fails(cloud, witness, lambda id_: modal_server.end_sandbox(id_, status), memory=512, timeout=600)
    assert says in str(error)
    assert advises in error.hint
    assert len(witness.of("lost")) == 1


def test_a_driver_that_is_killed_is_told_from_its_sandbox(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    error = cell_fails(cloud, witness, lambda id_: modal_server.kill_processes(id_, signal.SIGKILL))
    assert "its driver was killed (out of memory?)" in str(error)
    until(lambda: not modal_server.running())


def test_memory_beyond_the_limit_ends_the_cell_with_the_reason(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    hog = "x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time\ntime.sleep(60)"
    error = cell_fails(cloud, witness, lambda _: None, hog, memory=256)
    assert "out of memory" in str(error)


def test_a_life_that_is_over_is_told_as_such(modal_server: ModalServer, cloud: Cloud, witness: Witness) -> None:
    error = cell_fails(cloud, witness, lambda _: None, timeout=3)
    assert "its life of 3 s was over" in str(error)


def test_a_limit_of_the_workspace_is_named(modal_server: ModalServer, cloud: Cloud) -> None:
    modal_server.rules(most_sandboxes=0)
    error = start_fails(cloud)
    assert "a limit of the Modal workspace is reached" in str(error)
    assert "0 sandboxes at a time" in str(error)
    assert error.hint


def test_a_refused_token_is_named(modal_server: ModalServer, cloud: Cloud) -> None:
    modal_server.rules(token=["ak-other", "as-other"])
    error = start_fails(cloud)
    assert "Modal refused the token" in str(error)
    assert "modal token new" in error.hint


def test_an_expired_token_is_named(modal_server: ModalServer, cloud: Cloud) -> None:
    modal_server.fault("AppGetOrCreate", "fail", status="UNAUTHENTICATED", message="the token has expired", times=-1)
    error = start_fails(cloud)
    assert "the Modal token has expired" in str(error)
    assert "modal token new" in error.hint


def test_a_missing_secret_is_named_with_the_command_that_makes_it(modal_server: ModalServer, cloud: Cloud) -> None:
    error = start_fails(cloud, secret_names=["no-such-secret"])
    assert "there is no secret named 'no-such-secret'" in str(error)
    assert "modal secret create no-such-secret" in error.hint


def test_an_image_that_can_t_be_built_names_the_package(modal_server: ModalServer, cloud: Cloud) -> None:
    modal_server.rules(unbuildable=["no-such-package"])
    error = start_fails(cloud, image_packages=["no-such-package"])
    assert "the image could not be built" in str(error)
    assert "no-such-package" in str(error)
    assert "--image-package" in error.hint


def test_a_volume_of_version_1_is_explained_with_both_ways_out(modal_server: ModalServer, cloud: Cloud) -> None:
    modal_server.add_volume("old", version=1)
    error = start_fails(cloud, volume_name="old")
    assert "the volume 'old' is of version 1" in str(error)
    assert "Two ways out" in error.hint
    until(lambda: not modal_server.running())


def test_a_kept_image_that_is_gone_is_built_again(modal_server: ModalServer, cloud: Cloud) -> None:
    with cloud() as first:
        first.start()
    with cloud() as second:
        second.start()
    assert len(modal_server.calls("ImageGetOrCreate")) == 1
    modal_server.forget_images()
    with cloud() as third:
        third.start()
    assert len(modal_server.calls("ImageGetOrCreate")) == 2


def test_a_killed_program_leaves_no_sandbox_beyond_the_orphan_limit(modal_server: ModalServer) -> None:
    code = (
        "from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter\n"
        "i = ModalInterpreter(orphan=3.0, idle_timeout=2)\n"
        "i.start(); print('started', flush=True)\n"
        "i.execute('while True: pass')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        (seen,) = modal_server.running()
        program.kill()
    until(lambda: not modal_server.running(), 30.0)
    until(lambda: not Path(f"/proc/{seen.first_pid}").exists())


def test_eight_run_at_once_and_each_has_its_own(modal_server: ModalServer, cloud: Cloud) -> None:
    together = threading.Barrier(8)
    results: list[object] = [None] * 8

    def one(number: int) -> None:
        with cloud({"meet": lambda: together.wait(60)}) as interpreter:
            interpreter.execute(f"mine = {number}")
            interpreter.execute("meet()")
            results[number] = interpreter.execute("mine * mine")

    running = [Background(lambda number=number: one(number)) for number in range(8)]
    for each in running:
        each.result(90.0)
    assert results == [str(number * number) for number in range(8)]
    assert not modal_server.running()


def test_it_runs_inside_an_event_loop_without_a_warning(modal_server: ModalServer, tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter\n"
        "async def main():\n"
        "    with ModalInterpreter() as i: print(i.execute('6 * 7'))\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "42\n"
    assert "modal" not in done.stderr.lower()


def test_no_answer_at_all_ends_within_the_deadline(tmp_path: Path) -> None:
    code = (
        "import time, modal\n"
        "from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter\n"
        "from fleet_rlm.sandbox.modal.modal_client import Deadlines\n"
        "began = time.monotonic()\n"
        "try: ModalInterpreter(deadlines=Deadlines(look_up=2.0)).start()\n"
        "except Exception as error: print(error, '|', error.hint, '|', time.monotonic() - began < 10)"
    )
    environment = {**os.environ, "MODAL_SERVER_URL": "http://127.0.0.1:9", "MODAL_CONFIG_PATH": os.devnull}
    environment |= {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x", "FLEET_RLM_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert "Modal did not answer within 2 s" in done.stdout
    assert "Check the network" in done.stdout
    assert done.stdout.endswith("| True\n")
    del environment["MODAL_TOKEN_SECRET"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert "modal token new" in done.stdout


def test_a_volume_that_could_not_be_committed_is_said(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    interpreter = cloud(volume_name="results")
    interpreter.execute("open('/data/found', 'w').write('1')")
    modal_server.fault("TaskExecStart", "fail", status="PERMISSION_DENIED", times=-1)
    interpreter.shutdown()
    ((words,),) = witness.of("unkept")
    assert "the volume results at last may not be kept" in str(words)
    assert not modal_server.running()


def test_an_orderly_end_commits_the_volume_and_says_nothing(
    modal_server: ModalServer, cloud: Cloud, witness: Witness
) -> None:
    interpreter = cloud(volume_name="results")
    interpreter.execute("open('/data/found', 'w').write('1')")
    interpreter.shutdown()
    assert witness.of("unkept") == []
    assert "SandboxTerminateV2" in [asked.rpc for asked in modal_server.calls()]
