"""Does a sentence answer a question? Judged by what it shares with it, and by what an answer must hold.

A unit (`reading.units`) is an answer when it is about the question's names, covers enough of the other terms by
itself or by what stands above it, and holds what the kind of question asks for (a value, a time, a person). What
falls short is no answer, however near it comes: the nearest is reported apart, so that *not found* can be said
plainly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fleet_rlm.engine.offline.question import Question, Term, is_value_noun
from fleet_rlm.engine.offline.reading import Unit, squeeze
from fleet_rlm.engine.offline.words import spaced

ENOUGH = 0.5
"""An answer covers more than this share of a question's ordinary terms, by weight."""
_NEARLY, _ABOVE, _BEFORE = 0.75, 0.6, 0.45
"""What a match is worth that is only nearly the word, stands in a heading above, or in the sentences before."""
_NUMBER_WORDS = (
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|twenty|thirty|forty|fifty|hundred|"
    r"thousand|million|billion|no|none|zero|half|twice|once)\b"
)
_DATE = (
    r"\b(?:1[0-9]|20)\d\d\b|\b\d{1,2}:\d\d\b|\b\d+\s*(?:years?|months?|weeks?|days?|hours?|minutes?|seconds?|"
    r"centur(?:y|ies)|am|pm|o'clock|BC|AD)\b|\b(?:january|february|march|april|june|july|august|september|october|november|"
    r"december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|yesterday|today|tomorrow|noon|midnight|last|"
    r"next)\b|\d+[/.-]\d+[/.-]\d+"
)
_TIME = (
    r"\d|\b(january|february|march|april|june|july|august|september|october|november|december|monday|tuesday|"
    r"wednesday|thursday|friday|saturday|sunday|yesterday|today|tomorrow|noon|midnight|morning|evening|spring|summer|"
    r"autumn|winter|century|after|before|during|until|while|once|whenever|every|when)\b"
)
_COPULA = r"\b(?:is|are|was|were|reads|equals|set to|defaults to|called|named)\b|[:=→]"
_NO_VALUE = re.compile(
    r"^\W*(?:\w+ly\s+)?(?:kept|chang\w+|unknown|secret|not|never|no longer|being|been|stored|required|needed|given|"
    r"lost|missing|in|on|at|by|for|the same|under|still|now|also|used|checked|asked|only|written|hidden|printed|"
    r"sent)\b",
    re.IGNORECASE,
)
_REASON = (
    r"\b(because|since|so that|in order to|therefore|due to|to avoid|otherwise|reason|as a result|hence|thus|lest)\b"
)
_NAME = re.compile(r"[^\W_][,;]? ([A-ZÀ-ÞА-Я][\w-]{2,})")
_ANAPHORA = re.compile(r"^\W*(it|its|this|these|that|those|they|their|he|his|she|her|here|there|such)\b", re.IGNORECASE)
_CODE = re.compile(
    r"^\s*(?:\$ |>>> |import |from \w+ import|def |class |@\w|return\b)|\w\(\w*=|=[\"'\[{]|\w\(\)$|[{};]\s*$"
)
_DEFINED = 0.4
"""What `X is …` adds to a score."""
_SUBJECT_VERB = r"(?:is|shall mean|are|was|were|means?|refers?|denotes?|stands?|describes?|represents?|consists?)\b"


@dataclass(frozen=True)
class Emphasis:
    """What is known of the question's terms in the whole text, from whoever searched it."""

    about: tuple[str, ...] = ()
    """Words that an answer must concern."""
    rarest: tuple[tuple[str, float], ...] = ()
    """The question's words with how telling each is, rarest first."""
    absent: tuple[str, ...] = ()
    """Words that stand nowhere in the text: no answer can hold them."""


NOTHING_KNOWN = Emphasis()


@dataclass(frozen=True)
class Found:
    """A unit with how well it answers."""

    text: str
    score: float
    coverage: float
    unit: Unit
    at: int
    """Position among the passage's units."""


@dataclass
class Verdict:
    """Answers, best first; and when there is none, the nearest unit that is about the same thing."""

    answers: list[Found] = field(default_factory=list)
    nearest: Found | None = None


class Judge:
    """Weighs the units of one passage against one question."""

    def __init__(self, question: Question, emphasis: Emphasis = NOTHING_KNOWN, title: str = "") -> None:
        self.question = question
        self.title = spaced(title)
        about = [word.lower() for word in emphasis.about]
        absent = {word.lower() for word in emphasis.absent}
        most = max((worth for _, worth in emphasis.rarest), default=1.0) or 1.0
        rarity = {word.lower(): worth / most for word, worth in emphasis.rarest}
        terms = question.terms
        self.required = [term for term in terms if term.word.lower() in about]
        if not self.required:  # names that the text never has are asked for all the same
            keys = [term for term in terms if term.key]
            self.required = [term for term in keys if term.word.lower() in absent] if rarity or absent else keys
        self.weights: dict[Term, float] = {}
        for term in terms:
            low = term.word.lower()
            weight = 1.3 if term in question.focus else 1.0
            if term.key:  # a name that is everywhere in the text is its subject, and says little
                weight = 1.5 if term in self.required or not rarity else 0.6
            # A word that stands nowhere weighs as much as the rarest: what is asked for may not be there at all.
            self.weights[term] = weight * (0.6 + (1.0 if low in absent else rarity.get(low, 0.4)))
        self.ordinary = [term for term in terms if term not in self.required]
        self.names: set[str] = set()

    def weigh(self, passage: Sequence[Unit]) -> Verdict:
        """Judge every unit."""
        verdict = Verdict()
        self.names = {name.lower() for unit in passage for name in _NAME.findall(spaced(unit.text))}
        for at, unit in enumerate(passage):
            found, accepted = self._unit(passage, at, unit)
            if accepted:
                verdict.answers.append(found)
            elif found.coverage > 0 and (verdict.nearest is None or found.score > verdict.nearest.score):
                verdict.nearest = found
        verdict.answers.sort(key=lambda found: (-found.score, found.at))
        return verdict

    def _unit(self, passage: Sequence[Unit], at: int, unit: Unit) -> tuple[Found, bool]:
        own = spaced(unit.text)
        above = spaced(" \n ".join((self.title, *unit.path, unit.lead)))
        beside = [other.text for other in passage[max(0, at - 2) : at] if other.block == unit.block]
        before = spaced(" ".join(beside)) if unit.kind == "sentence" else ""  # entries stand for themselves
        if not _ANAPHORA.match(own) and self._strangers(own):
            before = ""  # the sentence names somebody else: what stood before is no part of it
        shares = {term: _share(term, own, above, before) for term in self.weights}
        if any(0 < shares[term] <= _ABOVE for term in self.required) and self._another(own):
            shares |= {term: 0.0 for term in self.required if shares[term] <= _ABOVE}
        total = sum(self.weights.values()) or 1.0
        score = sum(self.weights[term] * share for term, share in shares.items()) / total
        ordinary = sum(self.weights[term] for term in self.ordinary)
        coverage = sum(self.weights[term] * shares[term] for term in self.ordinary) / ordinary if ordinary else 1.0
        missing = [term for term in self.required if not shares[term]]
        named = len(missing) <= (len(self.required) - 1) // 2 if len(self.required) > 2 else not missing
        direct = any(shares[term] > _ABOVE for term in shares)
        opens = self._opens(unit, passage, at) or self._states(shares, own)
        accepted = (
            bool(self.weights)
            and named
            and (direct or opens)
            and (coverage > ENOUGH or opens)
            and (bool(self.ordinary) or all(shares[term] > _ABOVE for term in self.required) or unit.kind != "heading")
            and unit.kind != "heading"
            and _readable(unit)
            and not unit.text.rstrip("*_\"' ").endswith("?")
            and self._holds(unit, own)
        )
        score += self._bonus(unit, own, passage, at)
        if not named:
            score *= 0.3
        return Found(self._quote(unit, shares, own), score, coverage if named else 0.0, unit, at), accepted

    def _opens(self, unit: Unit, passage: Sequence[Unit], at: int) -> bool:
        """Whether a definition is asked for, and this defines it or is the first sentence below its name."""
        if self.question.kind != "definition" or unit.kind != "sentence" or not self.required:
            return False
        if self._defines(spaced(unit.text), at, passage) >= _DEFINED:
            return all(term.pattern.search(spaced(unit.text)) for term in self.required)
        if not unit.path:
            return False
        title = spaced(unit.path[-1])
        named = all(term.pattern.search(title) for term in self.required)
        return named and at > 0 and passage[at - 1].kind == "heading" and len(title.split()) <= 8

    def _states(self, shares: dict[Term, float], own: str) -> bool:
        """Whether it states the value that is asked for, of the very thing that is named, whatever the verb."""
        nouns = [at for at, term in enumerate(self.question.focus) if is_value_noun(term.word)]
        if self.question.kind != "value" or not nouns or not self.required:
            return False
        asked = (*self.question.focus[: nouns[-1] + 1], *self.required)
        return all(shares[term] >= _NEARLY for term in asked) and has_value(own, self.question)

    def _another(self, own: str) -> bool:
        """Whether it speaks of another thing of the same sort: `the Bideford depot`, asked about the Marlow depot."""
        asked = self.question.text.lower()
        for met in _NAME.finditer(own):
            beside = " ".join([*own[: met.start(1)].split()[-1:], *own[met.end() : met.end() + 25].split()[:2]])
            if met[1].lower() not in asked and any(
                term.pattern.search(beside) for term in self.ordinary if not is_value_noun(term.word)
            ):
                return True
        return False

    def _strangers(self, own: str) -> bool:
        """Whether the sentence names somebody or something that the question doesn't."""
        asked = self.question.text.lower()
        first = re.match(r"\W*([A-ZÀ-ÞА-Я][\w-]{2,})", own)
        names = {name.lower() for name in _NAME.findall(own)}
        if first and (first[1].lower() in self.names or own[first.end() : first.end() + 2] in {"'s", "’s"}):
            names.add(first[1].lower())
        return any(name not in asked for name in names)

    def _holds(self, unit: Unit, own: str) -> bool:
        """Whether there is in it what the kind of question asks for."""
        kind = self.question.kind
        if kind == "time" and self.question.english:
            past = re.search(
                r"\b(when|date|year|day) (was|were|did)\b|\bdate\b|\byear\b", self.question.text, re.IGNORECASE
            )
            return re.search(_DATE if past else _TIME, own, re.IGNORECASE) is not None
        if kind == "person" and self.question.english:
            return bool(re.search(r"(?<![^\W_])[A-ZÀ-ÞА-Я]\w", own)) or unit.kind in {"row", "item"}
        if kind == "value" and self.question.focus:
            topic = spaced(f"{unit.text} {unit.lead} {' '.join(unit.path)}")
            asked = [term for term in self.question.focus if is_value_noun(term.word)] or self.question.focus
            return any(_share(term, topic, "", "") for term in asked) and has_value(unit.text, self.question)
        if kind == "count" and self.question.english:
            head = "|".join(term.pattern.pattern for term in self.question.focus[-1:]) or r"\w"
            amount = rf"(?:\b\d[\d,.]*\b|{_NUMBER_WORDS})"
            near = rf"{amount}\s+(?:(?!th(?:is|at|e)\b)[\w-]+\s+){{0,3}}?(?:{head})|(?:{head})\w*\W{{1,4}}\d"
            return re.search(near, own, re.IGNORECASE) is not None
        if self.question.wants_value:
            return has_value(unit.text, self.question) or bool(re.search(_NUMBER_WORDS, own, re.IGNORECASE))
        return True

    def _bonus(self, unit: Unit, own: str, passage: Sequence[Unit], at: int) -> float:
        question, bonus = self.question, 0.0
        if question.kind in {"definition", "summary", "other"}:
            bonus += self._defines(own, at, passage)
        if question.kind == "reason" and re.search(_REASON, own, re.IGNORECASE):
            bonus += 0.25
        if question.kind == "count" and (re.search(r"\d", own) or re.search(_NUMBER_WORDS, own, re.IGNORECASE)):
            bonus += 0.25
        if question.wants_value and has_value(unit.text, question):
            bonus += 0.15
        if len(question.focus) > 1 and _phrase(question.focus).search(own):
            bonus += 0.15
        if unit.kind == "code" or _CODE.search(unit.text):
            bonus -= 0.1 if question.kind == "method" else 0.4
        if len(own) > 300:
            bonus -= 0.1
        return bonus

    def _defines(self, own: str, at: int, passage: Sequence[Unit]) -> float:
        subjects = (*self.question.keys, *self.question.focus)[:3]
        for term in subjects:
            opening = re.compile(
                r"^\W*(?:(?:an?|the|each|every)\s+)?(?:[\w-]+\s){0,2}?\W{0,3}" + term.pattern.pattern, re.I
            )
            begun = opening.match(own)
            if begun:
                rest = own[begun.end() : begun.end() + 60]
                return _DEFINED if re.match(r"\w*[^.]{0,40}?\b" + _SUBJECT_VERB, rest, re.I) else 0.15
        first = at > 0 and passage[at - 1].kind == "heading"
        return 0.15 if first and any(term.pattern.search(spaced(passage[at - 1].text)) for term in subjects) else 0.0

    def _quote(self, unit: Unit, shares: dict[Term, float], own: str) -> str:
        """The unit's words; with the heading that says what they are about, when they don't say it themselves."""
        text = unit.text
        if unit.kind == "row" and unit.lead:
            heads, cells = unit.lead.split(" | "), text.split(" | ")
            if len(heads) == len(cells):
                text = "; ".join(f"{head}: {cell}" for head, cell in zip(heads, cells, strict=True) if cell)
        lacking = [term for term in self.required if shares[term] and not term.pattern.search(own)]
        for title in reversed(unit.path):
            if lacking and all(term.pattern.search(spaced(title)) for term in lacking):
                return f"{title} › {text}"
        return text


def _readable(unit: Unit) -> bool:
    """Whether it is words rather than a drawing or a ruler."""
    if len(re.findall("[\u2500-\u259f]", unit.text)) > 1 or len(re.findall(r"</?[a-z]+[^>]*>", unit.text)) > 2:
        return False
    plain = sum(character.isalnum() or character.isspace() for character in unit.text)
    return unit.kind == "code" or plain >= 0.6 * len(unit.text)


def _share(term: Term, own: str, above: str, before: str) -> float:
    best = 0.0
    for where, worth in ((own, 1.0), (above, _ABOVE), (before, _BEFORE)):
        if term.pattern.search(where):
            best = max(best, worth)
        elif term.also_pattern is not None and term.also_pattern.search(where):
            best = max(best, worth * _NEARLY)
    return best


@lru_cache(maxsize=256)
def _phrase(terms: tuple[Term, ...]) -> re.Pattern[str]:
    return re.compile(r"\w*\W+".join(term.pattern.pattern for term in terms[-2:]), re.IGNORECASE)


def values_in(text: str, question: Question) -> list[str]:
    """Numbers, codes and quoted words that the question does not hold itself, in the order of the text."""
    asked = question.text.lower()
    found = re.findall(
        r"[\"“„«‘`]([^\"“”„«»‘’`\n]{1,80})[\"”“»’`]"
        r"|((?:[$€£¥]\s?)?[+-]?\d[\w.,:/%°+-]*(?<![.,:])(?:\s?(?:%|°[CF]?|[kKMGT]?i?B|ms|km|kg)(?![\w]))?)"
        r"|(?<![\w.])([A-Z0-9][A-Z0-9_-]*\d[A-Z0-9_-]*|[A-Z]{2,}[A-Z0-9_-]+)(?!\w)",
        text,
    )
    values = [next(part for part in groups if part) for groups in found if any(groups)]
    return [value for value in values if value.lower() not in asked]


def has_value(text: str, question: Question) -> bool:
    """Whether the text states a value: one of `values_in`, or what follows `is`, `:`, `=` near the focus."""
    if values_in(text, question):
        return True
    return stated_value(text, question) != ""


def stated_value(text: str, question: Question) -> str:
    """The words after `is`, `:`, `=` that say what the focus is, when they are a value; else an empty text."""
    own = squeeze(text)
    for term in reversed(question.focus):
        met = term.pattern.search(own)
        if met is None:
            continue
        for copula in re.finditer(_COPULA, own[met.end() :], re.IGNORECASE):
            rest = own[met.end() + copula.end() :].strip(" \"'`“”*")
            value = re.split(r"[.;,](?:\s|$)|\s(?:and|but|which|who|that|where|when|until|because)\s", rest)[0].strip()
            if value and not _NO_VALUE.match(rest) and len(value.split()) <= 6:
                return value.strip("\"'`“”*")
    return ""
