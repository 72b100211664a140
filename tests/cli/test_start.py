"""Help is there at once: it loads no engine and no screen."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import fleet_rlm
from cli.shell import Shell

HEAVY = ("dspy", "litellm", "modal", "textual", "numpy", "openai", "fleet_rlm.engine", "fleet_rlm.tui")
TRACE = """
import json, sys
from fleet_rlm.cli.main import main
sys.argv = ["fleet-rlm", *{arguments!r}]
try:
    main()
except SystemExit as left:
    code = left.code
print("\\n" + json.dumps([code or 0, [name for name in {heavy!r} if name in sys.modules]]))
"""


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
    code = TRACE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=fleet.folder,
        env=fleet.environment,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


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
