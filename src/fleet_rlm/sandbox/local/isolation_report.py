"""The report of a sandbox's isolation, in a person's words: nothing is claimed that was not proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet_rlm.sandbox.host.transport import IsolationReport, Limits

WATCHED = "limits (kernel buffers not counted)"
OPEN_TO_ALL = "NOT isolated: limits only"
_NETWORK = ("no tcp", "no udp", "no path sockets")
_FILES = ("files unread", "files unwritten", "metadata safe")
_PHRASES: dict[str, tuple[str, str]] = {
    "files unread": ("files outside cannot be read", "your files can be read"),
    "files unwritten": ("files outside cannot be written", "your files can be changed"),
    "metadata safe": ("modes and dates of files outside cannot be changed", "modes and dates of your files"),
    "names hidden": ("names and sizes of files outside are hidden", "names and sizes of your files may be visible"),
    "no tcp": ("no TCP connections", "TCP connections are possible"),
    "no udp": ("no UDP packets", "UDP packets can be sent"),
    "no abstract sockets": ("no abstract sockets of this machine", "abstract sockets of this machine can be reached"),
    "no path sockets": ("no socket files of this machine", "socket files of this machine can be reached"),
    "no vsock": ("no sockets to the hypervisor", "sockets to the hypervisor can be opened"),
    "processes hidden": ("other processes are hidden", "other processes can be seen"),
    "memory unread": ("no reading of other processes' memory", "the memory of your other processes can be read"),
    "memory unwritten": (
        "no writing of other processes' memory",
        "the memory of your other processes can be changed",
    ),
    "environments unread": (
        "no reading of other processes' environment",
        "the environment of your other processes, and keys in it, can be read",
    ),
    "no signals": ("no signals to other processes", "your other processes can be signalled"),
    "environment clean": ("no environment variables of yours", "environment variables"),
    "no new privileges": ("no set-user-id programs", "set-user-id programs work"),
    "calls filtered": ("dangerous system calls are refused", "dangerous system calls are not refused"),
    "no core dumps": ("no core dumps", "core dumps"),
}
"""By protection: the words if it is proven, and the words if it is not."""


def report(
    mode: str,
    held: Mapping[str, bool],
    limited: Mapping[str, bool],
    notes: Sequence[str],
    limits: Limits,
) -> IsolationReport:
    """Return the report of a sandbox that was started in `mode` and found `held` and `limited`."""
    proven = [_PHRASES[name][0] for name in _PHRASES if held.get(name)]
    open_doors = [_PHRASES[name][1] for name in _PHRASES if name in held and not held[name]]
    open_doors += [f"{_PHRASES[name][0]}: could not be tried here" for name in _PHRASES if name not in held]
    own_root = mode in ("namespaces", "bubblewrap")
    for name, words in _limits(limits, own_root, bool(limited.get("tree"))):
        if limited.get(name, name == "scratch"):
            proven.append(words)
        else:
            open_doors.append(f"not enforced by the kernel, only watched: {words}")
    by_kernel = bool(limited.get("group"))
    if by_kernel:
        proven.append("memory limited by the kernel: files in memory, buffers of sockets and pipes, page tables count")
    elif limits.memory_mb:
        open_doors += _uncounted(mode)
        if not held.get("calls filtered"):
            open_doors.append("not counted: shared memory without a file, once no process maps its pages")
    if limits.scratch_mb and not held.get("files unwritten"):
        open_doors.append("not limited: files outside of the scratch folder, also in memory (/dev/shm)")
    return IsolationReport(mode, _headline(held, by_kernel), tuple(proven), tuple(open_doors), tuple(notes))


def _uncounted(mode: str) -> list[str]:
    """Return what takes memory without being counted, where only a watcher measures it (see `watcher.Usage`)."""
    buffers = "buffers of sockets and pipes, records of many mappings"
    said = [f"not counted: the kernel's own memory, such as {buffers} (no memory cgroup can be made here)"]
    if mode == "namespaces":
        said.append("not counted as memory: files in /tmp and /dev/shm, which have limits of their own")
    if mode == "bubblewrap":
        said.append("not counted as memory: files in /tmp and /dev/shm; their sizes are limited, not their number")
    return said


def _headline(held: Mapping[str, bool], by_kernel: bool) -> str:
    network = all(held.get(name) for name in _NETWORK)
    files = all(held.get(name) for name in _FILES)
    if network and files and held.get("names hidden"):
        return f"no network, no files of yours, {'memory limited by the kernel' if by_kernel else WATCHED}"
    if network and files:
        return "isolated; file names and sizes may be visible"
    if network:
        return "no network; your files are NOT protected"
    return OPEN_TO_ALL


def _limits(limits: Limits, own_root: bool, whole_tree: bool) -> list[tuple[str, str]]:
    """Return each limit that is asked for, with its words. `whole_tree`: a watcher adds up all processes."""
    scratch = "" if own_root else " (checked each second)"
    each = "in a process, and in all" if whole_tree else "in a process"
    said = [
        ("memory", limits.memory_mb, f"at most {limits.memory_mb} MiB of memory {each}"),
        ("processes", limits.processes, f"at most {limits.processes} processes and threads"),
        ("cpu", limits.cpu_seconds, f"at most {limits.cpu_seconds} CPU seconds {each}"),
        ("file size", limits.file_mb, f"files of at most {limits.file_mb} MiB"),
        ("open files", limits.open_files, f"at most {limits.open_files} open files"),
        ("scratch", limits.scratch_mb, f"at most {limits.scratch_mb} MiB of scratch{scratch}"),
    ]
    return [(name, words) for name, amount, words in said if amount]
