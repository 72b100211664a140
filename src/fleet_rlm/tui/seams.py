"""Every private name of Textual that the app uses, behind public names. No other module may use one.

`SEAMS` lists them, each with the version of Textual that it was checked with; a test fails when one is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO, cast

from textual import _xterm_parser
from textual.app import App, ReturnType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.notifications import Notification
from textual.worker import WorkerFailed


class Seam(NamedTuple):
    """A private name of Textual."""

    owner: object
    name: str
    checked_with: str
    """The version of Textual whose source was read."""
    why: str
    """What there is no public name for."""


SEAMS = (
    Seam(App, "_exit", "8.2.8", "true once the app has been told to end"),
    Seam(App, "_driver", "8.2.8", "what writes to the terminal; None before the app runs"),
    Seam(App, "_loop", "8.2.8", "the event loop, which a signal or a thread wakes; None before the app runs"),
    Seam(App, "_notifications", "8.2.8", "the toasts that are shown"),
    Seam(App, "_unnotify", "8.2.8", "take one toast away"),
    Seam(App, "_handle_exception", "8.2.8", "called with every error that nobody caught; ends the app"),
    Seam(App, "_fatal_error", "8.2.8", "called by that one: prints a traceback with all local variables"),
    Seam(App, "_exception", "8.2.8", "the error that ends the app"),
    Seam(App, "_exit_renderables", "8.2.8", "what is printed after the app has left the terminal"),
    Seam(MessagePump, "_close_messages_no_wait", "8.2.8", "the last step of ending on an error"),
    Seam(_xterm_parser, "XTermParser", "8.2.8", "reads keys, pastes and the mouse from what a terminal sends"),
    Seam(LinuxDriver, "_file", "8.2.8", "the stream that the driver writes to"),
    Seam(LinuxDriver, "_mouse", "8.2.8", "false when the mouse is left to the terminal, also after a suspension"),
    Seam(LinuxDriver, "_mouse_pixels", "8.2.8", "true when positions of the mouse are reported in pixels"),
    Seam(LinuxDriver, "_enable_mouse_support", "8.2.8", "ask the terminal to report the mouse"),
    Seam(LinuxDriver, "_enable_mouse_pixels", "8.2.8", "ask it to report pixels"),
    Seam(LinuxDriver, "_disable_mouse_support", "8.2.8", "leave the mouse to the terminal"),
)


KeyParser = _xterm_parser.XTermParser


class OpenApp(App[ReturnType]):
    """Textual's app with two hooks and four methods that it has under private names only."""

    def lines_of_crash(self, error: BaseException) -> list[str]:
        """Return what is printed instead of a traceback when an error ends the app."""
        raise NotImplementedError

    def worker_failed(self, error: WorkerFailed) -> None:
        """Handle an error in a worker. Textual would end the app."""
        raise NotImplementedError

    @property
    def ending(self) -> bool:
        """True once the app has been told to end."""
        return self._exit

    @property
    def driver_in_use(self) -> Driver | None:
        """The driver, once the app runs."""
        return self._driver

    def call_from_outside(self, callback: Callable[..., object], *args: object) -> None:
        """Call back on the app's thread, from any other and without waiting. Raises RuntimeError when it has ended."""
        if self._loop is None:
            raise RuntimeError("the app does not run yet")
        self._loop.call_soon_threadsafe(callback, *args)

    def withdraw_toasts(self, which: Callable[[Notification], bool]) -> None:
        """Take away the toasts for which `which` is true."""
        for toast in list(self._notifications):
            if which(toast):
                self._unnotify(toast, refresh=False)

    def _handle_exception(self, error: Exception) -> None:
        if isinstance(error, WorkerFailed):
            self.worker_failed(error)
        else:
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # Textual would print a traceback with every local variable: documents, prompts, keys.
        error = self._exception
        if error is None or "debug" in self.features:
            super()._fatal_error()
            return
        from rich.text import Text

        self._exit_renderables.append(Text("\n".join(self.lines_of_crash(error))))
        self._close_messages_no_wait()


class SteadyDriver(LinuxDriver):
    """Textual's driver for terminals, whose output can be replaced and whose mouse can be turned off and on."""

    def __init__(self, *args: Any, **more: Any) -> None:  # Textual's own, as they are
        super().__init__(*args, **more)
        self._file = cast("Any", self.output_stream(self._file or sys.stderr))

    def output_stream(self, usual: TextIO) -> object:
        """Return the stream to write to, which needs `write`, `flush` and `fileno`."""
        return usual

    def use_mouse(self, on: bool) -> None:
        """Ask the terminal to report the mouse, or leave the mouse to it."""
        if not on:
            self._disable_mouse_support()
        self._mouse = on
        if on:
            self._enable_mouse_support()
            if self._mouse_pixels:  # which the modes just set have turned off
                self._enable_mouse_pixels()
