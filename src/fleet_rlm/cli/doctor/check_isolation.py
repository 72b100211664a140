"""How generated code would be isolated on this machine: each mode tried, none believed."""

from __future__ import annotations

import json

from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.config import Settings

_MEND = "Allow unprivileged user namespaces, install bubblewrap (`bwrap`), or use a kernel with Landlock (from 5.13)."


def look(settings: Settings, *, needed: bool) -> list[Finding]:
    """The mode that a run would use, and what the others are worth. `needed`: a run is to be local."""
    from fleet_rlm.engine.process.describe import describe
    from fleet_rlm.sandbox.local import IsolationError, parse_modes
    from fleet_rlm.sandbox.local.isolation_report import OPEN_TO_ALL

    try:
        order = parse_modes(settings.isolation or "")
    except IsolationError as error:
        words = str(error)
        hint = "Set FLEET_RLM_ISOLATION to one of them, or leave it out."
        return [Finding("isolation", "missing", f"{words[:1].upper()}{words[1:]}.", hint, needed, configured=True)]
    tried = {one["mode"]: one for one in json.loads(describe('{"isolation": true}'))["isolation"]}
    ready = [mode for mode in order if tried[mode]["ready"]]
    if not ready:
        said = dict.fromkeys(tried[mode]["words"] for mode in order)
        why = next(iter(said)) if len(said) == 1 else "; ".join(f"{mode}: {tried[mode]['words']}" for mode in order)
        return [Finding("isolation", "missing", f"no mode works here ({why})", _MEND, needed)]
    best = tried[ready[0]]
    others = [mode for mode in tried if tried[mode]["ready"] and mode != ready[0]]
    also = f"; works too: {', '.join(others)}" if others else ""
    uncounted = "".join(f"; {words}" for words in best["not_protected"] if words.startswith("not counted"))
    words = f"{ready[0]}, proven: {best['words']}{also}{uncounted}"
    if best["words"] == OPEN_TO_ALL or "NOT" in best["words"]:
        return [Finding("isolation", "note", words, _MEND)]
    return [Finding("isolation", "ok", words)]
