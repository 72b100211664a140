"""The files of a volume from outside: nothing waits for ever, nothing arrives in part."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest

from fleet_rlm.sandbox.modal.client import Deadlines
from fleet_rlm.sandbox.modal.failures import CloudError, CloudTimeout, NotThere
from fleet_rlm.sandbox.modal.volume_files import Entry, VolumeFiles
from modal_server import ModalServer
from waiting import until

IMPATIENT = Deadlines(file=0.4)


@pytest.fixture
def box(modal_server: ModalServer) -> VolumeFiles:
    modal_server.add_volume("box")
    return VolumeFiles("box")


def one(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_bytes_come_back_as_they_went_and_progress_adds_up(box: VolumeFiles, tmp_path: Path) -> None:
    data = os.urandom(9 << 20)
    sent: list[int] = []
    box.put([(one(tmp_path, "big", data), "deep/big"), (one(tmp_path, "none", b""), "none")], moved=sent.append)
    assert sum(sent) == len(data)
    file, fetched = io.BytesIO(), []
    assert box.read_into("deep/big", file, fetched.append) == len(data)
    assert (file.getvalue(), sum(fetched)) == (data, len(data))
    assert box.find("deep") == Entry("deep", "folder", 0, 0.0)
    assert (box.find("") or Entry("", "", 0, 0)).kind == "folder"
    assert (box.find("none") or Entry("", "", 1, 0)).bytes == 0
    assert box.find("nothing") is None


def test_a_batch_arrives_whole_or_not_at_all(box: VolumeFiles, tmp_path: Path) -> None:
    box.put([(one(tmp_path, "a", b"1"), "there")])
    new = [(one(tmp_path, "b", b"2"), "new"), (one(tmp_path, "c", b"3"), "there")]
    with pytest.raises(CloudError, match="has it already") as refused:
        box.put(new)
    assert "--force" in refused.value.hint
    assert [entry.path for entry in box.entries()] == ["there"]
    box.put(new, force=True)
    assert [entry.path for entry in box.entries()] == ["new", "there"]


def test_a_local_file_that_vanished_is_named_as_mine(box: VolumeFiles, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"gone can't be read: No such file") as refused:
        box.put([(tmp_path / "gone", "x")])
    assert not isinstance(refused.value, NotThere)


@pytest.mark.parametrize("rpc", ["VolumeListFiles2", "VolumeGetFile2", "VolumePutFiles2", "VolumeRemoveFile2"])
def test_what_does_not_move_is_given_up(modal_server: ModalServer, tmp_path: Path, rpc: str) -> None:
    modal_server.add_volume("box")
    files = VolumeFiles("box", deadlines=IMPATIENT)
    modal_server.fault(rpc, "hang", times=-1)
    calls = {
        "VolumeListFiles2": lambda: files.entries(),
        "VolumeGetFile2": lambda: files.read_into("a", io.BytesIO()),
        "VolumePutFiles2": lambda: files.put([(one(tmp_path, "a", b"1"), "a")]),
        "VolumeRemoveFile2": lambda: files.remove("a"),
    }
    with pytest.raises(CloudTimeout, match=r"did not answer within 0\.4 s"):
        calls[rpc]()


def test_a_full_disk_of_mine_is_not_called_a_broken_network(box: VolumeFiles, tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    box.put([(one(tmp_path, "a", b"123"), "a")])
    with pytest.raises(CloudError, match=r"this machine's disk failed .*No space left"):
        box.read_into("a", Full())


def test_stopping_lets_every_thread_go(modal_server: ModalServer) -> None:
    modal_server.add_volume("box")
    files = VolumeFiles("box")
    modal_server.fault("VolumeGetFile2", "hang", times=-1)
    ended: list[str] = []

    def read() -> None:
        try:
            files.read_into("a", io.BytesIO())
        except CloudError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(modal_server.calls("VolumeGetFile2")) == 3, what="three calls under way")
    files.stop()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 3
    assert all("was stopped" in words for words in ended)


def test_a_slow_transfer_that_moves_is_not_given_up(
    modal_server: ModalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modal_server.add_volume("box")
    data = os.urandom(40 << 20)
    VolumeFiles("box").put([(one(tmp_path, "big", data), "big")])
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 1)  # five blocks, one after the other
    modal_server.latency(0.4)
    files = VolumeFiles("box", deadlines=Deadlines(file=1.8))
    file, began = io.BytesIO(), time.monotonic()
    assert files.read_into("big", file) == len(data)
    assert file.getvalue() == data
    assert time.monotonic() - began > 1.8
