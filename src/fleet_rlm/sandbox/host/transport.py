"""The seam between the interpreter and the place where generated code runs.

A transport starts the driver somewhere (a local process, a Modal sandbox) and carries bytes to and from it. It knows
nothing of the protocol: framing, calls and executions are the interpreter's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a sandbox. Zero means *no limit of ours*."""

    memory_mb: int = 2048
    processes: int = 64
    cpu_seconds: int = 3600
    file_mb: int = 512
    """Largest single file that generated code may write, in MiB."""
    scratch_mb: int = 1024
    """Size of the scratch folder, inputs included, in MiB (grown by the transport to hold the inputs)."""
    open_files: int = 256


@dataclass(frozen=True, slots=True)
class IsolationReport:
    """The isolation that was *proven* before a sandbox's first cell ran, in words that fit a header."""

    mode: str
    """`namespaces`, `bubblewrap`, `landlock`, `limits+seccomp`, `limits`, `none`, `modal`, …"""
    words: str
    """The one line a person reads, such as `no network, no files of yours, memory limited by the kernel`."""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """The reasons why stronger modes were passed over, one sentence each."""


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """A started sandbox."""

    backend: str
    id: str
    python: str
    isolation: IsolationReport
    seconds: float
    """Time from the request to the driver's first message."""
    steps: dict[str, float] = field(default_factory=dict)
    """The parts of that time, by name."""


class TransportError(RuntimeError):
    """The sandbox can't be started or reached; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Stalled(TransportError):
    """Nothing could be sent for too long; half a message may have gone, so that nothing can follow it."""


class Stored(NamedTuple):
    """A large input that was stored in the sandbox."""

    path: str
    """*Inside* the sandbox."""
    how: str = "file"
    """`file` or `copied` (from a local file), `volume`, or `kept` there by an earlier sandbox: nothing crossed."""


class Transport(Protocol):
    """One sandbox. Every method may be called from any thread; `read` from one thread, `write` from one at a time."""

    backend: str
    steps: Mapping[str, float] = MappingProxyType({})
    """The seconds of each part of the start, for a transport whose start has parts; empty otherwise."""
    hint: str = ""
    """Advice for a person about the end, once `end` gave its reason; empty if there is none."""

    @property
    def id(self) -> str:
        """The backend's name for this sandbox; empty until it has started."""

    def start(self, limits: Limits, progress: Callable[[str], None]) -> IsolationReport:
        """Start the driver; blocks until its process runs. `progress` hears what is being waited for."""

    def write(self, data: bytes) -> None:
        """Send bytes to the driver's standard input; waits while the driver is not reading, but not for long.

        Raises `TransportError` (or `OSError`) when the driver is gone, `Stalled` when it took nothing in for too long.
        """

    def read(self) -> bytes:
        """Bytes from the driver's standard output as they come; `b""` at its end."""

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        """Store a large input under a plain file name, where the driver finds it."""

    def diagnostics(self) -> str:
        """Return the last kilobytes that the driver wrote to standard error, as they are: hostile text."""

    def end(self) -> str | None:
        """Return the reason why the driver ended (`killed by signal 9 (out of memory?)`), or None while it runs."""

    def settle(self) -> str:
        """Keep what is to outlive the sandbox, before an orderly end. Bounded, and never raises: what could
        not be kept is told in words, which are empty when nothing was lost.
        """
        return ""

    def kill(self) -> None:
        """End everything of this sandbox now, idempotent, without waiting for its consent; nothing is left behind."""
