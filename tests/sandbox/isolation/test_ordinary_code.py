"""What honest code needs works inside, in every mode that is offered; what it must not inherit is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .harness import OWN_ROOT, Sandbox

pytestmark = pytest.mark.isolation

ORDINARY = {
    "temporary files": "import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'x'); result = f.tell()",
    "a thread": (
        "import threading; result = []; t = threading.Thread(target=result.append, args=(1,))\n"
        "t.start(); t.join(); result = result[0]"
    ),
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: result = sum(pool.map(int, '0001'))"
    ),
    "a subprocess": (
        "import subprocess; result = int(subprocess.run(['sh', '-c', 'echo 1'], capture_output=True).stdout)"
    ),
    "another Python": (
        "import subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-c', 'import json; print(1)'], capture_output=True)\n"
        "result = int(done.stdout or done.stderr)"
    ),
    "a database": (
        "import sqlite3; db = sqlite3.connect('x.db'); db.execute('create table t (a)')\n"
        "db.execute('insert into t values (1)'); db.commit(); result = db.execute('select a from t').fetchone()[0]"
    ),
    "time zones": "import zoneinfo; result = len({zoneinfo.ZoneInfo('Europe/Athens').key})",
    "the locale": "import locale; result = int(locale.getlocale()[1].lower().replace('-', '') == 'utf8')",
    "TLS": "import ssl; result = int(ssl.create_default_context().check_hostname)",
    "an event loop": "import asyncio; result = asyncio.run(asyncio.sleep(0, 1))",
    "a fork": "import os; p = os.fork()\nif not p: os._exit(1)\nresult = os.WEXITSTATUS(os.waitpid(p, 0)[1])",
    "a stream pair": "import socket; a, b = socket.socketpair(); a.send(b'1'); result = int(b.recv(1))",
    "archives": "import shutil, os; os.mkdir('d'); result = int(shutil.make_archive('a', 'zip', 'd').endswith('zip'))",
    "exit and help": "result = int(callable(exit) and callable(help))",
    "its own folder is home": (
        "import os, tempfile, pathlib\n"
        "result = len({os.getcwd(), os.environ['HOME'], tempfile.gettempdir(), str(pathlib.Path.home())})"
    ),
    "non-ASCII names": "open('Ωmega', 'w').write('é'); import os; result = int('Ωmega' in os.listdir('.'))",
}


@pytest.mark.parametrize("what", ORDINARY)
def test_ordinary_code_works(sandbox: Sandbox, what: str) -> None:
    assert sandbox.run(ORDINARY[what]) == 1


def test_a_root_of_its_own_has_pools_of_processes_servers_and_users(sandbox: Sandbox) -> None:
    if sandbox.mode not in OWN_ROOT:
        pytest.skip("only with namespaces")
    source = """
import multiprocessing, os, pwd, socket
with multiprocessing.get_context("fork").Pool(2) as pool: squares = pool.map(abs, [-1, -2])
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
result = [squares, pwd.getpwuid(os.getuid()).pw_name, socket.gethostname(), len(os.listdir("/proc/self/fd")) > 3]
"""
    assert sandbox.run(source) == [[1, 2], "user", "sandbox", True]


def test_only_installed_packages_can_be_imported(sandbox: Sandbox) -> None:
    import fleet_rlm.sandbox

    folders = sandbox.run("import sys; result = sys.path")
    assert isinstance(folders, list)
    source = str(Path(fleet_rlm.sandbox.__file__).parent)
    assert not [folder for folder in folders if source.startswith(folder + "/") and "-packages" not in folder]
    assert [folder for folder in folders if folder.endswith("-packages")]


def test_the_environment_is_small_and_says_nothing_of_the_host(sandbox: Sandbox) -> None:
    names = sandbox.run("import os; result = sorted(os.environ)")
    assert names == sorted(
        ["PATH", "HOME", "TMPDIR", "USER", "LANG", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    )
    started_with = sandbox.run("result = open('/proc/self/environ').read()")
    assert os.environ.get("HOME", "/nowhere") not in str(started_with)


def test_only_the_three_descriptors_are_open(sandbox: Sandbox) -> None:
    source = """
import os
result = []
for fd in range(3, 512):
    try: os.fstat(fd)
    except OSError: continue
    result.append(fd)
"""
    assert sandbox.run(source) == []


def test_the_driver_is_a_fresh_main_module(sandbox: Sandbox) -> None:
    source = """
import sys, signal
modules = [name for name in sys.modules if "launcher" in name or "fleet" in name]
interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
result = [sys.argv, hasattr(sys.modules["__main__"], "answer"), modules, interrupts]
"""
    assert sandbox.run(source) == [["driver.py"], True, [], True]


def test_a_traceback_does_not_name_the_hosts_folders(sandbox: Sandbox) -> None:
    said = sandbox.run("import sys; result = sys._getframe(2).f_code.co_filename")
    assert said == "driver.py"


def test_every_mount_but_scratch_and_devices_is_read_only(sandbox: Sandbox) -> None:
    if sandbox.mode not in OWN_ROOT:
        pytest.skip("only with mounts of its own")
    source = """
with open("/proc/self/mountinfo") as table:
    fields = [line.split() for line in table]
result = [point for _, _, _, _, point, flags, *_ in fields if "ro" not in flags.split(",")]
"""
    writable = sandbox.run(source)
    assert isinstance(writable, list)
    assert {point for point in writable if not point.startswith("/dev")} == {"/tmp", "/proc"}
