"""Words of a text in any script: where they begin, which carry meaning, and what their inflections share.

There is no dictionary and no statistics of a language here. A word is cut back to the beginning that its inflections
share (`optimizers`, `optimisation` → `optimiz`, `optimis`), and matched by that beginning. Text without spaces
between words (Han, Kana, Thai …) is cut into overlapping pairs. Function words are left out by short lists for some
languages, of which the one that fits the sentence best is used; a language without a list loses only precision.
"""

from __future__ import annotations

import re
from functools import lru_cache

_STOPWORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": """a about above actually after again against all also am an and any anyone anything are as at be because
            been before being below between both but by can could did do does doing done down during each either else
            ever every everything for from further get gets give gives given go goes had has have having he her here
            hers him his how i if in into is it its itself just let like made make makes may me might more most much
            must my no nor not of off on once only onto or other our out over own per please same say says she should so
            some such tell than that the their them then there these they this those through to too under until up upon
            us use very was we were what when where which while who whom whose why will with within without would you
            your s t d ll re ve m many mean means show happen happens according describe describes described
            explain list mention mentioned name find text document documents passage""",
        "de": """aber alle als also am an auch auf aus bei bin bis bist da dann das dass dem den der des die dies diese
            dieser dieses doch du durch ein eine einem einen einer eines er es für gibt hat haben hatte ich ihr im in
            ist ja kann kein keine können man mit muss nach nicht noch nur ob oder sehr seit sich sie sind so über um
            und uns unter vom von vor wann war waren warum was welche welcher welches welchen wenn wer werden wie
            wieviel wieviele viele wird wo woher wozu zu zum zur""",
        "fr": """a à afin alors au aux avec ce ces cet cette comment d dans de des donc du elle elles en es est et eu
            fait il ils je l la là le les leur leurs lui ma mais me mes mon ne nos notre nous on ont ou où par pas plus
            pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses si son sont sur ta te tes tu
            un une vos votre vous y c j m n t combien sert""",
        "es": """a al ante como cómo con cual cuál cuáles cuando cuándo cuánto cuántos cuántas de del desde donde dónde
            e el él ella en entre era es esta está este esto fue ha hay la las le lo los más mi muy no nos o para pero
            por porque qué que quien quién se ser si sí sin sobre son su sus también tiene un una uno y ya""",
        "it": """a ai al alla anche che chi ci come con cosa da dal dalla dei del della delle di dove e è era gli i il
            in la le lo ma mi nei nel nella non o per perché più qual quale quali quando quanti quante quanto se si
            sono su sul sulla tra un una uno c""",
        "pt": """a à ao aos as com como da das de do dos e é ela ele em entre era essa esse esta este foi há isso isto
            já mais mas na nas não no nos o onde os ou para pela pelo por porque qual quais quando quanto quantos
            quantas que quem se sem ser seu sua são também tem um uma""",
        "nl": """aan al als bij dan dat de den der deze die dit door een en er geen had heb heeft hem het hij hoe
            hoeveel hun ik in is je kan maar me met mij na naar niet nog nu of om ook op over te tot uit van voor
            waar waarom wanneer was wat we welk welke werd wie wordt zich zijn zo""",
        "ru": """а без бы был была были было быть в вам вас во вот все всё где да для до его ее её если есть ещё же за
            и из или им их к как какая какие какой какое когда кого кто ли меня мне мы на над не него нет ни но о об он
            она они от по под почему при с сколько со так такой там то того тоже только у чего чем что чтобы эта эти
            это этого этот я""",
    }.items()
}
_FUNCTION_CHARACTERS = re.compile("[的了是在和什么吗呢哪谁几多少为怎样有不这那个之与及或吧啊请何誰私]|[\u3040-\u309f]+")
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}\U00020000-\U0003ffff]+")
_SCRIPT_RUN = re.compile("[\u30a0-\u30ff]+|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+|[^\u30a0-\u30ff]+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LATIN = re.compile(r"[a-zA-Z\u00c0-\u024f]")
_CUT = re.compile("[\u0370-\u03ff\u0400-\u04ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

# (ending, letters that must remain), longest first: an ending that leaves too little is part of the word.
_ENDINGS = (
    *((ending, 5) for ending in ("izations", "isations", "ization", "isation")),
    *((ending, 5) for ending in ("ations", "itions", "ation", "ition", "ments", "ances", "ences", "ement")),
    *((ending, 5) for ending in ("tions", "ment", "ance", "ence", "tion", "ally", "ates", "ated", "ions", "ally")),
    *((ending, 5) for ending in ("ors", "ers", "ate", "ion", "ing", "ily", "or", "er", "ly", "al")),
    ("ings", 4),
    ("ing", 4),
    ("ied", 4),
    ("ies", 4),
    ("ed", 4),
    ("es", 4),
    ("e", 5),
    ("s", 3),
    ("y", 4),
)


def spaced(text: str) -> str:
    """The text with blanks between the parts of `camelCase` and `snake_case`, so that each part is a word."""
    return _CAMEL.sub(" ", text).replace("_", " ")


def words(text: str) -> list[str]:
    """Words as they stand, without `'s`; a run without spaces between words is one of them."""
    return [re.sub("['’]s?$", "", word) for word in _WORD.findall(text)]


def is_unspaced(word: str) -> bool:
    """Whether the word is of a script that writes no spaces between words."""
    return _UNSPACED_RUN.search(word) is not None


def unspaced_terms(run: str) -> list[str]:
    """What to search of a run without spaces: whole Katakana words, pairs of other characters."""
    found: list[str] = []
    for piece in _FUNCTION_CHARACTERS.sub(" ", run).split():
        for part in _SCRIPT_RUN.findall(piece):
            if "\u30a0" <= part[0] <= "\u30ff" or len(part) <= 2:
                found.append(part)
            else:
                found += [part[start : start + 2] for start in range(len(part) - 1)]
    return [term for term in dict.fromkeys(found) if len(term) > 1]


def stopwords(text: str) -> frozenset[str]:
    """Function words of the language whose list fits the text best (English when none does)."""
    present = [word.lower() for word in words(text)]
    return max(_STOPWORDS.values(), key=lambda listed: sum(word in listed for word in present))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The lower-case beginning that the inflections of a word share; at least three characters of it."""
    low = word.lower().replace("’", "'")
    low = low.removesuffix("'s").removesuffix("'")
    if _HANGUL.match(low):
        return low[:-1] if len(low) > 2 else low
    if _CUT.match(low):
        return low[:-2] if len(low) > 6 else low[:-1] if len(low) > 4 else low
    if not _LATIN.search(low) or any(character.isdigit() for character in low):
        return low
    if low.endswith(("ss", "us", "is")):
        return low
    for ending, remain in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= remain:
            cut = low[: -len(ending)]
            if ending == "es" and not cut.endswith(("s", "x", "z", "ch", "sh")):
                continue  # the e is the word's own: `states`, `modules`
            if ending in {"ing", "ed", "er", "ers", "or", "ors"} and cut[-1] == cut[-2] and cut[-1] not in "sl":
                cut = cut[:-1]
            return cut
    return low[:-3] + "y" if low.endswith("ies") and len(low) > 4 else low


def spellings(stemmed: str) -> tuple[str, ...]:
    """The stem, and how the other side of the Atlantic writes it."""
    other = (
        {
            "iz": stemmed[:-2] + "is",
            "is": stemmed[:-2] + "iz",
        }.get(stemmed[-2:])
        if len(stemmed) > 5
        else None
    )
    if other is None and len(stemmed) > 4 and stemmed.endswith("our"):
        other = stemmed[:-3] + "or"
    return (stemmed,) if other is None else (stemmed, other)
