"""The errors of Modal's client in words, with what to do."""

from __future__ import annotations

import errno
import re
from types import ModuleType

from fleet_rlm.config.modal_login import TOKEN_HINT
from fleet_rlm.sandbox.host.transport import TransportError

_STATUS = "Try again in a while; Modal's own state stands at its status page. `--sandbox local` works without it."
_REACH = (
    "Check the network and any proxy (MODAL_SERVER_URL names another server than Modal's own); "
    "`fleet-rlm doctor` tries it, and `--sandbox local` works without it."
)

PHRASES = {
    "no token": "Modal has no token here",
    "token refused": "Modal refused the token",
    "token expired": "the Modal token has expired",
    "image": "the image could not be built",
    "limit": "a limit of the Modal workspace is reached",
    "no secret": "there is no secret named",
    "no volume": "there is no volume named",
    "volume of version 1": "is of version 1",
    "not there": "Modal does not have it",
    "unreachable": "Modal can't be reached",
    "no answer": "Modal did not answer within",
    "slow": "Modal took too long",
}
"""A phrase in the message of each failure; the hook `modal-error` recognises the same phrases."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


class CloudError(TransportError):
    """Modal refused something, failed at it, or can't be reached."""


class CloudTimeout(CloudError):
    """Modal did not answer within this program's own deadline."""


class NotThere(CloudError):
    """A secret, volume, file or image that does not exist."""


def too_late(doing: str, seconds: float) -> CloudTimeout:
    """The error for a call that did not return in time."""
    return CloudTimeout(f"{PHRASES['no answer']} {seconds:g} s ({doing})", _REACH)


def cloud_error(modal: ModuleType, error: BaseException, doing: str) -> CloudError:
    """Return an error of the client's, raised while `doing` (`looking up the app fleet-rlm`), as one of ours."""
    if isinstance(error, CloudError):
        return error
    said = words_of(error)
    kinds = modal.exception
    if isinstance(error, kinds.AuthError):
        return _refused(said, doing)
    if isinstance(error, kinds.PermissionDeniedError):
        return CloudError(
            f"Modal does not permit it ({doing}): {said}", "Use a token of a workspace member who may do it."
        )
    if isinstance(error, kinds.ImageBuildError):
        hint = "Check the names and versions after --image-package; Modal's page of the app shows the whole log."
        return CloudError(f"{PHRASES['image']}: {said}", hint)
    if isinstance(error, kinds.ResourceExhaustedError):
        hint = "Wait, end other sandboxes (`modal container list`), or raise the limit in Modal's settings."
        return CloudError(f"{PHRASES['limit']} ({doing}): {said}", hint)
    if isinstance(error, kinds.NotFoundError):
        return NotThere(f"{PHRASES['not there']} ({doing}): {said}", "")
    if isinstance(error, kinds.VersionError):
        hint = "Upgrade it: pip install --upgrade modal"
        return CloudError(f"Modal no longer takes this version of its client: {said}", hint)
    if isinstance(error, kinds.RemoteError):
        return CloudError(f"it failed at Modal ({doing}): {said}", _STATUS)
    if isinstance(error, kinds.InvalidError):
        return CloudError(f"Modal's client refuses it ({doing}): {said}", "Change the option that it names.")
    if isinstance(error, FileNotFoundError):
        return NotThere(f"it is not there ({doing}): {said}")
    if isinstance(error, FileExistsError | PermissionError | IsADirectoryError | NotADirectoryError):
        return CloudError(f"{doing} failed: {said}")
    if isinstance(error, kinds.TimeoutError | TimeoutError):
        return CloudTimeout(f"{PHRASES['slow']} ({doing}): {said}", _STATUS)
    if isinstance(error, OSError) and error.errno in _DISK:
        return CloudError(f"this machine's disk failed ({doing}): {said}", "Make room on it, or choose another folder.")
    if isinstance(error, kinds.ConnectionError | OSError | EOFError) or _was_cut(error):
        return CloudError(f"{PHRASES['unreachable']} ({doing}): {said}", _REACH)
    if isinstance(error, kinds.InternalError | kinds.ServiceError | kinds.DataLossError | kinds.UnimplementedError):
        return CloudError(f"Modal failed ({doing}): {said}", _STATUS)
    return CloudError(f"{doing} failed: {said}", "`fleet-rlm doctor` checks everything that Modal needs.")


def is_passing(modal: ModuleType, error: BaseException) -> bool:
    """Return True if the same call may go through later: the network is to blame, or a server that restarts."""
    kinds = modal.exception
    if isinstance(error, kinds.ConnectionError | kinds.ServiceError | kinds.InternalError):
        return True
    if isinstance(error, kinds.TimeoutError):
        return False
    return isinstance(error, OSError | EOFError) or _was_cut(error)


def _was_cut(error: BaseException) -> bool:
    """Return True if a stream broke: of streamed answers the client passes on its gRPC library's errors."""
    from grpclib.exceptions import StreamTerminatedError  # the client, which raised the error, has imported it

    return isinstance(error, StreamTerminatedError)


def words_of(error: BaseException, limit: int = 500) -> str:
    """Return an error's own words on one line, without the client's decoration."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]}…"


def _refused(said: str, doing: str) -> CloudError:
    if "expired" in said.lower():
        return CloudError(f"{PHRASES['token expired']} ({doing}): {said}", TOKEN_HINT)
    if "missing" in said.lower():
        return CloudError(f"{PHRASES['no token']}: {said}", TOKEN_HINT)
    return CloudError(f"{PHRASES['token refused']} ({doing}): {said}", TOKEN_HINT)
