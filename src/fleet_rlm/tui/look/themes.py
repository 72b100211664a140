"""Themes: colours by meaning, read from TOML files, checked, and handed to Textual.

Besides Textual's own names (`$background $surface $panel $foreground $primary $secondary $accent $success $warning
$error`) every theme defines these, for stylesheets as CSS variables and for `render_line` code through `palette(app)`:

========================  =====================================================================================
`$planner`                blue: what the planner thinks, writes and costs
`$sandbox`                green: what the sandbox executes and prints
`$sub-llm`                violet: sub-LLM calls, prompts and answers
`$operator`               amber: what the person did, and where the run waits for them
`$muted`                  secondary text: figures, hints, column heads (contrast of at least 3 on every ground)
`$panel-border`           the thin frame of a pane that is not focused; the focused one is `$primary`
`$selection`              ground of the selected row, iteration or line
`$unread` `$printed` `$sent`   document coverage: never looked at, printed, sent to a sub-LLM
========================  =====================================================================================

Status colours: `$success` submitted, `$accent` running or waiting, `$sub-llm` extracted, `$muted` stopped,
`$error` failed.

The class `pane` (see `styles/app.tcss`) draws the frame: add it to any focusable widget or container.
Files: the project's `themes/*.toml` (in a wheel `fleet_rlm/_themes`) and the person's own folder; `themes/README.md`
documents them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from textual.theme import Theme

if TYPE_CHECKING:
    from textual.app import App

DEFAULT_THEME = "fleet-dark"

REQUIRED = ("background", "foreground", "primary")

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MAX_FILE_BYTES = 64 * 1024


class FaultyTheme(ValueError):
    """A theme file that cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of the theme in use, as `#rrggbb`, for code that makes its own strips."""

    background: str
    surface: str
    panel: str
    foreground: str
    primary: str
    secondary: str
    accent: str
    success: str
    warning: str
    error: str
    planner: str
    sandbox: str
    sub_llm: str
    operator: str
    muted: str
    panel_border: str
    selection: str
    unread: str
    printed: str
    sent: str


COLORS = tuple(field.name.replace("_", "-") for field in fields(Palette))
"""Every name that a theme's `[colors]` table may (and our own must) set."""
_TEXTUAL, _SEMANTIC = COLORS[:10], COLORS[10:]
"""The names that Textual's own themes set, and ours."""


def palette(app: App[object]) -> Palette:
    """Return the colours of the app's present theme. Cheap; ask again when `App.theme_changed_signal` fires."""
    variables = app.theme_variables
    fallback = variables["foreground"]
    return Palette(*(variables.get(name, fallback) for name in COLORS))


def semantic_defaults(theme: Theme) -> dict[str, str]:
    """Return our names' colours for a theme that does not define them, such as one of Textual's own."""
    if set(_SEMANTIC) <= theme.variables.keys():
        return {}
    generated = theme.to_color_system().generate()
    foreground, background = generated["foreground"], generated["background"]
    primary = generated["primary"]
    colors = {
        "planner": primary,
        "sandbox": generated["success"],
        "sub-llm": generated["secondary"],
        "operator": generated["warning"],
        "muted": _mix(foreground, background, 0.45),
        "panel-border": _mix(foreground, background, 0.78),
        "selection": _mix(primary, background, 0.75),
        "unread": _mix(foreground, background, 0.7),
        "printed": generated["success"],
        "sent": generated["secondary"],
    }
    return {**colors, **{name: value for name, value in theme.variables.items() if name in _SEMANTIC}}


def parse_theme(name: str, text: str) -> Theme:
    """Return the theme in a file's text. Raises `FaultyTheme`."""
    if not _NAME.fullmatch(name):
        raise FaultyTheme("the file name must be lower-case letters, digits and hyphens")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultyTheme(f"not TOML: {error}") from error
    unknown = sorted(set(content) - {"dark", "colors"})
    if unknown:
        raise FaultyTheme(f"unknown name: {unknown[0]} (known: dark, [colors])")
    dark, colors = content.get("dark", True), content.get("colors")
    if not isinstance(dark, bool):
        raise FaultyTheme("dark must be true or false")
    if not isinstance(colors, dict):
        raise FaultyTheme("the table [colors] is missing")
    return _build(name, dark, _checked(colors))


def _checked(colors: Mapping[str, object]) -> dict[str, str]:
    for missing in (name for name in REQUIRED if name not in colors):
        raise FaultyTheme(f"[colors] needs {missing}")
    checked: dict[str, str] = {}
    for name, value in colors.items():
        if name not in COLORS:
            raise FaultyTheme(f"unknown colour: {name}")
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            raise FaultyTheme(f"{name} must be a colour such as #7aa2f7")
        checked[name] = value.lower()
    return checked


def _build(name: str, dark: bool, colors: dict[str, str]) -> Theme:
    base = {key: value for key, value in colors.items() if key in _TEXTUAL}
    theme = Theme(name=name, dark=dark, **base)  # type: ignore[arg-type]  # keys are Theme's own, checked above
    semantic = {**semantic_defaults(theme), **{key: value for key, value in colors.items() if key in _SEMANTIC}}
    generated = theme.to_color_system().generate()
    ground, primary = generated["background"], generated["primary"]
    theme.variables = {
        **semantic,
        "border": primary,
        "border-blurred": semantic["panel-border"],
        "block-cursor-background": semantic["selection"],
        "block-cursor-foreground": generated["foreground"],
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": semantic["selection"],
        "block-cursor-blurred-foreground": generated["foreground"],
        "block-hover-background": generated["panel"],
        "foreground-muted": semantic["muted"],
        "footer-background": ground,
        "footer-foreground": generated["foreground"],
        "footer-key-foreground": primary,
        "footer-description-foreground": semantic["muted"],
        "input-cursor-background": generated["foreground"],
        "input-cursor-foreground": ground,
        "input-selection-background": f"{primary} 35%",
        "scrollbar": semantic["panel-border"],
        "scrollbar-hover": semantic["muted"],
        "scrollbar-active": primary,
        "scrollbar-background": generated["surface"],
        "scrollbar-background-hover": generated["surface"],
        "scrollbar-background-active": generated["surface"],
        "scrollbar-corner-color": generated["surface"],
        "link-color": primary,
    }
    return theme


def load_folder(folder: Path) -> tuple[list[Theme], list[str]]:
    """Return a folder's themes, and one line for every faulty file. A missing folder has none."""
    themes: list[Theme] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
        try:
            themes.append(load_theme(path))
        except FaultyTheme as fault:
            faults.append(f"{path.name}: {fault}")
    return themes, faults


def load_theme(path: Path) -> Theme:
    """Return the theme in a file, named after it. Raises `FaultyTheme`, also when it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FaultyTheme(f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise FaultyTheme("larger than 64 KiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise FaultyTheme("not UTF-8") from error
    return parse_theme(path.stem, text)


def notice(faults: Iterable[str]) -> str:
    """Return one message for all faulty files, empty when there is none."""
    lines = list(faults)
    if not lines:
        return ""
    head = "1 theme could not be used:" if len(lines) == 1 else f"{len(lines)} themes could not be used:"
    return "\n".join((head, *lines))


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _mix(one: str, other: str, share: float) -> str:
    """Mix `share` of the second colour into the first, which stays as it is where either is no hex (ANSI themes)."""
    if not (_HEX.match(one) and _HEX.match(other)):
        return one
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_rgb(one), _rgb(other), strict=True))
