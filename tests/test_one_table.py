"""A setting is declared once: adding one to the table is enough for it to be everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ADDED = """
import importlib.util, sys
import fleet_rlm
spec = importlib.util.find_spec("fleet_rlm")
where = spec.submodule_search_locations[0] + "/config/settings_table.py"
made = importlib.util.spec_from_file_location("fleet_rlm.config.settings_table", where)
table = importlib.util.module_from_spec(made)
sys.modules["fleet_rlm.config.settings_table"] = table   # before the package that reads it
made.loader.exec_module(table)
fake = table.Setting(key="model.glow", group=table.TUNING, help="How much it glows.", kind="number", low=0, high=9,
                     variables=("FLEET_RLM_GLOW",), options=("--glow",), default="none", example="4", label="glow")
table.SETTINGS += (fake,)
table.BY_KEY[fake.key] = fake
"""
LOOK = """
import asyncio, json, os
from pathlib import Path
from typer.testing import CliRunner
from fleet_rlm import config
from fleet_rlm.cli.entry import app
from fleet_rlm.config import settings_reference as reference
from fleet_rlm.run_settings import complete
from fleet_rlm.spec import Budgets, RunSpec
from fleet_rlm.tui.command_line import app as screen
from fleet_rlm.tui.command_line import first_to_open, parse
from fleet_rlm.tui.screens.new_run.draft import FURTHER, Draft, command_line, draft_of, spec_of

def cli(*words, of=app):
    return CliRunner().invoke(of, words).stdout

def seen(**environ):
    value = config.load(".", environ).value("model.glow")
    return value and [value.text, value.where]

Path("a.txt").write_text("text")
found = {"run": cli("run", "--help"), "run-basic": cli("run-basic", "--help"), "screen": cli("--help", of=screen)}
found["show"] = [one for one in json.loads(cli("config", "show", "--glow", "3", "--json"))["settings"]
                 if one["name"] == "model.glow"]
found["example"], found["docs"] = reference.env_example(), reference.settings_table()
found["form"] = [one.label for one in FURTHER]
found["environment"] = seen(FLEET_RLM_GLOW="1")
Path(os.environ["FLEET_RLM_HOME"]).mkdir()
file = Path(os.environ["FLEET_RLM_HOME"], "config.toml")
file.write_text("[model]\\nglow = 2\\n")
found["file"] = seen()
file.write_text("[model]\\nglow = 99\\n")
found["wrong"] = [str(one) for one in config.load(".", {}).problems]
file.unlink()
Path(".env").write_text("FLEET_RLM_GLOW=3\\n")
found[".env"] = seen()
Path(".env").unlink()
settings = config.load(".", {}, {"model.glow": 5.0})
found["spec"] = complete(RunSpec(), settings, Budgets()).settings
found["screen's spec"] = first_to_open(parse(["--docs", "a.txt", "--question", "Why?", "--glow", "6"]))[1].settings
draft = Draft(documents="a.txt", question="Why?", settings={"model.glow": "7"})
found["typed"], found["command"] = spec_of(draft, ".").settings, command_line(draft)
found["again"] = draft_of(spec_of(draft, ".")).settings
print(json.dumps(found))
"""


def test_a_setting_that_is_added_to_the_table_is_everywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADDED + LOOK],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "FLEET_RLM_HOME": str(tmp_path / "home"),
            "COLUMNS": "200",
        },
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for help_text in ("run", "run-basic", "screen"):
        assert "--glow" in found[help_text]
        assert "How much it glows" in found[help_text]
    (shown,) = found["show"]
    assert (shown["value"], shown["source"], shown["ways"]) == (
        *("3", "option", ["--glow", "FLEET_RLM_GLOW", "model.glow"]),
    )
    assert "#FLEET_RLM_GLOW=4" in found["example"]
    assert "| `model.glow` | `--glow` | `FLEET_RLM_GLOW` | How much it glows. (a number from 0 to 9) |" in found["docs"]
    assert "glow" in found["form"]
    assert found["environment"] == ["1", "FLEET_RLM_GLOW in the environment"]
    assert found["file"] == ["2", f"model.glow in {tmp_path / 'home' / 'config.toml'}"]
    assert "model.glow must be a number from 0 to 9, not 99" in found["wrong"][0]
    assert found[".env"] == ["3", f"FLEET_RLM_GLOW in {tmp_path / '.env'}"]
    assert (found["spec"], found["screen's spec"]) == ({"model.glow": 5.0}, {"model.glow": 6.0})
    assert (found["typed"], found["again"]) == ({"model.glow": 7.0}, {"model.glow": "7.0"})
    assert "--glow 7" in found["command"]
