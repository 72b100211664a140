"""Large texts with one known sentence in them: `python bench/corpus.py FILE --megabytes 40`.

The filler reads like the minutes of a shipping company: varied words, numbers, headings, and distractors for the needle
(codes of other depots, other news of the same depot). The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEEDLE = "The access code of the Marlow depot is 7741."


def _list(text: str) -> list[str]:
    return " ".join(text.split()).split(", ")


PLACES = _list(
    """Harrow, Brackley, Thornbury, Kelso, Penrith, Alford, Whitby, Ludlow, Oakham, Settle, Wick, Tenby, Callander,
Hexham, Totnes, Bruton, Crail, Diss, Fowey, Garstang, Helston, Ilkley, Jarrow, Keswick, Lydd, Minehead, Nairn,
Oban, Pickering, Quorn, Romsey, Selby, Thirsk, Ulverston, Ventnor, Wantage, Yarm, Marlow, Ashbourne, Bideford,
Chard, Dunster, Evesham, Frome"""
)
PEOPLE = _list(
    """Ines, Okafor, Tomasz, Wren, Aiko, Lindqvist, Bram, Castellan, Dara, Quill, Emeka, Voss, Farida, Nolan, Gwen,
Ashdown, Henrik, Salt, Isla, Moreau, Jonas, Peel, Katya, Brandt, Leon, Hargreave, Mina, Strand"""
)
THINGS = _list(
    """ledger, pallet, manifest, crane, invoice, tarpaulin, lorry, gatehouse, weighbridge, seal, barge, forklift,
container, ferry, timetable, customs-form, roster, padlock, generator, beacon, warehouse, conveyor, label,
scale, trolley, winch, skip, quay, dispatch, refund, claim, contract, tariff, survey, audit, memo, bulletin,
rehearsal, drill, inspection"""
)
ADJECTIVES = _list(
    """late, sealed, damp, spare, broken, northern, mislabelled, empty, borrowed, second, heavy, quiet, provisional,
repainted, narrow, overdue, insured, temporary, frozen, unclaimed, bonded, returned, half-loaded, uncounted"""
)
VERBS = _list(
    """arrived, waited, vanished, doubled, failed, reopened, cleared, stalled, passed, expired, overran, returned,
settled, improved, slipped"""
)
TIMES = _list(
    """before dawn, after the storm, on a Tuesday, during the audit, at the second bell, in the third week, without
notice, over the holidays, while the scales were down, by the northern road, as the tide turned, under the old
tariff"""
)
DEVICES = _list("access, alarm, gate, safe, radio, lift")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written."""

    path: Path
    bytes: int
    needle_offset: int
    """Bytes before the needle; -1 without one."""


def _sentence(rng: random.Random) -> str:
    place, thing, other = rng.choice(PLACES), rng.choice(THINGS), rng.choice(THINGS)
    person, adjective, when = rng.choice(PEOPLE), rng.choice(ADJECTIVES), rng.choice(TIMES)
    number = rng.randrange(2, 9990)
    match rng.randrange(10):
        case 0:
            return f"The {adjective} {thing} from {place} {rng.choice(VERBS)} {when}."
        case 1:
            return f"{person} counted {number} {thing}s in {place} and signed for the {other}."
        case 2:
            return f"Nobody could say why the {thing} of lot {number} {rng.choice(VERBS)} {when}."
        case 3:
            return f"{when.capitalize()}, {person} moved the {adjective} {thing} to bay {number % 97}."
        case 4:
            return f"The {place} depot asked for {number % 60} more {adjective} {thing}s; {person} agreed."
        case 5:
            return f"A {adjective} {thing} costs {number / 100:.2f} marks, the {other} included."
        case 6:
            return f"See entry {number} for the {thing} that {person} lent to {rng.choice(PEOPLE)}."
        case 7:
            return f"The {thing} and the {other} {rng.choice(VERBS)} together {when}, {person} wrote."
        case 8 if place != "Marlow":
            return f"The {rng.choice(DEVICES)} code of the {place} depot is {1000 + number % 8990}."
        case _:
            return f"In {place} the {adjective} {other} {rng.choice(VERBS)} twice, once {when}."


def _paragraphs(seed: int, avoid: frozenset[str]) -> Iterator[str]:
    rng = random.Random(seed)
    pool = [s for s in (_sentence(rng) for _ in range(30_000)) if not any(word in s for word in avoid)]
    number = 0
    while True:
        sentences = rng.choices(pool, k=6_000)
        taken = 0
        while taken < len(sentences):
            number += 1
            while any(word in str(number) for word in avoid):
                number += 1
            if number % 250 == 1:
                title = f"{rng.choice(PLACES)}, {rng.choice(ADJECTIVES)} {rng.choice(THINGS)}s"
                yield f"## Minutes {number // 250 + 1}: {title}"
            length = 3 + number * 7 % 5
            yield f"[{number}] " + " ".join(sentences[taken : taken + length])
            taken += length


def write_corpus(
    path: Path | str, megabytes: float, seed: int = 0, needle: str | None = NEEDLE, depth: float = 0.63
) -> Corpus:
    """Write about `megabytes` (10⁶ bytes) of English-like text, with `needle` once, at `depth` (0.0 … 1.0) of it."""
    path, size = Path(path), int(megabytes * 1_000_000)
    avoid = frozenset(word for word in (needle or "").rstrip(".").split() if any(c.isdigit() for c in word))
    offset, written, batch, batched = -1, 0, [], 0
    with path.open("wb") as file:
        for paragraph in _paragraphs(seed, avoid):
            if needle is not None and offset < 0 and written + batched >= size * depth:
                offset = written + batched + len(paragraph) + 1
                paragraph = f"{paragraph} {needle}"
            batch.append(paragraph)
            batched += len(paragraph.encode()) + 2
            if batched >= 1 << 20 or written + batched >= size:
                written += file.write(("\n\n".join(batch) + "\n\n").encode())
                batch, batched = [], 0
                if written >= size and (offset >= 0 or needle is None):
                    break
    return Corpus(path, written, offset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--needle", default=NEEDLE)
    parser.add_argument("--depth", type=float, default=0.63)
    options = parser.parse_args()
    written = write_corpus(options.path, options.megabytes, options.seed, options.needle, options.depth)
    print(f"{written.path}: {written.bytes:,} bytes, the needle at {written.needle_offset:,}")


if __name__ == "__main__":
    main()
