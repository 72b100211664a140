"""Run generated code in a local process that can't reach the person's files, network, environment or processes.

How a transport uses it:

    process = launch(artefact.driver(), limits=Limits(), modes=parse_modes(setting), progress=tell)
    process.report                      # what was proven, in words, before the driver read its first byte
    os.write(process.stdin_fd, …)       # raw pipes, blocking; read stdout_fd and stderr_fd until b""
    path = process.put("a1b2", chunks)  # a large input; `path` is what generated code opens
    process.poll(), process.end()       # exit code or None; why it ended, in words
    process.kill()                      # everything gone; readers see the end of their streams
    process.close()                     # kill, then close the descriptors: after the reading threads have ended

- `driver` is an artefact (`host/artefact.py`); it runs as `__main__` without arguments, in the isolated process (one
  interpreter start less). Its working folder, home and temporary folder are the scratch. Its `sys.path` holds the
  standard library and the engine's site-packages (read-only), never the source folders of editable installs.
- Modes are tried in order and *proven from inside* before the driver starts; see `DEFAULT_ORDER`, `launcher/main.py`.
  When only `limits` works the caller gets it, and `report.words` says `NOT isolated: limits only`: the caller decides.
- Killed parts: the engine's death closes a pipe, and the launcher ends the tree and removes the folder; launcher and
  watcher notice each other's death; a folder left by both is swept by the next `launch` with that parent.
- In `landlock` and `limits+seccomp`, `setsid`, `setpgid`, `chmod` and `chown` succeed without effect, sockets and
  `/dev/shm` are closed, and other processes can't be listed: the driver must kill its children by pid, not by group.
- `harden_self()` closes the engine's own environment and memory to other processes of the same user.
"""

from __future__ import annotations

from importlib import import_module

from fleet_rlm.sandbox.local.harden import harden_self
from fleet_rlm.sandbox.local.isolated_process import DEFAULT_ORDER, IsolatedProcess, IsolationError, launch, parse_modes
from fleet_rlm.sandbox.local.sandbox_folders import sweep

__all__ = ["DEFAULT_ORDER", "IsolatedProcess", "IsolationError", "harden_self", "launch", "parse_modes", "sweep"]


def __getattr__(name: str) -> object:
    """Return `LocalInterpreter`, which also stood here; it is loaded when it is asked for, since it imports dspy."""
    if name != "LocalInterpreter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.local_interpreter"), name)
    return found
