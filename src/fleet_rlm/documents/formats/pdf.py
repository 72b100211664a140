"""PDF, by PDFium: fast, and it opens what people's viewers open. `[page 3 of 12]` stands before each page's text."""

from __future__ import annotations

import re
import threading

from fleet_rlm.documents.document_work import Cancelled, Stopped, printable
from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.recognise import Unextractable

_one_at_a_time = threading.Lock()  # PDFium must not be called by two threads
_BROKEN_WORD = re.compile("[\x02\ufffe]\r?\n?")  # how PDFium marks a hyphen at a line's end


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:
    """The text of every page."""
    import pypdfium2

    with _one_at_a_time:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise _refused(name, str(error)) from error
        try:
            parts, empty, total = [], 0, len(document)
            for number in range(total):
                if cancelled():
                    raise Stopped("reading was cancelled.")
                text = _page(document, number).strip()
                empty += not text
                parts.append(f"[page {number + 1} of {total}]\n{text}\n")
        finally:
            document.close()
    name = printable(name)
    if empty == total:
        raise Unextractable(
            f"{name} holds no text: its {total} page{'s' * (total != 1)} are images, most likely scans.",
            "Make them readable first (for instance: ocrmypdf FILE.pdf OUT.pdf) and pass the result.",
        )
    notices = (f"{name}: {empty} of {total} pages hold no text (images?)",) if empty else ()
    return Extracted("\n".join(parts), notices)


def _page(document: object, number: int) -> str:
    page = document[number]  # type: ignore[index]  # the library has no types
    try:
        text = page.get_textpage()
        try:
            return _BROKEN_WORD.sub("", str(text.get_text_bounded()))
        finally:
            text.close()
    finally:
        page.close()


def _refused(name: str, words: str) -> Unextractable:
    name = printable(name)
    if "password" in words.lower():
        return Unextractable(
            f"{name} is encrypted with a password.",
            "Save a copy without one (for instance: qpdf --decrypt --password=… FILE.pdf OUT.pdf) and pass that.",
        )
    return Unextractable(f"{name} could not be read as a PDF: it is damaged, or only looks like one.")
