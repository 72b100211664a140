"""Probes a sandbox from inside before its first cell, in the process that then becomes the driver."""

from __future__ import annotations

import msgspec

from fleet_rlm.sandbox.host.artefact import BOOT
from fleet_rlm.sandbox.host.transport import IsolationReport
from fleet_rlm.spec import ModalOptions

MARK = b"fleet-rlm-probe "
SECONDS = 5.0
"""Seconds that a start waits for the report."""
_CONNECT_SECONDS = 0.5

_PROBE = f"""
def probe():
 import json,os,select,socket,sys
 net='open'
 s=socket.socket()
 s.setblocking(False)
 try:
  s.connect(('1.1.1.1',443))
 except BlockingIOError:
  _,w,_=select.select([],[s],[],{_CONNECT_SECONDS})
  if not w or s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR): net='closed'
 except OSError:
  net='closed'
 s.close()
 keys=sum(1 for k in os.environ if k.endswith(('_API_KEY','_TOKEN_SECRET','_SECRET_KEY')))
 os.write(2,b'{MARK.decode()}'+json.dumps({{'network':net,'keys':keys,'root':os.getuid()==0}}).encode()+b'\\n')
try:
 probe()
except Exception:
 pass
"""
PROGRAM = _PROBE + BOOT
"""The driver's first process in a cloud sandbox, for `python -c`: probe, then take the driver's artefact from stdin."""


class Probed(msgspec.Struct, frozen=True):
    """The probe's line."""

    network: str
    keys: int
    root: bool


def found_in(stderr: bytes) -> Probed | None:
    """Return the probe's report from the process's standard error; None until it stands there whole."""
    _, mark, rest = stderr.partition(MARK)
    line, end, _ = rest.partition(b"\n")
    if not mark or not end:
        return None
    try:
        return msgspec.json.decode(line, type=Probed)
    except msgspec.DecodeError:
        return None


def without(stderr: bytes) -> bytes:
    """Return standard error without the probe's line."""
    before, mark, rest = stderr.partition(MARK)
    return before + rest.partition(b"\n")[2] if mark else stderr


def report(options: ModalOptions, probed: Probed | None) -> IsolationReport:
    """Return the report for a header: what was proven, and what was only asked for."""
    proven, not_protected, notes = ["a container in Modal's cloud, none of your files"], [], []
    words = ["in the cloud, none of your files"]
    if options.network:
        words.append("network open, as asked")
        not_protected.append("network")
    elif probed is not None and probed.network == "closed":
        words.insert(0, "no network")
        proven.append("no network")
    elif probed is not None:
        words.insert(0, "NETWORK OPEN, though blocking it was asked for")
        not_protected.append("network")
    else:
        words.insert(0, "network blocked (not proven)")
        notes.append("The sandbox did not report on its network in time; Modal was asked to block it.")
    if options.secrets:
        words.append(f"secrets: {', '.join(options.secrets)}")
        not_protected.append("the secrets named for it")
    elif probed is not None and probed.keys:
        words.append("keys in its environment")
        not_protected.append("keys that the image brings along")
    elif probed is not None:
        proven.append("no key in its environment")
    if options.volume:
        words.append(f"volume {options.volume}")
    return IsolationReport("modal", ", ".join(words), tuple(proven), tuple(not_protected), tuple(notes))
