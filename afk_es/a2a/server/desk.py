"""The runs behind an agent's tasks: whose they are, how they begin, are answered and go on. It speaks for one agent, and knows no transport.

The log is the only store. A task's id is its run's, derived from the caller, the agent and the message's id, so a message that comes again is the same task,
in every process and after any crash. A context's id is a thread's; where a client names one that is no thread of its own here, it is a new thread of that client's,
and whether somebody else has a context of that name cannot be told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from a2a.types.a2a_pb2 import Task, TaskState
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError, TaskNotFoundError, UnsupportedOperationError

from afk_es.a2a.server.answers import Decision, Unclear, decided
from afk_es.a2a.server.cards import ServedAgent
from afk_es.a2a.server.messages import Said
from afk_es.a2a.server.tasks import ASKED, FINAL, TaskFold, asked_of, folded, left
from afk_es.core import AttachedRun, Runner
from afk_es.errors import ConfigurationError, RunExistsError, RunNotFoundError, RunOwnedError, UsageError
from afk_es.interaction.port import ApprovalRequest, InputRequest
from afk_es.log import Letter
from afk_es.machine import AgentRunEvent
from afk_es.serving import Principal, owned, run_id_of, served_context

DOOR = "a2a"

ANSWERS = frozenset({"approval_resolved", "input_resolved"})

_LONGEST_SPEAKER = 200
"""As `afk_es.interaction` has it."""

_CANCELLING_S = 10.0
"""How long a client that cancels waits for the end of a run that a process drives."""


def speaker(principal: Principal) -> str:
    """The name under which the log has what a caller says to a run: no caller can be taken for an operator, or for a part of the program."""
    return f"{DOOR}:{principal.name}"[:_LONGEST_SPEAKER]


class Taken(msgspec.Struct, frozen=True):
    """A message that was taken.

    Attributes:
        run: the task that it belongs to.
        begun: whether the message began it just now.
        note: what is to be said before the task's question.
    """

    run: AttachedRun
    begun: bool = False
    note: str = ""


class Desk:
    """Takes what clients say to one agent.

    Args:
        runner: runs the agent; its log has the tasks.
        offer: the agent.
        allow_agent_change: go on with tasks that another version of the agent began.
    """

    def __init__(self, runner: Runner, offer: ServedAgent, *, allow_agent_change: bool = False) -> None:
        self.runner = runner
        self.offer = offer
        self._allow_agent_change = allow_agent_change

    # ------------------------------------------------------------------------------------------------------------------- finding a task

    async def events(self, principal: Principal, task_id: str) -> list[AgentRunEvent]:
        """The events of a task of this caller's with this agent.

        Raises:
            TaskNotFoundError: there is none, or it is somebody else's: nobody can tell which.
        """
        first = await self.runner.log.read(task_id, limit=1)
        if not first or not self._is_task(first[0]) or not owned(first[0], DOOR, principal):
            raise TaskNotFoundError
        return await self.runner.log.read(task_id)

    def _is_task(self, first: AgentRunEvent) -> bool:
        return first.data["agent_name"] == self.offer.name and "parent" not in first.data

    async def task(self, fold: TaskFold, note: str = "") -> Task:
        """The task, with the questions that it waits with."""
        return fold.task(await self.pending(fold), note)

    async def pending(self, fold: TaskFold) -> tuple[ApprovalRequest | InputRequest, ...]:
        """The open questions of a task that is laid down; none of any other."""
        return await self.runner.pending_requests(run_id=fold.run_id) if fold.laid_down else ()

    # ------------------------------------------------------------------------------------------------------------------ taking a message

    async def take(self, principal: Principal, said: Said, *, streamed: bool) -> Taken:
        """Begin, or go on with, the task that a message means.

        Raises:
            TaskNotFoundError: it names a task that is not there.
            InvalidParamsError: another content under an id that was used before, or a context that is not the task's.
            UnsupportedOperationError: it names a task that takes no message now.
        """
        if said.task_id:
            return await self._answered(principal, said)
        run_id = self.task_id(principal, said.message_id)
        first = await self.runner.log.read(run_id, limit=1)
        if first:
            return await self._again(principal, said, run_id)
        asked: dict[str, Any] = {"message_id": said.message_id, "digest": said.digest}
        thread_id = None
        if said.context_id:
            thread_id = await self._thread_of(principal, said.context_id)
            asked["context_id"] = said.context_id
        if said.references:
            asked["references"] = list(said.references)
        if said.metadata:
            asked["metadata"] = said.metadata
        try:
            run = await self.runner.run_once(
                self.offer.agent,
                run_id=run_id,
                by=speaker(principal),
                user_message=said.content,
                context=served_context(DOOR, principal, {ASKED: asked}),
                thread_id=thread_id,
                streamed=streamed,
            )
        except RunExistsError:
            # Two messages of one id came at once; this one is the second.
            return await self._again(principal, said, run_id)
        return Taken(run, begun=True)

    def task_id(self, principal: Principal, message_id: str) -> str:
        """The id of the task that a message of this caller's to this agent begins."""
        return run_id_of(DOOR, principal.name, f"{self.offer.name}\n{message_id}")

    async def _thread_of(self, principal: Principal, context_id: str) -> str:
        """The thread of a context: the one of that id where it is this caller's with this agent, and else one that only this caller can name."""
        heads = await self.runner.log.thread(context_id)
        for head in heads:
            first = await self.runner.log.read(head.run_id, limit=1)
            if first and self._is_task(first[0]) and owned(first[0], DOOR, principal):
                return context_id
        return run_id_of(DOOR, principal.name, f"{self.offer.name}\ncontext\n{context_id}")

    async def _again(self, principal: Principal, said: Said, run_id: str) -> Taken:
        """A message that was taken before: the task that it began."""
        events = await self.events(principal, run_id)
        self._check_same(events[0], said)
        await self.go_on(events)
        return Taken(await self.runner.attach(run_id=run_id, by=speaker(principal)))

    def _check_same(self, first: AgentRunEvent, said: Said) -> None:
        context_id = asked_of(first).get("context_id", first.thread_id)
        if asked_of(first).get("digest") != said.digest or said.context_id not in ("", context_id):
            raise InvalidParamsError("message.message_id was used for another message; an id stands for one message, so choose another")

    async def _answered(self, principal: Principal, said: Said) -> Taken:
        """A message to a task that there is."""
        events = await self.events(principal, said.task_id)
        fold = folded(events)
        run = await self.runner.attach(run_id=said.task_id, by=speaker(principal))
        if said.context_id not in ("", fold.context_id):
            raise InvalidParamsError("message.context_id is not that of the task that message.task_id names")
        if said.message_id == asked_of(events[0]).get("message_id"):
            self._check_same(events[0], said)
            await self.go_on(events)
            return Taken(run)
        letter = await self._letter(said)
        if letter is not None:
            return await self._said_before(letter, said, events, run)
        if fold.state in FINAL:
            raise UnsupportedOperationError(f"the task has ended ({TaskState.Name(fold.state)}); say it in a new task of its context")
        if not fold.laid_down:
            raise UnsupportedOperationError(
                "the task is being worked on and takes no message now; wait until it asks, or say it in a new task"
            )
        pending = await self.runner.pending_requests(run_id=run.run_id)
        if not pending:
            await self.go_on(events, asked=True)
            return Taken(run)
        decision = decided(said, pending)
        if isinstance(decision, Unclear):
            return Taken(run, note=f"{decision.why} ")
        await self._settle(principal, said, decision)
        await self.go_on(events, asked=True)
        return Taken(run)

    async def _settle(self, principal: Principal, said: Said, decision: Decision) -> None:
        request, reference = decision.request, said.message_id
        # By the run that asks: ids of requests repeat among a task's subagents.
        run = await self.runner.attach(run_id=request.run_id, by=speaker(principal))
        try:
            match decision.outcome:
                case "granted":
                    await run.approve(request.request_id, reason=decision.text, reference=reference)
                case "denied":
                    await run.deny(request.request_id, reason=decision.text, reference=reference)
                case "answered":
                    await run.answer(decision.text or "", request.request_id, reference=reference)
        except ConfigurationError as error:
            raise InvalidParamsError("the answer is too long") from error
        except UsageError as error:
            if await self._letter(said) is None:
                raise UnsupportedOperationError("the question was answered meanwhile, by somebody else") from error

    async def _said_before(self, letter: Letter, said: Said, events: list[AgentRunEvent], run: AttachedRun) -> Taken:
        """An answer that was given before: it counts once, and what was cut after it goes on."""
        asking = await self.runner.log.read(letter.run_id)
        request = next(
            event.data
            for event in asking
            if event.type in ("approval_requested", "input_requested") and event.data["request_id"] == letter.draft.data["request_id"]
        )
        kind: Any = InputRequest if "prompt" in request else ApprovalRequest
        standing = kind.model_construct(request_id=request["request_id"], run_id=letter.run_id)
        decision = decided(said, [standing])
        if isinstance(decision, Unclear) or not decision.is_of(letter.draft):
            raise InvalidParamsError("message.message_id was used for another message; an id stands for one message, so choose another")
        taken_in = any(event.data.get("letter") == letter.position for event in asking)
        await self.go_on(events, asked=not taken_in)
        return Taken(run)

    async def _letter(self, said: Said) -> Letter | None:
        """The answer to a question of the task that came under this message's id."""
        for letter in await self.runner.log.letters(run_ids=await self._family(said.task_id)):
            if letter.draft.data.get("reference") == said.message_id:
                return letter
        return None

    async def _family(self, run_id: str) -> list[str]:
        """The run and those of its subagents, at every level."""
        family = [run_id]
        for each in family:
            started = await self.runner.log.scan(each, types=["subagent_started"])
            family += [event.data["run_id"] for event in started if event.data["run_id"] not in family]
        return family

    # -------------------------------------------------------------------------------------------------------------------------- going on

    async def go_on(self, events: list[AgentRunEvent], *, asked: bool = False) -> None:
        """Go on with a task that nobody works on, if it was not laid down to wait for somebody, or its client has asked for it.

        Raises:
            AgentMismatchError: another version of the agent began it.
        """
        if not (asked or left(events)):
            return
        try:
            await self.runner.resume_handle(self.offer.agent, run_id=events[0].run_id, allow_agent_change=self._allow_agent_change)
        except RunOwnedError:
            # A process drives it: then it goes on.
            return

    async def answered_meanwhile(self, events: list[AgentRunEvent]) -> bool:
        """Whether the question of a task that is laid down was answered, and nobody has taken the answer in: its server was killed in between, or somebody else
        answered (`afk-es approve`).
        """
        if not folded(events).laid_down:
            return False
        for run_id in await self._family(events[0].run_id):
            seen = events if run_id == events[0].run_id else await self.runner.log.read(run_id)
            last = max((event.data.get("letter", 0) for event in seen), default=0)
            letters = await self.runner.log.letters(after=last, run_ids=[run_id])
            if any(letter.draft.type in ANSWERS for letter in letters):
                return True
        return False

    async def cancel(self, principal: Principal, task_id: str) -> Task:
        """End a task for good, whoever works on it, or nobody.

        Raises:
            TaskNotFoundError, TaskNotCancelableError: it is not there, or has ended.
        """
        fold = folded(await self.events(principal, task_id))
        if fold.state in FINAL:
            raise TaskNotCancelableError
        run = await self.runner.attach(run_id=task_id, by=speaker(principal))
        try:
            await run.cancel("the client cancelled it", wait_s=_CANCELLING_S)
        except RunNotFoundError as error:
            raise TaskNotFoundError from error
        except UsageError as error:
            raise TaskNotCancelableError from error
        fold = folded(await self.runner.log.read(task_id))
        if fold.state in FINAL and fold.state != TaskState.TASK_STATE_CANCELED:
            raise TaskNotCancelableError
        return await self.task(fold)

    async def first_events(self, run_ids: list[str]) -> AsyncIterator[AgentRunEvent]:
        """The first event of each of these runs that is a task of this agent's, whoever's."""
        for run_id in run_ids:
            first = await self.runner.log.read(run_id, limit=1)
            if first and self._is_task(first[0]) and (first[0].data.get("context") or {}).get("door") == DOOR:
                yield first[0]
