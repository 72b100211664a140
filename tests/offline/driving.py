"""Drive `dspy.RLM` with the offline model, and write texts to ask about."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from fleet_rlm.config import OFFLINE_MODEL
from fleet_rlm.offline import OfflineEngine
from fleet_rlm.offline.typed_values import ABSENT, HEAD
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter

PLACES = ("Harlow", "Brack", "Orlow", "Velden", "Tarn", "Quill", "Sedge", "Rook", "Mire", "Holm", "Crane", "Wick")
FILLER = (
    *("river", "gate", "keeper", "morning", "ledger", "report", "north", "harbour", "cargo", "sheet", "winter"),
    *("stone", "bridge", "paper", "company", "signal", "field", "station", "road", "engine", "market", "letter"),
)


@contextmanager
def offline() -> Iterator[dspy.LM]:
    lm = dspy.LM(OFFLINE_MODEL, engine=OfflineEngine(pace=0), cache=False, num_retries=0)
    with dspy.context(lm=lm):
        yield lm


def run(
    signature: Any, *, max_iters: int = 20, max_llm_calls: int = 50, planner: Any = None, tools: Any = (), **inputs: Any
) -> dspy.Prediction:
    """One run in the local sandbox, whose helpers the cells use. `planner` wraps `generate_action` when given."""
    with offline():
        rlm = dspy.RLM(
            signature,
            interpreter_factory=LocalInterpreter,
            max_iters=max_iters,
            max_llm_calls=max_llm_calls,
            tools=list(tools),
        )
        if planner is not None:
            rlm.generate_action = planner(rlm.generate_action)
        return rlm(**inputs)


def quotes(answer: str) -> list[str]:
    """The sentences that an answer quotes, without their places."""
    assert answer.startswith(HEAD)
    return re.findall(r"^“(.+)” \(", answer, re.MULTILINE)


def found_nothing(answer: str) -> bool:
    return answer == f"{HEAD}\n{ABSENT}"


def errors(prediction: dspy.Prediction) -> list[str]:
    return [step["output"] for step in prediction.trajectory if step["output"].startswith("[")]


def depots(size: int, seed: int, needle: str | None, depth: float = 0.5) -> str:
    """Prose of `size` characters about depots: codes of other depots, mentions of Marlow without one, one needle."""
    dice = random.Random(seed)
    parts: list[str] = []
    written, placed = 0, needle is None
    while written < size:
        lines = []
        for _ in range(dice.randint(4, 9)):
            draw = dice.random()
            if draw < 0.02:
                lines.append(f"The access code of the {dice.choice(PLACES)} depot is {dice.randint(1000, 9999)}.")
            elif draw < 0.04:
                lines.append(f"The {dice.choice(PLACES)} depot was opened in {dice.randint(1850, 1999)}.")
            elif draw < 0.0405:
                lines.append(f"The Marlow depot lies {dice.randint(2, 60)} miles from {dice.choice(PLACES)}.")
            elif draw < 0.041:
                lines.append("The Marlow depot changed its access code last spring.")
            else:
                lines.append(" ".join(dice.choices(FILLER, k=dice.randint(6, 18))).capitalize() + ".")
        if not placed and written >= size * depth:
            lines.append(needle or "")
            placed = True
        parts.append(" ".join(lines) + "\n\n")
        written += len(parts[-1])
    return "".join(parts) if placed else "".join([*parts, needle or ""])
