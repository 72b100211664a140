"""Word documents (.docx) as Markdown, by mammoth: headings, lists, tables, notes and comments, changes as accepted.

What mammoth would drop without a word is made plain text before (see `word_parts`).
"""

from __future__ import annotations

import io
import re

from fleet_rlm.documents.cut_zip import CutZip, open_zip
from fleet_rlm.documents.document_work import Cancelled, printable, size_in_words
from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.html import text_of
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.formats.word_parts import prepared

MOST_BYTES = 256_000_000
"""The size of a document's XML, unpacked: a book has one or two million."""
MOST_PARTS = 20_000
_COMMENTS = "comment-reference => sup"
_IGNORED = re.compile(r"unrecognised element was ignored: (?:\{[^}]*\}|\w+:)(\w+)")
_SILENT = frozenset([
    "sectPr", "lastRenderedPageBreak", "proofErr", "bookmarkEnd", "permStart", "permEnd", "footnoteRef",
    "endnoteRef", "annotationRef", "tblGrid", "separator", "continuationSeparator",
])  # fmt: skip


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """The document's text; images are counted and left out."""
    import mammoth

    with open_zip(io.BytesIO(data), MOST_PARTS) as packed:
        cut = packed.unfinished if isinstance(packed, CutZip) else None
        xml = (part for part in packed.infolist() if part.filename.endswith((".xml", ".rels")))
        size = sum(part.file_size for part in xml if part.filename != cut)
        if size > MOST_BYTES:
            raise Unextractable(f"{printable(name)} unpacks to {size_in_words(size)}, which no document needs.")
        document, left_out = prepared(packed, MOST_BYTES)
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
    notices = [f"{printable(name)}: left out {', '.join(left_out)}"] if left_out else []
    if cut is not None:
        where = f"{printable(cut)} in it is cut off, and what comes after" if cut else "its end"
        notices.append(f"{printable(name)} is cut off or damaged and was read as far as it goes ({where} is missing)")
    return Extracted(text_of(str(page.value), cancelled), tuple(notices))
