"""Stateful steps: what one step keeps in a variable, the next ones find there, refine, and ask about.

    python examples/stateful_steps.py [--docs PATH] [--question TEXT] [--model M] [--sandbox local|modal]

A program of one's own: a plain `dspy.RLM` in an isolated interpreter, recorded from outside. All steps run in one
sandbox, so a list of matches is made once and never has to pass through a prompt. The last lines tell which step made
a name and which steps used it. Without `--model` the offline model plans, on the bundled guide.
"""

from __future__ import annotations

import argparse
import symtable
import sys
from pathlib import Path

import dspy

import fleet_rlm

GUIDE = Path(__file__).parent.parent / "rlm_content" / "freight-api-guide.md"
QUESTION = "Which error codes are there, and what is each one's cause?"
SIGNATURE = "document, question -> error_categories: dict[str, list[str]], total_errors_found: int, answer: str"
INSTRUCTIONS = """\
Find every error that `document` speaks of, in small steps that build on each other:
1. Search for the words that errors are written with, and save the matches in a variable.
2. Ask a sub-LLM to categorise the saved matches; save the categories.
3. Where a category is thin or doubtful, search again for its own words, and add what you find.
4. SUBMIT from the variables."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Steps that build on each other's variables.")
    parser.add_argument("--docs", type=Path, default=GUIDE, metavar="PATH", help="a text file (default: the guide)")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", help="such as openai/gpt-5-mini (default: as configured, else offline)")
    parser.add_argument("--sandbox", choices=["local", "modal"], default="local")
    parser.add_argument("--record", metavar="FILE", help="the run file (default: in the run library)")
    given = parser.parse_args()
    interpreter = fleet_rlm.ModalInterpreter if given.sandbox == "modal" else fleet_rlm.LocalInterpreter
    try:
        text = given.docs.read_text(encoding="utf-8", errors="replace")
        model = fleet_rlm.lm(given.model)
    except OSError as error:
        print(f"{given.docs} can't be read: {error.strerror}", file=sys.stderr)
        return 2
    except fleet_rlm.SetupError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2
    rlm = dspy.RLM(dspy.Signature(SIGNATURE, INSTRUCTIONS), interpreter_factory=interpreter, max_iters=20)
    try:
        with dspy.context(lm=model), fleet_rlm.record(given.record) as recording:
            answer = rlm(document=text, question=given.question)
    except Exception as error:  # noqa: BLE001 - whatever ended it, the record of it is there
        print(f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}", file=sys.stderr)
        print("\n".join(f"Step through it: fleet-rlm-tui {path}" for path in recording.runs), file=sys.stderr)
        return 1
    for category, errors in answer.error_categories.items():
        print(f"{category}:")
        for line in errors:
            print(f"  {line}")
    print(f"{answer.total_errors_found} errors\n")
    for name, made, used in kept([step["code"] for step in answer.trajectory]):
        print(f"`{name}` was made in step {made} and used in {', '.join(map(str, used))}.")
    for problem in recording.problems:
        print(problem, file=sys.stderr)
    for path in recording.runs:
        print(f"\nStep through it: fleet-rlm-tui {path}")
    return 0


def kept(cells: list[str]) -> list[tuple[str, int, list[int]]]:
    """Variables that a later step used as they were: the name, the step that made it, and those that used it."""
    made: dict[str, int] = {}
    used: dict[str, list[int]] = {}
    for number, code in enumerate(cells, 1):
        try:
            names = symtable.symtable(code, "cell", "exec").get_symbols()
        except SyntaxError:
            continue
        for name in names:
            assigned = name.is_assigned() and not name.is_imported() and not name.is_namespace()
            if assigned:
                made.setdefault(name.get_name(), number)
            elif name.is_referenced() and name.get_name() in made:
                used.setdefault(name.get_name(), []).append(number)
    return [(name, made[name], steps) for name, steps in used.items()]


if __name__ == "__main__":
    raise SystemExit(main())
