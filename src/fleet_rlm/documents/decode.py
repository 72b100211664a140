"""Which encoding a text is in, and whether it is text at all.

`detect` looks at a document's bytes and answers with an `Encoding`; everything that decodes (loading, the viewer's
spool) goes through `decoder` or `decode`, so that both see the same characters: invalid bytes become U+FFFD and are
counted, and no lone surrogate ever comes out.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fleet_rlm.documents.work import BLOCK_BYTES, DocumentError, printable, shown

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""(count, offset) → at most `count` bytes; fewer only at the end."""

HEAD_BYTES = 64 * 1024
WINDOW_BYTES = 4 * 1024
MAX_WINDOWS = 32
MOST_CONTROLS = 0.05
REPLACE = "fleet_rlm.replace"
"""Codec error handler: U+FFFD for what is invalid, counted (see `Decoder.replaced`)."""

_counts = threading.local()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _counts.invalid = getattr(_counts, "invalid", 0) + error.end - error.start
    return "\N{REPLACEMENT CHARACTER}", error.end


codecs.register_error(REPLACE, _replace)


class NotText(DocumentError):
    """The file holds no text (or text inside a container). `kind` names what it looks like, such as `a PDF`."""

    def __init__(self, path: Path | str, kind: str, hint: str) -> None:
        super().__init__(f"{shown(path)} is not text: it looks like {kind}.", hint)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a document's bytes become text."""

    codec: str = "utf-8"
    """Python's name of the codec, without a byte-order mark's suffix (`utf-8`, `utf-16-le`, `cp1252`)."""
    bom: int = 0
    """Bytes at the start that are a byte-order mark, not text."""
    guessed: bool = False
    """True when nothing in the file says so and it was inferred from its letters."""

    @property
    def is_utf8(self) -> bool:
        return self.codec == "utf-8"

    def notice(self, name: str) -> str | None:
        """What to tell the person, or None where there is nothing to tell."""
        if self.is_utf8:
            return None
        return f"{name}: decoded as {self.codec}" + (" (a guess: it is not UTF-8)" if self.guessed else "")


_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_EXTRACT = "Extract its text first"
_UNPACK = "Unpack it and pass the folder."
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"%PDF-", "a PDF", f"{_EXTRACT} (for instance: pdftotext FILE.pdf FILE.txt), or pass the file to --docs."),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", f"{_EXTRACT} (OCR) and pass that file."),
    (0, b"\xff\xd8\xff", "a JPEG image", f"{_EXTRACT} (OCR) and pass that file."),
    (0, b"GIF8", "a GIF image", ""),
    (8, b"WEBP", "a WebP image", f"{_EXTRACT} (OCR) and pass that file."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it (gunzip -k FILE) and pass the result."),
    (0, b"BZh", "a bzip2 archive", "Unpack it (bunzip2 -k FILE) and pass the result."),
    (0, b"\xfd7zXZ\x00", "an xz archive", "Unpack it (unxz -k FILE) and pass the result."),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it (unzstd FILE) and pass the result."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old or encrypted Office file",
        "Save it as plain text and pass that file.",
    ),
    (0, b"SQLite format 3\x00", "a SQLite database", "Export the tables as CSV or SQL and pass that."),
    (0, b"PAR1", "a Parquet table", "Export it as CSV or JSON Lines and pass that."),
    (0, b"\x7fELF", "a program (ELF)", ""),
    (0, b"MZ", "a program (Windows)", ""),
    (0, b"\xcf\xfa\xed\xfe", "a program (macOS)", ""),
    (0, b"OggS", "a sound or film (Ogg)", "Transcribe it and pass the transcript."),
    (0, b"ID3", "a sound (MP3)", "Transcribe it and pass the transcript."),
    (0, b"fLaC", "a sound (FLAC)", "Transcribe it and pass the transcript."),
    (0, b"RIFF", "a sound or film (RIFF)", "Transcribe it and pass the transcript."),
    (4, b"ftyp", "a film (MP4)", "Transcribe it and pass the transcript."),
)
_TEXTUAL_MAGIC = ("MZ", "BZh", "RIFF", "GIF8", "ID3", "PAR1")  # could also begin a text: need a second sign
_ZIPPED: tuple[tuple[bytes, str, str], ...] = (
    (
        b"word/",
        "a Word document (.docx)",
        "Save it as plain text (or: pandoc FILE.docx -o FILE.txt) and pass that file.",
    ),
    (b"xl/", "an Excel workbook (.xlsx)", "Save its sheets as CSV and pass these."),
    (b"ppt/", "a PowerPoint deck (.pptx)", "Save it as plain text and pass that file."),
    (b"mimetypeapplication/epub", "an e-book (EPUB)", "Convert it (pandoc FILE.epub -o FILE.txt) and pass that file."),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument file", "Save it as plain text and pass that file."),
)

_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\v\f\r\b\x1b") + b"\x7f"
_NON_ASCII = re.compile(rb"[\x80-\xff]")


def detect(read: ReadAt, size: int, path: Path | str, *, thorough: bool = False) -> Encoding:
    """The encoding of the `size` bytes behind `read`; UTF-8 where nothing speaks against it.

    Looks at the first 64 KiB and at windows spread over the file; with `thorough`, at the first `MAX_WINDOWS` places
    that are not ASCII (one pass over the file). Raises `NotText` naming what the file looks like.
    """
    marked, windows = _judged(read, size, path)
    if marked:
        return marked
    if thorough:
        windows = _thorough_windows(read, size, windows[0])
    if _is_utf8(windows):
        return Encoding()
    return Encoding(_guess(b"\n".join(w for w in windows if not w.isascii())), guessed=True)


def refuse_binary(read: ReadAt, size: int, path: Path | str) -> None:
    """Raise `NotText` for exactly what `detect` refuses, without the time that a guess takes."""
    _judged(read, size, path)


class Decoder:
    """Decodes a document in pieces; `replaced` counts invalid bytes so far. Use it from one thread."""

    def __init__(self, codec: str) -> None:
        self._decoder = codecs.getincrementaldecoder(codec)(REPLACE)
        self.replaced = 0

    def __call__(self, data: bytes, final: bool = False) -> str:
        _counts.invalid = 0
        text = self._decoder.decode(data, final)
        self.replaced += int(_counts.invalid)
        return text


def decode(data: bytes | bytearray | memoryview, codec: str) -> tuple[str, int]:
    """All of `data` as text, and how many of its bytes were invalid (each run of them became one U+FFFD)."""
    _counts.invalid = 0
    return str(data, codec, REPLACE), int(_counts.invalid)


def utf8(text: str) -> bytes:
    """`text` as UTF-8, whatever it holds: surrogate pairs are joined, lone surrogates become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def known_codec(name: str) -> str:
    """Python's name of a text encoding that somebody else wrote down. Raises `DocumentError` if there is no such."""
    try:
        b" ".decode(name, "replace")
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise DocumentError(f"there is no text encoding {printable(name)!r}.") from error


def _refuse_known_formats(head: bytes, path: Path | str) -> None:
    if head.startswith(b"PK\x03\x04"):
        for sign, kind, hint in _ZIPPED:
            if sign in head:
                raise NotText(path, kind, hint)
        raise NotText(path, "a zip archive", _UNPACK)
    for offset, magic, kind, hint in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            if magic.decode("latin-1") in _TEXTUAL_MAGIC and not _controls(head[:1024]):
                continue
            raise NotText(path, kind, hint)


def _judged(read: ReadAt, size: int, path: Path | str) -> tuple[Encoding | None, list[bytes]]:
    """The encoding if the first bytes settle it, and pieces to judge by if not. Raises `NotText`."""
    head = read(min(HEAD_BYTES, size), 0)
    for bom, codec in _BOMS:
        if head.startswith(bom) and not (codec == "utf-32-le" and size % 4):
            return Encoding(codec, len(bom)), []
    _refuse_known_formats(head, path)
    if wide := _wide_without_bom(head):
        return Encoding(wide, guessed=True), []
    step = max(WINDOW_BYTES, (size - len(head)) // MAX_WINDOWS)
    windows = [head, *(read(WINDOW_BYTES, offset) for offset in range(len(head), size, step))]
    sample = b"".join(windows)
    # No older encoding has zero bytes in its text.
    if _controls(sample) > len(sample) * MOST_CONTROLS or (b"\0" in sample and not _is_utf8(windows)):
        raise NotText(path, "binary data", "Pass the text that it was made from, or export it as text.")
    return None, windows


def _controls(data: bytes) -> int:
    """Bytes that text hardly ever holds; a log may have a few zeros where a machine went down."""
    return len(data) - len(data.translate(None, _CONTROLS))


def _wide_without_bom(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by the pattern of its zero bytes, which Western text has at every second (fourth) place."""
    if len(head) < 8:
        return None
    for width, names in ((4, ("utf-32-le", "utf-32-be")), (2, ("utf-16-le", "utf-16-be"))):
        columns = [head[i::width] for i in range(width)]
        zeros = [column.count(0) / len(column) for column in columns]
        little, big = zeros[1:], zeros[:-1]
        for codec, high, low in ((names[0], little, zeros[0]), (names[1], big, zeros[-1])):
            if min(high) > 0.5 and low < 0.02:
                text = codecs.getincrementaldecoder(codec)("replace").decode(head, False)
                odd = sum(1 for c in text if not (c.isprintable() or c in "\t\n\r\f\v"))
                if odd <= len(text) * 0.01:
                    return codec
    return None


def _thorough_windows(read: ReadAt, size: int, head: bytes) -> list[bytes]:
    windows, offset = [head], len(head)
    while offset < size and len(windows) < MAX_WINDOWS and (block := read(BLOCK_BYTES, offset)):
        found = None if block.isascii() else _NON_ASCII.search(block)
        if found:
            windows.append(block[max(0, found.start() - 256) : found.start() + WINDOW_BYTES])
        offset += len(block)
    return windows


def _is_utf8(windows: list[bytes]) -> bool:
    """True for valid UTF-8, and where so little is invalid that it is rather damaged than something else."""
    valid, invalid = _utf8_census(windows)
    return valid >= invalid * 8


def _utf8_census(windows: list[bytes]) -> tuple[int, int]:
    """(non-ASCII characters that are valid UTF-8, bytes that are not), cut sequences at the windows' edges aside."""
    valid = invalid = 0
    for number, window in enumerate(windows):
        if window.isascii():
            continue
        start = 0
        while number and start < min(3, len(window)) and 0x80 <= window[start] < 0xC0:
            start += 1
        decoder = Decoder("utf-8")
        text = decoder(window[start:])
        invalid += decoder.replaced
        valid += sum(1 for c in text if c > "\x7f") - decoder.replaced
    return max(valid, 0), invalid


def _guess(sample: bytes) -> str:
    """The likeliest encoding of text that is not UTF-8."""
    from charset_normalizer import from_bytes  # 50 ms to import, and only such text needs it

    matches = from_bytes(sample[:HEAD_BYTES], steps=8, chunk_size=512)
    best = matches.best()
    if best is None:
        return "cp1252"
    for match in matches:
        western = {match.encoding, *match.could_be_from_charset} & {"cp1252", "latin_1", "iso8859_15"}
        if western and match.chaos <= best.chaos + 0.02 and match.coherence >= best.coherence - 0.1:
            return "cp1252"  # its letters are Latin-1's, and the quotes and dashes that Latin-1 lacks
    return str(codecs.lookup(best.encoding).name)
