"""Standard input, output and error as the programs of this package need them, whatever the caller made of them."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def open_closed() -> None:
    """Open what the caller closed (`>&-`) on nothing: else the next file would take its place and its number."""
    for name, mode, descriptor in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def run(program: Callable[[], T]) -> T:
    """Run a program, and end it in words where its standard output can't be written; quietly where nobody reads it."""
    open_closed()
    try:
        try:
            return program()
        finally:
            sys.stdout.flush()
    except OSError as error:
        try:
            os.write(1, b"\n")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        else:  # it was another file
            raise
        if error.errno != errno.EPIPE:
            sys.stderr.write(f"Error: standard output can't be written: {error.strerror}.\n")
        raise SystemExit(1) from error


def readable(text: str) -> str:
    """Words from the command line, in which bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(text).decode("utf-8", "replace")
