"""Build the distribution and use it as a stranger would: what `make release-check` does after lint and tests.

The wheel is built from the source distribution, checked by twine, looked into, and installed into an empty environment
outside the checkout. There the commands run: the demo, the list of what `init` installs, and the screen in a terminal.
Nothing of the person's configuration is seen by them, and nothing is published. Exit status: 0 when all is well, 1 with
what is not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT / "tests"))

from terminal import Terminal  # noqa: E402 - the tests' own

QUESTION = "What must a client do when a shipment upload is rejected, and how long may it retry?"
ANSWER = "45 minutes"
LARGEST_BYTES = 1 << 20
"""Of one file in the wheel."""
SUFFIXES = {
    ".csv",
    ".py",
    ".pyi",
    ".typed",
    ".tcss",
    ".toml",
    ".md",
    ".json",
    ".jsonl",
    ".txt",
    ".yaml",
    ".sh",
    ".eml",
    ".log",
}
NEEDED = (
    *("fleet_rlm/py.typed", "fleet_rlm/sandbox/inside/bootstrap.py", "fleet_rlm/tui/look/styles/app.tcss"),
    *("fleet_rlm/_themes/fleet-dark.toml", "fleet_rlm/_content/freight-api-guide.md"),
)


class Wrong(Exception):
    """The distribution must not be published as it is."""


@contextmanager
def step(what: str) -> Iterator[None]:
    print(f"  {what} …", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" no", flush=True)
        raise
    print(" ok", flush=True)


def call(
    command: Sequence[str | Path], cwd: Path = PROJECT, env: dict[str, str] | None = None, seconds: float = 600
) -> str:
    """What the command printed. Raises `Wrong` with its words when it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
        raise Wrong(f"{' '.join(map(str, command))} left with {done.returncode}:\n{said}")
    return done.stdout


def uv() -> str:
    found = shutil.which("uv") or str(PROJECT / ".venv" / "bin" / "uv")
    if not Path(found).exists():
        raise Wrong("uv is missing; make sync-dev installs it")
    return found


def build(out: Path) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built from it."""
    call([uv(), "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", out])
    (source,), (wheel,) = list(out.glob("*.tar.gz")), list(out.glob("*.whl"))
    return source, wheel


def look_into(wheel: Path) -> None:
    """The wheel holds what it needs, and nothing of this machine."""
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        names = [entry.filename for entry in entries]
        for name in NEEDED:
            if name not in names:
                raise Wrong(f"{name} is missing")
        for entry in entries:
            top, _, rest = entry.filename.partition("/")
            if top.endswith(".dist-info"):
                continue
            if top != "fleet_rlm" or Path(rest).suffix not in SUFFIXES or Path(rest).name.startswith("."):
                raise Wrong(f"{entry.filename} does not belong into a wheel")
            if entry.file_size > LARGEST_BYTES:
                raise Wrong(f"{entry.filename} has {entry.file_size:,} bytes")
            held = archive.read(entry)
            for private in {str(PROJECT), str(Path.home())} - {"/", "/root"}:
                if private.encode() in held:
                    raise Wrong(f"{entry.filename} names a folder of this machine: {private}")


def install(wheel: Path, folder: Path) -> Path:
    """An empty environment with the wheel and nothing but what it asks for; its bin folder."""
    call([uv(), "venv", "--quiet", "--python", sys.executable, folder])
    constraints = PROJECT / "constraints.txt"
    python = folder / "bin" / "python"
    call([uv(), "pip", "install", "--quiet", "--python", python, "--constraint", constraints, wheel])
    return folder / "bin"


def use(bin_folder: Path, folder: Path, version: str) -> None:
    """Everything that a stranger does first."""
    env = {
        "PATH": f"{bin_folder}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "FLEET_RLM_HOME": str(folder / "home"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "COLUMNS": "100",
    }
    fleet = bin_folder / "fleet-rlm"
    with step("it is the wheel that is used, not the checkout"):
        where = call([bin_folder / "python", "-c", "import fleet_rlm; print(fleet_rlm.__file__)"], folder, env).strip()
        if not Path(where).is_relative_to(bin_folder.parent):
            raise Wrong(f"fleet_rlm comes from {where}")
    with step("fleet-rlm --version, and rlm-modal"):
        for name in ("fleet-rlm", "rlm-modal"):
            said = call([bin_folder / name, "--version"], folder, env).strip()
            if said != f"fleet-rlm {version}":
                raise Wrong(f"{name} --version says {said!r}, and the wheel is {version}")
    with step("fleet-rlm run answers the demo's question"):
        guide = ("--docs", "bundled:freight-api-guide.md", "--json", "--quiet")
        said = json.loads(call([fleet, "run", QUESTION, *guide], folder, env))
        if said["status"] != "submitted" or ANSWER not in said["outputs"]["answer"]:
            raise Wrong(f"the answer is {said['outputs']} ({said['status']})")
        call([fleet, "runs", "verify", said["run_file"]], folder, env)
    with step("fleet-rlm-tui --demo on a screen, and away again"):
        screen_demo([str(bin_folder / "fleet-rlm-tui"), "--demo"], folder, env)
    with step("fleet-rlm init --list"):
        if "rlm-run" not in call([fleet, "init", "--list"], folder, env):
            raise Wrong("init --list names no skill rlm-run")


def screen_demo(command: Sequence[str], folder: Path, env: dict[str, str]) -> None:
    try:
        with Terminal(command, 120, 40, env, folder) as screen:
            screen.wait("OFFLINE", seconds=60)
            screen.wait("SUBMITTED", seconds=120)
            screen.press("q")
            screen.wait("2 runs")
            screen.press("ctrl+q")
            status = screen.wait_exit()
    except AssertionError as error:
        raise Wrong(str(error)) from error
    if status:
        raise Wrong(f"the screen left with {status}")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fleet-rlm-release-") as temporary:
        folder = Path(temporary)
        try:
            with step("build the source distribution, and the wheel from it"):
                source, wheel = build(folder / "dist")
            with step("twine check"):
                call([sys.executable, "-m", "twine", "check", "--strict", source, wheel])
            with step("look into the wheel"):
                look_into(wheel)
            with step("install the wheel into an empty environment"):
                bin_folder = install(wheel, folder / "env")
            (folder / "elsewhere").mkdir()
            use(bin_folder, folder / "elsewhere", wheel.name.split("-")[1])
        except Wrong as wrong:
            print(f"\nNot to be released: {wrong}", file=sys.stderr)
            return 1
        kept = PROJECT / "dist"
        kept.mkdir(exist_ok=True)
        for built in (source, wheel):
            shutil.copy2(built, kept / built.name)
        print(f"\nFit to be released: {source.name} and {wheel.name}, in dist/. docs/release.md says how to go on.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
