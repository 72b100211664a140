"""The clean launcher: one thread that has imported what every sandbox needs, and is forked for each of them.

It reads no plan and runs no driver, so that its memory holds nothing of any run: what is forked from it reads its plan
itself, and goes on exactly as a launcher that was started anew.
"""

from __future__ import annotations

import _socket
import os
import struct
from contextlib import suppress

from . import inside, kernel, namespaces, root, runtime, shared  # noqa: F401  imported here, not once for each sandbox

_DESCRIPTORS = 7
"""Standard input, output and error of the driver, then what `main.main` takes."""


def fork_for_each_sandbox(control: int, modules: str) -> list[int]:
    """Fork whenever the engine sends descriptors, and end when it closes `control`; returns in each forked process.

    The forked process is a child of the engine, as if the engine had started it; it answers with its process id.
    """
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no sandbox of the same user reads or changes this process
    for name in modules.split(","):
        with suppress(ImportError):
            __import__(name)
    engine = _socket.socket(fileno=control)
    while True:
        order, sent, _flags, _address = engine.recvmsg(1, _socket.CMSG_SPACE(_DESCRIPTORS * 4))
        if not order:
            os._exit(0)
        descriptors = [fd for _level, _kind, data in sent for fd in struct.unpack(f"{len(data) // 4}i", data)]
        if kernel.clone(kernel.CLONE_PARENT) == 0:
            break
        for fd in descriptors:
            os.close(fd)
    os.setsid()
    engine.send(str(os.getpid()).encode())
    engine.close()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as after a start; `main` closes it again, once ids are mapped
    for number in (0, 1, 2):
        os.dup2(descriptors[number], number)
        os.close(descriptors[number])
    return descriptors[3:]
