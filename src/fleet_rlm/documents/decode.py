"""Detect the encoding of a text, or that it is no text, and decode it.

`detect` looks at a document's bytes and answers with an `Encoding`; everything that decodes (loading, the viewer's
spool) goes through `Decoder` or `decode`, so that both see the same characters: invalid bytes become U+FFFD and are
counted, and no lone surrogate ever comes out. Pages and mails, which may say themselves what they are in, go through
`decode_as`.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fleet_rlm.documents import mixed_encodings
from fleet_rlm.documents.document_work import BLOCK_BYTES, DocumentError, printable, shown
from fleet_rlm.documents.encoding_labels import codec_of
from fleet_rlm.documents.guess_encoding import guess, is_plausible

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""(count, offset) → at most `count` bytes; fewer only at the end."""

HEAD_BYTES = 64 * 1024
WINDOW_BYTES = 4 * 1024
MAX_WINDOWS = 32
MOST_CONTROLS = 0.05
MOST_NULS = 0.2
"""The largest share of zero bytes in a UTF-8 text without other odd characters (`find -print0`); runs count once."""
LEAST_HEAD = 8
"""A file that begins with so many zero bytes was cut while a program kept writing to it."""
REPLACE = "fleet_rlm.replace"
"""Codec error handler: U+FFFD for what is invalid, counted (see `Decoder.replaced`)."""

_counts = threading.local()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _counts.invalid = getattr(_counts, "invalid", 0) + error.end - error.start
    return "\N{REPLACEMENT CHARACTER}", error.end


codecs.register_error(REPLACE, _replace)
codecs.register(mixed_encodings.find)


class NotText(DocumentError):
    """The file holds no text (or text inside a container). `kind` names what it looks like, such as `a PDF`."""

    def __init__(self, path: Path | str, kind: str, hint: str) -> None:
        super().__init__(f"{shown(path)} is not text: it looks like {kind}.", hint)

    @classmethod
    def said(cls, message: str, hint: str) -> NotText:
        """Make the error with the message of another process."""
        error = cls.__new__(cls)
        DocumentError.__init__(error, message, hint)
        return error


@dataclass(frozen=True, slots=True)
class Encoding:
    """The codec that decodes a document, and where its text begins."""

    codec: str = "utf-8"
    """Python's name of the codec, without a byte-order mark's suffix (`utf-8`, `utf-16-le`, `cp1252`)."""
    bom: int = 0
    """Bytes at the start that are no text: a byte-order mark, or the zero bytes before a rotated log."""
    guessed: bool = False
    """True when nothing in the file says so and it was inferred from its letters."""

    @property
    def is_utf8(self) -> bool:
        return self.codec == "utf-8"

    def notice(self, name: str) -> str | None:
        """Return the notice for the person, or None where there is nothing to tell."""
        said = []
        if self.bom >= LEAST_HEAD:
            said.append(f"the {self.bom:,} zero bytes that it begins with are left out")
        if legacy := mixed_encodings.legacy_of(self.codec):
            said.append(f"its lines that are not UTF-8 are decoded as {legacy} (a guess)")
        elif not self.is_utf8:
            said.append(f"decoded as {self.codec}" + (" (a guess: it is not UTF-8)" if self.guessed else ""))
        return f"{name}: {'; '.join(said)}" if said else None


_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_EXTRACT = "Extract its text first"
_SAVE = "Save it as plain text and pass that file."
_TRANSCRIBE = "Transcribe it and pass the transcript."
_UNPACK = "Unpack it and pass the folder."
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"%PDF-", "a PDF", f"{_EXTRACT} (for instance: pdftotext FILE.pdf FILE.txt)."),
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
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or encrypted Office file", _SAVE),
    (0, b"SQLite format 3\x00", "a SQLite database", "Export the tables as CSV or SQL and pass that."),
    (0, b"PAR1", "a Parquet table", "Export it as CSV or JSON Lines and pass that."),
    (0, b"\x7fELF", "a program (ELF)", ""),
    (0, b"MZ", "a program (Windows)", ""),
    (0, b"\xcf\xfa\xed\xfe", "a program (macOS)", ""),
    (0, b"OggS", "a sound or film (Ogg)", _TRANSCRIBE),
    (0, b"ID3", "a sound (MP3)", _TRANSCRIBE),
    (0, b"fLaC", "a sound (FLAC)", _TRANSCRIBE),
    (0, b"RIFF", "a sound or film (RIFF)", _TRANSCRIBE),
    (4, b"ftyp", "a film (MP4)", _TRANSCRIBE),
)
_TEXTUAL_MAGIC = ("MZ", "BZh", "RIFF", "GIF8", "ID3", "PAR1")  # could also begin a text: need a second sign
_ZIPPED: tuple[tuple[bytes, str, str], ...] = (
    (b"word/", "a Word document (.docx)", _SAVE),
    (b"xl/", "an Excel workbook (.xlsx)", "Save its sheets as CSV and pass these."),
    (b"ppt/", "a PowerPoint deck (.pptx)", _SAVE),
    (b"mimetypeapplication/epub", "an e-book (EPUB)", "Convert it (pandoc FILE.epub -o FILE.txt) and pass that file."),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument file", _SAVE),
)

_SHIFTED = (("iso2022_jp", (b"\x1b$B", b"\x1b$@")), ("iso2022_kr", (b"\x1b$)C",)))
"""Encodings of seven bits, and what switches to their letters."""
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\v\f\r\b\x1b\x01\x1a\x1c\x1d\x1e\x1f") + b"\x7f"
"""Control characters that text hardly ever holds. Text does hold the end mark of DOS and the separators of fields."""
_NON_ASCII = re.compile(rb"[\x80-\xff]")
_ZEROS = re.compile(rb"\0+")


def detect(read: ReadAt, size: int, path: Path | str, *, thorough: bool = False) -> Encoding:
    """The encoding of the `size` bytes behind `read`; UTF-8 where nothing speaks against it.

    Looks at the first 64 KiB and at windows spread over the file; with `thorough`, at the first `MAX_WINDOWS` places
    that are not ASCII (one pass over the file). Raises `NotText` naming what the file looks like.
    """
    marked, windows, bom = _judged(read, size, path)
    if marked:
        return marked
    if thorough:
        windows = [windows[0], *_odd_windows(read, size, bom + len(windows[0]))]
    return _of_windows(windows, bom)


def reading(data: bytes | memoryview) -> ReadAt:
    """Make the `ReadAt` of bytes in memory."""
    return lambda count, offset: bytes(data[offset : offset + count])


def decode_as(data: bytes, label: str, name: str) -> tuple[str, str | None]:
    """A page's or a mail's text, and what to tell of how it was decoded. `label` is the encoding that it names, or ''.

    What is valid UTF-8 is UTF-8 whatever it says, since hardly any other text is. Raises nothing.
    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return utf8(decode(data[len(bom) :], codec)[0]).decode(), None
    declared = codec_of(label)
    seven_bit = declared.startswith(("iso2022", "utf_7", "hz"))
    if not seven_bit:
        try:
            return data.decode(), None
        except UnicodeDecodeError:
            pass
    if declared and declared != "utf_8":
        text, invalid = decode(data, declared)
        if invalid <= len(data) // 50:
            return utf8(text).decode(), None
    windows = [data[:HEAD_BYTES], *(w for w in [data[-HEAD_BYTES:]] if len(data) > HEAD_BYTES)]
    found = Encoding(wide, guessed=True) if (wide := _wide_without_bom(windows[0])) else _of_windows(windows, 0)
    text, invalid = decode(data, found.codec)
    told = found.notice(printable(name))
    if not told and invalid:
        told = f"{printable(name)}: {invalid:,} invalid byte{'s' * (invalid != 1)} replaced by U+FFFD"
    return utf8(text).decode(), told


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


def _judged(read: ReadAt, size: int, path: Path | str) -> tuple[Encoding | None, list[bytes], int]:
    """The encoding if the first bytes settle it, and if not, pieces to judge by and where the text begins.

    Raises `NotText`.
    """
    head = read(min(HEAD_BYTES, size), 0)
    bom = 0
    for mark, codec in _BOMS:
        if head.startswith(mark) and not (codec == "utf-32-le" and size % 4):
            if codec != "utf-8":
                return Encoding(codec, len(mark)), [], len(mark)
            bom = len(mark)
            break
    if head.startswith(bytes(LEAST_HEAD)):
        bom = _zeros(read, size)
        if bom == size:
            raise NotText(path, "nothing but zero bytes", "It was never written, or cut off by a crash.")
    if bom:
        head = read(min(HEAD_BYTES, size - bom), bom)
    _refuse_known_formats(head, path)
    if wide := _wide_without_bom(head):
        return Encoding(wide, bom, guessed=True), [], bom
    for codec, signs in _SHIFTED:
        if head.isascii() and any(sign in head for sign in signs):
            return Encoding(codec, bom, guessed=True), [], bom
    step = max(WINDOW_BYTES, (size - bom - len(head)) // MAX_WINDOWS)
    windows = [head, *(read(WINDOW_BYTES, offset) for offset in range(bom + len(head), size, step))]
    if not _is_text(windows):
        raise NotText(path, "binary data", "Pass the text that it was made from, or export it as text.")
    return None, windows, bom


def _zeros(read: ReadAt, size: int) -> int:
    """Count the zero bytes that a file begins with."""
    offset = 0
    while offset < size and (block := read(BLOCK_BYTES, offset)):
        rest = block.lstrip(b"\0")
        offset += len(block) - len(rest)
        if rest:
            break
    return offset


def _is_text(windows: list[bytes]) -> bool:
    """True if the pieces hold few enough control characters, and of zero bytes not more than a mishap leaves.

    A log may hold a run of zeros where a machine went down; no older encoding has them in its text.
    """
    sample = _ZEROS.sub(b"\0", b"".join(windows))
    nuls = sample.count(0)
    others = _controls(sample) - nuls
    if not nuls:
        return others <= len(sample) * MOST_CONTROLS
    if _is_utf8(windows):
        return others <= len(sample) * MOST_CONTROLS and nuls <= len(sample) * (MOST_NULS if not others else 0.05)
    return nuls + others <= len(sample) * 0.01


def _controls(data: bytes) -> int:
    """Count the bytes that are control characters."""
    return len(data) - len(data.translate(None, _CONTROLS))


def _wide_without_bom(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by its zero bytes: all at every second (fourth) place, and all of it readable when decoded."""
    if len(head) < 8 or not head.count(0):
        return None
    for width, names in ((4, ("utf-32-le", "utf-32-be")), (2, ("utf-16-le", "utf-16-be"))):
        zeros = [head[place::width].count(0) for place in range(width)]
        for codec, low in ((names[0], zeros[0]), (names[1], zeros[-1])):
            high = sum(zeros) - low
            # of Western text nearly all high bytes are zero, of Russian or Chinese those of spaces and digits are
            if low > high * 0.02 or high < len(head) * (0.5 if width == 4 else 0.01):
                continue
            text = codecs.getincrementaldecoder(codec)("replace").decode(head, False)
            odd = sum(1 for c in text if c == "\ufffd" or not (c.isprintable() or c in "\t\n\r\f\v\u3000\xa0"))
            if odd <= len(text) * 0.01 and _is_one_script(text):
                return codec
    return None


def _is_one_script(text: str) -> bool:
    """True if its letters stand close together in Unicode, as those of any language do."""
    blocks = Counter(ord(c) >> 8 for c in text)
    cjk = sum(count for block, count in blocks.items() if 0x30 <= block <= 0x9F or 0xAC <= block <= 0xD7)
    return cjk + sum(count for _, count in blocks.most_common(4)) >= len(text) * 0.9


def _odd_windows(read: ReadAt, size: int, offset: int) -> list[bytes]:
    """Pieces around the first bytes that are not ASCII, and around the first that are not UTF-8, of many blocks."""
    windows: dict[bool, list[bytes]] = {False: [], True: []}
    while offset < size and (block := read(BLOCK_BYTES, offset)):
        if not block.isascii() and (found := _NON_ASCII.search(block)):
            place, wrong = found.start(), False
            try:
                codecs.utf_8_decode(block.lstrip(_CONTINUATIONS), "strict", False)
            except UnicodeDecodeError as error:
                place, wrong = error.start + len(block) - len(block.lstrip(_CONTINUATIONS)), True
            if len(windows[wrong]) < MAX_WINDOWS:
                start = max(block.rfind(b"\n", max(0, place - 1024), place), place - 1024, 0)
                windows[wrong].append(block[start : place + WINDOW_BYTES])
        offset += len(block)
    return [*windows[False], *windows[True]]


def _of_windows(windows: list[bytes], bom: int) -> Encoding:
    """UTF-8, an older encoding, or by the line one or the other."""
    if _is_strictly_utf8(windows):
        return Encoding(bom=bom)
    lines = mixed_encodings.census(windows)
    if not lines.legacy:
        return Encoding(bom=bom)
    sample = b"\n".join(lines.legacy)
    older = guess(sample)
    if _is_utf8(windows) and not is_plausible(sample, older):
        return Encoding(bom=bom)  # broken in places, rather than something else
    both = lines.certain or lines.utf8 * (20 if older == "cp1252" else 1) >= len(lines.legacy) / 20
    return Encoding(mixed_encodings.name_of(older) if both and lines.utf8 else older, bom, guessed=True)


def _is_strictly_utf8(windows: list[bytes]) -> bool:
    valid, invalid = _utf8_census(windows)
    if not valid and len(windows) == 1:  # all there is: `caf\xe9` is no cut letter
        return not decode(windows[0], "utf-8")[1]
    return invalid == 0


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
