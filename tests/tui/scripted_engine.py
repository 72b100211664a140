"""An engine process that says what a test tells it to: a real process behind a real pipe."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from fleet_rlm.spec import RunSpec
from fleet_rlm.tui.sources import EngineClient

PRELUDE = """
import json, os, signal, sys, time
def say(**event):
    event.setdefault("seq", say.seq); event.setdefault("t", 0.1 * say.seq); say.seq += 1
    sys.stdout.write(json.dumps(event) + "\\n"); sys.stdout.flush()
say.seq = 0
def hear():
    line = sys.stdin.readline()
    return json.loads(line) if line else None
start = hear()
def begin():
    say(kind="run.started", format="fleet-rlm-run", version=1, run_id="r1", started_at="2026-01-01T00:00:00Z",
        task={"name": "ask", "signature": "context, question -> answer"}, models={"planner": "m", "sub": "m"},
        sandbox={"backend": "local", "isolation": ""}, budgets={"max_iterations": 3})
def end(status="submitted"):
    say(kind="run.finished", status=status, totals={})
"""


def engine(tmp_path: Path, body: str, spec: RunSpec | None = None) -> EngineClient:
    script = tmp_path / "engine.py"
    script.write_text(PRELUDE + textwrap.dedent(body))
    return EngineClient(spec or RunSpec(question="why?"), (sys.executable, "-S", str(script)))
