"""Themes: ours can be read, a person's are checked, every name is there whatever theme is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES, Theme

from fleet_rlm.shipped import themes_folder
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.look.themes import (
    COLORS,
    FaultyTheme,
    load_folder,
    notice,
    palette,
    parse_theme,
    semantic_defaults,
)
from tests.tui.conftest import drive, messages, settle

OURS, FAULTS = load_folder(themes_folder() or Path())
TEXT = ("foreground", "primary", "accent", "success", "error", "planner", "sandbox", "sub-llm", "operator")
SOURCES = ("planner", "sandbox", "sub-llm", "operator", "error")
GOOD = 'dark = true\n[colors]\nbackground = "#000000"\nforeground = "#ffffff"\nprimary = "#00aaff"\n'


def contrast(one: str, other: str) -> float:
    """Return the WCAG 2 contrast ratio of two `#rrggbb` colours, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    shares = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def colors(theme: Theme) -> dict[str, str]:
    return {**{name: getattr(theme, name) for name in COLORS if hasattr(theme, name)}, **theme.variables}


def test_the_project_brings_dark_light_high_contrast_and_colour_blind_safe() -> None:
    assert FAULTS == []
    assert {theme.name for theme in OURS} >= {"fleet-dark", "fleet-light", "fleet-contrast", "fleet-okabe"}
    assert {theme.dark for theme in OURS} == {True, False}


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_text_can_be_read_on_every_ground(theme: Theme) -> None:
    shades = colors(theme)
    for ground in ("background", "surface", "panel", "selection"):
        for name in TEXT:
            assert contrast(shades[name], shades[ground]) >= 4.5, (name, ground)
        assert contrast(shades["muted"], shades[ground]) >= 3, ground


def test_high_contrast_means_seven_to_one() -> None:
    theme = next(theme for theme in OURS if theme.name == "fleet-contrast")
    shades = colors(theme)
    assert min(contrast(shades[name], shades["surface"]) for name in (*TEXT, "muted")) >= 7


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_each_source_has_a_colour_of_its_own(theme: Theme) -> None:
    shades = colors(theme)
    assert len({shades[name] for name in SOURCES}) == len(SOURCES)
    assert len({shades[name] for name in ("unread", "printed", "sent")}) == 3


def test_no_red_stands_against_a_green_in_the_colour_blind_safe_theme() -> None:
    """Seen without red-green discrimination (Viénot 1999, deuteranopia), the sources are still told apart."""
    shades = colors(next(theme for theme in OURS if theme.name == "fleet-okabe"))

    def seen(color: str) -> tuple[float, float, float]:
        red, green, blue = (int(color[n : n + 2], 16) for n in (1, 3, 5))
        mixed = 0.29275 * red + 0.70725 * green
        return mixed, mixed, -0.02234 * red + 0.02234 * green + blue

    for n, one in enumerate(SOURCES):
        for other in SOURCES[n + 1 :]:
            distance = sum((a - b) ** 2 for a, b in zip(seen(shades[one]), seen(shades[other]), strict=True)) ** 0.5
            assert distance > 25, (one, other, distance)


@pytest.mark.parametrize("name", sorted(BUILTIN_THEMES))
def test_our_names_are_there_for_textual_s_own_themes(name: str) -> None:
    assert set(semantic_defaults(BUILTIN_THEMES[name])) >= {
        "planner",
        "sandbox",
        "sub-llm",
        "operator",
        "muted",
        "sent",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dark = yes", "not TOML"),
        ('dark = "yes"\n[colors]\n', "true or false"),
        ("dark = true", r"\[colors\] is missing"),
        (GOOD.replace("#00aaff", "blue"), "primary must be a colour such as"),
        (GOOD.replace('primary = "#00aaff"', ""), r"needs primary"),
        (GOOD + 'planer = "#000000"', "unknown colour: planer"),
        ("name = 1\n" + GOOD, "unknown name: name"),
    ],
)
def test_a_faulty_theme_says_what_to_change(text: str, words: str) -> None:
    with pytest.raises(FaultyTheme, match=words):
        parse_theme("mine", text)


def test_what_a_theme_leaves_out_is_derived() -> None:
    theme = parse_theme("mine", GOOD)
    assert set(theme.variables) >= {"planner", "sub-llm", "muted", "selection"}


def test_all_faulty_files_make_one_notice(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "torn.toml").write_text("dark =")
    (tmp_path / "huge.toml").write_text("#" * 70_000)
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    (tmp_path / "Bad Name.toml").write_text(GOOD)
    themes, faults = load_folder(tmp_path)
    assert [theme.name for theme in themes] == ["good"]
    words = notice(faults)
    assert words.startswith("4 themes could not be used:")
    assert all(name in words for name in ("torn.toml", "huge.toml", "latin.toml", "Bad Name.toml"))


def test_the_person_s_theme_is_used_and_their_faulty_ones_are_told_once(
    home: Path, make_app: Callable[..., FleetApp]
) -> None:
    (home / "themes").mkdir(parents=True)
    (home / "themes" / "mine.toml").write_text(GOOD)
    (home / "themes" / "torn.toml").write_text("dark =")
    app = make_app("mine")

    async def scenario(pilot) -> None:
        assert palette(app).primary.lower() == "#00aaff"
        await settle(pilot, lambda: "fleet-okabe" in app.available_themes and messages(app))
        assert [text for text in messages(app) if "torn.toml" in text] == messages(app)

    drive(app, scenario)


def test_a_theme_that_is_not_there_leaves_the_house_s_own_and_says_so(make_app: Callable[..., FleetApp]) -> None:
    app = make_app("nowhere")

    async def scenario(pilot) -> None:
        await settle(pilot, lambda: messages(app))
        assert "nowhere: there is no such theme" in messages(app)[0]
        assert app.theme == "fleet-dark"

    drive(app, scenario)


def test_every_theme_can_be_worn_and_is_remembered(make_app: Callable[..., FleetApp]) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await settle(pilot, lambda: "fleet-light" in app.available_themes)
        for name in ("nord", "ansi-dark", "textual-light", "fleet-light"):
            app.theme = name
            await pilot.pause()
            assert palette(app).muted
            assert app.memory.get("theme", str, "") == name

    drive(app, scenario)
