"""The image that a sandbox starts from: built once for a definition, its id kept for later starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from fleet_rlm import config
from fleet_rlm.atomic_write import whole_file
from fleet_rlm.sandbox.modal.modal_client import Deadlines, within
from fleet_rlm.sandbox.modal.modal_failures import CloudError, NotThere
from fleet_rlm.spec import ModalOptions

MOST_KEPT = 200


class Images:
    """The ids of images that were built from here, in a file. Losing it costs nothing but a look-up at Modal."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or config.state_file().with_name("modal-images.json")

    def id_of(self, key: str) -> str | None:
        return self._read().get(key)

    def keep(self, key: str, image_id: str | None) -> None:
        """Remember an image's id; None forgets it."""
        known = {name: value for name, value in self._read().items() if name != key}
        if image_id is not None:
            known[key] = image_id
        known = dict(list(known.items())[-MOST_KEPT:])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path, 0o600, replace=True) as file:
                file.write(msgspec.json.encode(known))
        except OSError:  # a folder that can't be written: the next start asks Modal again
            return

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}


def key_of(modal: ModuleType, options: ModalOptions, environ: Mapping[str, str] = os.environ) -> str:
    """Return the key of an image: its definition, and the account and server that it was built at."""
    account = [environ.get(f"MODAL_{name}", "") for name in ("SERVER_URL", "TOKEN_ID", "PROFILE", "ENVIRONMENT")]
    parts = [modal.__version__, *account, options.app, options.image, options.python_version, *sorted(options.packages)]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def define(modal: ModuleType, options: ModalOptions) -> Any:
    """Return the image as Modal's client describes it. `Any`: its type. Raises the client's errors for bad names."""
    if options.image is None:
        image = modal.Image.debian_slim(python_version=options.python_version)
    elif options.image.startswith("im-"):
        image = modal.Image.from_id(options.image)
    else:
        image = modal.Image.from_registry(options.image)
    return image.pip_install(*options.packages) if options.packages else image


def image_for(
    modal: ModuleType,
    app: Any,
    options: ModalOptions,
    deadlines: Deadlines,
    *,
    progress: Callable[[str], None],
    stopped: Callable[[], bool],
    images: Images | None = None,
) -> tuple[Any, str]:
    """Return a hydrated image, and `kept` or `built`. Raises `CloudError`."""
    kept = images or Images()
    key = key_of(modal, options)
    known = kept.id_of(key)
    if known is not None:
        progress("looking up the image")
        try:
            image = modal.Image.from_id(known)
            return within(
                modal, deadlines.look_up, "looking up the image", lambda: image.build.aio(app), stopped
            ), "kept"
        except NotThere:
            kept.keep(key, None)
    extra = f" with {', '.join(options.packages)}" if options.packages else ""
    base = options.image or f"Python {options.python_version}"
    progress(f"building the image ({base}{extra}), which happens once")
    try:
        built = within(
            modal, deadlines.build, "building the image", lambda: define(modal, options).build.aio(app), stopped
        )
    except NotThere as error:
        raise CloudError(f"there is no image {options.image}: {error}", "Name one that exists with --image.") from error
    kept.keep(key, built.object_id)
    return built, "built"
