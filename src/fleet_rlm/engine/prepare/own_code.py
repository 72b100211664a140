"""Signatures and tools of a person's own: found by `module:Name`, checked with words that a person can act on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_rlm import events as ev
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.tasks.references import is_reference
from fleet_rlm.tasks.tools import BUNDLED

if TYPE_CHECKING:
    import dspy

Function = Callable[..., Any]  # a tool of any shape


@dataclass(frozen=True, slots=True)
class Tool:
    """A host function that generated code may call."""

    name: str
    function: Function
    """The function, or a `dspy.Tool`."""
    reference: str | None
    """Where it stands; None for one that only this program has."""

    @property
    def record(self) -> ev.Tool:
        described = getattr(self.function, "desc", None) or getattr(self.function, "__doc__", None) or ""
        return ev.Tool(name=self.name, reference=self.reference, description=" ".join(str(described).split()))


def find(reference: str, cwd: str, what: str) -> object:
    """What stands under `module:Name`, the module looked for where Python looks and in `cwd`. Raises `SetupError`."""
    if not is_reference(reference) or reference.partition(":")[0].endswith(".py"):
        file, _, name = reference.partition(":")
        hint = f"Write it like {Path(file).stem or 'my_module'}:{name or 'name'}."
        raise SetupError(f"{reference!r} does not name {what}: it is not of the form module:name.", hint)
    module_name, _, path = reference.strip().partition(":")
    folder = str(Path(cwd).absolute())
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: a file of the folder must not stand before a library
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            words = f"There is no module {module_name!r} ({what}: {reference})."
            raise SetupError(words, f"It was looked for in {folder} and where Python finds modules.") from error
        raise _broken(module_name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _broken(module_name, error) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            has = [name for name in vars(found) if not name.startswith("_")] if hasattr(found, "__dict__") else []
            hint = f"It has: {', '.join(sorted(has)[:20])}." if has else ""
            raise SetupError(f"{module_name} has no {part!r} ({what}: {reference}).", hint) from error
    return found


def _broken(module_name: str, error: BaseException) -> SetupError:
    place, step = "", error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if not name.startswith("<"):
            place = f" ({Path(name).name}, line {step.tb_lineno})"
        step = step.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({Path(error.filename).name}, line {error.lineno})"
    words = str(error).strip().splitlines()[0] if str(error).strip() else "it ended"
    return SetupError(f"The module {module_name!r} can't be imported: {type(error).__name__}: {words}{place}.")


def signature_class(reference: str, cwd: str) -> type[dspy.Signature]:
    """The `dspy.Signature` that stands under a reference. Raises `SetupError`."""
    import dspy

    found = find(reference, cwd, "a signature")
    if not (isinstance(found, type) and issubclass(found, dspy.Signature)):
        raise SetupError(
            f"{reference} is no dspy.Signature but {_kind(found)}.", "Name a class that derives from dspy.Signature."
        )
    return found


def signature_of(text: str, instructions: str, cwd: str) -> type[dspy.Signature]:
    """The signature that a text names or writes. Raises `SetupError`."""
    from fleet_rlm.engine.prepare import signature_notation

    return signature_class(text, cwd) if is_reference(text) else signature_notation.parse(text, instructions)


def tools(given: Iterable[str | Function], cwd: str) -> tuple[Tool, ...]:
    """Tools by reference, by the short name of one that comes with fleet-rlm, or themselves. Raises `SetupError`."""
    found: dict[str, Tool] = {}
    for one in given:
        tool = _named_tool(one, cwd) if isinstance(one, str) else _tool(one, _reference_of(one))
        known = found.get(tool.name)
        if known is not None and known.function is not tool.function:
            raise SetupError(f"Two tools are named {tool.name!r}.", "Rename one: generated code calls them by name.")
        found[tool.name] = tool
    return tuple(found.values())


def _named_tool(text: str, cwd: str) -> Tool:
    reference = BUNDLED.get(text.strip(), text.strip())
    if ":" not in reference:
        have = ", ".join(BUNDLED)
        raise SetupError(f"There is no tool named {text!r}.", f"Write module:function, or one of: {have}.")
    return _tool(find(reference, cwd, "a tool"), reference)


def _tool(found: object, reference: str | None) -> Tool:
    if not callable(found) or isinstance(found, type):
        raise SetupError(f"The tool {reference or found!r} is {_kind(found)}, not a function.")
    name = getattr(found, "name", None) or getattr(found, "__name__", "")
    if not isinstance(name, str) or not name.isidentifier():
        raise SetupError(f"The tool {reference or found!r} has no name that code could call.", "Define it with def.")
    return Tool(name, found, reference)


def _reference_of(function: object) -> str | None:
    """Where others can find a function of this program, when they can."""
    named = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    return named if is_reference(named) and not named.startswith("__main__:") else None


def reference_of_signature(signature: type[dspy.Signature]) -> str | None:
    """Where others can find a signature's class, when they can."""
    module = sys.modules.get(signature.__module__)
    own = getattr(module, signature.__qualname__.partition(".")[0], None) if module else None
    return _reference_of(signature) if own is not None else None


def check_names(signature: type[dspy.Signature], given: Sequence[Tool]) -> None:
    """Raises `SetupError` when a name can't be used together with the others in the sandbox."""
    import dspy

    try:
        functions = [tool.function for tool in given]
        dspy.RLM(signature, max_iters=1, tools=functions, interpreter_factory=dspy.LocalInterpreter)
    except (ValueError, TypeError) as error:
        raise SetupError(f"These tools can't be used: {error}", "Rename what is in the way.") from error


def _kind(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
