"""A Modal of the tests' own, on loopback: the unmodified client talks to it, and sandboxes are real processes.

    python -m modal_server --port 8400            (from the folder `tests`)
    MODAL_SERVER_URL=http://127.0.0.1:8400 MODAL_TOKEN_ID=ak-any MODAL_TOKEN_SECRET=as-any fleet-rlm run …

It knows the calls that this project makes, and answers UNIMPLEMENTED to others. Each sandbox is a container of Linux
namespaces, so its /tmp and its volumes are its own. Tests start it with `ModalServer`.
"""

from __future__ import annotations

from modal_server.controller import Asked, ModalServer, NoModalServer, Seen

__all__ = ["Asked", "ModalServer", "NoModalServer", "Seen"]
