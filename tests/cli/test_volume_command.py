"""`fleet-rlm volume`, through Modal's own client to a Modal on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm.cli import cloud, volume_copy
from fleet_rlm.cli.volume_copy import Refused, downloads, in_volume
from fleet_rlm.sandbox.modal.volume_files import Entry
from modal_server import ModalServer
from waiting import until

HOSTILE = "\x1b]0;owned\x07\u202eevil.txt"


@pytest.fixture
def cloud_volume(modal_server: ModalServer) -> ModalServer:
    modal_server.add_volume("box")
    return modal_server


def write(folder: Path, **files: bytes | str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def put(fleet: Shell, **files: bytes | str) -> None:
    """Straight into the volume."""
    write(fleet.folder / "seed", **files)
    done = fleet.inside("volume", "put", "box", "seed/", "/", "--force", "--json")
    assert done.returncode == 0, done.stderr


def names(fleet: Shell, *arguments: str) -> list[str]:
    done = fleet.inside("volume", "ls", "box", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [one["path"] for one in json.loads(done.stdout)]


def test_a_folder_crosses_there_and_back_with_all_that_is_in_it(cloud_volume: ModalServer, fleet: Shell) -> None:
    big = os.urandom(9 << 20)  # more than one of Modal's blocks
    write(fleet.folder / "mine", a_txt="one", deep__er__b_bin=big, empty="")
    sent = fleet.inside("volume", "put", "box", "mine")
    assert sent.returncode == 0, sent.stderr
    assert "sent 3 files, 9.4 MB" in sent.stderr
    assert names(fleet, "-r") == ["mine", "mine/a.txt", "mine/deep", "mine/deep/er", "mine/deep/er/b.bin", "mine/empty"]
    fetched = fleet.inside("volume", "get", "box", "mine", "back")
    assert fetched.returncode == 0, fetched.stderr
    assert (fleet.folder / "back/a.txt").read_text() == "one"
    assert (fleet.folder / "back/deep/er/b.bin").read_bytes() == big
    assert (fleet.folder / "back/empty").read_bytes() == b""
    assert sorted(path.name for path in (fleet.folder / "back").iterdir()) == ["a.txt", "deep", "empty"]


def test_ls_says_kind_size_and_date_and_lists_one_file_too(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="12345", sub__b_txt="1")
    lines = [line.split("\t") for line in fleet.inside("volume", "ls", "box", "seed").stdout.splitlines()]
    assert [(line[0], line[3]) for line in lines] == [("file", "seed/a.txt"), ("folder", "seed/sub")]
    assert lines[0][1] == "5"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", lines[0][2])
    assert names(fleet, "/seed/a.txt") == ["seed/a.txt"]


def test_where_things_go_is_as_cp_has_it(cloud_volume: ModalServer, fleet: Shell) -> None:
    write(fleet.folder, a_txt="a")
    assert fleet.inside("volume", "put", "box", "a.txt").stdout == "a.txt\n"
    assert fleet.inside("volume", "put", "box", "a.txt", "b.txt").stdout == "b.txt\n"
    assert fleet.inside("volume", "put", "box", "a.txt", "sub/").stdout == "sub/a.txt\n"
    assert fleet.inside("volume", "put", "box", "b.txt", "sub").returncode == 1  # there is no b.txt here
    assert fleet.inside("volume", "put", "box", "seed.txt", "--force").returncode == 1
    write(fleet.folder, c_txt="c")
    assert fleet.inside("volume", "put", "box", "c.txt", "sub").stdout == "sub/c.txt\n"
    (fleet.folder / "here").mkdir()
    assert fleet.inside("volume", "get", "box", "sub/c.txt", "here").stdout == "here/c.txt\n"
    assert fleet.inside("volume", "get", "box", "b.txt", "new/name.txt").stdout == "new/name.txt\n"
    assert (fleet.folder / "new/name.txt").read_text() == "a"


def test_nothing_is_replaced_without_force(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="theirs")
    write(fleet.folder, a_txt="mine", seed__a_txt="mine")
    refused = fleet.inside("volume", "get", "box", "seed/a.txt")
    assert refused.returncode == 1
    assert "Here already: a.txt; nothing was fetched." in refused.stderr
    assert (fleet.folder / "a.txt").read_text() == "mine"
    assert "Here already: seed/a.txt" in fleet.inside("volume", "get", "box", "seed").stderr
    refused = fleet.inside("volume", "put", "box", "a.txt", "seed/a.txt")
    assert (refused.returncode, "In the volume already: seed/a.txt" in refused.stderr) == (1, True)
    assert fleet.inside("volume", "get", "box", "seed/a.txt", "--force").returncode == 0
    assert (fleet.folder / "a.txt").read_text() == "theirs"
    write(fleet.folder, a_txt="newer")
    assert fleet.inside("volume", "put", "box", "a.txt", "seed/a.txt", "--force").returncode == 0
    assert fleet.inside("volume", "get", "box", "seed/a.txt", "-").stdout == "newer"


def test_a_pipe_in_and_a_pipe_out(cloud_volume: ModalServer, fleet: Shell) -> None:
    data = bytes(range(256)) * 50
    command = [*COMMAND, "volume", "put", "box", "-", "deep/raw.bin"]
    subprocess.run(command, input=data, env=fleet.environment, cwd=fleet.folder, check=True, capture_output=True)
    command = [*COMMAND, "volume", "get", "box", "deep/raw.bin", "-"]
    done = subprocess.run(command, env=fleet.environment, cwd=fleet.folder, check=True, capture_output=True)
    assert done.stdout == data
    assert fleet.inside("volume", "put", "box", "-").returncode == 2
    assert fleet.inside("volume", "get", "box", "deep", "-").returncode == 2


def test_a_reader_that_has_seen_enough_ends_it_quietly(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, big=b"line\n" * 200_000)
    process = fleet.start(["volume", "get", "box", "seed/big", "-"])
    assert process.stdout is not None
    assert process.stdout.read(5) == "line\n"
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..", "a\0b"])
def test_a_path_that_leaves_the_volume_is_wrong_usage(path: str) -> None:
    with pytest.raises(Refused, match="is no path in a volume") as refused:
        in_volume(path)
    assert refused.value.usage


def test_no_name_of_a_volume_leads_out_of_the_folder(tmp_path: Path) -> None:
    hostile = ["d/../../x", "../x", "/etc/passwd", "d/..", "d", "e/x", "d/a\0b", "d/ok", "d/./ok", "//d/y"]
    wanted, left_out = downloads([Entry(path, "file", 1, 0) for path in hostile], "d", tmp_path / "d")
    assert [one.target for one in wanted] == [tmp_path / "d" / "ok"]
    assert len(left_out) == len(hostile) - 1
    everything, _ = downloads([Entry(path, "file", 1, 0) for path in hostile], "", tmp_path)
    assert all(one.target.resolve().is_relative_to(tmp_path) for one in everything)
    assert [str(one.target.relative_to(tmp_path)) for one in everything] == ["d", "e/x", "d/ok"]


def test_a_link_in_the_target_leads_nothing_out_of_it(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, sub__a_txt="theirs")
    (fleet.folder / "outside").mkdir()
    (fleet.folder / "target" / "seed").mkdir(parents=True)
    (fleet.folder / "target" / "seed" / "sub").symlink_to(fleet.folder / "outside")
    done = fleet.inside("volume", "get", "box", "seed", "target", "--force")
    assert done.returncode == 1
    assert "is a link out of" in done.stderr
    assert not list((fleet.folder / "outside").iterdir())


def test_links_of_mine_are_left_out_and_named(cloud_volume: ModalServer, fleet: Shell) -> None:
    write(fleet.folder / "mine", a_txt="a")
    (fleet.folder / "mine" / "out").symlink_to("/etc/hostname")
    done = fleet.inside("volume", "put", "box", "mine")
    assert done.returncode == 0
    assert "left out 'out'" in done.stderr
    assert names(fleet, "-r") == ["mine", "mine/a.txt"]


def test_hostile_names_can_do_nothing_to_a_terminal(cloud_volume: ModalServer, fleet: Shell) -> None:
    (fleet.folder / "mine").mkdir()
    (fleet.folder / "mine" / HOSTILE).write_text("\x1b[2J")
    fleet.inside("volume", "put", "box", "mine")
    listed = fleet.inside("volume", "ls", "box", "-r")
    assert "owned" in listed.stdout
    fetched = fleet.inside("volume", "get", "box", f"mine/{HOSTILE}")
    refused = fleet.inside("volume", "get", "box", f"mine/{HOSTILE}")
    for done in (listed, fetched, refused):
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e")
    assert HOSTILE in names(fleet, "mine")[0]
    shown, _ = fleet.on_a_terminal("volume", "get", "box", f"mine/{HOSTILE}", "-")
    assert "\x1b[2J" not in shown
    assert "[2J" in shown


def test_a_person_sees_a_table_and_a_bar(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="12345", big=os.urandom(2 << 20))
    shown, status = fleet.on_a_terminal("volume", "ls", "box", "seed")
    assert status == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert re.search(r"name +size +changed", shown)
    assert re.search(r"seed/a\.txt +5 bytes +\d{4}-\d\d-\d\d \d\d:\d\d", shown)
    assert "2 files, 2.1 MB" in shown
    shown, status = fleet.on_a_terminal("volume", "get", "box", "seed", "new")
    assert status == 0, shown
    assert "fetching seed" in shown
    assert "━" in shown


def test_a_folder_is_removed_only_recursively_and_only_when_said(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="1", b_txt="2")
    assert fleet.inside("volume", "rm", "box", "seed/a.txt").returncode == 2
    assert "--yes" in fleet.inside("volume", "rm", "box", "seed/a.txt").stderr
    assert fleet.inside("volume", "rm", "box", "seed", "--yes").returncode == 1
    assert names(fleet, "seed") == ["seed/a.txt", "seed/b.txt"]
    shown, status = fleet.on_a_terminal("volume", "rm", "box", "seed/a.txt", says="n\n")
    assert "Remove seed/a.txt (1 file, 1 byte) from the volume box?" in shown
    assert (status, names(fleet, "seed")) == (1, ["seed/a.txt", "seed/b.txt"])
    assert fleet.on_a_terminal("volume", "rm", "box", "seed/a.txt", says="y\n")[1] == 0
    assert names(fleet, "seed") == ["seed/b.txt"]
    done = fleet.inside("volume", "rm", "box", "seed", "-r", "--yes", "--json")
    assert json.loads(done.stdout) == {"removed": "seed", "files": 1, "bytes": 1}
    assert names(fleet) == []
    assert fleet.inside("volume", "rm", "box", "/", "-r", "--yes").returncode == 2


def test_what_is_not_there_is_named_with_what_to_do(cloud_volume: ModalServer, fleet: Shell) -> None:
    for arguments in (("ls", "box", "no"), ("get", "box", "no"), ("rm", "box", "no", "--yes")):
        done = fleet.inside("volume", *arguments)
        assert (done.returncode, "has no no." in done.stderr) == (1, True)
        assert "fleet-rlm volume ls box lists" in done.stderr
    done = fleet.inside("volume", "ls", "nobody")
    assert done.returncode == 1
    assert "There is no volume named 'nobody' in this Modal workspace." in done.stderr
    assert "modal volume create --version 2 nobody" in done.stderr
    assert fleet.inside("volume", "ls", "not a name").returncode == 2
    assert fleet.inside("volume", "put", "box", "nothing-here").returncode == 1


def test_a_volume_of_version_1_is_explained_with_both_ways_out(modal_server: ModalServer, fleet: Shell) -> None:
    modal_server.add_volume("old", version=1)
    done = fleet.inside("volume", "ls", "old")
    assert done.returncode == 1
    assert "'old' is of version 1" in done.stderr
    assert "old-v2" in done.stderr
    assert "modal volume delete old && modal volume create --version 2 old" in done.stderr


def test_a_server_that_does_not_answer_is_given_up(
    cloud_volume: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "ANSWER_SECONDS", 0.3)
    cloud_volume.fault("VolumeGetOrCreate", "hang", times=-1)
    done = fleet.inside("volume", "ls", "box")
    assert done.returncode == 1
    assert "Modal did not answer within 0.3 s (looking up the volume box)" in done.stderr


def test_a_download_that_fails_leaves_nothing_behind(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="1")
    cloud_volume.fault("VolumeGetFile2", "fail", status="PERMISSION_DENIED", times=-1)
    done = fleet.inside("volume", "get", "box", "seed/a.txt", "new.txt")
    assert done.returncode == 1
    assert "does not permit it" in done.stderr
    assert not [path.name for path in fleet.folder.iterdir() if "new" in path.name or path.suffix == ".part"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_stopped_leaves_nothing_behind(
    cloud_volume: ModalServer, fleet: Shell, number: signal.Signals
) -> None:
    put(fleet, a_txt="1")
    cloud_volume.fault("VolumeGetFile2", "hang", times=-1)
    process = fleet.start(["volume", "get", "box", "seed", "new"])
    until(lambda: list(fleet.folder.glob("new/.*.part")), 30, "a download that is under way")
    process.send_signal(number)
    assert process.wait(10) == 130
    assert "Traceback" not in process.communicate()[1]
    assert not list((fleet.folder / "new").iterdir())


def test_a_whole_volume_goes_into_a_folder_of_its_name(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, **{f"f{number}_txt": str(number) for number in range(40)})
    done = fleet.inside("volume", "get", "box", "/")
    assert (done.returncode, done.stdout) == (0, "box\n")
    assert {path.name: path.read_text() for path in (fleet.folder / "box" / "seed").iterdir()} == {
        f"f{number}.txt": str(number) for number in range(40)
    }


def test_a_place_here_that_can_t_be_is_told(cloud_volume: ModalServer, fleet: Shell) -> None:
    put(fleet, a_txt="1")
    for arguments in (("get", "box", "seed/a.txt", "x" * 300), ("put", "box", "y" * 300)):
        done = fleet.inside("volume", *arguments)
        assert done.returncode == 1
        assert "name too long" in done.stderr
    write(fleet.folder, file="")
    done = fleet.inside("volume", "get", "box", "seed", "file")
    assert (done.returncode, "is a file here, and a folder in the volume" in done.stderr) == (1, True)
    done = fleet.inside("volume", "get", "box", "seed/a.txt", "file/below")
    assert (done.returncode, "file" in done.stderr) == (1, True)
    (fleet.folder / "loop").symlink_to("loop")
    assert fleet.inside("volume", "get", "box", "seed", "loop/x").returncode == 1


def test_a_file_system_without_links_will_do(
    cloud_volume: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(fleet, a_txt="1")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(volume_copy.os, "link", refuse)
    assert fleet.inside("volume", "get", "box", "seed/a.txt", "new.txt").returncode == 0
    assert (fleet.folder / "new.txt").read_text() == "1"


def test_a_full_disk_is_said_before_anything_moves(
    cloud_volume: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(fleet, a_txt="12345")
    monkeypatch.setattr(volume_copy.shutil, "disk_usage", lambda _: _Free())
    done = fleet.inside("volume", "get", "box", "seed/a.txt")
    assert done.returncode == 1
    assert "5 bytes don't fit" in done.stderr


class _Free:
    free = 4
