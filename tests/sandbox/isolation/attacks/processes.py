"""See, read, disturb and end processes that are not the sandbox's."""

import ctypes
import os
import resource
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)


def _call(number, *args):
    result = LIBC.syscall(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in (number, *args)])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def reads_anothers_environment(target):
    with open(f"/proc/{target.bystander}/environ", "rb") as file:
        return "read it" if b"SECRET" in file.read() else None


def reads_anothers_command_line(target):
    with open(f"/proc/{target.bystander}/cmdline", "rb") as file:
        return file.read().decode() or None


def lists_processes(target):
    seen = [name for name in os.listdir("/proc") if name.isdigit()]
    return "sees the bystander" if str(target.bystander) in seen else None


def reads_the_launchers_memory(target):
    for process in {1, os.getppid(), target.launcher, target.engine}:
        for name in ("environ", "mem", "maps", "root", "cwd", "fd"):
            try:
                if name in ("root", "cwd"):
                    os.listdir(f"/proc/{process}/{name}")
                elif name == "fd":
                    os.listdir(f"/proc/{process}/fd")
                else:
                    with open(f"/proc/{process}/{name}", "rb") as file:
                        if name != "mem" and not file.read(1):
                            continue
            except OSError:
                continue
            return f"/proc/{process}/{name}"
    return None


def rewrites_the_launchers_memory(target):
    for process in {os.getppid(), target.launcher} - {os.getpid()}:
        try:
            os.close(os.open(f"/proc/{process}/mem", os.O_RDWR))
        except OSError:
            continue
        return f"/proc/{process}/mem can be written"
    return None


def finds_secrets_in_its_environment(target):
    bad = [name for name, value in os.environ.items() if "SECRET" in name + value]
    with open("/proc/self/environ", "rb") as file:
        if b"SECRET" in file.read():
            bad.append("/proc/self/environ")
    return ", ".join(bad) or None


def signals_another(target):
    os.kill(target.bystander, 0)
    return "signal 0 reaches it"


def signals_another_by_descriptor(target):
    signal.pidfd_send_signal(os.pidfd_open(target.bystander), 0)
    return "reached through a pidfd"


def signals_its_group_and_all(target):
    """Every process that it may signal; only its own tree, which is ended with it."""
    os.kill(target.launcher, 0)
    return "the launcher can be signalled"


def attaches_as_a_debugger(target):
    attach, detach = 16, 17
    if LIBC.ptrace(attach, target.bystander, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(target.bystander, 0x40000000)
    LIBC.ptrace(detach, target.bystander, 0, 0)
    return "attached"


def reads_anothers_memory(target):
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(buffer), 8)
    remote = struct.pack("PN", 0x400000, 8)
    number = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
    try:
        _call(number, target.bystander, ctypes.c_char_p(local), 1, ctypes.c_char_p(remote), 1, 0)
    except OSError as error:
        if error.strerror != "Bad address":
            raise
    return "may read it"


def limits_another(target):
    for process in (target.bystander, os.getppid(), 1):
        try:
            resource.prlimit(process, resource.RLIMIT_NOFILE)
        except OSError:
            continue
        return f"limits of {process}"
    return None


def slows_another(target):
    for process in (target.bystander, os.getppid()):
        try:
            os.sched_setaffinity(process, {0})
        except OSError:
            continue
        return f"schedule of {process}"
    return None


ATTACKS = {
    "other processes are hidden": [
        reads_anothers_environment,
        reads_anothers_command_line,
        lists_processes,
        reads_the_launchers_memory,
    ],
    "no environment variables of yours": [finds_secrets_in_its_environment],
    "in every mode": [rewrites_the_launchers_memory],
    "no signals to other processes": [
        signals_another,
        signals_another_by_descriptor,
        signals_its_group_and_all,
    ],
    "dangerous system calls are refused": [
        attaches_as_a_debugger,
        reads_anothers_memory,
        limits_another,
        slows_another,
    ],
}
HARMLESS = [reads_anothers_command_line, lists_processes]
