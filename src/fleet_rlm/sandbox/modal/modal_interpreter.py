"""`ModalInterpreter`: dspy's interpreter in Modal's cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from dspy.utils.callback import BaseCallback

from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.executor import CELL_SECONDS, CONCURRENCY, GRACE_SECONDS, OUTPUT_BYTES
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver
from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.modal.modal_client import Deadlines
from fleet_rlm.sandbox.modal.modal_transport import ModalTransport
from fleet_rlm.spec import ModalOptions

SILENCE = 75.0
"""Seconds without a word after which a sandbox is lost: longer than a cut may last."""
ANSWER = 45.0
"""Seconds until a driver that was sent must have answered."""
_DEFAULT = ModalOptions()


class ModalInterpreter(Interpreter):
    """Runs code in a sandbox of Modal's cloud: `dspy.RLM(…, interpreter_factory=ModalInterpreter)`.

    The network is blocked, and nothing of this machine's is in the sandbox: no file, no key, no environment. A secret
    of the Modal workspace is there only when `secret_names` names it. To give options to the sandboxes of an RLM:
    `interpreter_factory=ModalInterpreter.factory(volume_name="results", memory=4096)`.

    Usable as a context manager, from any thread, and inside a running event loop.
    """

    execution_instructions: ClassVar[str] = instructions(CELL_SECONDS)

    def __init__(
        self,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        output_fields: list[dict[str, Any]] | None = None,
        *,
        timeout: float = _DEFAULT.timeout,
        idle_timeout: float = _DEFAULT.idle_timeout,
        execution_timeout: float | None = CELL_SECONDS,
        app: str = _DEFAULT.app,
        image: str | None = None,
        python_version: str = _DEFAULT.python_version,
        image_packages: Sequence[str] = (),
        cpu: float | None = None,
        memory: int | None = None,
        volume_name: str | None = None,
        volume_path: str = _DEFAULT.volume_path,
        secret_names: Sequence[str] = (),
        network: bool = False,
        tags: Mapping[str, str] | None = None,
        orphan: float = _DEFAULT.orphan,
        deadlines: Deadlines | None = None,
        limits: Limits | None = None,
        grace: float = GRACE_SECONDS,
        concurrency: int = CONCURRENCY,
        output_bytes: int = OUTPUT_BYTES,
        start_timeout: float = ANSWER,
        silence: float = SILENCE,
        with_toolbox: bool = True,
        observer: SandboxObserver | None = None,
        callbacks: list[BaseCallback] | None = None,
    ) -> None:
        """Nothing is started, and `modal` is not imported yet. Its own parameters; the others are those of `Executor`:

        - timeout: longest life of the sandbox, in seconds.
        - idle_timeout: seconds after which a sandbox ends in which nothing runs.
        - app: Modal's app, made when it does not exist.
        - image: an image's id (`im-…`) or a registry's reference; None: Debian with `python_version`.
        - python_version: of the image, 3.10 or newer.
        - image_packages: from PyPI, in pip's notation; the image is built once.
        - cpu: cores; None: one reserved, four at most.
        - memory: MiB, reserved and at most; None: 1,024 reserved, 8,192 at most.
        - volume_name: a Volume (version 2) at `volume_path`, made when it does not exist.
        - volume_path: where the volume stands in the sandbox.
        - secret_names: Modal's secrets that the code may read in its environment.
        - network: let the code reach the network.
        - tags: for the sandbox, to find it at Modal.
        - orphan: seconds after which a sandbox that hears nothing of this program ends.
        - deadlines: for each step at Modal.
        """
        chosen = ModalOptions(
            app=app,
            image=image,
            python_version=python_version,
            packages=tuple(image_packages),
            cpu=cpu,
            memory_mb=memory,
            volume=volume_name,
            volume_path=volume_path,
            secrets=tuple(secret_names),
            tags=dict(tags or {}),
            network=network,
            timeout=timeout,
            idle_timeout=idle_timeout,
            orphan=orphan,
        )
        super().__init__(
            lambda: ModalTransport(chosen, deadlines=deadlines),
            tools,
            output_fields,
            execution_timeout=execution_timeout,
            orphan=orphan,
            volume=volume_path if volume_name else None,
            limits=limits,
            grace=grace,
            concurrency=concurrency,
            output_bytes=output_bytes,
            start_timeout=start_timeout,
            silence=silence,
            with_toolbox=with_toolbox,
            observer=observer,
            callbacks=callbacks,
        )

    @classmethod
    def factory(cls, **options: Any) -> Callable[[], ModalInterpreter]:
        """Return a class for `dspy.RLM(interpreter_factory=…)` with these `options` and instructions."""
        seconds = options.get("execution_timeout", CELL_SECONDS)

        volume = options.get("volume_path", _DEFAULT.volume_path) if options.get("volume_name") else None

        class Configured(cls):  # type: ignore[valid-type,misc]  # a class of one's own carries the instructions
            execution_instructions: ClassVar[str] = instructions(seconds, volume)

            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **{**options, **more})

        Configured.__name__ = Configured.__qualname__ = cls.__name__
        return Configured
