"""Text out of files that are no plain text: PDF, Word, RTF, HTML, e-mail, notebooks; archives are `documents.archive`.

`recognise` says what a file is, `extract` gives its text, in a process of its own (see `documents.extraction`). Each
library is imported when the first such file is read. Line numbers, searches and provenance are those of the extracted
text; hashes and sizes those of the file.
"""

from fleet_rlm.documents.formats.extract import Extracted, extract
from fleet_rlm.documents.formats.recognise import ARCHIVE, FORMATS, Format, Unextractable, recognise

__all__ = ["ARCHIVE", "FORMATS", "Extracted", "Format", "Unextractable", "extract", "recognise"]
