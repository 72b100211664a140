"""Open zip archives whose list of members is missing, as in a file that was cut off, by the headers of the members.

Only the reading process calls this (see `fleet_rlm.documents.reading_process`), whose memory and time are limited.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from fleet_rlm.documents.document_work import BLOCK_BYTES

_HEADER = struct.Struct("<4s5H3L2H")
_SIGNATURE = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
_UTF8 = 0x800
_SIZES_FOLLOW = 8
"""The flag of a member whose size and checksum were not known before it was written: they stand behind it."""
_SIZES = re.compile(rb"(?=PK\x07\x08.{4}(.{4}).{4})", re.DOTALL)
_IN_ZIP64 = 0xFFFFFFFF
_UNKNOWN = 1 << 62


class CutZip(zipfile.ZipFile):
    """A zip archive as far as it goes: reading a member that is cut off ends in `EOFError`."""

    unfinished = ""
    """The name of the last member when it is cut off."""


def open_zip(file: BinaryIO, most_members: int) -> zipfile.ZipFile:
    """Open a zip archive: a `CutZip` when its list of members is missing.

    Raises `zipfile.BadZipFile` when it holds no member either, or more than `most_members` of them.
    """
    try:
        packed = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        pass
    else:  # the list may be that of a zip archive inside of this one, whose own is missing
        if not packed.filelist or min(info.header_offset for info in packed.filelist) == 0:
            return packed
    cut = CutZip(io.BytesIO(_EMPTY_ZIP))
    cut.fp = file
    end = file.seek(0, os.SEEK_END)
    for info, is_whole in _members(file, end):
        if len(cut.filelist) == most_members:
            raise zipfile.BadZipFile(f"more than {most_members:,} members")
        cut.filelist.append(info)
        cut.NameToInfo[info.filename] = info
        cut.unfinished = "" if is_whole else info.filename
    if not cut.filelist:
        raise zipfile.BadZipFile("its list of members is missing, and the first member as well")
    return cut


def read_to_the_cut(packed: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """At most `most_bytes` of a member, as far as it can be read."""
    found = bytearray()
    try:
        with packed.open(name) as member:
            while len(found) < most_bytes and (block := read_some(member, BLOCK_BYTES)):
                found += block
    except (EOFError, zlib.error):
        if not isinstance(packed, CutZip):
            raise
    return bytes(found[:most_bytes])


def read_some(stream: IO[bytes], count: int) -> bytes:
    """At most `count` bytes, by `read1` where there is one: unlike `read` it loses nothing before damage."""
    return bytes(getattr(stream, "read1", stream.read)(count))


def _members(file: BinaryIO, end: int) -> Iterator[tuple[zipfile.ZipInfo, bool]]:
    """Each member, and whether all of it is there. Each header is looked for behind the member before it."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_SIGNATURE):
            return
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _HEADER.unpack(head)
        name, extra = file.read(name_length), file.read(extra_length)
        if not name or len(name) < name_length:
            return
        info = zipfile.ZipInfo(name.decode("utf-8" if flags & _UTF8 else "cp437", "replace"))
        info.header_offset, info.flag_bits, info.compress_type = at, flags, method
        info.file_size, info.compress_size = _zip64_sizes(extra) if _IN_ZIP64 in (packed, size) else (size, packed)
        start = at + _HEADER.size + name_length + extra_length
        if flags & _SIZES_FOLLOW:
            if not info.compress_size:
                info.compress_size, info.file_size = _measured(file, start, method)
            at, crc = _behind_sizes(file, start + info.compress_size)
        else:
            at = start + info.compress_size
        is_whole = start + info.compress_size <= end
        if is_whole and crc is not None:
            info.CRC = crc
        yield info, is_whole
        if not is_whole:
            return


def _zip64_sizes(extra: bytes) -> tuple[int, int]:
    """The unpacked and the packed size in the extra field of a header; unknown ones as larger than any file."""
    while len(extra) >= 20:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == 1:
            unpacked, packed = struct.unpack("<QQ", extra[4:20])
            return unpacked, packed
        extra = extra[4 + length :]
    return _UNKNOWN, _UNKNOWN


def _measured(file: BinaryIO, start: int, method: int) -> tuple[int, int]:
    """The packed and the unpacked size of a member whose header does not say them; `_UNKNOWN` when it is cut off."""
    file.seek(start)
    if method == zipfile.ZIP_STORED:
        return (_up_to_sizes(file, start),) * 2
    unpacker, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while method == zipfile.ZIP_DEFLATED and not unpacker.eof:
        data = unpacker.unconsumed_tail or file.read(BLOCK_BYTES)
        try:
            unpacked += len(unpacker.decompress(data, BLOCK_BYTES))
        except zlib.error:
            break
        if not data:
            break
    if unpacker.eof:
        return file.tell() - len(unpacker.unused_data) - start, unpacked
    return _UNKNOWN, _UNKNOWN


def _up_to_sizes(file: BinaryIO, start: int) -> int:
    """Count the bytes before the sizes that say the same number; `_UNKNOWN` when there are none."""
    seen, at = b"", start
    while block := file.read(BLOCK_BYTES):
        seen += block
        for match in _SIZES.finditer(seen):
            if int.from_bytes(match[1], "little") == at + match.start() - start:
                return at + match.start() - start
        at += max(0, len(seen) - 15)
        seen = seen[-15:]
    return _UNKNOWN


def _behind_sizes(file: BinaryIO, at: int) -> tuple[int, int | None]:
    """Return where the sizes behind a member end, and the checksum in them, None when they are cut off."""
    if at >= _UNKNOWN:
        return at, None
    file.seek(at)
    found = file.read(28)
    length = next((n for n in (12, 16, 20, 24) if found[n : n + 2] == b"PK"), len(found))
    crc = found[4:8] if found.startswith(b"PK\x07\x08") else found[:4]
    return at + length, int.from_bytes(crc, "little") if len(crc) == 4 else None
