"""Modal Volumes, version 2: documents that cross once and results that outlive a sandbox."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, BinaryIO

from fleet_rlm.sandbox.modal.modal_client import LOOK_UP, within
from fleet_rlm.sandbox.modal.modal_failures import PHRASES, CloudError, NotThere, is_passing

INPUTS = ".fleet-rlm/inputs"
"""The folder of documents in a volume, each named by the SHA-256 of its bytes."""
_ATTEMPTS = 3


def open_volume(
    modal: ModuleType,
    name: str,
    *,
    create: bool,
    seconds: float = LOOK_UP,
    stopped: Callable[[], bool] = lambda: False,
) -> Any:
    """Return a hydrated volume of version 2. `Any`: Modal's volume. Raises `CloudError`, `NotThere`."""

    def look_up() -> Any:
        return modal.Volume.from_name(name, create_if_missing=create, version=2).hydrate.aio()

    try:
        return within(modal, seconds, f"looking up the volume {name}", look_up, stopped)
    except NotThere:
        raise NotThere(
            f"{PHRASES['no volume']} {name!r} in this Modal workspace",
            f"Make it: modal volume create --version 2 {name}",
        ) from None
    except CloudError as error:
        if "version v1" not in str(error) and "VERSION_V1" not in str(error):
            raise
        raise CloudError(
            f"the volume {name!r} {PHRASES['volume of version 1']}, "
            "and documents and results are kept in volumes of version 2",
            f"Two ways out: name another one (`--volume-name {name}-v2` makes it as version 2), or, when nothing in "
            f"it is needed, delete it and make it again: modal volume delete {name} && "
            f"modal volume create --version 2 {name}",
        ) from error


async def holds(modal: ModuleType, volume: Any, name: str, size: int) -> bool:
    """Return True if a volume holds a document of this hash and size. Raises the client's errors.

    Asked again when the network breaks: the client repeats other calls by itself, but not this one.
    """
    asked = 0
    while True:
        try:
            found = await volume.listdir.aio(f"/{INPUTS}/{name}")
        except (FileNotFoundError, modal.exception.NotFoundError):
            return False
        except Exception as error:
            asked += 1
            if asked == _ATTEMPTS or not is_passing(modal, error):
                raise
        else:
            return any(PurePosixPath(one.path).name == name and one.size == size for one in found)


async def store(volume: Any, name: str, source: BinaryIO | str) -> None:
    """Put a document into a volume. Raises the client's errors."""
    async with volume.batch_upload(force=True) as batch:
        batch.put_file(source, f"/{INPUTS}/{name}")


def inside(mount: str, name: str) -> str:
    """Return the path of a document in a sandbox that mounts its volume at `mount`."""
    return posixpath.join(mount, INPUTS, name)
