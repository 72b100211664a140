"""Find Python's codec for an encoding that a page, a mail or a person names."""

from __future__ import annotations

import codecs
import re

_MEANT = {
    "ascii": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "johab": "johab", "shift_jis": "cp932",
    "big5": "big5hkscs",
}  # fmt: skip
"""The larger encoding that files declared in the smaller one really use (the WHATWG's Encoding Standard)."""
_ALSO = {"x_sjis": "cp932", "unicode_1_1_utf_8": "utf_8", "x_mac_roman": "mac_roman", "macintosh": "mac_roman"}
_SAFE = re.compile(
    r"utf_(8|7|16|16_le|16_be|32|32_le|32_be)|cp\d+|iso8859_\d+|iso2022_\w+|koi8_\w|mac_\w+|kz1048|ptcp154|hz"
    r"|gb18030|big5hkscs|johab|euc_\w+|shift_jis\w*|hp_roman8"
)
"""Encodings of text: the others (`punycode`, `unicode_escape`, `undefined`, …) take long, or mean something else."""


def codec_of(label: str) -> str:
    """Python's codec for a label such as `iso-8859-1` or `Shift_JIS`; '' where it names no encoding of text."""
    label = label.strip().strip("\"'").lower()[:40]
    plain = re.sub(r"[^a-z0-9]+", "_", label)
    try:
        name = _ALSO.get(plain) or codecs.lookup(label).name.replace("-", "_")
    except (LookupError, ValueError):
        return ""
    name = _MEANT.get(name, name)
    return name if _SAFE.fullmatch(name) else ""
