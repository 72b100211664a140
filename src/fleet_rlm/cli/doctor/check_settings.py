"""Where settings were looked for, which were found, and what is wrong with them. Values stay hidden."""

from __future__ import annotations

from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.config import Settings

HIDDEN = "•••"


def look(settings: Settings) -> list[Finding]:
    """`.env` files, config.toml, and all their problems."""
    found = [*_env(settings), _file(settings)]
    found += [
        Finding("settings", "missing", problem.message, problem.hint, needed=problem.stops, configured=True)
        for problem in settings.problems
    ]
    return found


def _env(settings: Settings) -> list[Finding]:
    if not settings.env_files:
        looked = ", ".join(map(str, settings.env_searched))
        return [
            Finding(".env", "note", f"none (looked for {looked})", "Not needed; .env.example shows what can be set.")
        ]
    found = []
    for path in settings.env_files:
        names = [name for name, source in settings.sources.items() if source == str(path) and name not in settings.real]
        says = ", ".join(f"{name}={HIDDEN}" for name in names) or "nothing that the environment does not say already"
        found.append(Finding(".env", "ok", f"{path}: {says}"))
    return found


def _file(settings: Settings) -> Finding:
    said = [f"{section}.{name}" for section, values in settings.table.items() for name in values]
    if said:
        return Finding("config.toml", "ok", f"{settings.file}: {', '.join(said)}")
    words = f"{settings.file} says nothing that is used" if settings.file.exists() else f"none ({settings.file})"
    return Finding("config.toml", "note", words)
