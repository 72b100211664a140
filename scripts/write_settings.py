"""Write what is made from the table of settings: `.env.example` and the table in docs/settings.md."""

from __future__ import annotations

from pathlib import Path

from fleet_rlm.config.settings_reference import BEGIN, END, env_example, settings_table

PROJECT = Path(__file__).parents[1]


def main() -> None:
    (PROJECT / ".env.example").write_text(env_example(), encoding="utf-8")
    page = PROJECT / "docs" / "settings.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + settings_table() + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
