"""Everything one can do on the Run screen: its keys, what they do at this moment, and why they do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from textual.binding import Binding

from fleet_rlm.events import Boundary, Decision
from fleet_rlm.spec import is_allowed
from fleet_rlm.tui.run_view.playhead import Playhead
from fleet_rlm.tui.run_view.run_words import speed


@dataclass(frozen=True, slots=True)
class RunSituation:
    """The facts about a run that decide which actions make sense."""

    live: bool = False
    """An engine of ours listens."""
    mode: Literal["live", "replay", "follow"] = "replay"
    gate: Boundary | None = None
    lost: bool = False
    """The gate waits because the sandbox is gone."""
    pausing: bool = False
    executing: bool = False
    over: bool = False
    following: bool = True
    growing: bool = False
    playing: bool = False
    speed: float = 1.0
    at_start: bool = False
    pane: str = "code"
    searching: bool = False
    documents: int = 0
    maximised: bool = False

    @classmethod
    def of(cls, playhead: Playhead, pane: str, searching: bool, documents: int, maximised: bool) -> RunSituation:
        edge = playhead.edge
        iteration = edge.iteration
        return cls(
            live=playhead.live,
            mode=playhead.source.mode,
            gate=edge.gate.at if edge.gate is not None else None,
            lost=edge.waits_for_sandbox,
            pausing=edge.pause_requested,
            executing=bool(iteration and iteration.executions and iteration.executions[-1].finished is None),
            over=edge.is_over,
            following=playhead.following,
            growing=playhead.growing,
            playing=playhead.playing,
            speed=playhead.speed,
            at_start=playhead.position == 0,
            pane=pane,
            searching=searching,
            documents=documents,
            maximised=maximised,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """The state of an action: its label, and why it can't be done now."""

    label: str = ""
    """Other than the usual word, if any."""
    shown: bool | None = None
    """True when the footer shows it; None: as usual."""
    why_not: str = ""
    """Why it can't be done now."""


def offer(action: str, now: RunSituation) -> Offer:
    """Return what an action of this screen does at this moment."""
    if action in _LIVE_ONLY and not now.live:
        more = " Press . for the next event." if action == "step" else ""
        return Offer(why_not=f"{_not_live(now)}{more}")
    special = _SPECIAL.get(action)
    return Offer() if special is None else special(now)


def _not_live(now: RunSituation) -> str:
    if now.mode == "live":
        return "The run is over." if now.over else "The engine has ended: the run can only be read."
    if now.mode == "follow" and not now.over:
        return "Another process controls this run; it is only followed here."
    return "This is a record: only a live run can be controlled."


def _pause(now: RunSituation) -> Offer:
    if now.live:
        if now.lost:
            return Offer("Restart here", shown=False)
        if now.gate is not None:
            return Offer({"fanout": "Send all"}.get(now.gate, "Continue"), shown=False)
        return Offer("Don't pause" if now.pausing else "Pause", shown=True)
    if now.growing and now.following:
        return Offer(why_not=_not_live(now))
    return Offer("Pause" if now.playing else "Play", shown=True)


def _step(now: RunSituation) -> Offer:
    return Offer(shown=now.gate is None, why_not="The sandbox is lost: restart it first." if now.lost else "")


def _change(now: RunSituation) -> Offer:
    if not is_allowed("edit", now.gate):
        return Offer(why_not="Code can be changed while the run waits before it: space pauses, s steps.")
    return Offer(shown=False)


def _restart(now: RunSituation) -> Offer:
    if not now.lost:
        return Offer(why_not="The sandbox is not lost: there is nothing to restart.")
    return Offer(shown=False)


def _retry(now: RunSituation) -> Offer:
    if now.lost:
        return Offer("Ask again", shown=False)
    if not is_allowed("retry", now.gate):
        return Offer(why_not="Another version can be asked for while the run waits before code or on an error.")
    return Offer(shown=False)


def _skip(now: RunSituation) -> Offer:
    if not is_allowed("skip", now.gate):
        return Offer(why_not="A cell can be skipped while the run waits before it.")
    return Offer("Skip" if now.gate == "code" else "Refuse", shown=False)


def _evaluate(now: RunSituation) -> Offer:
    if now.gate is None:
        return Offer(why_not="An expression can be evaluated while the run waits: space pauses.")
    if not is_allowed("eval", now.gate):
        return Offer(why_not="A cell is executing: evaluate at another boundary.")
    if now.lost:
        return Offer(why_not="The sandbox is lost: restart it first.")
    return Offer(shown=False)


def _interrupt(now: RunSituation) -> Offer:
    if not now.executing:
        return Offer(why_not="No code is running.")
    return Offer(shown=True)


def _live_shown(now: RunSituation) -> Offer:
    return Offer(why_not="" if now.live else _not_live(now), shown=now.gate is None)


def _speed(now: RunSituation) -> Offer:
    if now.live:
        return Offer(why_not="A live run has its own speed.")
    return Offer(f"Speed {speed(now.speed)}", shown=True)


def _slower(now: RunSituation) -> Offer:
    if now.live:
        return Offer(why_not="A live run has its own speed.")
    return Offer()


def _backwards(now: RunSituation) -> Offer:
    return Offer(why_not="This is the start.") if now.at_start else Offer()


def _forwards(now: RunSituation) -> Offer:
    if now.following:
        return Offer(why_not="This is the newest moment." if now.growing else "This is the end.")
    return Offer()


def _event_back(now: RunSituation) -> Offer:
    return Offer(shown=not now.live, why_not=_backwards(now).why_not)


def _follow(now: RunSituation) -> Offer:
    return Offer("Follow" if now.following or not now.growing else "Back to now", shown=not now.following)


def _next_hit(now: RunSituation) -> Offer:
    return Offer(shown=True) if now.searching else Offer(why_not="No search is active: / starts one.")


def _search(now: RunSituation) -> Offer:
    return Offer("Filter" if now.pane in ("calls", "variables", "events") else "Search")


def _documents(now: RunSituation) -> Offer:
    if now.documents > 1:
        return Offer(shown=now.pane == "document")
    return Offer(why_not="This run has one document." if now.documents else "This run has no documents.")


def _prompt(now: RunSituation) -> Offer:
    return Offer(shown=now.pane == "code")


def _zoom(now: RunSituation) -> Offer:
    return Offer("All panes" if now.maximised else "Zoom")


_LIVE_ONLY = frozenset({"abort", "step", "change", "restart", "retry", "skip", "evaluate", "interrupt"})
_SPECIAL = {
    "pause": _pause,
    "step": _step,
    "change": _change,
    "restart": _restart,
    "retry": _retry,
    "skip": _skip,
    "evaluate": _evaluate,
    "interrupt": _interrupt,
    "breakpoints": _live_shown,
    "tell": _live_shown,
    "finish": _live_shown,
    "faster": _speed,
    "slower": _slower,
    "iteration_back": _backwards,
    "start": _backwards,
    "event_back": _event_back,
    "iteration_on": _forwards,
    "end": _forwards,
    "event_on": _forwards,
    "follow": _follow,
    "next_hit": _next_hit,
    "previous_hit": _next_hit,
    "search": _search,
    "documents": _documents,
    "prompt": _prompt,
    "zoom": _zoom,
}


def _key(
    name: str, keys: str, action: str, label: str, tip: str, show: bool = False, display: str | None = None
) -> Binding:
    # Before the focused pane sees them: what is typed right after belongs to where the action leads.
    return Binding(keys, action, label, tooltip=tip, id=f"run.{name}", show=show, key_display=display, priority=True)


BINDINGS: tuple[Binding, ...] = (
    _key(
        "pause", "space,f5", "pause", "Pause", "Pause at the next boundary, continue, or play a recorded run", show=True
    ),
    _key("step", "s,f10", "step", "Step", "Run to the next boundary"),
    _key("change", "c", "change", "Change code", "Run another version of the pending code"),
    _key("tell", "t", "tell", "Tell planner", "Give the planner a hint for its next prompt"),
    _key(
        "restart", "R", "restart", "Restart here", "Start a sandbox in place of the lost one and rebuild its variables"
    ),
    _key("retry", "r", "retry", "Retry", "Ask the planner for another version of this step"),
    _key("skip", "K", "skip", "Skip", "Don't run this cell, or refuse this batch"),
    _key("sample", "5", "sample", "Sample 5", "Send only the first five prompts of the batch"),
    _key("finish", "x", "finish", "Finish now", "Force the final answer from what is known"),
    _key("evaluate", "colon", "evaluate", "Evaluate", "Evaluate an expression in the paused sandbox"),
    _key("breakpoints", "b", "breakpoints", "Breakpoints", "Choose where the run pauses on its own"),
    _key("interrupt", "i", "interrupt", "Interrupt", "Stop the running cell; the run goes on"),
    _key("abort", "ctrl+c", "abort", "Abort", "Stop the run; what was recorded is kept"),
    _key("speed", "plus,equals_sign", "faster", "Faster", "Play faster", display="+ -"),
    _key("slower", "minus", "slower", "Slower", "Play slower"),
    _key(
        "back",
        "left_square_bracket,left",
        "iteration_back",
        "Iteration",
        "Go to the iteration before; ] goes to the next one",
        show=True,
        display="[ ]",
    ),
    _key(
        "on", "right_square_bracket,right", "iteration_on", "Next iteration", "Go to the next iteration, or back to now"
    ),
    _key("event_back", "comma", "event_back", "Event", "Go one event back; . goes one on", display=", ."),
    _key("event_on", "full_stop", "event_on", "Next event", "Go one event on"),
    _key("start", "0", "start", "Start", "Go to the beginning of the run"),
    _key("end", "dollar_sign", "end", "End", "Go to the newest moment"),
    _key("error", "e", "error_on", "Next error", "Go to the next error"),
    _key("error_back", "E", "error_back", "Previous error", "Go to the error before"),
    _key("follow", "f", "follow", "Follow", "Go to the newest moment and stay there"),
    _key("bookmark", "m", "bookmark", "Bookmark", "Set a bookmark at this moment, or remove it"),
    _key(
        "next_bookmark",
        "apostrophe",
        "bookmark_on",
        "Next bookmark",
        "Go to the next bookmark; after the last one, to the first",
    ),
    _key("search", "slash", "search", "Search", "Search the focused pane; a table is filtered", show=True),
    _key("next_hit", "n", "next_hit", "Next hit", "Go to the next hit in the focused pane"),
    _key("previous_hit", "N", "previous_hit", "Previous hit", "Go to the hit before in the focused pane"),
    _key("goto", "ctrl+g", "goto", "Go to line", "Go to a line of the document, or to a place such as 40%"),
    _key("documents", "d", "documents", "Documents", "Choose the document that is shown"),
    _key("about", "a", "about", "About", "Show the run's models, sandbox, limits, versions and notices"),
    _key("prompt", "p", "prompt", "Prompt", "Show the planner's prompt of this iteration, or its code again"),
    _key("copy", "y", "copy", "Copy", "Copy what the focused pane shows"),
    _key("pager", "o", "pager", "Pager", "Show the focused pane in the pager"),
    _key(
        "editor",
        "v",
        "editor",
        "Editor",
        "Open the code in $EDITOR; while the run waits before it, run the edited version",
    ),
    _key("zoom", "z", "zoom", "Zoom", "Show the focused pane alone, or all panes again", show=True),
    _key("narrower", "less_than_sign", "resize(-4,0)", "Narrower", "Make the focused pane narrower"),
    _key("wider", "greater_than_sign", "resize(4,0)", "Wider", "Make the focused pane wider"),
    _key("lower", "left_curly_bracket", "resize(0,-2)", "Lower", "Make the focused pane lower"),
    _key("higher", "right_curly_bracket", "resize(0,2)", "Higher", "Make the focused pane higher"),
    _key("sizes", "underscore", "reset_sizes", "Usual sizes", "Give all panes their usual sizes"),
    _key("next", "tab", "next_pane", "Next pane", "Go to the next pane"),
    _key("previous", "shift+tab", "previous_pane", "Previous pane", "Go to the pane before"),
    _key("document", "1", "pane('document')", "Document", "Go to this pane"),
    _key("code", "2", "pane('code')", "Code", "Go to this pane"),
    _key("output", "3", "pane('output')", "Output", "Go to this pane"),
    _key("calls", "4", "pane('calls')", "Calls", "Go to this pane"),
    _key("variables", "5", "pane('variables')", "Variables", "Go to this pane"),
    _key("answer", "6", "pane('answer')", "Answer", "Go to this pane"),
    _key("events", "7", "pane('events')", "Events", "Go to this pane"),
    _key("close", "escape", "close", "Close", "End the search, or show all panes again"),
)
LEAVE = Binding("q", "app.back", "Back", tooltip="Leave this screen; a live run goes on", id="run.leave", show=True)

_ORDER: tuple[tuple[str, str, Decision | Literal["eval"]], ...] = (
    ("space", "pause", "continue"),
    ("s", "step", "step"),
    ("5", "sample", "sample"),
    ("c", "change", "edit"),
    ("r", "retry", "retry"),
    ("K", "skip", "skip"),
    ("t", "tell", "hint"),
    (":", "evaluate", "eval"),
    ("x", "finish", "finish"),
)
GATE_ACTIONS: dict[Boundary, tuple[tuple[str, str], ...]] = {
    at: tuple((key, action) for key, action, decision in _ORDER if is_allowed(decision, at))
    for at in get_args(Boundary)
}
"""The actions that the gate's bar offers: (usual key, action), most wanted first."""
LOST_ACTIONS = (("R", "restart"), ("r", "retry"), ("t", "tell"), ("x", "finish"), ("^c", "abort"))
"""The same when the sandbox is lost."""
