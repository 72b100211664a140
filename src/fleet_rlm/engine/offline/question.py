"""What a question asks for: its kind, its terms, and which of them an answer can't do without.

A term is a *key* when its form says that it names one thing: a capitalised name, a number, an identifier, a
quotation. How rare a term is in the text at hand is measured where the text is (`toolbox.search`), not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fleet_rlm.engine.offline.words import is_unspaced, spaced, spellings, stem, stopwords, unspaced_terms, words

Kind = Literal[
    "definition", "list", "count", "summary", "yes_no", "value", "person", "time", "place", "reason", "method", "other"
]

_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (
        "summary",
        (
            r"\b(summar\w+|overview|tl;?dr|main points?|key points?|gist)\b",
            r"\bwhat (is|are|does) (this|the) (text|document|file|book|paper)\w* (about|say)\b",
            r"\b(zusammenfass\w+|résum\w+|resum\w+|riassum\w+)\b|总结|概括|要約",
        ),
    ),
    (
        "count",
        (
            r"\b(how many|how often|(the|total|what) (total )?number of|count (the|of|all))\b",
            r"\b(wie ?viele|combien|cu[aá]nt[oa]s|quant[ei]|сколько)\b|多少|几个|いくつ",
        ),
    ),
    (
        "reason",
        (
            r"\b(why|for what reason|what causes?|what (is|was) the (reason|cause))\b",
            r"\b(warum|pourquoi|por qu[eé]|perch[eé]|почему)\b|为什么|なぜ",
        ),
    ),
    (
        "time",
        (
            r"^\W*(when|(what|which) (year|day|date|time|month))\b",
            r"^\W*(wann|quand|cu[aá]ndo|quando|когда)\b|什么时候|いつ",
        ),
    ),
    ("person", (r"^\W*(who|whom|whose|by whom)\b", r"^\W*(wer|wem|wen|qui|qui[eé]n(es)?|chi|quem|кто)\b|谁|誰")),
    ("place", (r"^\W*where\b", r"^\W*(wo|woher|où|d[oó]nde|dove|onde|где)\b|哪里|どこ")),
    (
        "list",
        (
            r"^\W*(list|name|enumerate|give (me )?(all|a list)|(what|which) are|what (kinds?|types?|sorts?) of)\b",
            r"^\W*what (\w+ )?\w+s (are|do|does|can|exist|were|have|should|must|may|will)\b",
            r"^\W*which (\w+ )?\w+(?<!s)s\b(?! (the|an?|of)\b)",
            r"^\W*(quels|quelles|cu[aá]les son|quali)\b",
        ),
    ),
    (
        "method",
        (
            r"^\W*how\b(?! (much|long|far|big|large|old|tall|fast|high|deep|wide|heavy)\b)",
            r"^\W*(comment|c[oó]mo|как)\b|怎么|如何|どうやって",
        ),
    ),
    (
        "yes_no",
        (
            r"^\W*(is|are|was|were|does|do|did|can|could|has|have|had|should|must|may|will|would)\b",
            r"^\W*(ist|sind|hat|kann|est-ce|peut)\b",
        ),
    ),
    (
        "definition",
        (
            r"^\W*(what (is|are|was|were|does|do|counts as|qualifies as)|what's|define|explain|describe)\b",
            r"^\W*(was (ist|sind|bedeutet)|qu'est-ce)\b|什么是|とは",
        ),
    ),
)


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VALUES = _listed(
    """code number id identifier pin phone telephone fax port price cost fee date year version size amount percent
    percentage temperature age salary weight height length width depth speed distance duration limit maximum minimum
    default timeout threshold rate ratio score rank count total key token password passphrase passcode address url ip
    email serial isbn zip postcode coordinates capacity quota budget balance mass volume frequency population"""
)
_GENERIC = _listed(
    """main major key important different various available supported possible common typical primary principal core
    several certain known specific current existing total overall general exact exactly relevant related whole entire
    full other others used using use following thing things value values way ways kind kinds type types sort sorts"""
)
_HINT_VERBS = _listed(
    "look check see try search read find go consider use focus section chapter operator hint please part"
)
_IMPERATIVES = (
    "list|extract|find|collect|identify|name|enumerate|give|show|tell|describe|define|count|compare|analy[sz]e"
)
_SAME = tuple(
    tuple(group.split())
    for group in (
        "begin start launch commence began begun",
        "end finish stop conclude",
        "buy purchase acquire bought",
        "cost price fee charge",
        "error exception failure fault",
        "fail break crash broke broken",
        "make create build produce made built",
        "author write written wrote",
        "found establish",
        "chief head leader director lead",
        "boss director head manager",
        "big large size",
        "password passcode passphrase code",
        "kill terminate",
        "remove delete drop",
        "show display",
        "fast quick speed",
        "allow permit enable",
        "forbid prohibit deny disallow",
        "need require must",
        "change modify alter edit",
        "repair fix mend remedy",
        "job task work",
        "licence license",
        "maximum limit most",
        "minimum least",
        "salary pay wage paid",
        "born birth",
        "died death",
        "live reside located",
        "send transmit sent",
        "keep store retain kept",
        "reason because cause",
        "purpose goal aim",
        "advantage benefit",
        "drawback disadvantage limitation",
        "parameter argument option",
        "directory folder",
        "vehicle car truck",
        "physician doctor",
        "old age",
        "install setup",
        "pick choose select chose chosen",
        "sell sold",
        "lead led",
        "win won",
        "lose lost",
        "give gave given",
        "take took taken",
        "speak spoke",
        "drive drove",
        "grow grew",
        "teach taught",
        "think thought",
        "bring brought",
        "hold held",
        "weigh weight",
        "tall height",
        "long length duration",
        "deep depth",
        "far distance",
        "happen occur",
        "employ employee staff",
        "company firm",
        "nation country",
    )
)


@dataclass(frozen=True)
class Term:
    """One thing to look for."""

    word: str
    """As the question has it."""
    forms: tuple[str, ...]
    """Lower-case beginnings of words; whole pieces of text when `loose`."""
    loose: bool = False
    """Match anywhere, not only where a word begins: a script without spaces, a quotation."""
    key: bool = False
    """A name, number, identifier or quotation: an answer is about it or it is none."""
    also: tuple[str, ...] = ()
    """Beginnings of words that mean nearly the same, worth a little less."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the term in text that went through `words.spaced`."""
        return _pattern(self.forms, self.loose)

    @cached_property
    def also_pattern(self) -> re.Pattern[str] | None:
        return _pattern(self.also, loose=False) if self.also else None


def _pattern(forms: tuple[str, ...], loose: bool) -> re.Pattern[str]:
    pieces = []
    for form in forms:
        escaped = r"\s+".join(re.escape(part) for part in form.split())
        # A short beginning would begin too many words: it has to be nearly all of one.
        pieces.append(escaped if loose or len(form) > 3 else escaped + r"(?:[a-z]?(?:s|es|ed|er|ing))?(?![^\W_])")
    return re.compile(("" if loose else r"(?<![^\W_])") + f"(?:{'|'.join(pieces)})", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A question, taken apart."""

    text: str
    kind: Kind
    terms: tuple[Term, ...]
    focus: tuple[Term, ...]
    """What is asked for: `access code` in `What is the access code of the Marlow depot?`."""
    wants_value: bool
    """The answer has to hold a value: a number, a code, a quoted word."""
    english: bool

    @property
    def keys(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.key)


def kind_of(text: str) -> Kind:
    """What sort of answer the question wants."""
    for kind, patterns in _KINDS:
        if any(re.search(pattern, text.strip(), re.IGNORECASE) for pattern in patterns):
            return kind
    return "other"


def hint_terms(text: str) -> tuple[Term, ...]:
    """What an operator's hint adds to the search."""
    return tuple(term for term in read_question(text).terms if term.word.lower() not in _HINT_VERBS)


def read_question(text: str) -> Question:
    """Take a question (or a mere heap of words) apart. Never fails; an empty text has no terms."""
    kind = kind_of(text)
    function_words = stopwords(text)
    english = "the" in function_words
    if english:  # `how long`, `summarise …`: the words say what is wanted, not what to search
        function_words |= {word.lower() for word in re.findall(r"\bhow (\w+)", text, re.IGNORECASE)}
        function_words |= {
            word.lower() for word in re.findall(r"\b(summar\w+|overview|counts|qualifies)\b(?: as)?", text, re.I)
        }
        function_words |= {word.lower() for word in re.findall(rf"^\W*(?:please )?({_IMPERATIVES})\b", text, re.I)}
    keys = (*_quoted(text), *_identifiers(text), *_names(text, function_words))
    taken = {part for key in keys for part in (key.word.lower(), *(word.lower() for word in words(key.word)))}
    terms: dict[str, Term] = {}
    for term in (*keys, *(plain for plain in _plain(text, function_words) if plain.word.lower() not in taken)):
        terms.setdefault(term.forms[0], term)
    found = tuple(terms.values())
    useful = tuple(term for term in found if term.word.lower() not in _GENERIC)
    found = useful or found
    focus = _focus(text, kind, found, function_words)
    wants_value = english and (
        kind == "time"
        or bool(re.match(r"\W*how (much|long|far|big|large|old|tall|fast|high|deep|wide|heavy)\b", text, re.IGNORECASE))
        or (kind in {"definition", "other", "value", "list"} and _singular_value(text, focus))
    )
    if wants_value and any(term.word.lower() in {"date", "year", "day", "month"} for term in focus):
        kind = "time"
    elif wants_value and kind in {"definition", "other", "list"}:
        kind = "value"
    return Question(text, kind, found, focus, wants_value, english)


def _singular_value(text: str, focus: tuple[Term, ...]) -> bool:
    other = re.match(r"\W*(what|which) (are|were|do|does|did)\b|\W*(define|explain|describe)\b", text, re.IGNORECASE)
    return not other and any(is_value_noun(term.word) for term in focus)


def is_value_noun(word: str) -> bool:
    """Whether the word asks for a number, a code, a date: something that can be told in a word."""
    return word.lower() in _VALUES


def _quoted(text: str) -> list[Term]:
    found = re.findall(r"[\"“„«‘`「『]([^\"“”„«»‘’`「」『』]{2,80})[\"”“»’`」』]", text)
    return [
        Term(words, (" ".join(words.lower().split()),), loose=True, key=True)
        for words in map(str.strip, found)
        if words
    ]


def _identifiers(text: str) -> list[Term]:
    """Words with a digit, an underscore, a dot or capitals inside: they name one thing."""
    found = re.findall(r"(?<![\w.])[\w][\w.:/\-]*[\w](?:\(\))?|\d", text)
    terms = []
    for raw in found:
        word = raw.removesuffix("()")
        inner = re.search(r"\d|_|[a-z][A-Z]|::|\w[./]\w|^[A-Z]{2,}[A-Z0-9]*$", word)
        if inner and not is_unspaced(word):
            split = " ".join(spaced(word).lower().split())
            last = re.split(r"[.:/]+", word.lower())[-1] if re.search(r"[a-z]$", word, re.IGNORECASE) else split
            forms = tuple(dict.fromkeys((word.lower(), split, *([last] if len(last) > 2 else []))))
            terms.append(Term(word, forms, loose=len(word) > 3 and last == word.lower(), key=True))
    return terms


def _names(text: str, function_words: frozenset[str]) -> list[Term]:
    """Capitalised words inside a sentence, and runs of them, in scripts that have capitals."""
    tokens = words(text)
    capital = [token[:1].isupper() and not token.isupper() for token in tokens]
    content = [token.lower() not in function_words for token in tokens]
    shouted = sum(capital) > 0.6 * max(len(tokens), 1) and len(tokens) > 3
    german = "der" in function_words and "die" in function_words
    if shouted or german:
        return []
    terms = []
    for position, token in enumerate(tokens):
        first = position == 0 or bool(re.search(r"[.?!:]\s*$", text[: text.find(token)]))
        if capital[position] and content[position] and not first and len(token) > 1:
            terms.append(Term(token, spellings(_name(token)), key=True))
    return terms


def _name(word: str) -> str:
    return word.lower().replace("’", "'").removesuffix("'s").removesuffix("'")


def _plain(text: str, function_words: frozenset[str]) -> list[Term]:
    terms = []
    for word in words(text):
        if is_unspaced(word):
            terms += [Term(pair, (pair,), loose=True) for pair in unspaced_terms(word)]
        elif word.lower() not in function_words and (len(word) > 1 or word.isdigit()):
            cut = stem(word)
            also = {stem(other) for group in _SAME if any(stem(o) == cut for o in group) for other in group} - {cut}
            terms.append(Term(word, spellings(cut), key=word.isdigit(), also=tuple(sorted(also))))
    return terms


def _focus(text: str, kind: Kind, terms: tuple[Term, ...], function_words: frozenset[str]) -> tuple[Term, ...]:
    """The first run of content words, which is what `what`, `which`, `list` … ask for."""
    run: list[str] = []
    for word in words(text):
        low = word.lower()
        if low in function_words or low in _GENERIC:
            if run:
                break
        else:
            run.append(word)
    if kind == "count" and run:
        run = run[:1] if len(run) < 3 else run[:2]
    by_word = {term.word: term for term in terms}
    return tuple(by_word[word] for word in run if word in by_word and not by_word[word].key)[:4]
