"""An engine to be killed: starts a sandbox, says who lives in it, waits. Arguments: mode, folder for the scratch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fleet_rlm.sandbox.local import harden_self

from .harness import start

STUBBORN = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE): signal.signal(number, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        try: os.setsid()
        except OSError: pass
        if os.fork() == 0:
            while True: time.sleep(0.05)
        os._exit(0)
open("left", "w").write("x" * 1000)
time.sleep(0.05)
result = 1
"""
"""Leaves daemons behind: forked twice, in sessions of their own, deaf to every signal that can be ignored."""

if __name__ == "__main__":
    hardened = harden_self()
    sandbox = start(sys.argv[1], Path(sys.argv[2]))
    sandbox.run(STUBBORN)
    sandbox.process.put("an-input", iter([b"x" * 1000]))
    sys.stdout.write(json.dumps({"launcher": sandbox.process.pid, "hardened": hardened}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    sandbox.process.close()
