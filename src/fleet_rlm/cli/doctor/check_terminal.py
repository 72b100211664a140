"""What this terminal can show: size, colours, characters, and whether copying reaches the clipboard."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping

from fleet_rlm.cli.doctor.finding import Finding

COLUMNS, LINES = 80, 24
"""What the screens are made for at least."""
_OSC52_PROGRAMS = ("iTerm.app", "WezTerm", "ghostty", "vscode", "rio", "Hyper", "contour")
_OSC52_TERMS = ("xterm-kitty", "alacritty", "foot", "xterm-ghostty", "wezterm", "contour", "rio")
_COPIERS = ("wl-copy", "xclip", "xsel", "pbcopy")


def look(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """By what the environment says; nothing is asked of the terminal itself."""
    if not any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr, sys.stdin)):
        return [Finding("terminal", "note", "none here: the screens of fleet-rlm-tui need one", needed=False)]
    return [_size(), _colours(environment), _characters(), _clipboard(environment)]


def _size() -> Finding:
    columns, lines = _measured()
    words = f"{columns} columns, {lines} lines"
    if columns >= COLUMNS and lines >= LINES:
        return Finding("terminal size", "ok", words, needed=False)
    return Finding("terminal size", "note", words, f"The screens are made for {COLUMNS} by {LINES} or more.")


def _measured() -> tuple[int, int]:
    """Of whichever stream is the terminal: another may lead into a pipe."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(stream.fileno())
    return shutil.get_terminal_size()


def _colours(environment: Mapping[str, str]) -> Finding:
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR"):
        return Finding("colours", "note", "none: NO_COLOR is set", "Unset it for colours.")
    if term in ("", "dumb"):
        return Finding("colours", "note", f"none: TERM is {term or 'not set'}", "Set TERM=xterm-256color.")
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return Finding("colours", "ok", f"16 million ({term})")
    if "256color" in term:
        hint = "If this terminal knows more: COLORTERM=truecolor"
        return Finding("colours", "ok", f"256 ({term})", hint)
    return Finding("colours", "note", f"16 ({term})", "Set TERM=xterm-256color, if this terminal is one.")


def _characters() -> Finding:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding == "utf8":
        return Finding("characters", "ok", "UTF-8")
    hint = "Set LANG=C.UTF-8, or another locale that ends in UTF-8."
    return Finding("characters", "note", f"{sys.stdout.encoding}: marks and frames will be missing", hint)


def _clipboard(environment: Mapping[str, str]) -> Finding:
    """Copying is done by OSC 52, which some terminals ignore and none confirms."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    tools = [tool for tool in _COPIERS if shutil.which(tool)]
    beside = f"; {', '.join(tools)} is installed" if tools else ""
    if environment.get("TMUX"):
        hint = "In tmux: set -g set-clipboard on (and the terminal around it must know OSC 52)."
        return Finding("clipboard", "note", f"through tmux, by OSC 52{beside}", hint)
    if term.startswith("screen"):
        return Finding("clipboard", "note", f"screen passes no OSC 52 on{beside}", "Use tmux, or copy with the mouse.")
    if program == "Apple_Terminal":
        return Finding("clipboard", "note", f"Apple's Terminal ignores OSC 52{beside}", "Copy with the mouse.")
    known = program in _OSC52_PROGRAMS or term.startswith(_OSC52_TERMS)
    if known or any(environment.get(name) for name in ("KITTY_WINDOW_ID", "WT_SESSION", "WEZTERM_PANE")):
        return Finding("clipboard", "ok", f"by OSC 52, which {program or term or 'this terminal'} knows{beside}")
    words = f"by OSC 52, if {program or term or 'this terminal'} knows it{beside}"
    return Finding("clipboard", "note", words, "Else copy with the mouse.")
