"""Every call of a run meets every fault, one at a time: the run goes through, or ends in time and says why."""

from __future__ import annotations

import time
from typing import Any

import pytest
from dspy.primitives.code_interpreter import CodeInterpreterError, FinalOutput

from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone
from modal_server import ModalServer
from waiting import until

from .conftest import SHORT, Cloud

TEXT = "some text " * 20_000
CALLS = (
    "AppGetOrCreate",
    "ImageGetOrCreate",
    "PUT block",
    "SandboxCreateV2",
    "SandboxListV2",
    "SandboxTerminateV2",
    "SandboxWaitV2",
    "SecretGetOrCreate",
    "TaskExecStart",
    "TaskExecStdinWrite",
    "TaskExecStdinWriteStream",
    "TaskExecStdioRead",
    "TaskExecWait",
    "TaskReloadVolumes",
    "VolumeGetOrCreate",
    "VolumeListFiles2",
    "VolumePutFiles2",
)
ONCE_A_PROCESS = {"AuthTokenGet", "EnvironmentGetOrCreate"}
DISPENSABLE = {"SandboxListV2", "SandboxTerminateV2", "SandboxWaitV2", "TaskReloadVolumes"}
"""A run does without their answer."""
LONGEST = 15.0
"""Seconds: more than all the short deadlines of one run that can follow each other."""


def run(modal_server: ModalServer, cloud: Cloud, rpc: str = "", **options: Any) -> tuple[object, float]:
    """The answer or the error of a run that makes this call, and its seconds."""
    if rpc not in ("TaskExecStdinWriteStream", "TaskExecWait"):  # these send the document straight into the sandbox
        modal_server.add_secret("keys", SOME_KEY="value")
        options |= {"volume_name": "kept", "secret_names": ["keys"]}
    if rpc == "SandboxTerminateV2":  # without which only its own clock ends it
        options |= {"orphan": 4.0, "idle_timeout": 2}
    began = time.monotonic()
    try:
        with cloud({"double": lambda x: 2 * x}, **options) as interpreter:
            assert interpreter.execute("print(len(text))", {"text": TEXT}) == str(len(TEXT))
            final = interpreter.execute("SUBMIT(double(len(text)))", {"text": TEXT})
            assert isinstance(final, FinalOutput)
    except CodeInterpreterError as error:
        return error, time.monotonic() - began
    return final.output, time.monotonic() - began


ANSWER = {"output": 2 * len(TEXT)}


def nothing_is_left(modal_server: ModalServer) -> None:
    """A sandbox whose end could not be asked for ends as an orphan; one that was made twice, with its twin."""
    until(lambda: not modal_server.running(), 20.0, "the sandboxes' end")


def test_these_are_the_calls_of_a_run(modal_server: ModalServer, cloud: Cloud) -> None:
    assert run(modal_server, cloud)[0] == ANSWER
    assert run(modal_server, cloud, "TaskExecStdinWriteStream")[0] == ANSWER
    made = {call.rpc for call in modal_server.calls()} - ONCE_A_PROCESS - {"ImageFromId"}
    assert made | {"SandboxWaitV2"} == set(CALLS)  # asked when a stream is seen to end before the sandbox is left


@pytest.mark.parametrize("rpc", CALLS)
def test_a_call_whose_connection_breaks_harms_nothing(modal_server: ModalServer, cloud: Cloud, rpc: str) -> None:
    modal_server.fault(rpc, "drop")
    assert run(modal_server, cloud, rpc)[0] == ANSWER
    nothing_is_left(modal_server)


@pytest.mark.parametrize("rpc", ["SandboxCreateV2", "TaskExecStart", "TaskExecStdinWrite", "VolumePutFiles2"])
def test_a_call_that_is_done_and_whose_answer_is_lost_harms_nothing(
    modal_server: ModalServer, cloud: Cloud, rpc: str
) -> None:
    modal_server.fault(rpc, "lose", times=2)
    assert run(modal_server, cloud, rpc)[0] == ANSWER
    nothing_is_left(modal_server)


@pytest.mark.parametrize("rpc", CALLS)
def test_a_call_that_is_refused_ends_the_run_with_the_reason(modal_server: ModalServer, cloud: Cloud, rpc: str) -> None:
    modal_server.fault(rpc, "fail", status="PERMISSION_DENIED", message="no more of these", times=-1)
    patience = {"deadlines": SHORT} if rpc == "PUT block" else {}  # which the client repeats for minutes
    answer, seconds = run(modal_server, cloud, rpc, **patience)
    assert seconds < LONGEST
    if rpc in DISPENSABLE:
        assert answer == ANSWER
    elif rpc != "TaskExecWait":
        assert isinstance(answer, SandboxGone)
        words = {"PUT block": "keeping a document", "TaskExecStdinWriteStream": "sending a document"}
        assert words.get(rpc, "no more of these") in str(answer)
        assert answer.hint
    nothing_is_left(modal_server)


@pytest.mark.parametrize("rpc", CALLS)
def test_a_call_that_is_never_answered_ends_the_run_in_time(modal_server: ModalServer, cloud: Cloud, rpc: str) -> None:
    modal_server.fault(rpc, "hang", times=-1)
    answer, seconds = run(modal_server, cloud, rpc, deadlines=SHORT, start_timeout=2.0)
    assert seconds < LONGEST
    if rpc in DISPENSABLE:
        assert answer == ANSWER
    else:
        assert isinstance(answer, SandboxGone)
        assert "did not answer" in str(answer) or "nothing could be sent" in str(answer)
    nothing_is_left(modal_server)
