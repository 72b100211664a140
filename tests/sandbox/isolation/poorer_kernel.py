"""Start a sandbox on a kernel that offers less: a filter refuses some calls first. Arguments: WHAT[,WHAT] FOLDER MODES.

`no-userns` refuses namespaces and mounts as Docker's default profile does; `no-mounts` lets namespaces be made but not
used, as Ubuntu's AppArmor does; `no-landlock` and `no-filters` are kernels without them.
"""

from __future__ import annotations

import ctypes
import errno
import json
import struct
import sys
from pathlib import Path

from fleet_rlm.sandbox.local import IsolationError, launch
from fleet_rlm.sandbox.local.launcher import kernel, seccomp

from .harness import HOSTILE, SMALL

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x50000


def forbid(what: list[str]) -> None:
    """Refuse the calls for this process and all it starts."""
    steps: list[tuple[int, int, int, int]] = [(LOAD, 0, 0, 0)]

    def deny(numbers: tuple[int | None, int | None], error: int) -> None:
        steps.append((EQUAL, 0, 1, numbers[kernel.COLUMN] or 0))
        steps.append((RETURN, 0, 0, ERRNO | error))

    def deny_if(numbers: tuple[int, int], test: tuple[int, int], argument: int, error: int) -> None:
        code, value = test
        steps.append((EQUAL, 0, 4, numbers[kernel.COLUMN]))
        steps.append((LOAD, 0, 0, 16 + 8 * argument))
        steps.append((code, 0, 1, value))
        steps.append((RETURN, 0, 0, ERRNO | error))
        steps.append((LOAD, 0, 0, 0))

    if "no-userns" in what:
        for name in ("unshare", "mount"):
            deny(seccomp.REFUSED[name], errno.EPERM)
        deny((435, 435), errno.ENOSYS)
        deny_if(kernel.NR_CLONE, (ANY_BIT, kernel.CLONE_ANY_NEW), 0, errno.EPERM)
    if "no-mounts" in what:
        for name in ("mount", "pivot_root"):
            deny(seccomp.REFUSED[name], errno.EACCES)
    if "no-landlock" in what:
        deny(kernel.NR_LANDLOCK_CREATE, errno.ENOSYS)
    if "no-filters" in what:
        deny((317, 277), errno.ENOSYS)
        deny_if((157, 167), (EQUAL, kernel.PR_SET_SECCOMP), 0, errno.EINVAL)
    steps.append((RETURN, 0, 0, ALLOW))
    raw = b"".join(struct.pack("HBBI", code, yes, no, value) for code, yes, no, value in steps)
    code = ctypes.create_string_buffer(raw, len(raw))
    head = struct.pack("HxxxxxxP", len(raw) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(head, len(head))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.addressof(pointer))


if __name__ == "__main__":
    forbid(sys.argv[1].split(","))
    try:
        with launch(HOSTILE, limits=SMALL, modes=sys.argv[3].split(","), scratch_parent=Path(sys.argv[2])) as process:
            said = {"mode": process.report.mode, "words": process.report.words, "notes": process.report.notes}
    except IsolationError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said))
