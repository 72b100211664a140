"""How often the offline model finds a stated fact, how often it answers when there is none, and how long it takes.

`python bench/offline.py [--megabytes 2] [--seeds 5] [--large 40]`
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Request, Response
from rich.console import Console
from rich.table import Table

from corpus import write_corpus
from fleet_rlm.config import OFFLINE_MODEL
from fleet_rlm.offline import OfflineEngine
from fleet_rlm.offline.typed_values import ABSENT
from fleet_rlm.sandbox.host import equipment
from fleet_rlm.sandbox.inside import toolbox

DEPTHS = (0.02, 0.5, 0.98)
FACTS = (
    (
        "The access code of the Marlow depot is 7741.",
        (
            "What is the access code of the Marlow depot?",
            "Which code opens the depot at Marlow?",
            "what's the marlow depot's access code",
            "Tell me the access code for the depot in Marlow.",
        ),
    ),
    (
        "The lighthouse at Cape Vesper was built by Orsolya Brandt in 1874.",
        (
            "When was the lighthouse at Cape Vesper built?",
            "Who built the lighthouse at Cape Vesper?",
            "Who was the builder of the Cape Vesper lighthouse?",
        ),
    ),
    (
        "The ferry Halcyon carries at most 212 passengers, because its stern was rebuilt.",
        (
            "How many passengers does the Halcyon carry?",
            "What is the passenger limit of the ferry Halcyon?",
            "Why does the Halcyon carry at most 212 passengers?",
        ),
    ),
)


class InProcess:
    """Runs cells here, so that only their own time is measured. It protects nothing: only for these texts."""

    execution_instructions = equipment.instructions(None)

    def __init__(self, seconds: list[float]) -> None:
        self.tools: dict[str, Callable[..., Any]] = {}
        self.seconds, self.state = seconds, {}

    def start(self) -> None:
        pass

    def shutdown(self) -> None:
        self.state.clear()

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        submitted: list[Any] = []
        vars(builtins).update(toolbox.install(None))
        self.state.update(self.tools, **(variables or {}), SUBMIT=lambda **outputs: submitted.append(outputs))
        printed, begun = io.StringIO(), time.perf_counter()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, self.state)
        except Exception as error:  # whatever a cell raises is for the planner to see
            raise dspy.primitives.code_interpreter.CodeExecutionError(f"{type(error).__name__}: {error}") from error
        finally:
            self.seconds.append(time.perf_counter() - begun)
        return dspy.primitives.code_interpreter.FinalOutput(submitted[0]) if submitted else printed.getvalue()


class Timed(OfflineEngine):
    """The engine with the seconds of each answer."""

    def __init__(self) -> None:
        super().__init__(pace=0)
        self.seconds: list[float] = []

    def complete(self, request: Request) -> Response:
        begun = time.perf_counter()
        try:
            return super().complete(request)
        finally:
            if request.system is not None:
                self.seconds.append(time.perf_counter() - begun)


def ask(text: str, question: str) -> tuple[str, float, float]:
    """The answer, the seconds that cells took (sub-queries included), and the planner's longest in seconds."""
    engine, cells = Timed(), []

    class Timing(InProcess):
        """dspy asks the factory for its instructions, so that a lambda would lose them."""

        def __init__(self) -> None:
            super().__init__(cells)

    with dspy.context(lm=dspy.LM(OFFLINE_MODEL, engine=engine, cache=False, num_retries=0)):
        rlm = dspy.RLM("context, question -> answer", interpreter_factory=Timing)
        answer = rlm(context=text, question=question).answer
    return answer, sum(cells), max(engine.seconds)


def written(folder: Path, megabytes: float, seed: int, needle: str | None, depth: float) -> str:
    path = folder / "corpus.txt"
    write_corpus(path, megabytes, seed=seed, needle=needle, depth=depth)
    return path.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--large", type=float, default=40, help="megabytes of the text that is timed")
    options = parser.parse_args()
    logging.getLogger("dspy").setLevel(logging.ERROR)
    console = Console()
    found: dict[str, list[bool]] = defaultdict(list)
    first: dict[str, list[bool]] = defaultdict(list)
    silent: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(options.seeds):
            for fact, questions in FACTS:
                for depth in DEPTHS:
                    text = written(folder, options.megabytes, seed, fact, depth)
                    for question in questions:
                        answer, _, _ = ask(text, question)
                        found[question].append(fact in answer)
                        first[question].append(f"“{fact}”" in answer.split("\n")[1])
                text = written(folder, options.megabytes, seed, None, 0.5)
                for question in questions:
                    silent[question].append(ABSENT in ask(text, question)[0])
        table = Table(
            "question", "fact quoted", "fact first", "says so when there is none", title=f"{options.megabytes:g} MB"
        )
        for question in found:
            shares = (found[question], first[question], silent[question])
            table.add_row(question, *(f"{sum(hits)}/{len(hits)}" for hits in shares))
        everything = [[hit for hits in each.values() for hit in hits] for each in (found, first, silent)]
        table.add_section()
        table.add_row("all", *(f"{sum(hits) / len(hits):.0%}" for hits in everything))
        console.print(table)
        timed = Table("question", "cells, s", "planner at most, ms", "answer", title=f"{options.large:g} MB")
        fact, questions = FACTS[0]
        text = written(folder, options.large, 0, fact, 0.7)
        for question in (*questions[:2], "What is the phone number of the Marlow depot?"):
            answer, seconds, longest = ask(text, question)
            timed.add_row(question, f"{seconds:.2f}", f"{longest * 1000:.0f}", answer.partition("\n")[0][:70])
        console.print(timed)


if __name__ == "__main__":
    main()
