"""Ask the kernel for more: mounts, namespaces, privileges, and calls that have been broken before."""

import ctypes
import fcntl
import os
import pty
import resource
import struct
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
COLUMN = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine, 0)
NEW_USER, SIGCHLD = 0x10000000, 17


def _call(numbers, *args):
    number = numbers[COLUMN]
    result = LIBC.syscall(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in (number, *args)])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _child_can(attempt):
    """Whether an attempt that would change this process for good succeeds in a child."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _unshare(flags):
    if LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def mounts_over_a_folder(target):
    path = os.fsencode(target.scratch)
    if LIBC.mount(b"tmpfs", path, b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    LIBC.umount2(path, 2)
    return "mounted"


def mounts_by_the_new_calls(target):
    return f"fsopen gave {_call((430, 430), ctypes.c_char_p(b'tmpfs'), 0)}"


def unmounts_a_wall(target):
    if LIBC.umount2(b"/inputs", 2) != 0:
        raise OSError(ctypes.get_errno(), "umount2")
    return "unmounted"


def makes_a_user_namespace(target):
    return "unshared" if _child_can(lambda: _unshare(NEW_USER)) else None


def makes_a_user_namespace_by_clone(target):
    pid = _call((56, 220), NEW_USER | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


def makes_a_user_namespace_by_clone3(target):
    arguments = struct.pack("8Q", NEW_USER, 0, 0, 0, SIGCHLD, 0, 0, 0)
    pid = _call((435, 435), ctypes.c_char_p(arguments), len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


def joins_another_namespace(target):
    for path in ("/proc/1/ns/mnt", f"/proc/{os.getppid()}/ns/net", "/proc/self/ns/user"):
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue

        def join(fd=fd):
            if LIBC.setns(fd, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")

        if _child_can(join):
            return path
    return None


def becomes_root(target):
    for attempt in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0)):
        if os.getuid() != 0 and _child_can(attempt):
            return "changed its user"
    return None


def changes_its_root(target):
    return "chroot" if _child_can(lambda: os.chroot(target.scratch)) else None


def runs_a_set_user_id_program(target):
    done = subprocess.run([target.set_user_id, "-u"], capture_output=True, text=True)
    return None if done.stdout.strip() in ("", str(os.geteuid())) else f"runs as {done.stdout.strip()}"


def opens_an_io_ring(target):
    ring = _call((425, 425), 4, ctypes.create_string_buffer(120))
    os.close(ring)
    return "io_uring"


def loads_a_kernel_program(target):
    return f"bpf {_call((321, 280), 0, ctypes.create_string_buffer(struct.pack('5I', 1, 4, 4, 1, 0), 72), 72)}"


def handles_its_own_page_faults(target):
    return f"userfaultfd {_call((323, 282), 1)}"


def keeps_a_key_in_the_kernel(target):
    words = [ctypes.c_char_p(word) for word in (b"user", b"test", b"x")]
    return f"key {_call((248, 217), *words, 1, -3)}"


def counts_performance_events(target):
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0), 112)
    return f"perf {_call((298, 241), attributes, 0, -1, -1, 0)}"


def opens_files_by_handle(target):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    _call((303, 264), -100, ctypes.c_char_p(b"/"), handle, ctypes.byref(ctypes.c_int()), 0)
    return "name_to_handle_at"


def shares_memory_that_stays(target):
    got = _call((29, 194), 0x5151, 4096, 0o1600)
    _call((31, 195), got, 0, 0)
    return "System V shared memory"


def hides_memory_in_a_nameless_file(target):
    os.close(_call((319, 279), ctypes.c_char_p(b"m"), 0))
    return "memfd"


def renames_the_machine(target):
    if LIBC.sethostname(b"owned", 5) != 0:
        raise OSError(ctypes.get_errno(), "sethostname")
    return "renamed"


def types_into_a_terminal(target):
    _leader, follower = pty.openpty()
    fcntl.ioctl(follower, 0x5412, b"x")
    return "TIOCSTI"


def raises_its_limits(target):
    free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    for which in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_CORE):
        try:
            resource.setrlimit(which, free)
        except (OSError, ValueError):
            continue
        return f"limit {which}"
    return None


ATTACKS = {
    "dangerous system calls are refused": [
        mounts_over_a_folder,
        mounts_by_the_new_calls,
        unmounts_a_wall,
        makes_a_user_namespace,
        makes_a_user_namespace_by_clone,
        makes_a_user_namespace_by_clone3,
        joins_another_namespace,
        becomes_root,
        changes_its_root,
        opens_an_io_ring,
        loads_a_kernel_program,
        handles_its_own_page_faults,
        keeps_a_key_in_the_kernel,
        counts_performance_events,
        opens_files_by_handle,
        shares_memory_that_stays,
        hides_memory_in_a_nameless_file,
        renames_the_machine,
        types_into_a_terminal,
    ],
    "no set-user-id programs": [runs_a_set_user_id_program],
    "in every mode": [raises_its_limits],
}
HARMLESS = [hides_memory_in_a_nameless_file]
