"""What the report claims holds: every attack, in every mode that this machine offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_rlm.sandbox.local import DEFAULT_ORDER
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher

from .attacks import files, kernel, network, processes
from .harness import Battle, fight, not_offered

pytestmark = pytest.mark.isolation

Attack = Callable[[object], object]
MODULES = [files, network, processes, kernel]
CLAIMED_BY: dict[Attack, str] = {
    attack: claim for module in MODULES for claim, attacks in module.ATTACKS.items() for attack in attacks
}
HARMLESS: list[Attack] = [attack for module in MODULES for attack in module.HARMLESS]

_ANY = {"no environment variables of yours", "no set-user-id programs", "no core dumps", "in every mode"}
_FILTERED = _ANY | {
    "no TCP connections",
    "no UDP packets",
    "no abstract sockets of this machine",
    "no socket files of this machine",
    "no sockets to the hypervisor",
    "dangerous system calls are refused",
}
_LANDLOCKED = _FILTERED | {
    "files outside cannot be read",
    "files outside cannot be written",
    "modes and dates of files outside cannot be changed",
}
_OWN_ROOT = _LANDLOCKED | {
    "names and sizes of files outside are hidden",
    "other processes are hidden",
    "no signals to other processes",
}
CLAIMS = {
    "namespaces": _OWN_ROOT,
    "bubblewrap": _OWN_ROOT,
    "landlock": _LANDLOCKED,
    "limits+seccomp": _FILTERED,
    "limits": _ANY,
}
"""The least that each mode claims. Newer kernels let it claim more."""
WORDS = {
    "namespaces": "no network, no files of yours, ",
    "bubblewrap": "no network, no files of yours, ",
    "landlock": "isolated; file names and sizes may be visible",
    "limits+seccomp": "no network; your files are NOT protected",
    "limits": "NOT isolated: limits only",
}
FORKED = " by a fork of the clean launcher"
STARTS = [mode + how for mode in DEFAULT_ORDER for how in ("", FORKED)]
"""Each mode, in a sandbox that is started anew and in one that is forked."""
_battles: dict[str, Battle] = {}


def battle_in(start: str, parent: Path) -> Battle:
    """All attacks in one mode, fought once for all the tests here."""
    mode = start.removesuffix(FORKED)
    if reason := not_offered(mode, parent):
        pytest.skip(reason)
    if start not in _battles:
        folder = parent / f"outside-{start}".replace(" ", "-")
        folder.mkdir()
        clean = CleanLauncher(("json",)) if start.endswith(FORKED) else None
        _battles[start] = fight(mode, MODULES, folder, clean)
        if clean:
            assert clean.process.poll() is None, "it was forked, and no attack reached it"
            clean.close()
    return _battles[start]


def got_through(battle: Battle, attack: Attack) -> object:
    result = battle.results[attack.__name__]
    assert "died" not in result, result
    return result.get("got")


@pytest.mark.parametrize("start", STARTS)
def test_every_mode_claims_what_it_is_for(start: str, parent: Path) -> None:
    battle, mode = battle_in(start, parent), start.removesuffix(FORKED)
    assert battle.proven >= CLAIMS[mode]
    assert battle.report.mode == mode
    assert battle.report.words.startswith(WORDS[mode])


@pytest.mark.parametrize(
    ("start", "attack"),
    [
        (start, attack)
        for start in STARTS
        for attack, claim in CLAIMED_BY.items()
        if claim in CLAIMS[start.removesuffix(FORKED)]
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_attack_is_stopped(start: str, attack: Attack, parent: Path) -> None:
    assert got_through(battle_in(start, parent), attack) is None


@pytest.mark.parametrize("start", STARTS)
def test_what_is_claimed_beyond_that_holds_too(start: str, parent: Path) -> None:
    battle = battle_in(start, parent)
    claimed = [attack for attack, claim in CLAIMED_BY.items() if claim in battle.proven]
    assert [attack.__name__ for attack in claimed if got_through(battle, attack)] == []


@pytest.mark.parametrize("start", STARTS)
def test_what_only_the_outside_can_see_holds(start: str, parent: Path) -> None:
    battle = battle_in(start, parent)
    assert battle.datagrams == []
    assert not battle.key_changed
    assert battle.bystander_lives


@pytest.mark.parametrize("attack", HARMLESS, ids=lambda attack: attack.__name__)
def test_the_attack_works_where_nothing_protects(attack: Attack, parent: Path) -> None:
    battle = battle_in("limits", parent)
    assert CLAIMED_BY[attack] not in battle.proven
    assert got_through(battle, attack)


@pytest.mark.parametrize("start", STARTS)
def test_what_gets_through_was_announced(start: str, parent: Path) -> None:
    battle = battle_in(start, parent)
    through = [attack for attack in HARMLESS if got_through(battle, attack)]
    assert {CLAIMED_BY[attack] for attack in through}.isdisjoint(battle.proven)
    assert bool(battle.report.not_protected) >= bool(through)
