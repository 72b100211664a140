"""The texts that are made from the table of settings: `.env.example`, and the table in docs/settings.md."""

from __future__ import annotations

import textwrap
from typing import Final

from fleet_rlm.config.settings_table import GROUPS, SETTINGS, Setting

BEGIN: Final = "<!-- settings: written by scripts/write_settings.py -->"
END: Final = "<!-- end of settings -->"
_WIDTH = 116
_HEAD = """\
# Copy to .env (beside pyproject.toml, or in the folder that you start from) and fill in what you use.
# What options, the real environment and config.toml say wins over this file. Nothing here is needed to try fleet-rlm:
# without a model it uses the built-in one, which works offline and is always shown as OFFLINE.
# The file must be yours, and writable by nobody else; it never redirects a key that is set elsewhere. Proxies,
# FLEET_RLM_ISOLATION, FLEET_RLM_HOME and Modal's server are read from the real environment only.
"""


def env_example() -> str:
    """`.env.example`: every variable that a `.env` may set, with its help and an example."""
    parts = [_HEAD]
    for group in GROUPS:
        settings = [one for one in SETTINGS if one.group == group and one.env_file and one.variables]
        if not settings:
            continue
        parts.append(f"# --- {group} ---\n")
        for setting in settings:
            also = f" {' and '.join(setting.variables[1:])} is read too." if setting.variables[1:] else ""
            words = f"{_help(setting)}{also}"
            lines = textwrap.wrap(words, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            parts.append("\n".join([*lines, f"#{setting.variables[0]}={setting.example}"]) + "\n")
    return "\n".join(parts)


def settings_table() -> str:
    """The table of all settings, in Markdown."""
    lines = [BEGIN]
    for group in GROUPS:
        lines += ["", f"### {group}", "", "| setting | option | variable | takes | default |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for one in (one for one in SETTINGS if one.group == group):
            name = f"`{one.key}`" if one.in_file else ""
            options = " ".join(f"`{option}`" for option in one.options)
            variables = " ".join(f"`{variable}`" for variable in one.variables)
            variables += "" if one.env_file else " (not in `.env`)"
            takes = "" if one.kind in ("text", "secret") else f" ({one.takes})"
            lines.append(f"| {name} | {options} | {variables} | {one.help}{takes} | {one.default} |".replace("  ", " "))
    return "\n".join([*lines, "", END])


def _help(setting: Setting) -> str:
    """The help without what concerns only the option."""
    words = setting.help.partition("; an option names")[0].rstrip(".")
    usual = f" (default: {setting.default})" if setting.default else ""
    return f"{words}{usual}."
