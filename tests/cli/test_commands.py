"""`fleet-rlm run-…`: each command's answer on the bundled guide, whose answers are known, by the offline model."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm import events as ev
from fleet_rlm import tasks
from fleet_rlm.cli.entry import COMMANDS
from fleet_rlm.documents.bundled import content_folder, demo_document
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify

GUIDE = str(demo_document())
KNOWN = json.loads((content_folder() / "answers.json").read_bytes())


def answer(fleet: Shell, *arguments: str) -> dict[str, Any]:
    done = fleet.inside(*arguments, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert verify(Path(said["run"]["run_file"])) is None
    assert said["run"]["status"] == "submitted"
    return said


def events_of(said: dict[str, Any]) -> list[ev.AnyEvent | ev.Unknown]:
    with RunFile(said["run"]["run_file"]) as run:
        return list(run.events())


def test_run_basic_answers_from_documents_or_by_computing(fleet: Shell) -> None:
    said = answer(fleet, "run-basic", "--question", KNOWN["demo"]["question"], "--docs-path", GUIDE)
    assert set(said) == {"answer", "trajectory_steps", "run"}
    assert "read the list of problems, correct the manifest" in said["answer"]
    assert said["trajectory_steps"] == said["run"]["totals"]["iterations"]
    assert answer(fleet, "run-basic", "--question", "What is 17 * 3?")["answer"] == "17 * 3: 51"
    fibonacci = answer(fleet, "run-basic", "--question", "What are the first 12 Fibonacci numbers?")["answer"]
    assert fibonacci == "The first 12 Fibonacci numbers: 0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89"
    beyond = answer(fleet, "run-basic", "--question", "Who was the first emperor?")
    assert beyond["answer"].startswith("There is no text to search")


def test_run_architecture_gives_what_a_library_is_made_of_and_the_size_of_its_documents(fleet: Shell) -> None:
    text = "# Lib\n\n## Modules\n\n- **Reader**: reads files.\n- **Writer**: writes files.\n\n## Optimizers\n\n"
    text += "- **Greedy**: takes the best example.\n\n## Design principles\n\nThe design principles are: one way.\n"
    (fleet.folder / "lib.md").write_text(text)
    said = answer(fleet, "run-architecture", "--docs-path", "lib.md", "--query", "What is it made of?")
    assert set(said) == {"modules", "optimizers", "design_principles", "doc_chars", "doc_lines", "run"}
    assert [str(one).partition(":")[0] for one in said["modules"]] == ["Reader", "Writer"]
    assert [str(one).partition(":")[0] for one in said["optimizers"]] == ["Greedy"]
    assert "one way" in said["design_principles"]
    assert (said["doc_chars"], said["doc_lines"]) == (len(text), text.count("\n"))


def test_run_api_endpoints_finds_all_24_by_batched_calls(fleet: Shell) -> None:
    said = answer(fleet, "run-api-endpoints", "--docs-path", GUIDE)
    assert set(said) == {"api_endpoints", "count", "run"}
    assert said["count"] == len(said["api_endpoints"]) == KNOWN["counts"]["endpoints"] == 24
    found = {(one["method"], one["path"]): one["description"] for one in said["api_endpoints"]}
    assert set(found) == {(one["method"], one["path"]) for one in KNOWN["endpoints"]}
    assert found["POST", "/v3/tokens"] == "exchange a signed assertion for a token"
    assert all(found.values())
    calls = [event for event in events_of(said) if isinstance(event, ev.CallStarted)]
    assert [call.function for call in calls if call.type == "batch"] == ["llm_query_batched"]
    assert sum(call.type == "sub_llm" for call in calls) >= 5


def test_run_error_patterns_finds_all_18_in_their_six_categories(fleet: Shell) -> None:
    said = answer(fleet, "run-error-patterns", "--docs-path", GUIDE)
    assert set(said) == {"error_categories", "total_errors_found", "run"}
    assert said["total_errors_found"] == KNOWN["counts"]["errors"] == 18
    assert list(said["error_categories"]) == [one["category"] for one in KNOWN["error_categories"]]
    for category, found in said["error_categories"].items():
        codes = [one["code"] for one in KNOWN["errors"] if one["category"] == category]
        assert [line.partition(":")[0] for line in found] == codes


def test_run_trajectory_gives_every_step_whole(fleet: Shell) -> None:
    said = answer(fleet, "run-trajectory", "--docs-path", GUIDE)
    assert set(said) == {"summary", "trajectory_steps", "trajectory", "run"}
    assert said["trajectory_steps"] == len(said["trajectory"]) == said["run"]["totals"]["iterations"]
    planned = [event for event in events_of(said) if isinstance(event, ev.PlannerFinished)]
    assert [step["code"] for step in said["trajectory"]] == [event.code for event in planned]
    assert [step["reasoning"] for step in said["trajectory"]] == [event.reasoning for event in planned]
    printed = "".join(event.text for event in events_of(said) if isinstance(event, ev.Output))
    assert "".join(step["output"] for step in said["trajectory"]) == printed
    started = events_of(said)[0]
    assert isinstance(started, ev.RunStarted)
    assert [one.chars for one in started.inputs] == [3000]
    assert said["summary"]


def test_every_command_counts_the_lines_and_characters_of_several_documents_alike(fleet: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in {"a.md": "# One\n\ntext\n", "b.md": "# Two\nlast line without an end"}.items():
        (folder / name).write_text(text)
    size = answer(fleet, "run-architecture", "--docs-path", str(folder), "--query", "What is in it?")
    assert (size["doc_chars"], size["doc_lines"]) == (42, 5)
    said = answer(fleet, "run-custom-tool", "--docs-path", str(folder), "--chars", "0")
    assert "42 characters in 5 lines" in said["structure_summary"]


def test_run_custom_tool_finds_all_43_headers_and_6_code_blocks_with_its_tool(fleet: Shell) -> None:
    said = answer(fleet, "run-custom-tool", "--docs-path", GUIDE, "--chars", "0")
    assert set(said) == {*("headers", "code_blocks", "structure_summary", "headers_count", "code_blocks_count", "run")}
    lines = Path(GUIDE).read_text().splitlines()
    inside, headers = False, []
    for line in lines:
        inside ^= line.startswith("```")
        if line.startswith("#") and not inside:
            headers.append(line.lstrip("# "))
    assert said["headers"] == headers
    assert said["headers_count"] == len(headers) == 43
    assert [block["language"] for block in said["code_blocks"]] == KNOWN["code_block_languages"]
    assert said["code_blocks_count"] == KNOWN["counts"]["code_blocks"] == 6
    tools = [event for event in events_of(said) if isinstance(event, ev.CallStarted) and event.type == "tool"]
    assert {call.function for call in tools} == {"regex_extract"}
    assert "characters in all, sha256" in str(tools[0].arguments)


def test_run_custom_tool_reads_the_first_10000_characters_and_says_so(fleet: Shell) -> None:
    done = fleet.inside("run-custom-tool", "--docs-path", GUIDE, "--json")
    assert json.loads(done.stdout)["headers_count"] == 17
    assert "Only the first 10,000 of 26,165 characters of freight-api-guide.md are used." in done.stderr


def test_run_long_context_analyses_or_summarises(fleet: Shell) -> None:
    said = answer(fleet, "run-long-context", "--docs-path", GUIDE, "--query", "How long may an upload be retried?")
    assert set(said) == {"findings", "answer", "sections_examined", "doc_chars", "run"}
    assert "45 minutes" in said["answer"]
    assert any("45 minutes" in finding for finding in said["findings"])
    assert said["sections_examined"] > 1
    assert said["doc_chars"] == 26165
    said = answer(fleet, "run-long-context", "--docs-path", GUIDE, "--mode", "summarize")
    assert set(said) == {"summary", "key_points", "coverage_pct", "doc_chars", "run"}
    assert len(said["key_points"]) >= 3
    assert 0 < said["coverage_pct"] <= 100


LIMITS = {
    "run-basic": ("basic", 15, 30, None),
    "run-architecture": ("architecture", 25, 50, None),
    "run-api-endpoints": ("api-endpoints", 20, 30, None),
    "run-error-patterns": ("error-patterns", 30, 40, None),
    "run-trajectory": ("brief", 10, 10, None),
    "run-custom-tool": ("custom-tool", 15, 20, None),
    "run-long-context": ("long-context", 30, 50, 900.0),
}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name.startswith("run-")])
def test_every_command_has_its_limits_and_the_common_options(fleet: Shell, command: str) -> None:
    task, iterations, calls, seconds = LIMITS[command]
    own = tasks.get(task).budgets
    assert (own.max_iterations, own.max_llm_calls, own.max_seconds) == (iterations, calls, seconds)
    said = " ".join(fleet.inside(command, "--help").stdout.split())
    assert f"Turns of the planner ({iterations})." in said
    assert f"Sub-LLM calls ({calls})." in said
    for option in (
        *("--max-iterations", "--max-llm-calls", "--timeout", "--secret-name", "--volume-name", "--verbose"),
        *("--full-output", "--model", "--sub-model", "--sandbox", "--record", "--json", "--quiet", "--tool"),
    ):
        assert option in said


def test_limits_of_a_command_are_recorded_and_can_be_changed(fleet: Shell) -> None:
    said = answer(fleet, "run-basic", "--question", "What is a leg?", "--docs-path", GUIDE, "--max-llm-calls", "7")
    started = events_of(said)[0]
    assert isinstance(started, ev.RunStarted)
    assert (started.budgets.max_iterations, started.budgets.max_llm_calls) == (15, 7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run-basic",), "--question"),
        (("run-architecture", "--docs-path", GUIDE), "--query"),
        (("run-api-endpoints",), "--docs-path"),
        (("run-api-endpoints", "--docs-path", "nowhere.md"), "nowhere.md"),
        (("run-long-context", "--docs-path", GUIDE), "--mode analyze needs --query"),
        (("run-long-context", "--docs-path", GUIDE, "--mode", "dream"), "dream"),
        (("run-trajectory", "--docs-path", GUIDE, "--chars", "-1"), "--chars"),
        (("run-custom-tool", "--docs-path", GUIDE, "--volume-name", "v"), "--sandbox modal"),
        (
            ("run-custom-tool", "--docs-path", GUIDE, "--tool", "nothing_there"),
            "There is no tool named 'nothing_there'",
        ),
    ],
)
def test_what_a_command_cannot_do_is_status_2_with_the_reason(
    fleet: Shell, arguments: tuple[str, ...], words: str
) -> None:
    done = fleet.inside(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert fleet.runs == []


def test_a_run_that_fails_is_status_1_and_json_says_why(fleet: Shell) -> None:
    fleet.variables.update(
        DSPY_LM_MODEL="openai/x", DSPY_LM_API_BASE="http://127.0.0.1:9/v1", DSPY_LLM_API_KEY="sk-none"
    )
    done = fleet.inside("run-api-endpoints", "--docs-path", GUIDE, "--json", "--quiet", "--timeout", "1")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert set(said) == {"run"}
    assert said["run"]["status"] == "failed"
    assert said["run"]["error"]["message"]
    assert verify(Path(said["run"]["run_file"])) is None


def test_people_get_tables_and_trees_and_are_told_how_to_watch_and_replay(fleet: Shell) -> None:
    done = fleet.inside("run-error-patterns", "--docs-path", GUIDE)
    assert done.returncode == 0
    assert "error categories (6)\n├── request (3)\n│   ├── MF-1101: 400" in done.stdout
    assert done.stdout.rstrip().endswith("total errors found  18")
    (run_file,) = fleet.runs
    assert f"Watch it: fleet-rlm-tui --follow {run_file}" in done.stderr
    assert f"Replay it: fleet-rlm-tui {run_file}" in done.stderr
    done = fleet.inside("run-api-endpoints", "--docs-path", GUIDE, "-q")
    assert "method" in done.stdout.splitlines()[2]
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def test_verbose_shows_each_step_and_full_output_the_whole_trajectory(fleet: Shell) -> None:
    done = fleet.inside("run-custom-tool", "--docs-path", GUIDE, "--verbose", "--full-output")
    assert "  │ blocks = regex_extract(text, fence, re.MULTILINE | re.DOTALL)" in done.stderr
    assert "  > 17 headers; 2 code blocks" in done.stderr
    assert "[1/15] ok" in done.stdout
    assert "characters left out" not in done.stdout
    assert "--full-output shows" not in done.stdout
    said = answer(fleet, "run-custom-tool", "--docs-path", GUIDE, "--full-output")
    assert len(said["trajectory"]) == said["run"]["totals"]["iterations"]


def test_a_hostile_document_cannot_act_on_the_terminal(fleet: Shell) -> None:
    (fleet.folder / "evil.md").write_text("# \x1b]0;owned\x07 title [bold]x[/bold] \u202e\n\n```sh\n\x1b[2J\n```\n")
    done = fleet.inside("run-custom-tool", "--docs-path", "evil.md", "--full-output", "--verbose")
    assert done.returncode == 0
    assert "owned" in done.stdout
    assert "[bold]x[/bold]" in done.stdout
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e")


def test_a_signature_and_a_tool_of_ones_own_module(fleet: Shell) -> None:
    (fleet.folder / "depot_tasks.py").write_text(
        "import dspy\n\nclass Hours(dspy.Signature):\n    'When does each depot open?'\n"
        "    docs: str = dspy.InputField()\n    question: str = dspy.InputField()\n"
        "    answer: str = dspy.OutputField()\n\n"
        "def clock(text: str) -> str:\n    'Say a time in digits.'\n    return text\n"
    )
    (fleet.folder / "depots.txt").write_text("The Marlow depot opens at seven. The Harlow depot opens at nine.\n")
    done = fleet(
        *("run", "When does the Marlow depot open?", "--docs", "depots.txt", "--json", "--quiet"),
        *("--signature", "depot_tasks:Hours", "--tool", "depot_tasks:clock", "--tool", "regex_extract"),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "seven" in said["outputs"]["answer"]
    with RunFile(said["run_file"]) as run:
        assert run.header is not None
        task = run.header.task
    assert (task.name, task.reference) == ("Hours", "depot_tasks:Hours")
    assert [tool.reference for tool in task.tools] == ["depot_tasks:clock", "fleet_rlm.tasks.tools:regex_extract"]
    shown = fleet("tasks", "show", "depot_tasks:Hours")
    assert "docs, question -> answer" in shown.stdout
    assert "When does each depot open?" in shown.stdout


def test_tasks_are_listed_and_shown(fleet: Shell) -> None:
    for arguments in (("tasks",), ("tasks", "list")):
        done = fleet.inside(*arguments)
        assert [line.split()[0] for line in done.stdout.splitlines()] == list(tasks.TASKS)
    assert [one["name"] for one in json.loads(fleet.inside("tasks", "--json").stdout)] == list(tasks.TASKS)
    shown = json.loads(fleet.inside("tasks", "show", "custom-tool", "--json").stdout)
    assert shown["class"] == "fleet_rlm.signatures:ExtractWithCustomTool"
    assert shown["tools"] == ["fleet_rlm.tasks.tools:regex_extract"]
    assert [one["name"] for one in shown["outputs"]] == ["headers", "code_blocks", "structure_summary"]
    assert shown["instructions"] in fleet.inside("tasks", "show", "custom-tool").stdout
    done = fleet.inside("tasks", "show", "custom")
    assert done.returncode == 2
    assert "Did you mean custom-tool?" in done.stderr


def test_rlm_modal_is_the_same_program() -> None:
    own = Path(sys.executable).with_name("rlm-modal")
    assert own.exists(), "make sync-dev installs it"
    one, other = (
        subprocess.run([str(path), "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "100"})
        for path in (own, own.with_name("fleet-rlm"))
    )
    assert one.stdout.replace("rlm-modal", "fleet-rlm") == other.stdout
    assert all(command in one.stdout for command in COMMANDS)


def test_a_terminal_sees_progress_on_one_line_and_then_the_answer(fleet: Shell) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run-api-endpoints", "--docs-path", GUIDE],
        stdout=theirs,
        stderr=theirs,
        cwd=fleet.folder,
        env={**fleet.environment, "COLUMNS": "100", "TERM": "xterm-256color"},
    )
    os.close(theirs)
    screen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    assert process.wait(60) == 0
    text = screen.decode(errors="replace")
    assert "/v3/shipments/{shipment}/holds/{hold}/release" in text
    assert "\r" in text
    assert "\x1b]" not in text
