"""Stands in for the world: answers the effects of a run with what was answered in a recorded one, whichever process asks.

It goes by what is asked, and by the place where it is asked in terms of the run: the step, the call's ordinal, and how many attempts
have failed. Never by how often it was asked, since the processes that died had asked as well. So every process of a run gets the same
answers, and a run that was killed comes to what one that was not comes to, or it has forgotten something.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from afk_es.core.loop import Handlers
from afk_es.handlers.substitutes import MARKS, addressed
from afk_es.handlers.tape import Tape
from afk_es.machine import AgentRunEvent, Draft, Effect, RunState
from afk_es.machine.delegation import child_run_id
from afk_es.machine.effects import AskPerson, CallModel, ExecuteTool, Summarise
from afk_es.machine.values import digest_json

Runs = Mapping[str, Sequence[AgentRunEvent]]


class RecordedWorld:
    """The answers of a recorded run and of its subagents' runs.

    Args:
        runs: by run id.
        recorded: the run; those of its subagents are found from there.
        today: the id of the run that is answered.

    Attributes:
        unanswered: what was asked and is not in the recording, a sentence each, once.
    """

    def __init__(self, runs: Runs, recorded: str, today: str) -> None:
        self.unanswered: list[str] = []
        self._given_answers: set[tuple[str, str, tuple[Any, ...]]] = set()
        self._runs = runs
        self._books: dict[str, _Book] = {}
        self._know(today, recorded)

    def over(self, live: Handlers) -> Handlers:
        """The table in which models, tools, summarisers and people are this recording. Policies, routers and output types are today's."""
        return {**live, CallModel: self._model, ExecuteTool: self._tool, Summarise: self._summary, AskPerson: self._person}

    def leftovers(self) -> list[str]:
        """Recorded answers that no process has asked for yet, in words."""
        return [
            f"nobody asks {what}, as in step {step} of the recorded run"
            for run_id, book in self._books.items()
            for shelf, place, what, step in book.answers()
            if (run_id, shelf, place) not in self._given_answers
        ]

    def answers_to(self, run_id: str, request_id: str) -> list[AgentRunEvent]:
        """What people said to a question of a run, in order: it may have been put off first. Empty where it was not asked."""
        return self._book(run_id).people.get(_question(request_id), [])

    def tickets_of(self, run_id: str) -> dict[str, AgentRunEvent]:
        """How the background work of a run ended, by ticket."""
        return self._book(run_id).tickets

    async def _model(self, effect: CallModel, state: RunState) -> Draft:
        call = state.call
        place = (state.step, effect.model_index, call.failures if call is not None else 0)
        failed = {"model": effect.model, "attempt": effect.attempt}
        return await self._given("models", place, effect, state, ("llm_failed", failed), f"model {effect.model}")

    async def _summary(self, effect: Summarise, state: RunState) -> Draft:
        compaction = state.compaction
        place = (state.step, compaction.failures if compaction is not None else 0)
        retention = state.spec.retention
        failed = {"attempt": effect.attempt, "summariser": retention.name if retention is not None else None}
        return await self._given("summaries", place, effect, state, ("compaction_failed", failed), "the summariser")

    async def _tool(self, effect: ExecuteTool, state: RunState) -> Draft:
        call = effect.call
        turn = next((turn for turn in state.batch.turns if turn.ordinal == effect.ordinal), None) if state.batch is not None else None
        place = (effect.ordinal, turn.failures if turn is not None else 0, call.tool_name, digest_json(call.arguments))
        failed = {"tool_name": call.tool_name, "tool_call_id": call.id, "attempt": effect.attempt}
        return await self._given("tools", place, effect, state, ("tool_failed", failed), f"tool {call.tool_name}")

    async def _person(self, effect: AskPerson, state: RunState) -> Draft:
        request = effect.request
        about = {"request_id": request["request_id"], "tool_call_id": request["tool_call_id"]}
        if request.get("purpose") == "in_doubt":
            # The recorded run had no crash. Whoever has to decide lets it be done again, so that the results can be compared.
            data = {**about, "arguments_hash": request["arguments_hash"], "outcome": "granted", "by": "recorded world", "reason": None}
            return Draft("approval_resolved", data)
        answers = self.answers_to(state.run_id, request["request_id"])
        if not answers:
            # Nobody answered in time.
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")
        bound = {"arguments_hash": request["arguments_hash"]} if "arguments_hash" in answers[0].data else {}
        await asyncio.sleep(0)
        return Draft(answers[0].type, {**_unmarked(answers[0]), **about, **bound}, answers[0].message)

    async def _given(
        self, shelf: str, place: tuple[Any, ...], effect: Effect, state: RunState, refusal: tuple[str, dict[str, Any]], what: str
    ) -> Draft:
        answers = getattr(self._book(state.run_id), shelf)
        # Where others may go on, and this one be cut.
        await asyncio.sleep(0)
        if place not in answers:
            return self._refused(refusal, what, state)
        self._given_answers.add((state.run_id, shelf, place))
        answer: AgentRunEvent | None = answers[place]
        if answer is None:
            # It had not answered when the recorded run ended, or did without it.
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")
        return addressed(Draft(answer.type, _unmarked(answer), answer.message), effect, state, state.at - answer.at)

    def _refused(self, refusal: tuple[str, dict[str, Any]], what: str, state: RunState) -> Draft:
        error = f"{what} is asked what it was not asked in step {state.step} of the recorded run"
        if error not in self.unanswered:
            self.unanswered.append(error)
        kind, data = refusal
        return Draft(kind, {**data, "error": error, "error_type": "Unrecorded", "classification": "terminal"}, error)

    def _book(self, run_id: str) -> _Book:
        return self._books.get(run_id) or _EMPTY

    def _know(self, today: str, recorded: str) -> None:
        """Which recorded run each run of today stands for: ids of subagents' runs are derived from their parents'."""
        if recorded not in self._runs:
            return
        self._books[today] = _Book(self._runs[recorded])
        for event in self._runs[recorded]:
            if event.type == "subagent_started":
                self._know(child_run_id(today, event.data["ordinal"], event.data["attempt"]), event.data["run_id"])


class _Book:
    """The answers of one run, by place. None stands for an answer that never came."""

    def __init__(self, events: Sequence[AgentRunEvent]) -> None:
        self.models: dict[tuple[int, int, int], AgentRunEvent | None] = {}
        self.summaries: dict[tuple[int, int], AgentRunEvent | None] = {}
        self.tools: dict[tuple[int, int, str, str], AgentRunEvent | None] = {}
        self.people: dict[tuple[str, str], list[AgentRunEvent]] = {}
        self.tickets: dict[str, AgentRunEvent] = {}
        if not events:
            return
        tape = Tape(events)
        failures: dict[tuple[Any, ...], int] = defaultdict(int)
        for asked in tape.models:
            called = events[asked.seq - 1]
            place = (called.step, called.data["model_index"])
            self.models[(*place, failures[place])] = asked.answer
            failures[place] += 1
        for asked in tape.summaries:
            step = events[asked.seq - 1].step
            self.summaries[step, failures["summary", step]] = asked.answer
            failures["summary", step] += 1
        for asked in tape.tools:
            ordinal = asked.place[0]
            self.tools[ordinal, failures["tool", ordinal], asked.name, asked.digest] = asked.answer
            failures["tool", ordinal] += 1
        for question in tape.questions:
            self.people[_question(events[question.seq - 1].data["request_id"])] = list(question.answers)
        self.tickets = {ticket: ended[0] for ticket, ended in tape.tickets.items()}

    def answers(self) -> Iterator[tuple[str, tuple[Any, ...], str, int]]:
        """Each answer that came: its shelf and place, who gave it, and in which step."""
        for place, answer in self.models.items():
            if answer is not None:
                yield "models", place, f"model {place[1]}", answer.step
        for at, answer in self.summaries.items():
            if answer is not None:
                yield "summaries", at, "the summariser", answer.step
        for call, answer in self.tools.items():
            if answer is not None:
                yield "tools", call, f"tool {call[2]}", answer.step


_EMPTY = _Book([])


def _question(request_id: str) -> tuple[str, str]:
    """What is asked, and of which call; the attempt differs where one was in doubt."""
    kind, _, rest = request_id.partition(":")
    return kind, rest.partition(":")[0]


def _unmarked(event: AgentRunEvent) -> dict[str, Any]:
    return {key: value for key, value in event.data.items() if key not in MARKS}
