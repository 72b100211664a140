"""Word documents (.docx) as Markdown, by mammoth: headings, lists, tables, notes and comments, changes as accepted.

What mammoth would drop without a word is made plain text before (see `word_parts`).
"""

from __future__ import annotations

import io
import re
import zipfile

from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.html import text_of
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.formats.word_parts import prepared
from fleet_rlm.documents.work import Cancelled, printable, size_in_words

MOST_BYTES = 256_000_000
"""Of XML, unpacked: a book has one or two million."""
_COMMENTS = "comment-reference => sup"
_IGNORED = re.compile(r"unrecognised element was ignored: (?:\{[^}]*\}|\w+:)(\w+)")
_SILENT = frozenset([
    "sectPr", "lastRenderedPageBreak", "proofErr", "bookmarkEnd", "permStart", "permEnd", "footnoteRef",
    "endnoteRef", "annotationRef", "tblGrid", "separator", "continuationSeparator",
])  # fmt: skip


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """The document's text; images are counted and left out."""
    import mammoth

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(part.file_size for part in packed.infolist() if part.filename.endswith((".xml", ".rels")))
    if size > MOST_BYTES:
        raise Unextractable(f"{printable(name)} unpacks to {size_in_words(size)}, which no document needs.")
    document, left_out = prepared(data)
    images = 0

    def no_image(_image: object) -> dict[str, str]:
        nonlocal images
        images += 1
        return {}

    page = mammoth.convert_to_html(document, convert_image=mammoth.images.img_element(no_image), style_map=_COMMENTS)
    if images:
        left_out.insert(0, f"{images} image{'s' * (images != 1)}")
    ignored = {found[1] for message in page.messages if (found := _IGNORED.search(message.message))} - _SILENT
    left_out += [f"elements that are not known ({', '.join(sorted(ignored))})"] if ignored else []
    notices = (f"{printable(name)}: left out {', '.join(left_out)}",) if left_out else ()
    return Extracted(text_of(str(page.value), cancelled), notices)
