"""Ask each line of a file in a run of its own: one JSON line of result each, on stdout.

    python3 batch.py QUESTIONS --docs PATH [--docs PATH …] [-- OPTIONS OF fleet-rlm run]

Exit status: 0 when every question got an answer, 1 when one did not, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask each line of a file in a fleet-rlm run of its own.")
    parser.add_argument("questions", type=Path, help="a text file: one question a line, # begins a remark")
    parser.add_argument("--docs", action="append", required=True, metavar="PATH")
    given, more = sys.argv[1:], []
    if "--" in given:
        place = given.index("--")
        given, more = given[:place], given[place + 1 :]
    options = parser.parse_args(given)
    if shutil.which("fleet-rlm") is None:
        parser.error("fleet-rlm is not on the PATH: activate the environment that it is installed in")
    try:
        lines = [line.strip() for line in options.questions.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{options.questions} can't be read: {error}")
    questions = [line for line in lines if line and not line.startswith("#")]
    if not questions:
        parser.error(f"{options.questions} holds no question")
    docs = [part for path in options.docs for part in ("--docs", path)]
    failed = 0
    for number, question in enumerate(questions, 1):
        sys.stderr.write(f"{number}/{len(questions)} {question}\n")
        result = ask(["fleet-rlm", "run", *docs, *more, "--json", "--quiet", "--", question])
        failed += not result["outputs"]
        sys.stdout.write(json.dumps({"question": question, **result}) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"{len(questions) - failed} of {len(questions)} questions answered\n")
    return 1 if failed else 0


def ask(command: list[str]) -> dict[str, object]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        why = done.stderr.strip().splitlines()
        said = {"status": "failed", "error": {"message": why[-1] if why else f"exit status {done.returncode}"}}
    totals = said.get("totals") or {}
    result = {
        "status": said.get("status", "failed"),
        "outputs": said.get("outputs") or {},
        "run_id": said.get("run_id"),
        "cost_usd": totals.get("cost_usd"),
    }
    if said.get("error"):
        result["error"] = said["error"]
    return result


if __name__ == "__main__":
    sys.exit(main())
