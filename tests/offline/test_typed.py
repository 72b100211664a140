"""Outputs of every type, in the shape that the signature asks for."""

from __future__ import annotations

import dspy
import pydantic
import pytest

from fleet_rlm.tasks import TASKS, get
from fleet_rlm.tasks.tools import regex_extract
from tests.offline.driving import errors, run

GUIDE = """\
# Orchard API guide

Orchard keeps track of trees. It has 3 modules. Watering is not supported on Sundays.

## Modules

- **Catalog**: holds the species and their names.
- **Ledger**: records every change of a tree.
- **Scheduler**: decides when a tree is watered.

## Endpoints

| Method | Path | Purpose |
|--------|------|---------|
| GET | /v2/trees | List all trees |
| POST | /v2/trees | Plant a tree |
| GET | /v2/trees/{tree_id} | Show one tree |

### PATCH /v2/trees/{tree_id}
Change a tree's species or place.

```bash
curl -X POST https://orchard.example/v2/harvests -d '{"tree": 4}'
curl https://orchard.example/v2/trees/17
```

## Errors

### Authentication errors
- `TokenExpired` (`E-401`): the token is older than a day. Ask for a new one.
- `TokenMissing` (`E-402`): no token was sent.

### Limits
- `RateLimitError`: more than 60 requests a minute. Wait and try again.
"""


MODULES = {
    "Catalog": "holds the species and their names.",
    "Ledger": "records every change of a tree.",
    "Scheduler": "decides when a tree is watered.",
}


class Module(pydantic.BaseModel):
    name: str
    purpose: str


class Report(pydantic.BaseModel):
    title: str
    modules: list[Module]
    note: str | None = None


def task_run(name: str, **inputs: str) -> dspy.Prediction:
    task = get(name)
    tools = [regex_extract] if task.tools else []
    return run(dspy.Signature(task.signature, task.instructions), tools=tools, **inputs)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_the_catalogue_submits_outputs_of_its_types(name: str) -> None:
    task = get(name)
    inputs = {task.document_field: GUIDE} if task.document_field else {}
    if task.question_field:
        inputs[task.question_field] = task.default_question or "What does the scheduler decide?"
    result = task_run(name, **inputs)
    assert errors(result) == []
    assert result.trajectory[-1]["output"].startswith("FINAL: ")


def test_endpoints_are_listed_once_with_method_path_and_purpose() -> None:
    found = task_run("api-endpoints", docs=GUIDE).api_endpoints
    assert [(entry["method"], entry["path"]) for entry in found] == [
        ("GET", "/v2/trees"),
        ("POST", "/v2/trees"),
        ("GET", "/v2/trees/{tree_id}"),
        ("PATCH", "/v2/trees/{tree_id}"),
        ("POST", "/v2/harvests"),
    ]
    assert found[3]["description"] == "Change a tree's species or place."


def test_errors_are_grouped_under_the_headings_that_treat_of_them() -> None:
    result = task_run("error-patterns", docs=GUIDE)
    assert {category: len(found) for category, found in result.error_categories.items()} == {
        "Authentication errors": 2,
        "Limits": 1,
    }
    assert result.error_categories["Limits"] == ["RateLimitError: more than 60 requests a minute. Wait and try again."]
    assert result.total_errors_found == 3


def test_headers_and_code_blocks_come_word_for_word() -> None:
    result = task_run("custom-tool", docs=GUIDE)
    assert result.headers[:3] == ["Orchard API guide", "Modules", "Endpoints"]
    assert [block["language"] for block in result.code_blocks] == ["bash"]
    assert "curl -X POST https://orchard.example/v2/harvests" in result.code_blocks[0]["code"]
    assert "7 headings" in result.structure_summary


def test_logs_give_matches_patterns_and_the_time_range() -> None:
    logs = "\n".join(
        f"2026-03-01 12:{minute:02}:00 "
        + (f"ERROR timeout after {minute * 9} ms" if minute % 5 == 0 else f"INFO job {minute} done")
        for minute in range(60)
    )
    result = task_run("logs", logs=logs, query="timeouts")
    assert len(result.matches) == 12
    assert result.patterns == {"INFO job # done": 48, "ERROR timeout after # ms": 12}
    assert result.time_range == "from 2026-03-01 12:00:00 to 2026-03-01 12:59:00"


@pytest.mark.parametrize(
    ("output", "question", "expected"),
    [
        ("answer: int", "How many modules does Orchard have?", 3),
        ("answer: float", "How many modules does Orchard have?", 3.0),
        ("supported: bool", "Is watering supported on Sundays?", False),
        ("module: Literal['Catalog', 'Ledger', 'unknown']", "Which module records every change?", "Ledger"),
        ("module: Literal['Catalog', 'Ledger', 'unknown']", "Which planet is largest?", "unknown"),
        ("rows: list[str]", "What plants a tree?", ["“| POST | /v2/trees | Plant a tree |” (context:16, Endpoints)"]),
        ("modules: dict[str, str]", "List the modules.", {}),
        ("errors: dict[str, int]", "Which errors are there?", {}),
        ("planet: Optional[int]", "How heavy is Jupiter?", None),
    ],
)  # fmt: skip
def test_a_value_has_the_type_that_the_signature_asks_for(output: str, question: str, expected: object) -> None:
    result = run(f"context, question -> {output}", context=GUIDE, question=question)
    assert errors(result) == []
    assert result[output.partition(":")[0]] == expected


def test_nested_models_that_were_not_found_are_valid_and_empty() -> None:
    class Describe(dspy.Signature):
        """Describe the modules."""

        context: str = dspy.InputField()
        question: str = dspy.InputField()
        modules: list[Module] = dspy.OutputField()
        report: Report = dspy.OutputField()

    result = run(Describe, context=GUIDE, question="Which modules are there?")
    assert errors(result) == []
    assert result.modules == []
    assert result.report == Report(title="", modules=[])


@pytest.mark.parametrize("name", ["passage", "label", "texts", "work", "number", "draft", "headings", "sources"])
def test_an_input_may_have_any_name_even_one_that_the_cells_use(name: str) -> None:
    result = run(f"{name}, question -> answer", **{name: GUIDE, "question": "What does the Ledger record?"})
    assert errors(result) == []
    assert "records every change of a tree" in result.answer


API = """\
# dspark

### class dspark.module.Module

#### dspark.module.Module.forward(self)

What every program of dspark derives from.

### class dspark.predict.Predict(Module)

Asks a model once.

### class dspark.chain.Chain(dspark.predict.Predict)

Asks a model and lets it think first.

### class dspark.tune.Teleprompter

### class dspark.tune.Greedy(Teleprompter)

#### dspark.tune.Greedy.compile(self, program)

Takes the best example each time.

### class dspark.other.Settings(Config)

Keeps the settings.
"""


def test_modules_and_optimizers_of_a_python_library_are_told_by_their_base_classes() -> None:
    result = task_run("architecture", docs=API, query="What are the modules and the optimizers?")
    assert errors(result) == []
    assert result.modules == ["Predict: Asks a model once.", "Chain: Asks a model and lets it think first."]
    assert result.optimizers == ["Greedy"]


CODES = """\
# Service

POST /things was used in `GET /things` examples.

## Endpoints

- `GET /things`: list things
- `DELETE /things/{id}`: remove one

The old `PUT /things/{id}` was removed in 2020.

## Errors

| Code | What happened |
| --- | --- |
| TH-101 | The body is empty. |
| TH-201 | The store is full. |

| Class | Codes |
| --- | --- |
| client | TH-1xx |
| server | TH-2xx |
"""


def test_endpoints_that_are_gone_are_left_out_by_what_the_sub_llm_says_of_their_passages() -> None:
    result = task_run("api-endpoints", docs=CODES)
    assert errors(result) == []
    found = {(one["method"], one["path"]): one["description"] for one in result.api_endpoints}
    assert found["GET", "/things"] == "list things"
    assert found["DELETE", "/things/{id}"] == "remove one"
    assert ("PUT", "/things/{id}") not in found
    assert any("llm_query_batched" in step["code"] for step in result.trajectory)


def test_codes_stand_under_the_classes_that_a_table_gives_them() -> None:
    result = task_run("error-patterns", docs=CODES)
    assert result.error_categories == {
        "client": ["TH-101: The body is empty."],
        "server": ["TH-201: The store is full."],
    }
    assert result.total_errors_found == 2


def test_errors_of_a_log_are_counted_by_what_they_say() -> None:
    lines = [
        f"2026-03-01 12:{n:02}:00 {'ERROR no route to ' + str(n) if n % 3 == 0 else 'INFO fine'}" for n in range(30)
    ]
    result = task_run("error-patterns", docs="\n".join(lines))
    assert result.error_categories == {"Logged errors": ["no route to #: logged 10 times"]}
    assert result.total_errors_found == 1
