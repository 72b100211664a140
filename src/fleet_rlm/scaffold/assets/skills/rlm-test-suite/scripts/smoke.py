"""Three checks of fleet-rlm on this machine, without key or network: doctor, a run with a known answer, its record.

python3 smoke.py

Exit status: 0 when all hold, 1 when one does not, 2 when fleet-rlm is not there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ENDPOINTS = 24
"""How many the bundled guide describes."""


def main() -> int:
    if shutil.which("fleet-rlm") is None:
        sys.stderr.write("fleet-rlm is not on the PATH: activate the environment that it is installed in\n")
        return 2
    results = [check_doctor()]
    with tempfile.TemporaryDirectory() as folder:
        record = str(Path(folder) / "smoke.jsonl")
        results.append(check_run(record))
        results.append(check_record(record))
    return 0 if all(results) else 1


def check_doctor() -> bool:
    done = run("doctor")
    return report("doctor", done.returncode == 0, "a run can start here", last_line(done))


def check_run(record: str) -> bool:
    guide = ("--docs-path", "bundled:freight-api-guide.md")
    done = run("run-api-endpoints", *guide, "--model", "offline", "--record", record, "--json", "--quiet")
    try:
        count = json.loads(done.stdout)["count"]
    except (ValueError, KeyError, TypeError):
        return report("run-api-endpoints", False, "", last_line(done))
    said = f"{count} of {ENDPOINTS} endpoints"
    return report("run-api-endpoints", count == ENDPOINTS, said, said)


def check_record(record: str) -> bool:
    done = run("runs", "verify", record)
    return report("runs verify", done.returncode == 0, "the record is whole", last_line(done))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["fleet-rlm", *arguments], capture_output=True, text=True, check=False)


def report(name: str, ok: bool, good: str, bad: str) -> bool:
    sys.stdout.write(f"{'ok   ' if ok else 'FAIL '} {name}: {good if ok else bad}\n")
    sys.stdout.flush()
    return ok


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
