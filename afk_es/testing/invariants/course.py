"""A run's course as its events tell it: its requests, its calls and what became of each, what it has spent. It does not know the machine.

Invariants look here, and not into the state that the machine folds, so that a wrong fold cannot hide what went wrong. A course takes every
event as it comes and judges nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.testing.simulation.observing import ObservedRun

NO_TIME = dt.timedelta(0)


@dataclass(eq=False, slots=True)
class Question:
    """What a person was asked about a call, and every answer there was."""

    asked: AgentRunEvent
    answers: list[AgentRunEvent] = field(default_factory=list)

    @property
    def outcome(self) -> str | None:
        """As the last answer has it; None where there is none, or it was put off."""
        outcome = self.answers[-1].data["outcome"] if self.answers else None
        return None if outcome == "deferred" else outcome

    @property
    def purpose(self) -> str:
        """Of an approval; words are always asked for by a rule."""
        purpose: str = self.asked.data.get("purpose", "policy")
        return purpose


@dataclass(eq=False, slots=True)
class Start:
    """A start of a call: of its tool, or of a run of its subagent.

    Attributes:
        stretch: the one of the run that it belongs to.
        parked: where the subagent's run was laid down.
    """

    event: AgentRunEvent
    stretch: int
    ending: AgentRunEvent | None = None
    parked: AgentRunEvent | None = None
    doubt: AgentRunEvent | None = None


@dataclass(eq=False, slots=True)
class CalledTool:
    """A tool call that a model or a router asked for.

    Attributes:
        ordinal: 1 for the first of its run.
        proposed: the arguments as they were asked for; a str where the model's JSON was broken.
        gate: the policy's decision about it.
        ending: its `tool_completed`.
        deferred: its `tool_deferred`.
        planned: a router asked for it.
        fed: its task goes on with what nodes upstream of it have answered, which the plan does not say.
    """

    ordinal: int
    id: str
    tool_name: str
    proposed: Any
    step: int
    planned: bool = False
    fed: bool = False
    gate: AgentRunEvent | None = None
    questions: list[Question] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    ending: AgentRunEvent | None = None
    deferred: AgentRunEvent | None = None

    @property
    def arguments(self) -> Any:
        """As it is to run: as it was asked for, or as a rule or a person changed that."""
        arguments = self.proposed
        if self.gate is not None:
            arguments = self.gate.data.get("updated_tool_args", arguments)
        for question in self.questions:
            if question.asked.type == "input_requested" and question.outcome == "answered":
                key, value = question.asked.data["payload"].get("argument"), question.answers[-1].data["value"]
                if key is not None and value is not None:
                    arguments = {**(arguments if isinstance(arguments, dict) else {}), key: value}
        return arguments

    @property
    def under_way(self) -> Start | None:
        """Its last start, if that has no end."""
        last = self.starts[-1] if self.starts else None
        return last if last is not None and last.ending is None and last.doubt is None else None


@dataclass(eq=False, slots=True)
class Course:
    """What has happened in a run.

    Attributes:
        taken: how many events it has taken in.
        stretch: how often the run was begun or resumed.
        owner: who claimed it last.
        claims: the epochs of those claims, in order.
        steps: how many have begun; `step` is the number that the last one gives itself.
        about: the call that the last event is about.
        requested: the calls of the model's last answer.
        calls: those of the batch under way, or of the last one, by id.
        started: every call that was ever started, by the seq of the start.
        all_calls: every call, in order.
        llm_allowed: the policy's last word on a request to the model, in this step.
        llm_open: the `llm_called` that has no result.
        llm_failures: requests of this step that failed, since the run was reopened if it was, by the index of the model.
        answers: `llm_completed` events.
        compaction: the `compaction_started` that has no result.
        cost_usd: all known costs added up; None where there is none. With those of subagents that have ended.
        own_cost_usd: without those.
        tokens: input, output and total, with those of subagents that have ended.
        unpriced: an answer came without a price.
        ran: time in which a process ran the run and it was not paused, up to the last event.
        control: the last wish to end the stretch, or, of a cancellation, the run.
    """

    taken: int = 0
    stretch: int = 0
    owner: str = ""
    claims: list[int] = field(default_factory=list)
    step: int = 0
    steps: int = 0
    about: CalledTool | None = None
    requested: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, CalledTool] = field(default_factory=dict)
    batch: AgentRunEvent | None = None
    started: dict[int, CalledTool] = field(default_factory=dict)
    all_calls: list[CalledTool] = field(default_factory=list)
    llm_allowed: AgentRunEvent | None = None
    llm_open: AgentRunEvent | None = None
    llm_calls: int = 0
    llm_failures: dict[int, int] = field(default_factory=dict)
    tool_calls: int = 0
    answers: list[AgentRunEvent] = field(default_factory=list)
    compaction: AgentRunEvent | None = None
    cost_usd: Decimal | None = None
    own_cost_usd: Decimal | None = None
    tokens: tuple[int, int, int] = (0, 0, 0)
    unpriced: bool = False
    ran: dt.timedelta = NO_TIME
    paused: bool = False
    ended: AgentRunEvent | None = None
    control: AgentRunEvent | None = None
    last_at: dt.datetime | None = None

    def take(self, event: AgentRunEvent) -> None:
        """The next event has happened."""
        self.taken += 1
        kind, data = event.type, event.data
        if self.last_at is not None and kind != "run_started" and not self.paused and self.ended is None:
            self.ran += event.at - self.last_at
        self.last_at = event.at
        call = self.about = self.calls.get(data.get("tool_call_id", "")) if kind in _ABOUT_CALLS else None
        take = _TAKE.get(kind)
        if take is not None:
            take(self, event, data)
        elif call is not None:
            _take_call(self, call, event)
        elif kind in TERMINAL:
            self.ended = event


_ABOUT_CALLS = frozenset(
    {
        "policy_decision",
        "tool_started",
        "tool_failed",
        "tool_completed",
        "tool_deferred",
        "approval_requested",
        "approval_resolved",
        "input_requested",
        "input_resolved",
        "subagent_started",
        "subagent_completed",
        "subagent_waiting",
        "effect_in_doubt",
    }
)


def _run_started(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    course.stretch += 1
    course.owner = data["owner"]
    course.claims.append(data["epoch"])
    course.ended = None
    course.paused = False
    if course.control is not None and course.control.data["action"] != "cancel":
        course.control = None
    if data.get("reopened"):
        course.llm_failures = {}


def _step_started(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    course.step = data["step"]
    course.steps += 1
    course.llm_allowed = None
    course.llm_failures = {}


def _policy_decision(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    if data["event_type"] == "llm_before_execute":
        course.llm_allowed = event
    elif course.about is not None:
        course.about.gate = event


def _llm_called(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    course.llm_open = event
    course.llm_calls += 1


def _llm_ended(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    if event.type == "llm_failed" and course.llm_open is not None:
        index = course.llm_open.data["model_index"]
        course.llm_failures[index] = course.llm_failures.get(index, 0) + 1
    course.llm_open = None
    if event.type == "llm_completed":
        course.answers.append(event)
        course.requested = data["tool_calls"]
        _spend(course, data, own=True)
        course.unpriced = course.unpriced or data["cost_usd"] is None


def _batch_started(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    _open(course, event, [(each["id"], each["tool_name"], each["arguments"]) for each in course.requested], planned=False)


def _routed(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    if data["plan"] is not None:
        nodes = data["plan"]["nodes"]
        _open(course, event, [(node["id"], f"transfer_to_{node['subagent']}", {"task": node["task"]}) for node in nodes], planned=True)
        for node in nodes:
            course.calls[node["id"]].fed = bool(node.get("inputs"))


def _open(course: Course, event: AgentRunEvent, wanted: list[tuple[str, str, Any]], *, planned: bool) -> None:
    course.batch = event
    course.calls = {}
    for call_id, tool_name, arguments in wanted:
        call = CalledTool(len(course.all_calls) + 1, call_id, tool_name, arguments, course.step, planned)
        course.all_calls.append(call)
        course.calls[call_id] = call


def _compaction_started(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    course.compaction = event


def _compaction_ended(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    course.compaction = None
    _spend(course, data, own=True)


def _in_doubt(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    if data["effect"] == "llm":
        course.llm_open = None
    elif data["effect"] == "compaction":
        course.compaction = None
    elif course.about is not None and course.about.starts:
        course.about.starts[-1].doubt = event


def _controlled(course: Course, event: AgentRunEvent, data: dict[str, Any]) -> None:
    match data["action"]:
        case "pause":
            course.paused = True
        case "resume":
            course.paused = False
        case _ if course.control is None or course.control.data["action"] != "cancel":
            course.control = event
        case _:
            pass


def _spend(course: Course, data: dict[str, Any], *, own: bool) -> None:
    usage, cost = data.get("usage"), data.get("cost_usd")
    if usage is not None:
        tokens = course.tokens
        course.tokens = (
            tokens[0] + usage["input_tokens"],
            tokens[1] + usage["output_tokens"],
            tokens[2] + usage["total_tokens"],
        )
    if cost is not None:
        exact = Decimal(repr(cost))
        course.cost_usd = exact if course.cost_usd is None else course.cost_usd + exact
        if own:
            course.own_cost_usd = exact if course.own_cost_usd is None else course.own_cost_usd + exact


def _take_call(course: Course, call: CalledTool, event: AgentRunEvent) -> None:
    match event.type:
        case "tool_started" | "subagent_started":
            call.starts.append(Start(event, course.stretch))
            course.started[event.seq] = call
            course.tool_calls += 1
        case "tool_failed" | "subagent_completed" | "tool_deferred" | "tool_completed":
            if call.under_way is not None:
                call.starts[-1].ending = event
            if event.type == "subagent_completed":
                _spend(course, event.data, own=False)
            elif event.type == "tool_deferred":
                call.deferred = event
            elif event.type == "tool_completed" and call.ending is None:
                call.ending = event
        case "subagent_waiting":
            if call.starts:
                call.starts[-1].parked = event
        case "approval_requested" | "input_requested":
            call.questions.append(Question(event))
        case "approval_resolved" | "input_resolved":
            if call.questions:
                call.questions[-1].answers.append(event)
        case _:
            pass


_TAKE = {
    "run_started": _run_started,
    "step_started": _step_started,
    "policy_decision": _policy_decision,
    "llm_called": _llm_called,
    "llm_completed": _llm_ended,
    "llm_failed": _llm_ended,
    "tool_batch_started": _batch_started,
    "subagents_routed": _routed,
    "compaction_started": _compaction_started,
    "thread_compacted": _compaction_ended,
    "compaction_failed": _compaction_ended,
    "effect_in_doubt": _in_doubt,
    "control_requested": _controlled,
}


def course_of(run: ObservedRun) -> Course:
    """The run's course up to its last event."""
    course: Course | None = run.notes.get(Course)
    if course is None:
        course = run.notes[Course] = Course()
    if course.taken != len(run.events):
        for event in run.events[course.taken :]:
            course.take(event)
    return course


def call_of(run: ObservedRun) -> CalledTool | None:
    """The tool call that the run's last event is about, or None."""
    return course_of(run).about
