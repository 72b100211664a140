"""Help is there at once: it loads no engine and no screen."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

import fleet_rlm
from cli.shell import Shell
from fleet_rlm.cli.entry import COMMANDS, app
from fleet_rlm.cli.plain_help import first_paragraph

OWN = {"fleet_rlm", *(f"fleet_rlm.{name}" for name in ("cli", "log_text", "standard_streams", "terminal_text"))}
OWN |= {"fleet_rlm.cli.entry", "fleet_rlm.cli.plain_help"}
DRAWING = ("rich", "pydantic", "markdown_it", "pygments")
HEAVY = ("dspy", "litellm", "modal", "textual", "numpy", "openai", "fleet_rlm.engine", "fleet_rlm.tui")
TRACE = """
import json, sys
from fleet_rlm.cli.entry import main
sys.argv = ["fleet-rlm", *{arguments!r}]
try:
    main()
except SystemExit as left:
    code = left.code
print("\\n" + json.dumps([code or 0, list(sys.modules)]))
"""


def loaded(fleet: Shell, *arguments: str) -> set[str]:
    """What a command imports, all in all."""
    code = TRACE.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=fleet.folder,
        env=fleet.environment,
        check=True,
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    return set(modules)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_first_page_of_help_loads_no_command(fleet: Shell, option: str) -> None:
    modules = loaded(fleet, option)
    assert {name for name in modules if name.startswith("fleet_rlm")} == OWN
    assert not modules & {*HEAVY, *DRAWING, "msgspec"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_to_draw_with_and_begins_as_the_list_says(fleet: Shell, command: str) -> None:
    assert not loaded(fleet, command, "--help") & {*HEAVY, *DRAWING}
    made = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined] # a group has commands
    assert first_paragraph(made.help) == COMMANDS[command][1]


def test_help_fits_the_terminal_and_is_plain_text_in_a_pipe(fleet: Shell) -> None:
    for columns in (50, 80, 200):
        fleet.variables["COLUMNS"] = str(columns)
        for arguments in ((), ("run",), ("runs", "list"), ("corpus", "make")):
            lines = fleet.inside(*arguments, "--help").stdout.splitlines()
            frames = {len(line) for line in lines if line[:1] in "╭│╰" and line}
            assert frames == {columns}, arguments
            assert all(len(line) <= columns and "\x1b" not in line for line in lines)


def test_help_says_every_word_of_an_option_at_any_width(fleet: Shell) -> None:
    fleet.variables["COLUMNS"] = "60"
    said = " ".join(fleet.inside("run", "--help").stdout.replace("│", " ").split())
    assert "(JSON unless text)." in said
    assert "process of this machine, Modal's cloud, or Modal where it is configured, else local (local)." in said
    assert "Cut nothing in what is shown, and add the whole trajectory." in said
    assert "--no-" not in said, "no flag has an opposite"


def test_an_output_of_ascii_gets_a_frame_of_ascii(fleet: Shell) -> None:
    fleet.variables["PYTHONIOENCODING"] = "ascii"
    said = fleet("--help").stdout
    assert said.isascii()
    assert "+- Options ---" in said
    assert "| run " in said


@pytest.mark.parametrize("wanted", ["", "1"])
def test_a_terminal_sees_colours_unless_the_person_wants_none(fleet: Shell, wanted: str) -> None:
    fleet.variables["NO_COLOR"] = wanted
    seen, _ = fleet.on_a_terminal("--help")
    assert ("\x1b[1;36mcorpus" in seen) is (not wanted)
    assert "╭" in seen


def test_no_words_at_all_are_wrong_usage_answered_with_help(fleet: Shell) -> None:
    done = fleet.inside()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["--help"],
            ["--version"],
            ["run", "--help"],
            ["run-api-endpoints", "--help"],
            ["tasks", "show", "ask"],
            ["config", "show"],
            ["runs", "list"],
            ["runs", "show", "--help"],
            ["runs", "schema"],
            ["runs", "list", "--help"],
            ["check-secret", "--help"],
            ["check-secret-key", "--help"],
            ["doctor", "--help"],
        ),
    ],
    ids=" ".join,
)
def test_only_a_run_loads_the_engine(fleet: Shell, arguments: list[str]) -> None:
    assert not loaded(fleet, *arguments) & set(HEAVY)


def test_help_names_every_command(fleet: Shell) -> None:
    said = fleet.inside("--help").stdout + fleet.inside("runs", "-h").stdout
    assert all(command in said for command in ("run", "runs", "list", "show", "verify", "path", "schema"))


def test_version(fleet: Shell) -> None:
    assert fleet("--version").stdout == f"fleet-rlm {fleet_rlm.__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["run", "--max-iterations", "0"], []])
def test_wrong_usage_is_status_2_with_a_word_of_help(fleet: Shell, arguments: list[str]) -> None:
    done = fleet.inside(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_loads_nothing(fleet: Shell) -> None:
    code = (
        "import sys, fleet_rlm; before = set(sys.modules); print([m for m in sys.modules if m.startswith('fleet_rlm')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=fleet.folder)
    assert done.stdout.strip() == "['fleet_rlm']"


def test_every_public_name_can_be_had() -> None:
    for name in fleet_rlm.__all__:
        assert getattr(fleet_rlm, name) is not None
    assert set(fleet_rlm.__all__) <= set(dir(fleet_rlm))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = fleet_rlm.nothing_like_it
