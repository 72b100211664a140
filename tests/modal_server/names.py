"""Ids and tokens as the client expects them."""

from __future__ import annotations

import base64
import json
import secrets
import time

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
"""The client takes a sandbox whose id has 22 letters for one of the older kind."""


def new_id(prefix: str) -> str:
    return f"{prefix}-{''.join(secrets.choice(_LETTERS) for _ in range(_LENGTH))}"


def new_task_id() -> str:
    """The last letter says that the task belongs to a sandbox of the newer kind."""
    return f"{new_id('ta')[:-1]}V"


def new_token(seconds: float) -> tuple[str, float]:
    """A token in the form of a JWT, from which the client reads when it expires, and that time (since 1970)."""
    expires = time.time() + seconds
    parts = ({"alg": "none"}, {"exp": expires, "nonce": secrets.token_hex(4)})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{head}.{body}.unsigned", expires
