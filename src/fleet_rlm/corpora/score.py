"""Compare an answer with the known one.

- `facts`: the share of the expected facts that stand in the answer, whole words, in any of their wordings;
- `number`: 1 when the answer is the number; an answer that is one other number gets 0.75 to the power of the
  difference, as OOLONG scores it (arXiv 2511.02817);
- `items` and `pairs`: F1 of what the answer lists against what it should, order aside;
- `absent`: 1 when the answer says that the text doesn't say, and gives nothing that looks like an answer.

A model's words are compared, not judged: a right answer in unforeseen words scores too low, never too high by more
than a lucky guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import msgspec

from fleet_rlm.corpora.known_answers import Answers, Question

RIGHT = 1.0
MOST_CHARS = 2_000_000
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_THOUSANDS = re.compile(r"(?<=\d)[,\u202f\u2009'](?=\d{3}(?!\d))")
_SAYS_NO = re.compile(
    r"\b(?:not|no|none|nothing|nowhere|never|neither|cannot|unknown|absent|missing|unstated|unspecified|without)\b|n't\b",
    re.IGNORECASE,
)


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The points of an answer."""

    points: float
    """0.0 … 1.0."""
    why: str = ""
    """The facts that are missing or too much; empty when none is."""

    @property
    def right(self) -> bool:
        return self.points >= RIGHT


def question_of(answers: Answers, asked: str | None) -> Question | None:
    """The known question that a run was asked, wording aside; the only one there is where it was asked none."""
    if not (asked or "").strip():
        return answers.questions[0] if len(answers.questions) == 1 else None
    plain = _plain(asked or "")
    return next((one for one in answers.questions if _plain(one.question) == plain), None)


def score(question: Question, outputs: object) -> Score:
    """Compare a run's outputs (JSON) with the known answer."""
    text = _thousands(_text(outputs))[:MOST_CHARS]
    if not text.strip():
        return Score(points=0.0, why="there is no answer")
    match question.match:
        case "facts":
            return _facts(question, text)
        case "number":
            return _number(question, text)
        case "items":
            return _listed({_plain(one[0]) for one in question.expected}, _items(question, text))
        case "pairs":
            return _listed(
                {" + ".join(sorted(map(_plain, one))) for one in question.expected}, _pairs(question.pattern, text)
            )
        case "absent":
            return _absent(question, text)


def _facts(question: Question, text: str) -> Score:
    plain = _plain(text)
    missing = [one[0] for one in question.expected if not any(_stands_in(_plain(_thousands(w)), plain) for w in one)]
    points = 1 - len(missing) / max(1, len(question.expected))
    return Score(points=points, why=f"lacks {_some(missing)}" if missing else "")


def _number(question: Question, text: str) -> Score:
    wanted = float(_thousands(question.expected[0][0]))
    found = list(dict.fromkeys(float(one) for one in _NUMBER.findall(text)))
    if wanted in found:
        return Score(points=1.0)
    if not found:
        return Score(points=0.0, why="gives no number")
    if len(found) > 1:
        return Score(points=0.0, why=f"gives {_some([f'{one:g}' for one in found])}, not {wanted:g}")
    return Score(
        points=float(0.75 ** min(abs(found[0] - wanted), 200)), why=f"gives {found[0]:g} instead of {wanted:g}"
    )


def _items(question: Question, text: str) -> set[str]:
    if question.pattern:
        return {_plain(one) for one in re.findall(question.pattern, text)}
    plain = _plain(text)
    return {_plain(one[0]) for one in question.expected if any(_stands_in(_plain(w), plain) for w in one)}


def _pairs(pattern: str, text: str) -> set[str]:
    both = re.findall(rf"({pattern})\W+(?:and\W+|with\W+)?({pattern})", text)
    return {" + ".join(sorted(map(_plain, pair))) for pair in both}


def _listed(wanted: set[str], found: set[str]) -> Score:
    if not wanted:
        return Score(points=float(not found), why=f"lists {_some(sorted(found))}" if found else "")
    hits = len(wanted & found)
    points = 2 * hits / (len(wanted) + len(found))
    why = [
        f"{words} {len(them):,}"
        for words, them in (("lacks", wanted - found), ("has too many:", found - wanted))
        if them
    ]
    return Score(points=points, why=", ".join(why))


def _absent(question: Question, text: str) -> Score:
    if question.pattern and (wrong := re.search(question.pattern, text)):
        return Score(points=0.0, why=f"gives {wrong[0]!r}, and the text does not say")
    if not _SAYS_NO.search(text):
        return Score(points=0.0, why="does not say that the text lacks it")
    return Score(points=1.0)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(_text(each) for each in value.values())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`\"“”]", "", text).split()).casefold().rstrip(".?! ")


def _thousands(text: str) -> str:
    return _THOUSANDS.sub("", text)


def _stands_in(fact: str, plain: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", plain) is not None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3:,} more" if len(listed) > 3 else "")
