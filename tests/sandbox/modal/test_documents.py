"""A document reaches the sandbox once, by the way that fits its size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.modal import document_upload
from fleet_rlm.sandbox.modal.modal_transport import ModalTransport
from modal_server import ModalServer
from tests.sandbox.places import Witness

from .conftest import Cloud

MEGABYTE = 1 << 20


def pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, MEGABYTE):
        yield (b"%016d" % start) * ((min(MEGABYTE, size - start) + 15) // 16)


def digest(size: int) -> str:
    whole = hashlib.sha256()
    for piece in pieces(size):
        whole.update(piece)
    return whole.hexdigest()


@pytest.mark.parametrize(
    ("characters", "how"),
    [(10_000, "inline"), (200_000, "file"), (20 * MEGABYTE, "file")],
    ids=["10 kB", "200 kB", "20 MB"],
)
def test_a_text_crosses_once_however_often_it_is_bound(
    modal_server: ModalServer, cloud: Cloud, witness: Witness, characters: int, how: str
) -> None:
    interpreter = cloud()
    interpreter.execute("pass")
    modal_server.forget_calls()
    text = "0123456789abcdef" * (characters // 16)
    for _ in range(3):
        assert interpreter.execute("n = len(text), text[-4:]\ntext = ''\nn", {"text": text}) == f"({len(text)}, 'cdef')"
    assert [told for _, _, told in witness.of("input")] == [how]
    most = 3 if how == "inline" else 1
    assert len(text) <= modal_server.sent_bytes() < most * len(text) + MEGABYTE


def test_a_text_on_a_volume_crosses_in_the_first_run_only(modal_server: ModalServer, cloud: Cloud) -> None:
    text = "0123456789abcdef" * 100_000
    sent = []
    for _ in range(2):
        modal_server.forget_calls()
        with cloud(volume_name="kept") as interpreter:
            assert interpreter.execute("len(text)", {"text": text}) == str(len(text))
        sent.append(modal_server.sent_bytes())
    assert sent[0] > len(text)
    assert sent[1] < MEGABYTE


def test_what_is_written_to_the_volume_is_there_in_the_next_run(modal_server: ModalServer, cloud: Cloud) -> None:
    with cloud(volume_name="kept") as first:
        first.execute("open('/data/result', 'w').write('42')")
    with cloud(volume_name="kept") as second:
        assert second.execute("open('/data/result').read()") == "'42'"
    with cloud() as without:
        assert without.execute("import os\nos.path.exists('/data/result')") == "False"


@pytest.mark.timeout(300)  # on a busy machine
@pytest.mark.parametrize("size", [40 * MEGABYTE, 400 * MEGABYTE], ids=["40 MB", "400 MB"])
def test_a_large_document_arrives_whole(modal_server: ModalServer, size: int) -> None:
    transport = ModalTransport()
    try:
        transport.start(Limits(), lambda _: None)
        stored = transport.put("document", pieces(size))
        assert stored.how == ("file" if size <= document_upload.IN_MEMORY_BYTES else "copied")
        sandbox: Any = transport._sandbox
        process = sandbox.exec("sha256sum", stored.path)
        assert process.stdout.read().split()[0] == digest(size)
        assert size <= modal_server.sent_bytes() < size + 2 * MEGABYTE
    finally:
        transport.kill()
