"""Guess the older encoding of a text by its letters alone."""

from __future__ import annotations

import codecs
import re

MOST_BYTES = 64 * 1024
_COMMON = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "iso8859_2",
    "iso8859_5", "iso8859_7", "koi8_r", "koi8_u", "cp437", "cp850", "cp852", "cp866", "mac_roman", "mac_cyrillic",
    "cp932", "shift_jis", "euc_jp", "gb18030", "big5", "big5hkscs", "cp949", "euc_kr",
]  # fmt: skip
"""The encodings of most files; the library knows a hundred, and takes short texts for the rarest."""
_LETTERS = "A-Za-zÀ-ÖØ-öø-ÿŒœŠšŽžŸ"
_IN_WORDS = re.compile(f"[{_LETTERS}][¡-¶¸-¿×÷†‡‰ƒˆ˜‹›][{_LETTERS}]|[a-zß-öø-ÿ][À-ÖØ-ÞŠŽŒ]|[^\\x00-\\x7f]{{3}}")
"""Parts of words that are not Western: signs, capitals after small letters, three letters with accents in a row."""
_WESTERN = frozenset(("cp1252", "latin_1", "iso8859_15"))


def guess(sample: bytes) -> str:
    """The likeliest encoding of a text that is not UTF-8."""
    from charset_normalizer import from_bytes  # 50 ms to import, and only such text needs it

    matches = from_bytes(sample[:MOST_BYTES], steps=8, chunk_size=512, cp_isolation=_COMMON)
    best = matches.best()
    western = _is_western(sample)
    if best is None or (western and best.coherence < 0.2):
        return "cp1252"
    for match in matches:
        if match.chaos > best.chaos + 0.02 or match.coherence < best.coherence - 0.1:
            continue
        if {match.encoding, *match.could_be_from_charset} & _WESTERN and (western or best.coherence > 0):
            return "cp1252"  # its letters are Latin-1's, and the quotes and dashes that Latin-1 lacks
        if match.encoding == "cp1251" and best.encoding in ("cp1250", "cp1254", "cp1257", "mac_cyrillic", "cp949"):
            return "cp1251"  # words without one ASCII letter: more people write Russian than that
    return str(codecs.lookup(best.encoding).name)


def is_plausible(sample: bytes, codec: str) -> bool:
    """True if the characters beyond ASCII read like letters of words."""
    odd = [c for c in sample[:MOST_BYTES].decode(codec, "replace") if c > "\x7f" and c not in "“”„‘’‚–—…€£§°·«»"]
    return sum(c.isalpha() for c in odd) >= len(odd) * 0.9


def _is_western(sample: bytes) -> bool:
    """True if the whole text reads like a Western language in cp1252."""
    try:
        text = sample[:MOST_BYTES].decode("cp1252")
    except UnicodeDecodeError:
        return False
    return not (_IN_WORDS.search(text) or re.search("[ðþýÐÞÝ¤¦¬]", text))
