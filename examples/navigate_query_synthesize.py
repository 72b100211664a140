"""Navigate, query, synthesize: find the sections that matter, ask sub-LLMs about them, put the answers together.

    python examples/navigate_query_synthesize.py [--docs PATH] [--question TEXT] [--model M] [--sandbox local|modal]

The pattern is not programmed here: it is what the planner is told (`INSTRUCTIONS`), and the record shows how far it
kept to it. Without `--model` the offline model plans, on the bundled guide.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import fleet_rlm
from fleet_rlm import events as ev

GUIDE = Path(__file__).parent.parent / "rlm_content" / "freight-api-guide.md"
QUESTION = "Which errors may a client retry, and for how long?"
SIGNATURE = "docs, question -> answer: str, findings: list[str], sources: list[str]"
INSTRUCTIONS = """\
Answer `question` from `docs` in three steps, one cell each:
1. Navigate: find the headings and the lines that bear on the question by searching; print where they stand.
2. Query: give each relevant section to a sub-LLM in one `llm_query_batched` call; keep the answers in a variable.
3. Synthesize: put the answers together, check them against the text, and SUBMIT.

Outputs:
- `answer`: the answer in a few sentences.
- `findings`: each thing that was found, as a sentence that stands on its own.
- `sources`: the headings of the sections that the findings stand in."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Navigate, query, synthesize.")
    parser.add_argument("--docs", action="append", metavar="PATH", help="file, folder or glob (default: the guide)")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", help="such as openai/gpt-5-mini (default: as configured, else offline)")
    parser.add_argument("--sandbox", choices=["local", "modal", "auto"], default="local")
    parser.add_argument("--record", metavar="FILE", help="the run file (default: in the run library)")
    given = parser.parse_args()
    try:
        result = fleet_rlm.run(
            given.question,
            given.docs or GUIDE,
            signature=SIGNATURE,
            instructions=INSTRUCTIONS,
            model=given.model,
            sandbox=given.sandbox,
            record=given.record,
        )
    except fleet_rlm.SetupError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2
    if not result.outputs:
        print(result.error.message if result.error else result.reason, file=sys.stderr)
    for name, value in result.outputs.items():
        print(f"{name}:")
        for line in value if isinstance(value, list) else [value]:
            print(f"  {line}")
    print("\nHow it went:")
    for number, reasoning, calls in iterations(result.run_file):
        print(f"  {number}. {reasoning}  [{calls} sub-LLM calls]")
    print(f"\nStep through it: fleet-rlm-tui {result.run_file}")
    return 0 if result.outputs else 1


def iterations(run_file: Path) -> list[tuple[int, str, int]]:
    """Of each iteration: its number, how its reasoning begins, and how many sub-LLM calls its code made."""
    reasoning: dict[int, str] = {}
    calls: dict[int, int] = {}
    with fleet_rlm.open_run(run_file) as run:
        for event in run.events():
            if event.iteration is None:
                continue
            if isinstance(event, ev.PlannerFinished):
                reasoning[event.iteration] = " ".join(event.reasoning.split())[:90]
            if isinstance(event, ev.CallStarted) and event.type == "sub_llm":
                calls[event.iteration] = calls.get(event.iteration, 0) + 1
    return [(number, words, calls.get(number, 0)) for number, words in sorted(reasoning.items())]


if __name__ == "__main__":
    raise SystemExit(main())
