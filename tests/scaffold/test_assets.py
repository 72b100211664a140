"""What is installed is held to Claude Code's rules and to this program's own options."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import modal
import pytest
import yaml

import fleet_rlm
from fleet_rlm.engine.run import run_failures
from fleet_rlm.sandbox.modal.modal_failures import PHRASES, cloud_error
from fleet_rlm.scaffold.assets import ASSETS, EVENTS, FOLDERS, Asset, assets
from quoted_commands import complaint, options_of, quoted

DOCS = Path(__file__).parents[2] / "docs"
SKILLS = ["dspy-signature", "modal-sandbox", "rlm", "rlm-batch", "rlm-debug", "rlm-execute", "rlm-long-context",
          "rlm-memory", "rlm-run", "rlm-test-suite"]  # fmt: skip
AGENTS = ["modal-interpreter-agent", "rlm-orchestrator", "rlm-specialist", "rlm-subcall"]
HOOKS = ["document-process", "large-file", "llm-query-error", "modal-error"]
SKILL_KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
AGENT_KEYS = {"name", "description", "tools", "model", "skills", "hooks", "permissionMode", "maxTurns", "color"}
TOOLS = {"Read", "Grep", "Glob", "Bash", "Write", "Edit", "Agent"}

EVERY = assets()
SKILL_LIKE = [asset for asset in EVERY if asset.kind in ("skill", "team")]
MARKDOWN = sorted(ASSETS.rglob("*.md"))
SCRIPTS = sorted(ASSETS.rglob("*.py"))


def frontmatter(text: str) -> tuple[dict[str, Any], str]:
    found = re.match(r"---\n(.*?)\n---\n(.*)", text, re.S)
    assert found, "no frontmatter"
    value = yaml.safe_load(found[1])
    assert isinstance(value, dict)
    return value, found[2]


def main_text(asset: Asset) -> str:
    (path,) = [path for path in asset.files if path.endswith(("SKILL.md", f"agents/{asset.name}.md"))]
    return asset.files[path].decode()


def named(path: Path) -> str:
    return path.relative_to(ASSETS).as_posix()


def test_all_that_was_promised_ships() -> None:
    by_kind = {kind: [asset.name for asset in EVERY if asset.kind == kind] for kind in FOLDERS}
    assert by_kind == {"skill": SKILLS, "agent": AGENTS, "team": ["fleet-rlm"], "hook": HOOKS}
    shipped = {path.relative_to(ASSETS).as_posix() for path in ASSETS.rglob("*") if path.is_file()}
    assert len(shipped) == sum(len(asset.files) for asset in EVERY), f"a file that belongs to nothing: {shipped}"
    assert all("__pycache__" not in path for asset in EVERY for path in asset.files)


@pytest.mark.parametrize("asset", SKILL_LIKE, ids=lambda asset: asset.name)
def test_a_skill_keeps_to_the_format(asset: Asset) -> None:
    head, body = frontmatter(main_text(asset))
    assert set(head) <= SKILL_KEYS
    assert head["name"] == asset.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert len(head["name"]) <= 64
    assert 1 <= len(head["description"]) <= 1024
    assert head["description"] == asset.description
    assert "Use " in head["description"], "it says when to use it"
    assert main_text(asset).count("\n") < 500
    assert body.strip()
    for path in asset.files:
        assert len(Path(path).parts) <= 4, f"{path} is more than one level deep"


@pytest.mark.parametrize("asset", SKILL_LIKE, ids=lambda asset: asset.name)
def test_what_a_skill_refers_to_is_there_and_all_that_is_there_is_referred_to(asset: Asset) -> None:
    text = main_text(asset)
    links = set(re.findall(r"\]\(([^)#]+)\)", text))
    scripts = set(re.findall(r"\$\{CLAUDE_SKILL_DIR\}/(\S+?)\"", text))
    root = f"skills/{asset.name}/"
    there = {path.removeprefix(root) for path in asset.files} - {"SKILL.md"}
    assert {link for link in links if "://" not in link} | scripts == there


@pytest.mark.parametrize("asset", [a for a in EVERY if a.kind == "agent"], ids=lambda asset: asset.name)
def test_an_agent_keeps_to_the_format(asset: Asset) -> None:
    head, body = frontmatter(main_text(asset))
    assert set(head) <= AGENT_KEYS
    assert head["name"] == asset.name
    assert 1 <= len(head["description"]) <= 1024
    assert head["description"] == asset.description
    tools = re.findall(r"(\w+)(?:\(([^)]*)\))?", head["tools"])
    assert {tool for tool, _ in tools} <= TOOLS
    for _, inside in tools:
        assert not inside or set(inside.split(", ")) <= set(AGENTS)
    assert set(head.get("skills", [])) <= set(SKILLS)
    assert body.strip()


def test_the_sub_call_answers_with_the_promised_fields() -> None:
    (asset,) = [asset for asset in EVERY if asset.name == "rlm-subcall"]
    answer = json.loads(re.search(r"```json\n(.*?)```", main_text(asset), re.S)[1])  # type: ignore[index]
    assert list(answer) == ["chunk_id", "relevant", "missing", "suggested_queries", "complete_answer"]
    assert set(answer["relevant"][0]) == {"point", "evidence", "confidence"}


@pytest.mark.parametrize("path", [*MARKDOWN, DOCS / "claude-code.md"], ids=lambda path: path.name + path.parent.name)
def test_every_quoted_command_can_be_typed(path: Path) -> None:
    problems = {one: problem for one in list(quoted(path.read_text())) if (problem := complaint(one))}
    assert not problems


def test_the_linter_of_commands_finds_what_is_wrong() -> None:
    assert complaint("fleet-rlm run-nothing --docs-path x")
    assert complaint("fleet-rlm run x --no-such-option")
    assert complaint("fleet-rlm run x --sandbox moon")
    assert complaint("fleet-rlm run x --max-iterations many")
    assert complaint("fleet-rlm runs nothing")
    assert complaint("fleet-rlm runs show a b c")
    assert complaint("fleet-rlm-tui --no-such")
    assert not complaint('fleet-rlm run "x" --docs PATH --max-cost USD --sandbox modal')
    assert sum(len(list(quoted(path.read_text()))) for path in MARKDOWN) > 80, "commands are found at all"


@pytest.mark.parametrize("path", [path for path in ASSETS.rglob("*") if path.is_file()], ids=named)
def test_nothing_of_a_machine_and_no_secret_ships(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(?<![\w.~}$\"])/(?:home|Users|root|work|tmp|var|opt|mnt)/", text), "an absolute path"
    assert not re.search(r"\b(?:sk|ak|as)-[A-Za-z0-9]{8,}|AKIA[A-Z0-9]{12,}|BEGIN [A-Z ]*PRIVATE KEY", text)
    assert len(text) < 40_000
    assert "@fleet" not in text, "a skill is called with a slash"


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_scripts_compile_and_import_nothing_beyond_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    compile(path.read_text(), path.name, "exec")
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    allowed = {"fleet_rlm"} if path.name == "execute.py" else set()
    assert names <= sys.stdlib_module_names | allowed


@pytest.mark.parametrize("path", MARKDOWN, ids=named)
def test_quoted_python_compiles_and_names_what_there_is(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        compile(block, path.name, "exec")
        for name in re.findall(r"\bfleet_rlm\.(\w+)", block):
            assert hasattr(fleet_rlm, name)
        for names in re.findall(r"from fleet_rlm import (.+)", block):
            assert all(hasattr(fleet_rlm, name.strip()) for name in names.split(","))
        for given in re.findall(r"Budgets\((.*?)\)", block):
            assert fleet_rlm.Budgets(**ast.literal_eval("{" + re.sub(r"(\w+)=", r"'\1':", given) + "}"))


def test_skills_that_are_named_exist() -> None:
    for path in [*MARKDOWN, *SCRIPTS]:
        for name in re.findall(r"\(skill: ([\w-]+)\)", path.read_text()):
            assert name in SKILLS, path


# Hooks, each run as Claude Code runs it: JSON on stdin, in a Python that has nothing of ours.


def run_hook(name: str, payload: object) -> subprocess.CompletedProcess[str]:
    script = ASSETS / "hooks" / f"{name.replace('-', '_')}.py"
    given = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    done = subprocess.run([sys.executable, "-IS", str(script)], input=given, capture_output=True, timeout=30)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def context(name: str, event: str, **more: object) -> str | None:
    done = run_hook(name, {"session_id": "s", "transcript_path": "t", "hook_event_name": event, **more})
    assert (done.returncode, done.stderr) == (0, "")
    if not done.stdout:
        return None
    said = json.loads(done.stdout)
    assert set(said) == {"hookSpecificOutput"}, "it never decides anything"
    assert set(said["hookSpecificOutput"]) == {"hookEventName", "additionalContext"}
    assert said["hookSpecificOutput"]["hookEventName"] == event
    words = said["hookSpecificOutput"]["additionalContext"]
    assert isinstance(words, str)
    assert 0 < len(words) < 2000
    return words


def bash(name: str, text: str, command: str = "fleet-rlm run x --docs y", *, failed: bool = False) -> str | None:
    tool = {"tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": "u"}
    if failed:
        return context(name, "PostToolUseFailure", **tool, error=f"Exit code 1\n{text}", is_interrupt=False)
    return context(name, "PostToolUse", **tool, tool_response={"stdout": "", "stderr": text, "interrupted": False})


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize(
    "payload",
    [b"", b"not json", b"\xff\xfe\x00", b"[]", b"null", b'"x"', b'{"hook_event_name": 7}', b"[" * 100_000,
     {"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": 3, "tool_response": [1]},
     {"hook_event_name": "PreToolUse", "tool_name": "Read", "tool_input": {"file_path": {"a": 1}}},
     {"hook_event_name": "UserPromptSubmit", "prompt": ["x.pdf"], "cwd": 3}],
)  # fmt: skip
def test_a_hook_says_nothing_to_what_it_does_not_understand(name: str, payload: object) -> None:
    done = run_hook(name, payload)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_hook_is_registered_for_the_events_that_it_answers() -> None:
    assert list(EVENTS) == HOOKS
    for name, whens in EVENTS.items():
        source = (ASSETS / "hooks" / f"{name.replace('-', '_')}.py").read_text()
        for on in whens:
            assert f'"{on.event}"' in source
            assert on.matcher is None or f'"{on.matcher}"' in source
            assert (on.matcher is None) == (on.event == "UserPromptSubmit"), "which has no matcher"


def test_a_prompt_that_names_a_long_document_gets_the_command_for_it(tmp_path: Path) -> None:
    (tmp_path / "big book.txt").write_text("x" * 300_000)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-")
    (tmp_path / "small.md").write_text("# small")

    def said(prompt: str) -> str | None:
        return context("document-process", "UserPromptSubmit", prompt=prompt, cwd=str(tmp_path))

    words = said('What does "big book.txt" say, and report.pdf?')
    assert words is not None
    assert "--docs 'big book.txt' --docs report.pdf" in words
    assert said("What does @report.pdf say?")
    assert said("What does small.md say?") is None
    assert said("What does missing.pdf say?") is None
    assert said("fleet-rlm run x --docs report.pdf") is None
    assert said("Fix the tests") is None
    command = re.search(r"(fleet-rlm run .*?--json)", words)
    assert command
    assert not complaint(command[1])


def test_reading_a_large_file_whole_gets_a_word_and_reading_a_part_does_not(tmp_path: Path) -> None:
    large, small, picture = tmp_path / "it's large.log", tmp_path / "small.log", tmp_path / "big.png"
    large.write_text("x" * 300_000)
    small.write_text("x")
    picture.write_bytes(b"x" * 300_000)

    def said(path: Path, tool: str = "Read", **more: int) -> str | None:
        return context("large-file", "PreToolUse", tool_name=tool, tool_input={"file_path": str(path), **more})

    words = said(large)
    assert words is not None
    assert not complaint(re.search(r"(fleet-rlm run .*?--json)", words)[1])  # type: ignore[index]
    assert said(large, limit=100, offset=5) is None
    assert said(small) is None
    assert said(picture) is None
    assert said(tmp_path) is None
    assert said(large, tool="Edit") is None


@pytest.mark.parametrize("failed", [True, False])
@pytest.mark.parametrize("kind", [kind for kind, _, _ in run_failures._BY_TYPE if kind is not dspy.LMError])
def test_model_failures_in_the_programs_own_words_get_advice(kind: type[Exception], failed: bool) -> None:
    words = {one: f"{what} {hint}" for one, what, hint in run_failures._BY_TYPE}[kind]
    if kind is dspy.LMStreamAssemblyError:
        pytest.skip("its own hint says all there is")
    assert bash("llm-query-error", f"failed: {words}", failed=failed)
    assert bash("llm-query-error", words, "make test", failed=failed) is None, "another program's words"
    assert bash("llm-query-error", "submitted in 9 s", failed=failed) is None


def test_a_spent_budget_of_sub_calls_is_noticed_in_a_run_that_succeeded() -> None:
    words = bash("llm-query-error", "the budget of 3 sub-LLM calls is spent; further calls are refused")
    assert words is not None
    assert "--max-llm-calls" in words


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.AuthError("Token missing"),
        modal.exception.AuthError("Token has expired"),
        modal.exception.AuthError("Token validation failed"),
        modal.exception.NotFoundError("secret x"),
        modal.exception.ResourceExhaustedError("too many"),
        modal.exception.ConnectionError("no route"),
        modal.exception.ImageBuildError("pip failed", "im-1"),
    ],
    ids=lambda error: f"{type(error).__name__}-{str(error)[-6:]}",
)
def test_failures_at_modal_in_the_programs_own_words_get_advice(error: Exception) -> None:
    words = str(cloud_error(modal, error, "looking up the app"))
    assert bash("modal-error", f"Error: {words}", failed=True), words
    assert bash("modal-error", f"Error: {words}", "rlm-modal run x", failed=False)
    assert bash("modal-error", words, "make deploy", failed=True) is None


def test_the_hook_for_modal_knows_the_phrases_that_the_program_prints() -> None:
    hook = runpy.run_path(str(ASSETS / "hooks" / "modal_error.py"))
    assert PHRASES.items() <= hook["PHRASES"].items()
    assert set(hook["ADVICE"]) == set(hook["PHRASES"])
    for phrase in hook["PHRASES"].values():
        assert bash("modal-error", f"Error: it happened that {phrase} 'x'", failed=True), phrase


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("there is no secret named 'LITELLM' in this Modal workspace", "modal secret create"),
        ("there is no volume named 'results' in this Modal workspace", "modal volume create"),
        (
            "the volume 'results' is of version 1, and documents and results are kept in volumes of version 2",
            "version 2",
        ),
    ],
)
def test_a_missing_secret_or_volume_gets_advice_of_its_own(problem: str, words: str) -> None:
    advice = bash("modal-error", f"Error: {problem}", failed=True)
    assert advice is not None
    assert words in advice


def test_a_lost_sandbox_gets_advice() -> None:
    assert bash("modal-error", "sandbox lost: out of memory")


def test_options_and_commands_that_hooks_speak_of_exist() -> None:
    known = {option for name in ("run", "doctor", "check-secret") for option in options_of(name)}
    known.add("--version")  # of `modal volume create`
    for path in (ASSETS / "hooks").glob("*.py"):
        source = path.read_text()
        assert set(re.findall(r"(?<!\w)(--[a-z][a-z-]+)", source)) <= known, path
        assert not [one for one in quoted(re.sub(r'"\n\s+"', "", source)) if complaint(one)]
