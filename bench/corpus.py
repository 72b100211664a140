"""Large texts with one known sentence in them, for the benchmarks (`fleet-rlm corpus make` for everything else)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import Filler, Plant, avoiding

NEEDLE = "The access code of the Marlow depot is 7741."


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written."""

    path: Path
    bytes: int
    needle_offset: int
    """Bytes before the needle; -1 without one."""


def write_corpus(
    path: Path | str, megabytes: float, seed: int = 0, needle: str | None = NEEDLE, depth: float = 0.63
) -> Corpus:
    """Write about `megabytes` (10⁶ bytes) of English-like text, with `needle` once, at `depth` (0.0 … 1.0) of it."""
    path = Path(path)
    codes = [word for word in (needle or "").rstrip(".").split() if any(c.isdigit() for c in word)]
    told = avoiding(*codes)
    filler = Filler(
        Dice(seed),
        int(megabytes * 1_000_000),
        [Plant(needle, depth)] if needle else (),
        lambda sentence: told(sentence) or "access code of the Marlow depot" in sentence,
    )
    with path.open("wb") as file:
        file.writelines(filler.blocks())
    return Corpus(path, filler.bytes, filler.places[0].start if needle else -1)
