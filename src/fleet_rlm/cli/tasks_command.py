"""`fleet-rlm tasks`: what can be asked, and what exactly a planner is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet_rlm import events as ev
from fleet_rlm import tasks as catalog
from fleet_rlm.cli import printing
from fleet_rlm.cli.plain_help import App
from fleet_rlm.cli.printing import AsJson
from fleet_rlm.tasks.catalog import Task
from fleet_rlm.tasks.references import is_reference

app = App(name="tasks", help="The tasks that can be run, and your own.", invoke_without_command=True)


@app.callback()
def _default(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_tasks(as_json)


@app.command("list")
def list_tasks(as_json: AsJson = False) -> None:
    """List the tasks that come with fleet-rlm."""
    if as_json:
        printing.say_json([_task_json(task) for task in catalog.TASKS.values()])
        return
    wide = max(map(len, catalog.TASKS))
    for task in catalog.TASKS.values():
        printing.say(f"{task.name:<{wide}}  {task.summary}")
    printing.tell("One of them whole: fleet-rlm tasks show NAME. Your own: fleet-rlm run --signature module:Class")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A task, or module:Class of a signature of your own.")],
    as_json: AsJson = False,
) -> None:
    """Show a task's fields, limits and instructions."""
    shown = _own_json(name, as_json) if is_reference(name) else _task_json(_task(name, as_json))
    if as_json:
        printing.say_json(shown)
        return
    printing.say(f"{shown['name']}  {shown['title']}")
    printing.say(f"signature  {shown['signature']}")
    printing.say(f"class      {shown['class']}")
    for side in ("inputs", "outputs"):
        fields = shown[side]
        assert isinstance(fields, list)
        for field in fields:
            printing.say(f"{side[:-1]:<10} {field['name']}: {field['type']}  {field['holds']}".rstrip())
    if shown["tools"]:
        printing.say(f"tools      {', '.join(shown['tools'])}")
    if limits := shown["budgets"]:
        told = (f"{name.removeprefix('max_').replace('_', ' ')} {value:g}" for name, value in limits.items() if value)
        printing.say(f"limits     {', '.join(told)}")
    printing.say(f"\n{shown['instructions']}")


def _task(name: str, as_json: bool) -> Task:
    try:
        return catalog.get(name)
    except catalog.UnknownTask as error:
        printing.fail(str(error), "fleet-rlm tasks lists all of them.", code=printing.USAGE, as_json=as_json)


def _task_json(task: Task) -> dict[str, ev.Json]:
    def fields(side: str) -> list[dict[str, str]]:
        parts = [part.partition(":") for part in side.split(",")]
        return [
            {"name": name.strip(), "type": kind.strip() or "str", "holds": task.fields[name.strip()]}
            for name, _, kind in parts
        ]

    inputs, _, outputs = task.signature.partition("->")
    budgets = task.budgets
    return {
        "name": task.name,
        "title": task.title,
        "summary": task.summary,
        "signature": task.signature,
        "class": f"fleet_rlm.signatures:{task.class_name}",
        "inputs": fields(inputs),
        "outputs": fields(outputs),
        "documents": task.document_field,
        "question": task.question_field,
        "needs_question": task.needs_question,
        "tools": list(task.tools),
        "budgets": {
            "max_iterations": budgets.max_iterations,
            "max_llm_calls": budgets.max_llm_calls,
            "max_seconds": budgets.max_seconds,
        },
        "instructions": task.instructions,
    }


def _own_json(reference: str, as_json: bool) -> dict[str, ev.Json]:
    from fleet_rlm.engine.prepare import own_code, signature_notation
    from fleet_rlm.engine.run_errors import SetupError

    try:
        signature = own_code.signature_class(reference, str(Path.cwd()))
        signature_notation.check(signature, reference)
    except SetupError as error:
        printing.fail(error.message, error.hint, code=printing.USAGE, as_json=as_json)
    sides = signature_notation.fields_of(signature)
    held = {**signature.input_fields, **signature.output_fields}

    def fields(side: str) -> list[dict[str, str]]:
        told = []
        for one in sides[side]:
            said = str((held[one["name"]].json_schema_extra or {}).get("desc") or "")
            told.append({**one, "holds": "" if said.startswith("${") else said})
        return told

    return {
        "name": signature.__name__,
        "title": "your own",
        "signature": signature_notation.notation_of(signature),
        "class": reference,
        "inputs": fields("inputs"),
        "outputs": fields("outputs"),
        "tools": [],
        "budgets": {},
        "instructions": signature.instructions,
    }
