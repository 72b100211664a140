"""The loopback Modal itself, asked by the unmodified client as this program asks it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modal_server import ModalServer
from waiting import until

modal = pytest.importorskip("modal")


@pytest.fixture
def app(modal_server: ModalServer) -> Any:
    return modal.App.lookup("some-app", create_if_missing=True)


@pytest.fixture
def image(app: Any) -> Any:
    return modal.Image.debian_slim("3.12").build(app)


@pytest.fixture
def sandbox(app: Any, image: Any) -> Any:
    return create(app, image)


def create(app: Any, image: Any, **options: Any) -> Any:
    return modal.Sandbox.create(app=app, image=image, **{"timeout": 60, "block_network": True, **options})


def output(sandbox: Any, code: str) -> str:
    process = sandbox.exec("python", "-c", code)
    text, errors = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, errors
    return str(text).strip()


def test_an_app_that_does_not_exist_is_made_only_when_asked(modal_server: ModalServer) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        modal.App.lookup("some-app")
    app = modal.App.lookup("some-app", create_if_missing=True)
    assert modal.App.lookup("some-app").app_id == app.app_id


def test_an_image_is_built_once_and_found_by_its_id(modal_server: ModalServer, app: Any) -> None:
    modal_server.rules(build_seconds=0.05)
    built = modal.Image.debian_slim("3.12").pip_install("numpy").build(app)
    assert len(modal_server.calls("ImageJoinStreaming")) == 2
    assert modal.Image.from_id(built.object_id).build(app).object_id == built.object_id
    modal.Image.debian_slim("3.12").pip_install("numpy").build(app)
    assert len(modal_server.calls("ImageJoinStreaming")) == 2
    modal_server.forget_images()
    with pytest.raises(modal.exception.NotFoundError):
        modal.Image.from_id(built.object_id).build(app)


def test_an_image_that_can_t_be_built_says_what_failed(modal_server: ModalServer, app: Any) -> None:
    modal_server.rules(unbuildable=["no-such-package"])
    with pytest.raises(modal.exception.ImageBuildError, match="No matching distribution found for no-such-package"):
        modal.Image.debian_slim("3.12").pip_install("no-such-package").build(app)


def test_a_secret_is_there_with_its_keys_or_not(modal_server: ModalServer) -> None:
    modal_server.add_secret("keys", SOME_KEY="value")
    modal.Secret.from_name("keys", required_keys=["SOME_KEY"]).hydrate()
    with pytest.raises(modal.exception.NotFoundError, match="missing key"):
        modal.Secret.from_name("keys", required_keys=["OTHER_KEY"]).hydrate()
    with pytest.raises(modal.exception.NotFoundError, match="other"):
        modal.Secret.from_name("other").hydrate()
    assert "value" not in str(modal_server.calls("SecretGetOrCreate"))


def test_a_secret_is_in_the_sandbox_that_names_it(modal_server: ModalServer, app: Any, image: Any) -> None:
    modal_server.add_secret("keys", SOME_KEY="value")
    secret = modal.Secret.from_name("keys")
    code = "import os; print(os.environ.get('SOME_KEY'))"
    assert output(create(app, image, secrets=[secret]), code) == "value"
    assert output(create(app, image), code) == "None"


def test_a_volume_of_another_version_is_refused(modal_server: ModalServer) -> None:
    modal_server.add_volume("old", version=1)
    with pytest.raises(modal.exception.InvalidError, match="version v1"):
        modal.Volume.from_name("old", version=2).hydrate()
    modal_server.add_volume("new", version=2)
    modal.Volume.from_name("new", version=2).hydrate()
    with pytest.raises(modal.exception.NotFoundError):
        modal.Volume.from_name("none", version=2).hydrate()


def test_files_of_a_volume_are_written_listed_read_and_removed(modal_server: ModalServer, tmp_path: Path) -> None:
    volume = modal.Volume.from_name("files", create_if_missing=True, version=2)
    large = os.urandom(9 << 20)
    (tmp_path / "large").write_bytes(large)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"small"), "/folder/small.txt")
        batch.put_file(tmp_path / "large", "/large.bin")
    assert sorted(entry.path for entry in volume.iterdir("/")) == ["folder", "folder/small.txt", "large.bin"]
    assert [(entry.path, entry.size) for entry in volume.listdir("/folder")] == [("folder/small.txt", 5)]
    assert b"".join(volume.read_file("large.bin")) == large
    with pytest.raises(FileExistsError), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"other"), "/folder/small.txt")
    volume.remove_file("folder/small.txt")
    with pytest.raises(FileNotFoundError):
        volume.remove_file("folder/small.txt")
    with pytest.raises(FileNotFoundError):
        b"".join(volume.read_file("folder/small.txt"))


def test_a_block_that_is_there_already_does_not_cross_again(modal_server: ModalServer) -> None:
    data = os.urandom(1 << 20)
    for name in ("first", "second"):
        volume = modal.Volume.from_name(name, create_if_missing=True, version=2)
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(data), "/one")
    assert [call.sent for call in modal_server.calls("PUT block")] == [len(data)]


def test_a_volume_shows_news_after_a_reload_and_keeps_what_was_committed(
    modal_server: ModalServer, app: Any, image: Any
) -> None:
    volume = modal.Volume.from_name("shared", create_if_missing=True, version=2)
    sandbox = create(app, image, volumes={"/data": volume})
    look = "import os; print(sorted(os.listdir('/data')))"
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"news"), "/news")
    assert output(sandbox, look) == "[]"
    sandbox.reload_volumes()
    assert output(sandbox, look) == "['news']"
    output(sandbox, "import os; open('/data/result', 'w').write('42'); os.remove('/data/news')")
    assert [entry.path for entry in volume.listdir("/")] == ["news"]
    assert sandbox.exec("sync", "/data").wait() == 0
    assert [entry.path for entry in volume.listdir("/")] == ["result"]
    assert b"".join(volume.read_file("result")) == b"42"


def test_a_process_reads_writes_and_ends(sandbox: Any) -> None:
    process = sandbox.exec("python", "-c", "import sys; print(sys.stdin.read()[::-1]); sys.exit(3)")
    assert process.poll() is None
    process.stdin.write("abc")
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == "cba\n"
    assert process.wait() == 3
    killed = sandbox.exec("python", "-c", "import os; os.kill(os.getpid(), 9)")
    assert killed.wait() == 128 + signal.SIGKILL


def test_files_go_into_a_sandbox_and_come_back(sandbox: Any, tmp_path: Path) -> None:
    data = os.urandom(5 << 20)
    (tmp_path / "local").write_bytes(data)
    sandbox.filesystem.write_bytes(data, "/tmp/folder/one")
    sandbox.filesystem.copy_from_local(tmp_path / "local", "/tmp/folder/two")
    assert sandbox.filesystem.read_bytes("/tmp/folder/two") == data
    assert [(one.name, one.size) for one in sandbox.filesystem.list_files("/tmp/folder")] == [
        ("one", len(data)),
        ("two", len(data)),
    ]
    with pytest.raises(modal.exception.SandboxFilesystemNotFoundError):
        sandbox.filesystem.read_bytes("/tmp/none")


def test_a_sandbox_sees_nothing_of_this_machine_and_can_change_nothing(sandbox: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("secret")
    code = f"""
import ctypes, os, socket
print(os.listdir("/tmp"), [os.path.exists(path) for path in ({str(tmp_path)!r}, {__file__!r}, "/etc/shadow")])
try: open("/usr/x", "w")
except OSError as error: print(error.strerror)
print(ctypes.CDLL(None).mount(b"tmpfs", b"/usr", b"tmpfs", 0, b""))
print(len([name for name in os.listdir("/proc") if name.isdigit()]))
try: socket.create_connection(("1.1.1.1", 443), 1)
except OSError as error: print(error.strerror)
open("/tmp/left", "w").write("x")
"""
    assert output(sandbox, code).splitlines() == [
        "[] [False, False, False]",
        "Read-only file system",
        "-1",
        "2",
        "Network is unreachable",
    ]
    assert not Path("/tmp/left").exists()


def test_sandboxes_are_found_by_their_tags_until_they_end(app: Any, image: Any) -> None:
    first, second = (create(app, image, tags={"run": run}) for run in ("one", "two"))
    assert [one.object_id for one in modal.Sandbox.list(app_id=app.app_id, tags={"run": "two"})] == [second.object_id]
    assert first.get_tags() == {"run": "one"}
    first.terminate(wait=True)
    assert first.poll() == 137
    assert [one.object_id for one in modal.Sandbox.list(app_id=app.app_id)] == [second.object_id]


def test_an_end_ends_all_processes_and_whoever_reads(modal_server: ModalServer, sandbox: Any) -> None:
    process = sandbox.exec("sh", "-c", "setsid sleep 1000 & echo on; sleep 1000")
    stream = iter(process.stdout)
    assert next(stream) == "on\n"
    (seen,) = modal_server.running()
    sandbox.terminate()
    with pytest.raises(modal.exception.NotFoundError):
        next(stream)
    until(lambda: not Path(f"/proc/{seen.first_pid}").exists())
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen.processes)


def test_limits_of_time_and_memory_end_a_sandbox(modal_server: ModalServer, app: Any, image: Any) -> None:
    short, idle, small = (
        create(app, image, **options) for options in ({"timeout": 1}, {"idle_timeout": 1}, {"memory": (128, 128)})
    )
    small.exec("python", "-c", "x = bytearray(200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\ninput()")
    busy = create(app, image, idle_timeout=1)
    busy.exec("sleep", "1000")
    with pytest.raises(modal.exception.SandboxTimeoutError):
        short.wait()
    assert short.returncode == 124
    idle.wait()
    small.wait()
    assert (idle.returncode, small.returncode) == (137, 137)
    assert [one.status for one in modal_server.sandboxes()] == ["TIMEOUT", "IDLE_TIMEOUT", "KERNEL_OOM_KILL", ""]


def test_a_token_that_expired_is_renewed(modal_server: ModalServer, app: Any, image: Any) -> None:
    modal_server.rules(router_token_seconds=10)
    sandbox = create(app, image)
    assert output(sandbox, "print(1)") == "1"
    modal_server.expire_router_tokens()
    assert output(sandbox, "print(2)") == "2"
    assert len(modal_server.calls("SandboxGetCommandRouterAccess")) == 1


def test_another_token_is_refused(modal_server: ModalServer) -> None:
    modal_server.rules(token=["ak-other", "as-other"])
    with pytest.raises(modal.exception.AuthError):
        modal.App.lookup("some-app", create_if_missing=True)


def test_more_sandboxes_than_allowed_are_refused(modal_server: ModalServer, sandbox: Any, app: Any, image: Any) -> None:
    modal_server.rules(most_sandboxes=1)
    with pytest.raises(modal.exception.ResourceExhaustedError):
        create(app, image)


def test_a_call_meets_the_fault_it_is_given(modal_server: ModalServer, app: Any, image: Any) -> None:
    modal_server.fault("AppGetOrCreate", "fail", status="PERMISSION_DENIED", message="not you")
    with pytest.raises(modal.exception.PermissionDeniedError, match="not you"):
        modal.App.lookup("some-app")
    modal.App.lookup("some-app")
    modal_server.fault("AppGetOrCreate", "delay", seconds=0.3)
    began = time.monotonic()
    modal.App.lookup("some-app")
    assert time.monotonic() - began >= 0.3
    modal_server.fault("SandboxCreateV2", "lose")
    create(app, image)
    assert len(modal_server.running()) == 2  # the client asked again, for the first answer was lost
    modal_server.fault("AppGetOrCreate", "drop")
    modal.App.lookup("some-app")
    assert [call.status for call in modal_server.calls("AppGetOrCreate")][-2:] == ["UNAVAILABLE", "OK"]


def test_output_goes_on_where_it_was_cut(modal_server: ModalServer, sandbox: Any) -> None:
    modal_server.fault("TaskExecStdioRead", "drop", after_bytes=50_000, times=3)
    code = "import sys\nfor n in range(50_000): print(f'{n:06}')"
    process = sandbox.exec("python", "-c", code, text=False)
    lines = b"".join(process.stdout).split()
    assert lines == [f"{number:06}".encode() for number in range(50_000)]
    assert len(modal_server.calls("TaskExecStdioRead")) >= 4


def test_a_file_goes_on_where_it_was_cut(modal_server: ModalServer, sandbox: Any) -> None:
    data = os.urandom(5 << 20)
    modal_server.fault("TaskExecStdinWriteStream", "drop", after_bytes=2 << 20)
    sandbox.filesystem.write_bytes(data, "/tmp/one")
    assert sandbox.filesystem.read_bytes("/tmp/one") == data


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_blackout_ends(modal_server: ModalServer, sandbox: Any, kind: str) -> None:
    process = sandbox.exec("python", "-uc", "import time\nfor n in range(40): print(n); time.sleep(0.02)", text=False)
    stream = iter(process.stdout)
    text = next(stream)
    modal_server.blackout(0.5, kind)
    assert b"".join([text, *stream]).split() == [str(number).encode() for number in range(40)]


def test_each_round_trip_takes_its_time(modal_server: ModalServer, sandbox: Any) -> None:
    process = sandbox.exec("cat", text=False, bufsize=-1)
    stream = iter(process.stdout)
    process.stdin.write(b"warm")
    process.stdin.drain()
    assert next(stream) == b"warm"
    modal_server.latency(0.2)
    began = time.monotonic()
    process.stdin.write(b"late")
    process.stdin.drain()
    drained = time.monotonic() - began
    assert next(stream) == b"late"
    assert 0.2 <= drained < 0.4
    assert time.monotonic() - began < 0.4


def test_what_was_asked_can_be_read(modal_server: ModalServer, app: Any, image: Any) -> None:
    create(app, image, block_network=True, tags={"run": "one"})
    (call,) = modal_server.calls("SandboxCreateV2")
    definition = call.request["definition"]
    assert definition["network_access"]["network_access_type"] == "BLOCKED"
    assert definition["timeout_secs"] == 60
    assert call.request["tags"] == [{"tag_name": "run", "tag_value": "one"}]
    assert call.status == "OK"
    assert call.sent > 0


def test_nothing_outlives_a_server_whose_owner_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from modal_server import ModalServer
server = ModalServer(Path({str(tmp_path / "server")!r}))
os.environ.update(server.environment)
import modal
app = modal.App.lookup("app", create_if_missing=True)
sandbox = modal.Sandbox.create(app=app, image=modal.Image.debian_slim("3.12").build(app), timeout=600)
sandbox.exec("sleep", "1000")
print(server.pid, server.running()[0].first_pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        owner.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    until(lambda: not (tmp_path / "server").exists())
