"""Word documents (.docx) as Markdown, by mammoth: headings, lists, tables, notes and comments, changes as accepted."""

from __future__ import annotations

import io
import zipfile

from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.html import text_of
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.work import Cancelled, printable, size_in_words

MOST_BYTES = 256_000_000
"""Of XML, unpacked: a book has one or two million."""
_COMMENTS = "comment-reference => sup"


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:  # noqa: ARG001 - one call of a library
    """The document's text; images are left out."""
    import mammoth

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(part.file_size for part in packed.infolist() if part.filename.endswith((".xml", ".rels")))
    if size > MOST_BYTES:
        raise Unextractable(f"{printable(name)} unpacks to {size_in_words(size)}, which no document needs.")
    no_image = mammoth.images.img_element(lambda _: {})
    page = mammoth.convert_to_html(io.BytesIO(data), convert_image=no_image, style_map=_COMMENTS)
    return Extracted(text_of(str(page.value)))
