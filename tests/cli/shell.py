"""The installed command in a process of its own, with nothing of this machine's configuration."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from fleet_rlm.cli.entry import app

COMMAND = (sys.executable, "-c", "from fleet_rlm.cli.entry import main; main()")
_CONFIGURES = ("DSPY_", "FLEET_", "XDG_")


@dataclass
class Shell:
    """Runs `fleet-rlm` in a folder of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_CONFIGURES) and not name.endswith("_API_KEY")
        }
        return {**clean, **self._added()}

    def _added(self) -> dict[str, str]:
        return {"FLEET_RLM_HOME": str(self.folder / "home"), "COLUMNS": "120", **self.variables}

    @property
    def runs(self) -> list[Path]:
        """The files in the library, oldest first."""
        return sorted((self.folder / "home" / "runs").rglob("*.jsonl"))

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own."""
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, cwd=self.folder, env=self.environment, timeout=90
        )

    def inside(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same within this process: for what does not need a process of its own, in a fiftieth of the time."""
        own = self.environment
        changed: dict[str, str | None] = {**dict.fromkeys(set(os.environ) - set(own)), **self._added()}
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            done = CliRunner().invoke(app, arguments, env=changed, catch_exceptions=False, prog_name="fleet-rlm")
        finally:
            os.chdir(here)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def on_a_terminal(self, *arguments: str, says: str = "") -> tuple[str, int]:
        """On a terminal of 80 columns, where somebody types `says`: all that it gets, and the exit status."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        own = {**self.environment, "COLUMNS": "80", "TERM": "xterm-256color"}
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.folder, env=own
        )
        os.close(theirs)
        os.write(ours, says.encode())
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(ours)
        return seen.decode(errors="replace"), process.wait(30)

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """In a process group of its own, so that a signal reaches nobody else."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )
