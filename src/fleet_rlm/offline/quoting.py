"""The offline model as a sub-LLM: quotes the sentences of a prompt's text that fit its question, or says NOT FOUND.

A sentence fits when it holds the names, numbers and identifiers of the question (or stands under a heading that does)
and enough of its other words. Nothing is concluded from what it says.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fleet_rlm.sandbox.inside.passages import COMMON_WORDS, word_patterns

NOT_FOUND = "NOT FOUND"
NO_TEXT = "There is no text in this prompt to quote from."
LONGEST_QUOTE = 500
"""Characters of one quote."""
MOST_SENTENCES = 4
"""Quoted from one passage."""
_INSTRUCTIONS = frozenset(
    (
        "quote",
        "sentence",
        "sentences",
        "answer",
        "answers",
        "say",
        "says",
        "said",
        "list",
        "name",
        "give",
        "find",
        "text",
    )
)
_LABEL = re.compile(r"\s*(?:question|query|task)[ \t]*:[ \t]*", re.IGNORECASE)
_SUMMARY = re.compile(r"\b(?:summari[sz]e|summary|sum up|main points?|key points?|gist|overview)\b", re.IGNORECASE)
_NUMBER_WANTED = re.compile(
    r"\bhow (?:many|much|long|often|far|old|heavy|large|big)\b|\b(?:code|number|price|percentage|year|date|version)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|hundred"
    r"|thousand|million|once|twice|half|none)\b",
    re.IGNORECASE,
)
_ALTERNATIVES = re.compile(r"\b\w+(?:, \w+)* or \w+\b")
_ASKS = r"(?=(?:(?:by|for|to|with|from|on|in|of|at) )?(?:what|how|when|where|which|who|whom|whose|why)\b)"
_PART = re.compile(rf"[?.:]\s+{_ASKS}|[,;]\s+(?:and\s+)?{_ASKS}|\s+and\s+{_ASKS}", re.IGNORECASE)
_KEY = re.compile(r"`[^`\n]+`|“[^”\n]+”|\"[^\"\n]+\"|[\w/{}.:@-]*[\d/_{}][\w/{}.:@-]*|[A-Z][\w'’-]*")
_PRONOUN = re.compile(r"(?:It|Its|They|Their|He|His|She|Her|This|These|That|Those)\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’)\]]*\s+(?=[\"“(\[`*]?[^\W_a-z])|(?<=[。！？])")
_OWN_LINE = re.compile(r"\s*(?:[|#>]|[-*+•] |\d+[.)] |\[?\d{4}-|\d\d:\d\d)")


def reply(prompt: str) -> str:
    """The answer to a prompt of `llm_query`."""
    question, text = take_apart(prompt)
    if not text.strip():
        return NO_TEXT
    if _SUMMARY.search(question):
        return central_sentence(text) or NOT_FOUND
    return "\n".join(fitting_sentences(question, text)) or NOT_FOUND


def take_apart(prompt: str) -> tuple[str, str]:
    """(question, text) of a prompt: what is labelled as the question, else the first or last paragraph that asks."""
    prompt = prompt.strip()
    label = _LABEL.match(prompt)
    first, _, rest = prompt.partition("\n\n")
    if label:
        if not rest:
            first, _, rest = prompt.partition("\n")
        return first[label.end() :].partition("\n")[0].strip(), rest
    head, _, last = prompt.rpartition("\n")
    if met := _LABEL.match(last):
        return last[met.end() :].strip(), re.sub(r"^\s*(?:context|text|passage|document)[ \t]*:", "", head, flags=re.I)
    if rest and len(first) <= 600 and ("?" in first or "?" not in last):
        return first, rest
    return (last, head) if "?" in last and len(last) <= 600 and head else tuple(prompt.partition("\n")[::2])  # type: ignore[return-value]  # of three


def sentences(text: str) -> Iterator[str]:
    """The sentences of prose; table rows, list items, headings, code and log entries line by line."""
    for block in re.split(r"\n[ \t\r]*\n", text):
        run: list[str] = []
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        wrapped = sum(len(line) > 60 for line in lines[:-1]) * 2 >= len(lines) - 1
        for line in lines:
            if run and (_OWN_LINE.match(line) or not wrapped):
                yield from _SENTENCE_END.split(" ".join(run))
                run = []
            if line.startswith(("|", "#")):
                yield line
            else:
                run.append(line)
        yield from _SENTENCE_END.split(" ".join(run))


@dataclass(frozen=True)
class Part:
    """One thing that a question asks for."""

    keys: tuple[re.Pattern[str], ...]
    """Names, numbers and identifiers: a sentence without them speaks of something else."""
    words: tuple[re.Pattern[str], ...]
    alternatives: re.Pattern[str] | None
    """Any of these has to follow a key: `removed, replaced or renamed`."""
    wants_number: bool
    share: float
    """Of `words`, how many a sentence needs (0 to 1)."""
    compounds: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = ()
    """Words that stand side by side, such as `access code`: a `lift code` is another thing."""


def parts_of(question: str) -> list[Part]:
    """What a question asks for: one part for each `and how …`, which may refer to the part before it."""
    question = " ".join(question.split())
    parts: list[Part] = []
    texts = [text for text in _PART.split(question) if text.strip()]
    for text in texts:
        listed, words = _ALTERNATIVES.search(text), ""
        if listed:
            words = "|".join(re.findall(r"\w+", listed[0].replace(" or ", " ").lower()))
            text = text.replace(listed[0], " ")
        keys = _keys_of(text)
        rest = [word for word in word_patterns(re.sub(_KEY, " ", text) if keys else text) if word not in _INSTRUCTIONS]
        rest = [word for word in rest if word not in COMMON_WORDS or len(rest) == 1]
        share = 0.5 if keys else 0.8 if question.isascii() and len(texts) == 1 else 0.6
        if parts and len(rest) + len(keys) < 3:  # `and how long may it retry`: the thing stands in the part before
            keys, share = [*keys, *rest], 0.5
            rest = [word for word in word_patterns(question) if word not in _INSTRUCTIONS and word not in keys]
        parts.append(
            Part(
                keys=tuple(_whole(key) for key in keys),
                words=tuple(word_patterns(word)[word] for word in rest if word in word_patterns(word)),
                alternatives=re.compile(rf"\b(?:{words})\b") if listed else None,
                wants_number=_NUMBER_WANTED.search(text) is not None,
                share=share,
                compounds=tuple(_compounds(text)),
            )
        )
    return parts


def _compounds(text: str) -> Iterator[tuple[re.Pattern[str], re.Pattern[str]]]:
    for first, second in itertools.pairwise(re.findall(r"[\w'’-]+", text.lower())[1:]):
        telling = {first, second}.isdisjoint(COMMON_WORDS | _INSTRUCTIONS) and len(first) > 3
        if telling and first.isalpha() and second.isalpha():
            yield word_patterns(first)[first], word_patterns(second)[second]


def _names_another(part: Part, lower: str, around: str) -> bool:
    """True if a sentence has the second word of a compound behind another first word than the question's."""
    for first, second in part.compounds:
        met = None if first.search(around) else second.search(lower)
        before = re.search(r"([^\W\d_]+)[ -]$", lower[: met.start()]) if met else None
        if before and before[1] not in COMMON_WORDS:
            return True
    return False


def _keys_of(text: str) -> list[str]:
    """Quoted texts, tokens with a digit, a slash or an underscore, and capitalised words but the first."""
    keys = []
    for met in _KEY.finditer(text):
        key = met[0].strip("`“”\".,:;?!'’")
        plain = key.isalpha() and met[0] == met[0].strip('`“”"')
        if not key or (plain and (not text[: met.start()].strip(' "“(') or key.lower() in COMMON_WORDS)):
            continue
        keys.append(re.sub(r"['’]s$", "", key))
    return keys


def _whole(key: str) -> re.Pattern[str]:
    if key.isalpha():
        return next(iter(word_patterns(key).values()), re.compile(re.escape(key.lower())))
    return re.compile(rf"(?<![\w.-]){re.escape(key.lower())}(?![\w-]|[./]\w)")


def fits(part: Part, sentence: str, headings: str, question: str) -> bool:
    """True if a sentence, below these headings, holds what one part of a question names."""
    lower, around = sentence.lower(), f"{headings}\n{sentence}".lower()
    if sum(key.search(around) is not None for key in part.keys) < min(len(part.keys), max(2, 0.6 * len(part.keys))):
        return False
    in_sentence = [met for key in part.keys if (met := key.search(lower))]
    if part.alternatives:
        begin = min((met.start() for met in in_sentence), default=0)
        return part.alternatives.search(lower, begin) is not None
    if _names_another(part, lower, around):
        return False
    held = sum(word.search(around) is not None for word in part.words)
    if held < part.share * len(part.words) or not (in_sentence or any(word.search(lower) for word in part.words)):
        return False
    return not part.wants_number or any(
        met[0] not in question
        for met in re.finditer(rf"[\w.,-]*(?:{_NUMBER.pattern})[\w.,-]*", sentence, re.IGNORECASE)
    )


def fitting_sentences(question: str, text: str, most: int = MOST_SENTENCES) -> list[str]:
    """The sentences of a text that fit a question, in order. Spaces and line ends in them are single spaces."""
    parts, headings, before, found = parts_of(question), "", "", []
    for sentence in sentences(text):
        if sentence.startswith("#"):
            headings = f"{headings} {sentence.lstrip('#')}"
            continue
        around = f"{headings} {before}" if _PRONOUN.match(sentence) else headings
        part = next((part for part in parts if fits(part, sentence, around, question)), None)
        if part is not None and (shown := _excerpt(sentence, part)) not in found:
            found.append(shown)
        before = before if _PRONOUN.match(sentence) else sentence
    return found[:most]


def _excerpt(sentence: str, part: Part) -> str:
    """The sentence, or of a very long one the words around the first key or word that it holds."""
    if len(sentence) <= LONGEST_QUOTE:
        return sentence
    places = [met.start() for shape in (*part.keys, *part.words) if (met := shape.search(sentence.lower()))]
    begin = max(0, min(places, default=0) - LONGEST_QUOTE // 4)
    begin = sentence.find(" ", begin) + 1 if begin else 0
    cut = sentence[begin : begin + LONGEST_QUOTE]
    return cut if begin + LONGEST_QUOTE >= len(sentence) else cut.rpartition(" ")[0] or cut


def central_sentence(text: str) -> str:
    """The sentence, among the first twenty, that holds the most of a text's frequent words for its length."""
    text = re.sub(r"(`{3}|~{3}).*?(?:\1|\Z)", "", text, flags=re.DOTALL)
    found = [one for one in sentences(text) if not one.startswith(("#", "|", "{")) and 20 <= len(one) <= 400][:20]
    words = [[word for word in re.findall(r"\w{3,}", one.lower()) if word not in COMMON_WORDS] for one in found]
    counts = Counter(word for one in words for word in one)
    weights = [sum(counts[word] for word in set(one)) / (len(one) + 4) for one in words]
    return found[weights.index(max(weights))] if found else ""
