"""A driver that runs whatever it is told: `{"load": source}`, `{"attack": name, "target": …}`, `{"run": source}`."""

import ctypes
import json
import sys
import types

names = {}
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as the driver's worker does, or it hides from the watcher


def answer(request):
    if "load" in request:
        exec(request["load"], names)
        return None
    if "run" in request:
        exec(request["run"], names)
        return names.get("result")
    return names[request["attack"]](types.SimpleNamespace(**request["target"]))


for line in sys.stdin:
    try:
        said = {"got": answer(json.loads(line))}
    except BaseException as error:  # noqa: BLE001  hostile code may raise anything
        said = {"stopped": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(said, default=str) + "\n")
    sys.stdout.flush()
