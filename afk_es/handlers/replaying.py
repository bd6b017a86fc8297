"""Serves a recording in order: the k-th request to a model gets the k-th recorded answer, whatever is asked today.

It stands before the table of live handlers, as `reusing` does for forks; but a fork answers what is asked the same, and a replay what is
asked in the same place, so that the difference of one prompt does not hide all that follows. Policies, output types, routers and
instructions functions are today's, and really asked. No model, tool, subagent without a recording, summariser or person ever is: what has
no recorded answer is held, and once nothing else goes on, the run is laid down with the reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from afk_es.handlers.agenda import Agenda
from afk_es.handlers.holding import Holding, Unanswered
from afk_es.handlers.leftovers import Leftover, leftovers
from afk_es.handlers.moments import Moments
from afk_es.handlers.substitutes import MARKS, addressed, allowed
from afk_es.handlers.tape import Asked, Part, Question, Tape
from afk_es.handlers.virtual_time import UNRECORDED, RunTime, VirtualTime
from afk_es.handlers.withholding import Withholding
from afk_es.machine import AgentRunEvent, Draft, Effect, RunState, decide
from afk_es.machine.effects import (
    AskPerson,
    CallModel,
    CancelSubagent,
    EvaluatePolicy,
    ExecuteTool,
    ResolveInstructions,
    RouteSubagents,
    RunSubagent,
    Summarise,
    ValidateOutput,
    Wait,
)
from afk_es.machine.events import TERMINAL
from afk_es.machine.spec import RunSpec
from afk_es.machine.values import ToolCall, digest_json

LiveHandler = Callable[[Any, RunState], Awaitable[Draft]]
_MICROSECOND = dt.timedelta(microseconds=1)


class Playback:
    """Serves one recorded run to one run of today.

    Args:
        tape: the recording.
        time: the family's.
        recorded: the agent as recorded, whose terms are compared with today's: waits of equal terms end when the recorded ones did.
        from_log: there is no code of the agent: policies, output types, routers and instructions functions are answered from the record.
        has_child: whether the log has that run of a subagent, so that it is replayed as well.
        late: by how many microseconds a subagent's run of today ended later than the recorded one; None where it never began.
        withholding: what the recording kept back, of what live code answers as well; None for nothing.

    Attributes:
        unanswered: what there was none for, in order.
        stopped: whether the run was laid down for that.
        children: per id of a subagent's run of today, the recorded call that it stands for.
    """

    def __init__(
        self,
        tape: Tape,
        time: VirtualTime,
        recorded: RunSpec,
        *,
        from_log: bool = False,
        has_child: Callable[[str], bool],
        late: Callable[[str], int | None],
        withholding: Withholding | None = None,
    ) -> None:
        self.tape = tape
        self.time = time
        self.unanswered: list[Unanswered] = []
        self.stopped: bool = False
        self.children: dict[str, Asked] = {}
        self._recorded = recorded
        self._withholding = withholding
        self._from_log = from_log
        self._has_child = has_child
        self._late = late
        self._live: Mapping[type, LiveHandler] = {}
        self._state: Callable[[], RunState] = _no_run
        self._post: Callable[[Draft], None] | None = None
        self._busy: Callable[[], bool] | None = None
        self._asleep: set[str] = set()
        self._held = Holding()
        self._begun = 0
        self._asked: dict[str, int] = {"model": 0, "summary": 0, "instructions": 0, "route": 0, "output": 0}
        self._policies_asked: dict[tuple[str, str], int] = {}
        self._given_answers = 0
        self._agenda = Agenda(tape, time, self)
        self._opening = True
        self._moments = Moments(tape, time, recorded)
        self._digests: dict[int, str] = {}
        """Per seq of a start of a tool, the digest of its arguments."""
        self._questions: dict[int, Question] = {}
        self.clock: RunTime = RunTime(time, self._next_moment)

    def over(
        self,
        live: Mapping[type, LiveHandler],
        state: Callable[[], RunState],
        post: Callable[[Draft], None],
        busy: Callable[[], bool],
    ) -> dict[type, LiveHandler]:
        """The table that stands before this one.

        Args:
            state: where the run stands.
            post: puts an event from outside into the run.
            busy: whether something has come in that was not taken in yet.
        """
        self._live, self._state, self._post, self._busy = live, state, post, busy
        self._agenda.over(state, post)
        return {
            **live,
            CallModel: self._model,
            ExecuteTool: self._tool,
            RunSubagent: self._subagent,
            CancelSubagent: self._cancel,
            EvaluatePolicy: self._policy,
            ResolveInstructions: self._instructions,
            RouteSubagents: self._route,
            Summarise: self._summary,
            ValidateOutput: self._output,
            AskPerson: self._person,
        }

    # ------------------------------------------------------------------------------------------------------------------ its stretches

    @property
    def served(self) -> int:
        """Recorded answers that were given."""
        return self._given_answers + self._agenda.said

    @property
    def parts_left(self) -> bool:
        """Whether the recorded run was resumed after the stretch that is served."""
        return self._begun < len(self.tape.parts)

    @property
    def reopens(self) -> bool:
        """Whether the recorded run failed in the stretch that is served, and was reopened."""
        return self.parts_left and self.tape.events[self.tape.parts[self._begun].first - 1].data.get("reopened", False)

    def next_part(self) -> int:
        """Go on with the next recorded stretch, or with none where there is none; the moment at which it began."""
        part = self.tape.parts[self._begun] if self.parts_left else Part(len(self.tape.events) + 1)
        self._begun += 1
        self._moments.part = part
        self._opening = True
        return self.tape.moment(part.first)

    def folded(self, event: AgentRunEvent) -> None:
        """Hear of an event that is folded, and not durable yet: the next one's time depends on whether the recording has it there."""
        self._moments.folded(event)

    def note(self, event: AgentRunEvent) -> None:
        """Take note that an event of the run is durable."""
        kind = event.type
        reused = event.data.get("reused")
        if reused is not None:
            self._moments.stands_for(event.seq, reused["seq"])
        if kind == "run_started":
            self._opened(event)
        elif kind == "tool_started":
            self._digests[event.seq] = event.data["arguments_hash"]
        elif kind in ("approval_requested", "input_requested"):
            self._asked_of(event)
        elif kind == "tool_deferred":
            self._deferred(event)
        elif kind in TERMINAL:
            self._agenda.close()

    def _opened(self, event: AgentRunEvent) -> None:
        part = self._moments.part
        assert part is not None
        self._opening = False
        self._moments.stands_for(event.seq, part.first)
        self.time.join(event.run_id, self)
        self._agenda.open(part)

    def left(self) -> None:
        """The stretch is over. What it has asked of its subagents has been heard by now."""
        self.time.leave(self._state().run_id)
        self._agenda.close()

    @property
    def late(self) -> int:
        """By how many microseconds its stretch ended later than the recorded one; below 0, earlier."""
        return self._moments.late(self._state().at)

    def knows(self, seq: int) -> bool:
        """Whether the question that this event of the run puts was put in the recording."""
        return seq in self._questions

    def leftovers(self) -> Iterator[Leftover]:
        """The recorded answers that nobody asked for."""
        return leftovers(self.tape)

    # ---------------------------------------------------------------------------------------------------------------- kinds of effects

    async def _model(self, effect: CallModel, state: RunState) -> Draft:
        return await self._in_order("model", self.tape.models, effect, state, f"model {effect.model}")

    async def _summary(self, effect: Summarise, state: RunState) -> Draft:
        return await self._in_order("summary", self.tape.summaries, effect, state, "the summariser")

    async def _in_order(self, kind: str, shelf: list[Asked], effect: CallModel | Summarise, state: RunState, what: str) -> Draft:
        place = self._asked[kind]
        self._asked[kind] = place + 1
        if place >= len(shelf):
            times = f"{len(shelf)} time{'' if len(shelf) == 1 else 's'}"
            return await self._hold(effect, effect.seq, what, f"{what} was asked {times} in the recording, and is asked once more")
        shelf[place].given = True
        return await self._given(shelf[place], effect, effect.seq, state, what)

    async def _tool(self, effect: ExecuteTool, state: RunState) -> Draft:
        name = effect.call.tool_name
        what = f"tool {name}"
        asked = self.tape.call(name, self._digests.pop(effect.seq, ""), (effect.ordinal, effect.attempt))
        if asked is None:
            return await self._hold(effect, effect.seq, what, _unrecorded(what, effect.call))
        return await self._given(asked, effect, effect.seq, state, what)

    async def _subagent(self, effect: RunSubagent, state: RunState) -> Draft:
        what = f"subagent {effect.subagent_name}"
        if effect.run_id not in self.children:
            asked = self.tape.call(f"subagent:{effect.subagent_name}", effect.task, (effect.ordinal, effect.attempt))
            if asked is None:
                return await self._hold(effect, effect.seq, what, _unrecorded(what, effect.call))
            self._moments.stands_for(effect.seq, asked.seq)
            if not self._has_child(asked.child):
                return await self._given(asked, effect, effect.seq, state, what)
            self.children[effect.run_id] = asked
            self._given_answers += asked.answer is not None
        return await self._heard(await self._live[RunSubagent](effect, state), effect)

    async def _cancel(self, effect: CancelSubagent, state: RunState) -> Draft:
        if effect.run_id not in self.children:
            asked = next((each for each in self.tape.subagents if each.seq == self._moments.recorded_seq(effect.seq)), None)
            if asked is not None and asked.answer is not None:
                return await self._given(asked, effect, effect.seq, state, f"subagent {effect.subagent_name}")
        return await self._heard(await self._live[CancelSubagent](effect, state), effect)

    async def _heard(self, draft: Draft, effect: RunSubagent | CancelSubagent) -> Draft:
        """The end of a subagent's run, as long after it as its parent heard of it: siblings may have ended before it at the same moment."""
        recorded = self.children.get(effect.run_id)
        draft = self._kept_back(draft, recorded.answer if recorded is not None else None)
        if draft.type == "subagent_completed" and recorded is not None and recorded.answer is not None:
            seq, late = recorded.answer.seq, self._late(effect.run_id)
            if late == 0:
                await self._until(seq, effect.id)
            elif late is not None:
                await self._asleep_until(self.tape.moment(seq) + late, UNRECORDED, effect.id)
                self._moments.in_step = False
        return draft

    async def _policy(self, effect: EvaluatePolicy, state: RunState) -> Draft:
        if not self._from_log and self._withholding is None:
            return await self._live[EvaluatePolicy](effect, state)
        key = (effect.call.id, effect.call.tool_name) if effect.call is not None else ("", "")
        place = self._policies_asked.get(key, 0)
        self._policies_asked[key] = place + 1
        shelf = self.tape.policies.get(key, ())
        recorded = shelf[place] if place < len(shelf) else None
        if self._from_log:
            return self._copy(recorded, effect, state) if recorded is not None else allowed(effect, state)
        draft = await self._live[EvaluatePolicy](effect, state)
        if recorded is not None and effect.call is not None:
            call = effect.call
            same = self._recorded.tool(call.tool_name) == state.spec.tool(call.tool_name)
            if same and self._judges_marks(draft, recorded, "tool_failed", call.arguments):
                return self._copy(recorded, effect, state)
        return self._kept_back(draft, recorded)

    async def _instructions(self, effect: ResolveInstructions, state: RunState) -> Draft:
        return await self._function("instructions", self.tape.instructions, effect, state, "the instructions are a function")

    async def _route(self, effect: RouteSubagents, state: RunState) -> Draft:
        place, recorded = self._asked["route"], self.tape.routes
        draft = await self._function("route", recorded, effect, state, "the router is a function")
        self._moments.routed(draft.data, recorded[place].data if place < len(recorded) else None)
        return draft

    async def _function(
        self, kind: str, recorded: list[AgentRunEvent], effect: ResolveInstructions | RouteSubagents, state: RunState, what: str
    ) -> Draft:
        """A function of the user's own: asked where it is at hand, and its answer comes when the recorded one did."""
        place = self._asked[kind]
        self._asked[kind] = place + 1
        answer = recorded[place] if place < len(recorded) else None
        if self._from_log and answer is None:
            # The recording ends here as well.
            return await self._hold(effect, state.seq, kind, f"{what}, and there is only its log: pass the agent", hung=True)
        draft = None if self._from_log else await self._live[type(effect)](effect, state)
        if answer is not None:
            await self._until(answer.seq, effect.id)
            draft = draft or self._copy(answer, effect, state)
        assert draft is not None
        return self._kept_back(draft, answer)

    async def _output(self, effect: ValidateOutput, state: RunState) -> Draft:
        place = self._asked["output"]
        self._asked["output"] = place + 1
        recorded = self.tape.outputs[place] if place < len(self.tape.outputs) else None
        if self._from_log and recorded is not None:
            return self._copy(recorded, effect, state)
        draft = await self._live[ValidateOutput](effect, state)
        if recorded is not None and self._recorded.output_schema == state.spec.output_schema:
            answer = effect.structured if effect.structured is not None else effect.text
            if self._judges_marks(draft, recorded, "output_rejected", answer):
                return self._copy(recorded, effect, state)
        return self._kept_back(draft, recorded)

    def _kept_back(self, draft: Draft, recorded: AgentRunEvent | None) -> Draft:
        return draft if self._withholding is None else self._withholding.draft(draft, recorded)

    def _judges_marks(self, draft: Draft, recorded: AgentRunEvent, refusal: str, given: Any) -> bool:
        """Whether today's validation and the recorded one differ, and today's was of marks in the place of what was really given."""
        if self._withholding is None or refusal not in (draft.type, recorded.type):
            return False
        return self._withholding.holds_mark(given)

    async def _person(self, effect: AskPerson, state: RunState) -> Draft:
        """Nobody is asked: what people answered is posted when they did, however it came."""
        what = f"{effect.kind} for {effect.request['tool_name']}"
        question = self._questions.get(effect.seq)
        if question is None:
            return await self._hold(effect, effect.seq, what, f"nobody was asked for {what} in the recording")
        return await self._hold(effect, effect.seq, what, f"nobody answered the question for {what} in the recording", hung=True)

    # ------------------------------------------------------------------------------------------------------------------ what was said

    def _asked_of(self, event: AgentRunEvent) -> None:
        data = event.data
        kind = event.type.removesuffix("_requested")
        question = self.tape.question(kind, data["tool_name"], data.get("arguments_hash") or data["tool_name"])
        if question is None:
            return
        self._questions[event.seq] = question
        self._moments.stands_for(event.seq, question.seq)
        for answer in question.answers:
            self._agenda.answer(answer, data)
        question.answers = []

    def _deferred(self, event: AgentRunEvent) -> None:
        endings = self.tape.tickets.get(event.data["ticket_id"])
        if endings:
            self._agenda.end_ticket(endings.pop(0), event.data["tool_call_id"])

    # ---------------------------------------------------------------------------------------------------------------------- waiting

    async def wait(self, effect: Wait) -> None:
        """Let a wait pass: until the recorded one ended, where it is the same, else until it is due today."""
        moment, place = self._moments.of_wait(effect, self._state().spec)
        await self._asleep_until(moment, place, effect.id)

    def idle(self) -> None:
        """The run waits: time may go on."""
        self.time.stir()

    async def _until(self, seq: int, key: str) -> None:
        await self._asleep_until(self.tape.moment(seq), seq, key)

    async def _asleep_until(self, moment: int, seq: int, key: str) -> None:
        self._asleep.add(key)
        try:
            await self.time.until(moment, self, seq, lambda: self._asleep.discard(key))
        except asyncio.CancelledError:
            self._asleep.discard(key)
            raise

    def _next_moment(self) -> int | None:
        # A stretch that opens has no state to ask yet.
        return None if self._opening else self._moments.of_next(self._state().seq + 1)

    def together(self, seq: int) -> int:
        """See `Tape.together`."""
        return self.tape.together(seq)

    def settled(self) -> bool:
        """Whether all that should be under way sleeps, is held, or is a subagent's run, which is looked at itself."""
        assert self._busy is not None
        state = self._state()
        if self._agenda.coming or state.ended or self._busy():
            return False
        decision = decide(state)
        return not decision.events and all(map(self._quiet, decision.effects))

    def _quiet(self, effect: Effect) -> bool:
        if effect.id in self._asleep or self._held.has(effect.id):
            return True
        # One that is to be ended is never waited for: it hears of that and ends, whatever the time is.
        return isinstance(effect, RunSubagent) and self.time.lives(effect.run_id)

    def stopped_short(self) -> bool:
        """Lay the run down where something is held that the recording never had, and nothing else goes on but terms."""
        new = self._held.new
        if not new or self._agenda.answers_due:
            return False
        for effect in decide(self._state()).effects:
            if not self._held.has(effect.id) and not (isinstance(effect, Wait) and not effect.id.startswith("retry:")):
                return False
        return self._lay_down(new)

    def give_up(self) -> bool:
        """Lay the run down since nobody comes any more."""
        effects = decide(self._state()).effects
        if any(isinstance(effect, RunSubagent) and self.time.lives(effect.run_id) for effect in effects):
            return False
        state = self._state()
        return self._lay_down(
            self._held.all
            or [Unanswered(state.run_id, state.seq, "something from outside", "it waits for what the recording does not have")]
        )

    def _lay_down(self, unanswered: list[Unanswered]) -> bool:
        self.stopped = True
        self.unanswered += unanswered
        reason = "; ".join(dict.fromkeys(each.reason for each in unanswered))
        assert self._post is not None
        self._post(Draft("control_requested", {"action": "interrupt", "reason": reason, "origin": "replay"}, reason))
        return True

    async def _hold(self, effect: Effect, seq: int, what: str, reason: str, *, hung: bool = False) -> Draft:
        """Perform nothing, and never answer."""
        # Nobody has been asked yet whether all wait, with this among them.
        self.time.stir()
        return await self._held.hold(effect.id, Unanswered(self._state().run_id, seq, what, reason), hung=hung)

    # ----------------------------------------------------------------------------------------------------------------- what is recorded

    async def _given(self, asked: Asked, effect: Effect, seq: int, state: RunState, what: str) -> Draft:
        answer = asked.answer
        if answer is None:
            return await self._hold(effect, seq, what, f"{what} had not answered when the recorded run ended", hung=True)
        self._given_answers += 1
        await self._until(answer.seq, effect.id)
        return self._copy(answer, effect, state)

    def _copy(self, event: AgentRunEvent, effect: Effect, state: RunState) -> Draft:
        """The recorded answer, addressed to this very effect."""
        data = {key: value for key, value in event.data.items() if key not in MARKS}
        since = self.time.start + dt.timedelta(microseconds=self.tape.moment(event.seq)) - event.at
        draft = addressed(Draft(event.type, data, event.message), effect, state, since)
        draft.data["reused"] = {"run_id": self.tape.run_id, "seq": event.seq}
        return draft


def _no_run() -> RunState:
    raise AssertionError("the run has not begun")


def _unrecorded(what: str, call: ToolCall) -> str:
    return f"{what} ({call.id}, arguments {digest_json(call.arguments)[:8]}) was not called like this, or not so often, in the recording"
