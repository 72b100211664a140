"""Archives: their texts as documents of their own, and nothing that they try."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from documents.office_files import pdf
from fleet_rlm.documents import archive, reading_process
from fleet_rlm.documents.archive import BadArchive
from fleet_rlm.documents.document_work import DocumentError, Stopped
from fleet_rlm.documents.load import load, load_all
from fleet_rlm.documents.reading_process import open_extracted
from fleet_rlm.documents.select import NothingToRead, select

TEXTS = {"minutes/a.txt": b"Alpha\n", "minutes/b.md": "Größe\n".encode("cp1252") * 40, "report.pdf": pdf(["A crane."])}


def zipped(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ["t.zip", "t.tar", "t.tar.gz", "t.tar.bz2", "t.tar.xz"])
def test_each_text_of_an_archive_becomes_a_document(tmp_path: Path, kind: str) -> None:
    mode = {"t.tar": "w", "t.tar.gz": "w:gz", "t.tar.bz2": "w:bz2", "t.tar.xz": "w:xz"}.get(kind)
    path = tarred(tmp_path / kind, TEXTS, mode) if mode else zipped(tmp_path / kind, TEXTS)
    selection = select([path])
    assert [(file.name, file.member, file.format) for file in selection.files] == [
        ("minutes/a.txt", "minutes/a.txt", ""),
        ("minutes/b.md", "minutes/b.md", ""),
        ("report.pdf", "report.pdf", "pdf"),
    ]
    documents = load_all(selection.files).documents
    assert documents[0].text == "Alpha\n"
    assert "Größe" in documents[1].text
    assert "A crane." in documents[2].text
    assert [document.bytes for document in documents] == [len(data) for data in TEXTS.values()]
    assert {document.path for document in documents} == {str(path)}
    for document in documents:
        text = open_extracted(path, document.name, kind=document.format, member=document.member)
        assert text.read(text.size, 0).decode() == document.text


def test_a_screen_reads_the_members_of_an_archive_in_any_order(tmp_path: Path) -> None:
    path = tarred(tmp_path / "t.tar.gz", {f"{n}.txt": b"text %d" % n for n in range(9)})
    for n in (0, 1, 5, 2, 8, 0):
        text = open_extracted(path, f"{n}.txt", member=f"{n}.txt")
        assert text.read(text.size, 0) == b"text %d" % n
    with pytest.raises(DocumentError, match=r"holds no 9\.txt"):
        open_extracted(path, "9.txt", member="9.txt")


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_a_single_packed_file_is_its_text(tmp_path: Path, packer) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(packer.compress(b"a line\n" * 100_000))
    (file,) = select([path]).files
    assert (file.name, file.bytes) == ("app.log", 700_000)
    assert load_all([file]).documents[0].text == "a line\n" * 100_000


def test_in_a_folder_an_archive_is_a_folder_of_its_own_name(tmp_path: Path) -> None:
    zipped(tmp_path / "old.zip", {"a.txt": b"old"})
    (tmp_path / "a.txt").write_text("new")
    assert [file.name for file in select([tmp_path]).files] == ["a.txt", "old.zip/a.txt"]


def test_names_that_lead_elsewhere_hidden_ones_and_archives_too_deep_are_left_out(tmp_path: Path) -> None:
    innermost = zipped(tmp_path / "innermost.zip", {"a.txt": b"a"}).read_bytes()
    inner = zipped(tmp_path / "inner.zip", {"innermost.zip": innermost}).read_bytes()
    path = zipped(
        tmp_path / "t.zip",
        {
            "../../etc/passwd": b"x", "/etc/passwd": b"x", "C:\\x.txt": b"x", "a\\..\\..\\b.txt": b"x",
            "__MACOSX/._a.txt": b"x", ".git/config": b"x", "inner.zip": inner, "good.txt": b"good",
            "a.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
        },
    )  # fmt: skip
    selection = select([path])
    assert [file.member for file in selection.files] == ["good.txt"]
    told = "\n".join(selection.notices)
    for why in ("leads out of the archive", "hidden", "an archive too deep in archives", "not text"):
        assert why in told
    assert sorted(each.name for each in tmp_path.iterdir()) == ["inner.zip", "innermost.zip", "t.zip"]


def test_links_and_devices_in_a_tar_are_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as packed:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            packed.addfile(entry)
    with pytest.raises(NothingToRead):
        select([tmp_path / "t.tar"])


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 5_000_000)
    zeros = b" " * 8_000_000
    bombs = [
        zipped(tmp_path / "a.zip", {"a.txt": zeros}),
        zipped(tmp_path / "b.zip", {f"{n}.txt": zeros[:1_000_000] for n in range(8)}),
        tarred(tmp_path / "c.tar.gz", {"a.txt": zeros}),
        tmp_path / "d.gz",
    ]
    bombs[-1].write_bytes(gzip.compress(zeros))
    for bomb in bombs:
        with pytest.raises(BadArchive, match="unpacks to more than"):
            archive.listing(bomb)


def test_a_zip_that_lies_about_its_sizes_is_damaged_and_no_more(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {"a.txt": b"x" * 500_000})
    data = path.read_bytes()
    lie = data.replace((500_000).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    assert lie != data
    path.write_bytes(lie)
    with pytest.raises(BadArchive, match="damaged"):
        load_all(select([path]).files)


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04" + b"\0" * 400,
        gzip.compress(b"text " * 9_000)[:11],
        b"\x1f\x8b\x08\x00" + b"\0" * 300,
        bz2.compress(b"text" * 500)[:-20] + b"\0" * 90,
        b"x" * 257 + b"ustar" + b"\xff" * 400,
    ],
    ids=["zip", "gzip", "gzip of nothing", "bzip2", "tar"],
)
def test_a_broken_archive_is_refused_in_clear_words(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.bin").write_bytes(data)
    with pytest.raises((BadArchive, NothingToRead)) as error:
        load_all(select([tmp_path / "t.bin"]).files)
    assert "t.bin" in str(error.value)
    assert zlib.error.__name__ not in str(error.value)


def test_what_comes_before_the_damage_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {f"{n}.txt": b"a text %d " % n * 20_000 for n in range(4)})
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x03\x04", 10)
    third = data.index(b"PK\x03\x04", second + 10)
    data[third - 9 : third] = b"\xff" * 9  # behind what a first look reads
    path.write_bytes(data)
    loaded = load_all(select([path]).files)
    assert [document.name for document in loaded.documents] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert len(loaded.documents[1].text) > 65_000
    assert "1.txt is cut off or damaged and was read as far as it goes" in loaded.documents[1].notices[0]


def test_encrypted_members_are_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {"a.txt": b"secret", "b.txt": b"open"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + place] |= 1
    path.write_bytes(data)
    selection = select([path])
    assert [file.member for file in selection.files] == ["b.txt"]
    assert "left out a.txt in t.zip: encrypted" in selection.notices


def test_an_empty_archive_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="empty"):
        select([zipped(tmp_path / "t.zip", {})])


def test_what_was_looked_into_is_not_unpacked_again_and_a_changed_archive_is(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {"a.txt": b"a"})
    assert reading_process.list_archive(path) is reading_process.list_archive(path)
    zipped(path, {"a.txt": b"a", "b.txt": b"b"})
    assert [member.name for member in reading_process.list_archive(path).members] == ["a.txt", "b.txt"]
    (tmp_path / "gone.zip").write_bytes(path.read_bytes())
    selection = select([tmp_path / "gone.zip"])
    zipped(tmp_path / "gone.zip", {"a.txt": b"a"})
    with pytest.raises(BadArchive, match=r"holds no b\.txt any more"):
        load(tmp_path / "gone.zip", member="b.txt")
    assert [document.name for document in load_all(selection.files).documents] == ["a.txt"]


def test_looking_into_a_large_one_can_be_cancelled(tmp_path: Path) -> None:
    path = tarred(tmp_path / "t.tar.gz", {f"{n}.txt": b"text " * 100_000 for n in range(20)})
    with pytest.raises(Stopped):
        select([path], cancelled=lambda: reading_process._turn.locked())


@pytest.mark.parametrize("cut", [0.5, 0.99])
@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_a_packed_file_that_is_cut_is_read_to_the_cut_and_that_is_said(tmp_path: Path, packer, cut: float) -> None:
    whole = "".join(f"{n} {zlib.crc32(b'%d' % n)}\n" for n in range(200_000)).encode()
    packed = packer.compress(whole)
    (tmp_path / "app.log.gz").write_bytes(packed[: int(len(packed) * cut)])
    selection = select([tmp_path / "app.log.gz"])
    (document,) = load_all(selection.files).documents
    assert whole.startswith(document.text.encode())
    assert len(document.text) > len(whole) * cut * 0.4
    assert any("app.log.gz is cut off or damaged" in notice for notice in selection.notices)


def test_a_packed_tar_that_is_cut_gives_the_files_before_the_cut(tmp_path: Path) -> None:
    texts = {f"{n}.txt": b"".join(b"%d\n" % zlib.crc32(b"%d %d" % (n, i)) for i in range(20_000)) for n in range(6)}
    path = tarred(tmp_path / "t.tar.gz", texts)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    selection = select([path])
    documents = load_all(selection.files).documents
    assert {"0.txt", "1.txt"} <= {document.name for document in documents} < set(texts)
    assert all(texts[document.name].startswith(document.text.encode()) for document in documents)
    assert any("t.tar.gz is cut off or damaged" in notice for notice in selection.notices)


def test_packed_files_and_archives_in_an_archive_are_read_one_level_deep(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a.txt": b"in the inner one", "b.html": b"<p>page</p>"}).read_bytes()
    members = {
        "logs/app.log.1.gz": gzip.compress(b"rotated"), "page.html.gz": gzip.compress(b"<p>packed page</p>"),
        "more/inner.zip": inner, "plain.txt": b"plain", "broken.gz": gzip.compress(b"text " * 9)[:11],
    }  # fmt: skip
    for path in (zipped(tmp_path / "t.zip", members), tarred(tmp_path / "t.tar.gz", members)):
        texts = {one.name: one.text.strip() for one in load_all(select([path]).files).documents}
        assert texts == {
            "logs/app.log.1.gz": "rotated", "page.html.gz": "packed page", "more/inner.zip/a.txt": "in the inner one",
            "more/inner.zip/b.html": "page", "plain.txt": "plain",
        }  # fmt: skip


def test_a_second_file_of_the_same_name_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as packed:
        packed.writestr("a.txt", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("a.txt", "two")
    assert "left out a.txt in t.zip: a second file of that name" in select([tmp_path / "t.zip"]).notices


class _Pipe(io.BytesIO):
    """A place to write to that can't go back, as a program's standard output."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


def _streamed(how: int, texts: dict[str, bytes], *, zip64: bool = False) -> bytes:
    """A zip archive whose headers say no sizes: they stand behind each member."""
    out = _Pipe()
    with zipfile.ZipFile(out, "w", how) as packed:
        for name, data in texts.items():
            with packed.open(name, "w", force_zip64=zip64) as member:
                member.write(data)
    return out.getvalue()


def _as_zip(how: int, texts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as packed:
        for name, data in texts.items():
            packed.writestr(name, data)
    return out.getvalue()


def _as_tar(mode: str, texts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
        for name, data in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _lines(seed: int, count: int) -> bytes:
    return b"".join(b"%d\n" % zlib.crc32(b"%d %d" % (seed, n)) for n in range(count))


CUT_TEXTS = {f"{n}-ü.txt": _lines(n, 300 * (n + 1)) for n in range(4)}
CUT_KINDS = {
    "deflated": lambda: _as_zip(zipfile.ZIP_DEFLATED, CUT_TEXTS),
    "stored": lambda: _as_zip(zipfile.ZIP_STORED, CUT_TEXTS),
    "bzip2": lambda: _as_zip(zipfile.ZIP_BZIP2, CUT_TEXTS),
    "deflated, sizes behind": lambda: _streamed(zipfile.ZIP_DEFLATED, CUT_TEXTS),
    "stored, sizes behind": lambda: _streamed(zipfile.ZIP_STORED, CUT_TEXTS),
    "zip64, sizes behind": lambda: _streamed(zipfile.ZIP_DEFLATED, CUT_TEXTS, zip64=True),
    "tar": lambda: _as_tar("w", CUT_TEXTS),
    "tar.gz": lambda: _as_tar("w:gz", CUT_TEXTS),
    "tar.xz": lambda: _as_tar("w:xz", CUT_TEXTS),
}


@pytest.mark.parametrize("kind", CUT_KINDS)
def test_a_cut_archive_gives_the_members_before_the_cut_and_never_passes_for_whole(tmp_path: Path, kind: str) -> None:
    data = CUT_KINDS[kind]()
    path, found, most = tmp_path / "t.bin", 0, 0
    for cut in sorted({*range(600, len(data) - 30, len(data) // 37), data.rfind(b"PK\x01\x02"), len(data) - 21}):
        if cut < 600 or (kind == "tar" and not any(data[cut - 512 : cut])):
            continue  # behind the end mark of a tar is nothing but filling
        path.write_bytes(data[:cut])
        try:
            listing = archive.listing(path)
        except BadArchive:
            continue
        missing = {member.name: member.bytes for member in listing.members} != {
            name: len(text) for name, text in CUT_TEXTS.items()
        }
        if missing or not kind.startswith("tar."):  # of a packed tar only what is behind its end mark may be cut off
            assert any("t.bin is cut off or damaged" in notice for notice in listing.notices), cut
        for name, text, notices in archive.contents(path, [member.name for member in listing.members]):
            assert CUT_TEXTS[name].startswith(text)
            assert text == CUT_TEXTS[name] or notices or kind.startswith("tar.")
        whole = [one.name for one in listing.members if one.bytes == len(CUT_TEXTS[one.name])]
        found, most = found + len(whole), max(most, len(whole))
    assert most >= (2 if kind == "tar.xz" else 3)
    assert found > 20 or kind == "tar.xz"


def test_an_archive_inside_a_cut_one_does_not_pass_for_it(tmp_path: Path) -> None:
    inner = _as_zip(zipfile.ZIP_DEFLATED, {"inner.txt": b"in the inner one"})
    outer = _as_zip(zipfile.ZIP_STORED, {"first.txt": b"the first", "inner.zip": inner})
    path = tmp_path / "t.zip"
    path.write_bytes(outer[: outer.index(inner) + len(inner)])
    listing = archive.listing(path)
    assert [member.name for member in listing.members] == ["first.txt", "inner.zip/inner.txt"]
    assert "t.zip is cut off or damaged" in listing.notices[0]


def _header(name: bytes, packed: int, size: int, *, flags: int = 0, extra: bytes = b"", method: int = 0) -> bytes:
    lengths = (len(name), len(extra))
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, flags, method, 0, 0, 0, packed, size, *lengths) + name + extra


@pytest.mark.parametrize(
    "last",
    [
        _header(b"b.txt", 0xFFFFFFFE, 0xFFFFFFFE) + b"text",
        _header(b"b.txt", 0xFFFFFFFF, 0xFFFFFFFF, extra=struct.pack("<HHQQ", 1, 16, 1 << 63, 1 << 63)) + b"text",
        _header(b"b.txt", 0xFFFFFFFF, 0xFFFFFFFF, extra=b"\x01\x00\xff\xff" * 9) + b"text",
        _header(b"b.txt", 0, 0, flags=8, method=8) + b"\xff" * 90,
        _header(b"b.txt", 0, 0, flags=8) + b"text PK\x07\x08 and more",
        _header(b"\xff\xfe.txt", 4, 4, flags=0x800) + b"text",
        _header(b"b.txt", 4, 4, method=77) + b"text",
        _header(b"b.txt", 0, 0)[:-5] + b"",
        b"PK\x03\x04" + b"\xff" * 26 + b"a" * 70_000,
        _header(b"../b.txt", 4, 4) + b"text",
    ],
    ids=["4 GB", "zip64", "no zip64", "no deflate", "no sizes", "no UTF-8", "no method", "no name", "all ones", "path"],
)
def test_what_the_headers_of_a_cut_zip_claim_harms_nothing(tmp_path: Path, last: bytes) -> None:
    whole = _as_zip(zipfile.ZIP_DEFLATED, {"a.txt": b"the first text"})
    path = tmp_path / "t.zip"
    path.write_bytes(whole[: whole.index(b"PK\x01\x02")] + last)
    listing = archive.listing(path)
    assert listing.members[0] == archive.Member("a.txt", 14)
    assert {member.name for member in listing.members} <= {"a.txt", "b.txt"}
    found = list(archive.contents(path, [member.name for member in listing.members]))
    assert found[0] == ("a.txt", b"the first text", [])
    assert all(text in b"text PK\x07\x08 and more" and notices for _, text, notices in found[1:])


def test_a_cut_zip_of_countless_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 50)
    (tmp_path / "t.zip").write_bytes(_header(b"a", 0, 0) * 51)
    with pytest.raises(BadArchive, match="more than 50 members"):
        archive.listing(tmp_path / "t.zip")


def test_a_bomb_in_a_cut_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 5_000_000)
    for data in (_as_zip(8, {"a.txt": b" " * 8_000_000}), _streamed(8, {"a.txt": b" " * 8_000_000})):
        (tmp_path / "t.zip").write_bytes(data[: data.index(b"PK\x01\x02")])
        with pytest.raises(BadArchive, match="unpacks to more than"):
            archive.listing(tmp_path / "t.zip")


def test_a_run_is_told_what_of_a_cut_zip_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    data = _as_zip(zipfile.ZIP_DEFLATED, CUT_TEXTS)
    path.write_bytes(data[: len(data) * 3 // 4])
    selection = select([path])
    documents = load_all(selection.files).documents
    assert [document.name for document in documents] == [*CUT_TEXTS]
    assert [document.text.encode() == CUT_TEXTS[document.name] for document in documents] == [True, True, True, False]
    assert "t.zip is cut off or damaged" in selection.notices[0]
    assert "there may have been more" in selection.notices[0]
    assert "3-ü.txt is cut off or damaged" in documents[3].notices[0]
