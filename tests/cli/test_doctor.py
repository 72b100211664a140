"""`fleet-rlm doctor`: what a run needs, said in words, whatever this machine looks like."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm.cli import modal_access
from fleet_rlm.cli.doctor import check_model as model_room
from fleet_rlm.cli.doctor import check_python as python_room
from fleet_rlm.cli.doctor import check_storage, check_terminal
from fleet_rlm.cli.doctor.finding import Finding
from modal_server import ModalServer
from model_server import ModelServer, Reply
from waiting import until

KEY = "sk-secret-that-nobody-may-see"


@pytest.fixture
def nothing(fleet: Shell) -> Shell:
    """A machine on which nothing is configured."""
    fleet.variables.update(MODAL_CONFIG_PATH=str(fleet.folder / "none.toml"))
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROFILE", "MODAL_SERVER_URL"):
        fleet.variables[name] = ""
    return fleet


def checks(fleet: Shell, *options: str, status: int = 0, inside: bool = True) -> dict[str, Mapping[str, Any]]:
    """The findings by name; of several with one name, the last."""
    done = (fleet.inside if inside else fleet)("doctor", "--json", *options)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] is (status == 0)
    return {one["name"]: one for one in said["checks"]}


def test_where_nothing_is_configured_a_run_can_start(nothing: Shell) -> None:
    found = checks(nothing)
    assert found["python"]["state"] == found["packages"]["state"] == "ok"
    assert "offline" in found["model"]["words"]
    assert found["isolation"]["state"] == "ok"
    assert "proven: no network, no files of yours" in found["isolation"]["words"]
    assert (found["modal token"]["state"], found["modal token"]["needed"]) == ("missing", False)
    assert "made by the first run" in found["runs folder"]["words"]
    assert not (nothing.folder / "home").exists()
    shown = nothing.inside("doctor")
    assert "A run can start here." in shown.stderr
    assert re.search(r"^– modal token +Modal has no token here", shown.stdout, re.MULTILINE)


def test_modal_is_needed_when_it_is_asked_for_or_configured(nothing: Shell) -> None:
    assert checks(nothing, "--sandbox", "modal", status=2)["modal token"]["needed"]
    assert not checks(nothing, "--sandbox", "auto")["modal token"]["needed"]
    nothing.variables["FLEET_RLM_SANDBOX"] = "modal"
    checks(nothing, status=2)
    checks(nothing, "--sandbox", "local")
    done = nothing.inside("doctor", "--sandbox", "modal")
    assert "A run can't start before this is fixed: modal token." in done.stderr
    assert "modal token new" in done.stdout
    assert nothing.inside("doctor", "--sandbox", "moon").returncode == 2


def test_isolation_here_is_not_needed_for_a_run_in_the_cloud(modal_server: ModalServer, fleet: Shell) -> None:
    fleet.variables["FLEET_RLM_ISOLATION"] = "armour"
    assert not checks(fleet, "--sandbox", "modal")["isolation"]["needed"]
    checks(fleet, "--sandbox", "local", status=2)


def test_a_person_who_leaves_is_let_go(modal_server: ModalServer, fleet: Shell) -> None:
    modal_server.fault("AppGetOrCreate", "hang", times=-1)
    process = fleet.start(["doctor"])
    until(lambda: modal_server.calls("AppGetOrCreate"), 30, "the doctor to ask Modal")
    process.send_signal(signal.SIGINT)
    assert process.wait(8) == 130
    assert "Traceback" not in process.communicate()[1]


def test_env_files_are_named_with_their_variables_and_no_value(nothing: Shell) -> None:
    path = nothing.folder / ".env"
    path.write_text(f"DSPY_LM_MODEL=openai/some-model\nDSPY_LLM_API_KEY={KEY}\n")
    done = nothing("doctor")
    assert f"{path}: DSPY_LM_MODEL=•••, DSPY_LLM_API_KEY=•••" in done.stdout
    assert "✓ model " in done.stdout
    assert f"key from DSPY_LLM_API_KEY in {path}" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_a_model_without_its_key_stops_a_run(nothing: Shell) -> None:
    nothing.variables["DSPY_LM_MODEL"] = "openai/some-model"
    found = checks(nothing, status=2)["model"]
    assert "DSPY_LLM_API_KEY or OPENAI_API_KEY is not set" in found["words"]
    assert str(nothing.folder / ".env") in found["hint"]


def test_a_probe_asks_the_model_and_says_what_came_of_it(nothing: Shell) -> None:
    with ModelServer(lambda asked: "ok") as server:
        nothing.variables.update(DSPY_LM_MODEL="openai/m", DSPY_LM_API_BASE=server.url, DSPY_LLM_API_KEY=KEY)
        assert "answered in" in checks(nothing, "--probe")["model reached"]["words"]
        assert len(server.asked) == 1
        assert "model reached" not in checks(nothing)
    with ModelServer(lambda asked: Reply(status=401, body=f'{{"error": "no such key: {KEY}"}}'.encode())) as server:
        nothing.variables["DSPY_LM_API_BASE"] = server.url
        found = checks(nothing, "--probe", status=1)["model reached"]
        assert "could not be asked" in found["words"]
        assert KEY not in found["words"]
        assert found["hint"]


def test_the_password_of_an_address_is_not_shown(nothing: Shell) -> None:
    nothing.variables.update(DSPY_LM_MODEL="openai/m", DSPY_LM_API_BASE="http://me:pass-word@127.0.0.1:9/v1")
    done = nothing.inside("doctor", "--probe")
    assert done.returncode == 1
    assert "pass-word" not in done.stdout + done.stderr


def test_a_model_that_does_not_answer_is_given_up(nothing: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_room.PROBE_SECONDS == 30.0
    monkeypatch.setattr(model_room, "PROBE_SECONDS", 0.3)
    with ModelServer(lambda asked: Reply(stall_before=True)) as server:
        nothing.variables.update(DSPY_LM_MODEL="openai/m", DSPY_LM_API_BASE=server.url)
        assert "could not be asked" in checks(nothing, "--probe", status=1)["model reached"]["words"]


def test_what_a_run_would_use_at_modal_is_looked_up_and_nothing_is_made(
    modal_server: ModalServer, fleet: Shell
) -> None:
    found = checks(fleet, "--sandbox", "modal")
    assert "MODAL_SERVER_URL" in found["modal token"]["words"]
    assert "the first run makes it" in found["modal app"]["words"]
    assert "LITELLM is not there; no run needs it" in found["modal secret"]["words"]
    modal_server.add_secret("keys", A="b")
    modal_server.add_volume("box")
    home = fleet.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('[modal]\nsecrets = ["keys"]\nvolume = "box"\n')
    found = checks(fleet, "--sandbox", "modal")
    assert found["modal secret"]["state"] == found["modal volume"]["state"] == "ok"
    made = [call for call in modal_server.calls("AppGetOrCreate") if "CREATE" in str(call.request.values())]
    assert not made
    assert not modal_server.sandboxes()


def test_a_secret_or_volume_that_a_run_names_stops_it_when_it_can_t_be_used(
    modal_server: ModalServer, fleet: Shell
) -> None:
    modal_server.add_volume("old", version=1)
    home = fleet.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('[modal]\nsecrets = ["nobody"]\nvolume = "old"\n')
    found = checks(fleet, "--sandbox", "modal", status=1)
    assert "There is no secret named 'nobody'" in found["modal secret"]["words"]
    assert "is of version 1" in found["modal volume"]["words"]
    assert found["modal volume"]["hint"]
    checks(fleet, status=0)  # a local run needs neither


def test_a_modal_that_does_not_answer_is_given_up_and_stops_no_local_run(
    modal_server: ModalServer, fleet: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modal_access, "ANSWER_SECONDS", 0.3)
    for rpc in ("AppGetOrCreate", "SecretGetOrCreate"):
        modal_server.fault(rpc, "hang", times=-1)
    found = checks(fleet)
    assert "did not answer within 0.3 s" in found["modal app"]["words"]
    assert "did not answer within 0.3 s" in found["modal secret"]["words"]
    checks(fleet, "--sandbox", "modal", status=1)


def test_a_wrong_token_is_said(modal_server: ModalServer, fleet: Shell) -> None:
    modal_server.fault("AppGetOrCreate", "fail", status="UNAUTHENTICATED", message="not valid", times=-1)
    found = checks(fleet, "--sandbox", "modal", status=1)
    assert "Modal refused the token" in found["modal app"]["words"]


def test_a_file_named_modal_is_reported_here_and_where_an_engine_would_start(nothing: Shell) -> None:
    own = nothing.folder / "modal.py"
    own.write_text("raise SystemExit('it was imported')\n")
    for inside in (True, False):  # in this process the working folder is not on the path, in `python -c` it is
        found = checks(nothing, inside=inside)["modal package"]
        assert "modal.py hides the installed package" in found["words"]
        assert not found["needed"]
    assert checks(nothing, "--sandbox", "modal", status=1)["modal package"]["hint"]
    (nothing.folder / "modal.py").unlink()
    (nothing.folder / "modal").mkdir()  # a folder of that name without code hides nothing
    assert checks(nothing)["modal package"]["state"] == "ok"


def test_garbage_everywhere_is_told_and_is_no_crash(nothing: Shell) -> None:
    home = nothing.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text("[[[")
    (home / "runs").mkdir()
    (home / "runs" / "index.sqlite").write_bytes(b"garbage" * 999)
    (nothing.folder / ".env").write_bytes(b"\xff\xfe\x00=\x1b]0;owned\x07")
    (nothing.folder / "none.toml").write_text("\x00[")
    nothing.variables.update(FLEET_RLM_ISOLATION="armour", DSPY_LM_MAX_TOKENS="many", DSPY_LM_MODEL="openai/m")
    done = nothing("doctor")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for words in (
        f"{nothing.folder / '.env'} was not read: it is not UTF-8 text",
        f"{home / 'config.toml'} is not TOML",
        f"{nothing.folder / 'none.toml'} can't be read",
        "No isolation mode is called 'armour'",
        "DSPY_LM_MAX_TOKENS in the environment is 'many'",
        "made again from the files",
    ):
        assert words in done.stdout, done.stdout
    assert not set(done.stdout) & set("\x1b\x07")


def test_a_home_that_can_t_be_written_stops_a_run(nothing: Shell) -> None:
    (nothing.folder / "file").write_text("")
    nothing.variables["FLEET_RLM_HOME"] = str(nothing.folder / "file" / "below")
    found = checks(nothing, status=1)["runs folder"]
    assert "can't be written" in found["words"]
    assert "FLEET_RLM_HOME" in found["hint"]


def test_a_person_without_a_home_and_a_folder_that_is_gone_are_no_crash(nothing: Shell, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    unknown = {name: value for name, value in nothing.environment.items() if name not in ("HOME", "FLEET_RLM_HOME")}
    script = (
        "import os, pwd; os.rmdir(os.getcwd()); from fleet_rlm.cli.entry import main\n"
        "def nobody(*_): raise KeyError('uid')\n"
        "pwd.getpwuid = nobody; import sys; sys.argv = ['fleet-rlm', 'doctor', '--json']; main()"
    )
    done = subprocess.run([COMMAND[0], "-c", script], cwd=gone, env=unknown, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert "no home folder is known" in found["home"]["words"]


def test_a_check_that_fails_is_a_finding(nothing: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Finding]:
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(check_storage, "look", broken)
    found = checks(nothing, status=1)
    assert "could not be looked at: ValueError: nobody foresaw this" in found["storage"]["words"]
    assert found["isolation"]["state"] == "ok"


def test_a_package_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["msgspec>=999", "no-such-package>=1", "rich>=1", "other; extra == 'more'"]
    monkeypatch.setattr(python_room.importlib.metadata, "requires", lambda _: wanted)
    finding = next(one for one in python_room.look() if one.name == "packages")
    assert finding.stops_a_run
    assert re.fullmatch(r"msgspec \S+ is not >=999; no-such-package is not installed", finding.words)


TERMINALS = {
    "kitty": ({"TERM": "xterm-kitty", "COLORTERM": "truecolor"}, "16 million", "by OSC 52, which"),
    "tmux": ({"TERM": "tmux-256color", "TMUX": "x"}, "256", "through tmux"),
    "screen": ({"TERM": "screen.xterm-256color"}, "256", "screen passes no OSC 52"),
    "plain": ({"TERM": "xterm"}, "16 (xterm)", "if xterm knows it"),
    "no colours wanted": ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "NO_COLOR is set", "if xterm-256color"),
    "nothing at all": ({}, "TERM is not set", "if this terminal"),
}


@pytest.mark.parametrize(("environment", "colours", "clipboard"), TERMINALS.values(), ids=TERMINALS)
def test_a_terminal_is_judged_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colours: str, clipboard: str
) -> None:
    monkeypatch.setattr(check_terminal.sys.stdin, "isatty", lambda: True, raising=False)
    found = {one.name: one.words for one in check_terminal.look(environment)}
    assert colours in found["colours"]
    assert clipboard in found["clipboard"]


def test_a_person_sees_what_this_terminal_can_do(nothing: Shell) -> None:
    nothing.variables.update(LC_ALL="C.UTF-8", COLORTERM="truecolor")
    shown, status = nothing.on_a_terminal("doctor")
    assert status == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"terminal size +80 columns, 24 lines", plain)
    assert re.search(r"colours +16 million", plain)
    assert re.search(r"characters +UTF-8", plain)
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", plain))


def test_a_terminal_that_knows_only_ascii_is_no_crash(nothing: Shell) -> None:
    nothing.variables.update(PYTHONIOENCODING="ascii")
    shown, status = nothing.on_a_terminal("doctor")
    assert status == 0
    assert "characters" in shown
    assert "marks and frames will be missing" in shown
    assert "Traceback" not in shown


def test_a_small_terminal_is_told_what_the_screens_want(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_terminal.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(check_terminal, "_measured", lambda: (60, 20))
    assert "80 by 24" in check_terminal.look({})[0].hint
