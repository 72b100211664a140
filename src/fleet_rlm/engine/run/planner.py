"""The planner with a gate: a module in place of `rlm.generate_action` that asks the gate before planning and running.

It also adds what dspy leaves out: unreadable answers are asked for again with a note, a person's hints stand at the end
of the prompt (so that its beginning stays in the provider's cache), and a run that is to be finished is ended here.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import dspy

from fleet_rlm import events as ev
from fleet_rlm.engine.control.budgets import Spending
from fleet_rlm.engine.control.cancel import CancelToken
from fleet_rlm.engine.control.gate import Answer, Gate
from fleet_rlm.engine.models.context_windows import Window, is_overflow
from fleet_rlm.engine.models.observed_engine import CallInterrupted
from fleet_rlm.engine.run.final_extraction import Extraction, Prompting, beside
from fleet_rlm.engine.run.reply_adapter import PlannerAdapter, Verbatim
from fleet_rlm.engine.run.run_failures import AnswerCut, CallRefused, model_failure
from fleet_rlm.engine.run.submissions import check_submissions
from fleet_rlm.engine.run_errors import AgentStopped, FinishRequested, PlannerGaveUp
from fleet_rlm.engine.trace.run_observer import Observer, fields_of
from fleet_rlm.engine.trace.spans import AgentState
from fleet_rlm.replies import EMPTY

Fields = dict[str, Any]  # the keyword arguments that dspy hands its planner: signature, texts, history

UNREADABLE_IN_A_ROW = 3
HINT = "The person who runs this tells you: {text}"
AGAIN = "Your previous version of this step was not run. Write another, different version of it."
AGAIN_AFTER_ERROR = "The last step failed. Write another version of it that avoids the error."
EDITED = "(The operator changed the code of this step before it ran.)"
FORMAT = (
    "Answer with the fields `reasoning` and `code`, in the format that was described; the final answer too is given by "
    "code, which calls SUBMIT(...)."
)
LEFT_OUT = "(Not all of this answer ran: {what}.)"
ADAPTER = PlannerAdapter()
DSPYS_GUESS = "(~500K char capacity)"
OVERFLOWS = 3
"""How often one step is planned again on a shorter history, after the model said that its prompt is too long."""


@dataclass(slots=True)
class PlannerBinding:
    """Replaces the planner and the extraction of each `dspy.RLM` of a run by gated ones."""

    gate: Gate
    token: CancelToken
    spending: Spending
    observer: Observer
    emit: Callable[[ev.Event], object]
    window: Window
    """The context window of the run's own planner."""
    sub_window: Window

    def bind(self, module: dspy.RLM, *, root: bool) -> GatedPlanner:
        """Replace the RLM's planner and extraction with gated ones, and return the planner."""
        if isinstance(module.generate_action, GatedPlanner):
            return module.generate_action
        prompting = Prompting(self.emit, self.window if root else self.sub_window)
        module.generate_action.signature = self._with_sizes(module.generate_action.signature, prompting.window)
        planner = GatedPlanner(module.generate_action, self, prompting, root=root)

        def others() -> Iterator[tuple[Any, Window]]:
            if root and self.sub_window is not self.window:
                yield module.sub_lm, self.sub_window

        def asked() -> tuple[type[dspy.Signature], list[dict[str, Any]]]:
            return planner.asked, planner.inner.demos

        module.extract = Extraction(module.extract, prompting, asked, others, self.observer.is_cut)
        module.generate_action = planner
        check_submissions(module)
        if not root:  # `Drive` itself handles the end of the run's own planner
            module.forward = functools.partial(_answer_or_extract, module, planner, module.forward)
        return planner

    def _with_sizes(self, signature: type[dspy.Signature], window: Window) -> type[dspy.Signature]:
        """Put the models' real context sizes into the instructions, in place of dspy's guess."""
        instructions = signature.instructions.replace(DSPYS_GUESS, f"({self.sub_window.words()})")
        # The planner's own part of the instructions says where its code runs.
        instructions = instructions.replace("Python REPL environment", "Python REPL")
        if window.answer:
            instructions += f"\nYour own answer, with reasoning and code, may have at most {window.answer:,} tokens."
        sized: type[dspy.Signature] = signature.with_instructions(instructions)
        return sized


class GatedPlanner(dspy.Module):
    """Plans the next step, and waits at the gate before planning and before its code runs."""

    def __init__(self, inner: dspy.Predict, binding: PlannerBinding, prompting: Prompting, *, root: bool) -> None:
        super().__init__()
        self.inner = inner
        self.binding = binding
        self.prompting = prompting
        self.root = root
        self.variables_info: object = []
        """The newest description of the inputs, kept with `history` for an extraction."""
        self.history: Any = None  # dspy's REPLHistory
        self.asked: type[dspy.Signature] = self.signature
        """The signature that it was asked with last."""

    @property
    def signature(self) -> type[dspy.Signature]:
        """The signature, which dspy reads to fit the instructions to the interpreter."""
        signature: type[dspy.Signature] = self.inner.signature
        return signature

    async def aforward(self, **fields: Any) -> dspy.Prediction:
        """Run `forward` in a thread: a gate may hold it for long."""
        return await asyncio.to_thread(self.forward, **fields)

    def forward(self, **fields: Any) -> dspy.Prediction:
        """Plan a step. Raises `FinishRequested`, `AgentStopped`, `RunAborted`, `PlannerGaveUp`, `LMError`."""
        self.variables_info, self.history = fields["variables_info"], fields["repl_history"]
        self.asked = fields.get("signature", self.signature)
        agent = self._agent()
        notes = self._wait_before_planning(agent)
        attempt = 0
        while True:
            if self.root:
                notes += [HINT.format(text=hint) for hint in self.binding.gate.take_hints()]
            self._check_end()
            reasoning, code = self._plan(fields, notes, attempt, agent)
            answer = self.binding.gate.at_code(agent.iteration_span, agent.iteration, reasoning, code)
            self._check_end(answer)
            if answer.decision != "retry":
                return self._decided(reasoning, code, answer, agent, notes)
            attempt += 1
            notes.append(f"{AGAIN} {answer.text}".strip())

    def _agent(self) -> AgentState:
        node = self.binding.observer.tree.current()
        if node is None or node.agent is None:  # called where dspy's callbacks are off
            return AgentState(root=self.root, span=self.binding.observer.run_span)
        return node.agent

    def _wait_before_planning(self, agent: AgentState) -> list[str]:
        """Wait at the gate: at `error` after a failed step, else at `planner`. Return notes for the prompt."""
        self._check_end()
        gate, place = self.binding.gate, (agent.iteration_span, agent.iteration)
        error, agent.last_error = agent.last_error, None
        answer = gate.at_error(*place, error) if error is not None else gate.at_planner(*place)
        self._check_end(answer)
        return [f"{AGAIN_AFTER_ERROR} {answer.text}".strip()] if answer.decision == "retry" else []

    def _check_end(self, answer: Answer | None = None) -> None:
        """Raise `FinishRequested`, `AgentStopped` or `RunAborted` when the run is to end."""
        self.binding.token.check()
        gate = self.binding.gate
        if not self.root and self.binding.observer.tree.is_orphan():
            raise AgentStopped("The cell that this sub-agent worked for is over.")
        if (why := self.binding.spending.exhausted(planning=answer is None)) is not None:
            gate.request_finish(why, by_person=False)
        if not gate.finishing() and (answer is None or answer.decision != "finish"):
            return
        reason = gate.finish or "you finished it"
        if self.root:
            raise FinishRequested(reason, by_person=gate.finish_by_person)
        raise AgentStopped(f"The run is being finished: {reason}.")

    # -- planning --------------------------------------------------------------------------------------------------

    def _plan(self, fields: Fields, notes: list[str], attempt: int, agent: AgentState) -> tuple[str, Verbatim]:
        """Ask for the next step and return its reasoning and code. An unreadable answer is asked for again."""
        complaints: list[str] = []
        cuts, most = 0, ""
        room: int | None = None
        place = {"iteration": agent.iteration, "parent": agent.span}
        rest, overflows = beside(self.asked, fields), 0
        while True:
            asked = attempt + len(complaints)
            history = self.prompting.history(fields["repl_history"], "\n".join([rest, *notes]), place, room)
            try:
                with dspy.context(adapter=ADAPTER):
                    call = self._with_notes(fields, [*notes, *complaints[-1:]], asked)
                    action = self.inner(**{**call, "repl_history": history})
                return action.reasoning, action.code
            except dspy.AdapterParseError as error:
                why = str(error.__cause__ or EMPTY)
                self.binding.emit(
                    ev.Notice(
                        level="warning", text=f"the planner is asked again: {why}", parent=agent.iteration_span,
                        iteration=agent.iteration,
                    )
                )  # fmt: skip
            except AnswerCut as error:
                cuts += 1
                most = f" of {error.limit:,} tokens" if error.limit else ""
                why = (
                    f"It was cut off at the limit{most}, so nothing of it was run: take a smaller step, in fewer words."
                )
            except CallInterrupted:
                self._check_end()
                raise AgentStopped("The planner was interrupted.") from None
            except dspy.LMError as error:
                if is_overflow(error) and history.entries and overflows < OVERFLOWS:
                    overflows, room = overflows + 1, self.prompting.smaller(rest, history)
                elif not self._try_again_after(error, agent):
                    self._give_up(error)
                self._check_end()
                continue
            complaints.append(f"Your previous answer could not be used. {why} {FORMAT}")
            if len(complaints) >= UNREADABLE_IN_A_ROW:
                fault, hint = "could not be read", "Use a stronger model."
                if cuts == len(complaints):
                    fault, hint = f"was cut off at the limit{most}", "Raise DSPY_LM_MAX_TOKENS."
                elif cuts:
                    hint = f"Use a stronger model, or raise DSPY_LM_MAX_TOKENS: {cuts} were cut off."
                what = f"The planner's answer {fault} {len(complaints)} times in a row."
                hint += " The run file holds each answer as it came."
                raise PlannerGaveUp(what, ev.Failure(type="PlannerUnreadable", message=what, hint=hint))
            self._check_end()

    def _give_up(self, error: dspy.LMError) -> NoReturn:
        """Raise the error; after the first step raise `PlannerGaveUp`, which forces a final answer."""
        refused = isinstance(error, CallRefused) and not is_overflow(error)
        if refused or not self.history.entries:
            raise error
        failure = model_failure(error)
        raise PlannerGaveUp(f"the planner failed: {failure.message}", failure) from error

    def _try_again_after(self, error: dspy.LMError, agent: AgentState) -> bool:
        """Ask the gate after a model's final failure; return whether to ask the model again."""
        answer = self.binding.gate.at_error(agent.iteration_span, agent.iteration, model_failure(error))
        self._check_end(answer)
        return answer.decision == "retry"

    @staticmethod
    def _with_notes(fields: Fields, notes: list[str], attempt: int) -> Fields:
        call = dict(fields)
        if notes:
            call["iteration"] = "\n\n".join([fields["iteration"], *notes])
        if attempt:
            call["config"] = {**fields.get("config", {}), "rollout_id": attempt, "temperature": 1.0}
        return call

    def _decided(
        self, reasoning: str, code: Verbatim, answer: Answer, agent: AgentState, notes: list[str]
    ) -> dspy.Prediction:
        hints = [note for note in notes if note.startswith(HINT.partition("{")[0])]
        reasoning = "\n\n".join([reasoning, *(f"({hint})" for hint in hints)])
        if answer.decision == "edit":
            agent.origin = "operator"
            return dspy.Prediction(reasoning=f"{reasoning}\n\n{EDITED}", code=Verbatim(answer.code))
        if answer.decision == "skip":
            agent.skip_next = True
        elif code.left_out:
            reasoning = f"{reasoning}\n\n{LEFT_OUT.format(what=code.left_out)}"
        return dspy.Prediction(reasoning=reasoning, code=code)


def _answer_or_extract(
    module: dspy.RLM, planner: GatedPlanner, forward: Callable[..., dspy.Prediction], /, **inputs: Any
) -> dspy.Prediction:
    """Run a sub-agent; when its planner gives up, extract an answer from its steps so far."""
    try:
        return forward(**inputs)
    except PlannerGaveUp as error:
        try:
            given = module.extract(variables_info=planner.variables_info, repl_history=planner.history)
        except (dspy.LMError, dspy.AdapterParseError):
            raise error from None
        steps = [entry.model_dump() for entry in planner.history.entries]
        return dspy.Prediction(trajectory=steps, final_reasoning=error.reason, **(fields_of(given) or {}))
