"""The requests of two runs, rebuilt from their events and compared facet by facet; every message is looked at once.

Two requests of one hash are the same, and nothing is rebuilt. A run's conversation only grows, but where it is compacted. So what a request
has that the one before it had not is all that is compared, and a run of any length costs as much as its messages. What makes a message differ
and is found in an event of its own (what the model answered, what the user said, what a tool returned) is the finding of that event, and
none of the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import msgspec

from afk_es.debugger.changes import changes
from afk_es.debugger.recording import Recording
from afk_es.errors import InvariantError
from afk_es.evals.goldens.agent_changes import tool_changes
from afk_es.evals.goldens.finding import Finding
from afk_es.machine import AgentRunEvent, evolve, initial_state
from afk_es.machine.events import TERMINAL
from afk_es.machine.requests import ModelRequest, model_request
from afk_es.machine.values import Message, digest_json

ALIGNED_AT_MOST = 400
"""New messages of a request that are aligned; of more, they are compared in order."""


class Rebuilt(NamedTuple):
    """A request as the machine makes it of the events before it.

    Attributes:
        compactions: of the conversation before it; the messages of two requests can be told apart by their numbers where it is the same.
    """

    request: ModelRequest
    compactions: int


class _Run:
    """A run whose events are folded when one of its requests is wanted, and as far as that."""

    def __init__(self, rec: Recording) -> None:
        self.waiting: deque[AgentRunEvent] = deque()
        self.last_type = ""
        self.after_a_crash = False
        self.fault: InvariantError | None = None
        self._state = initial_state(rec.run_id, rec.thread_id, rec.history())
        self._compactions = 0

    def request(self, seq: int) -> Rebuilt | None:
        """The request of the `llm_called` at that seq, which was not asked for before; None where the events up to there do not fold."""
        while self.waiting and self.fault is None:
            event = self.waiting.popleft()
            try:
                before, self._state = self._state, evolve(self._state, event)
            except InvariantError as error:
                self.fault = error
                break
            if event.type == "thread_compacted" and "cut" in event.data:
                self._compactions += 1
            if event.seq == seq:
                return Rebuilt(model_request(before, event.data["model_index"]), self._compactions)
        return None


class Requests:
    """The requests of all runs of one side. `hear` is for `entries` and `Side`.

    It leaves out where a run was taken over because its process had died: that is nothing that the agent did.

    Attributes:
        taken_over: runs that were.
        doubted: calls that a crash left in doubt, as run, step and call id ("" of a model's); they may have been started twice.
    """

    def __init__(self) -> None:
        self.taken_over: set[str] = set()
        self.doubted: set[tuple[str, int, str]] = set()
        self._runs: dict[str, _Run] = {}

    @property
    def faults(self) -> dict[str, InvariantError]:
        """Per run whose events do not fold, why not; from there on it has no requests."""
        return {run_id: run.fault for run_id, run in self._runs.items() if run.fault is not None}

    def hear(self, rec: Recording, event: AgentRunEvent) -> bool:
        """Take in the next event of a run; False for one that is not to be compared."""
        run = self._runs.get(rec.run_id)
        if run is None:
            run = self._runs[rec.run_id] = _Run(rec)
        run.waiting.append(event)
        last, run.last_type = run.last_type, event.type
        if event.type == "effect_in_doubt":
            self.doubted.add((rec.run_id, event.step, event.data.get("tool_call_id", "")))
            # Behind an end, it is what was laid down with the run, and today's run has it too.
            return not run.after_a_crash
        if event.type == "run_started":
            run.after_a_crash = bool(last) and last not in TERMINAL and "agent" not in event.data
            if run.after_a_crash:
                self.taken_over.add(rec.run_id)
                return False
        return True

    def take(self, run_id: str, seq: int) -> Rebuilt | None:
        """The request of that `llm_called`; of each run in order. None where the run does not fold up to there."""
        return self._runs[run_id].request(seq)


class Explained(NamedTuple):
    """What of the messages of a run is the finding of an event, by the digests of what they say.

    Attributes:
        calls: ids of calls whose result is known to differ.
        texts: contents that are known to differ, such as what the user said.
    """

    calls: set[str]
    texts: set[str]


class _Conversation:
    """How far the conversations of two runs were compared."""

    def __init__(self) -> None:
        self.recorded = 0
        self.today = 0
        self.compactions = (0, 0)


class RequestComparison:
    """Compares the requests of two sides, in order."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], _Conversation] = {}

    def differences(self, runs: tuple[str, str], recorded: Rebuilt, today: Rebuilt, explained: Explained) -> Iterator[Finding]:
        """What differs between two requests that did not differ before.

        Args:
            runs: the ids of both runs.
        """
        known = self._runs.setdefault(runs, _Conversation())
        compactions = (recorded.compactions, today.compactions)
        if known.compactions != compactions:
            known.recorded = known.today = 0
            known.compactions = compactions
        old, new = recorded.request, today.request
        if old.hash != new.hash:
            yield from _facets(old, new)
            yield from _messages(known, old, new, explained)
        known.recorded, known.today = len(old.messages), len(new.messages)


def _facets(old: ModelRequest, new: ModelRequest) -> Iterator[Finding]:
    if old.model != new.model:
        yield Finding("request", "params", "model", old.model, new.model, "another model is asked")
    if old.instructions != new.instructions:
        message = "the model is given other instructions"
        yield Finding("request", "prompt", "instructions", old.instructions, new.instructions, message)
    if old.tools is not new.tools and old.tools != new.tools:
        yield from (finding for finding in tool_changes(old.tools, new.tools) if finding.kind == "tool_schema")
    if old.parameters != new.parameters:
        for change in changes(old.parameters, new.parameters, "parameters"):
            yield Finding("request", "params", change.path, change.before, change.after, "the model is asked with another parameter")
    if old.output_schema != new.output_schema:
        for change in changes(old.output_schema, new.output_schema, "output_schema"):
            yield Finding("request", "params", change.path, change.before, change.after, "the final answer is to have another form")


def _messages(known: _Conversation, old: ModelRequest, new: ModelRequest, explained: Explained) -> Iterator[Finding]:
    """The messages that neither request before this one had, side by side."""
    gone, come = old.messages[known.recorded :], new.messages[known.today :]
    for index, before, after in _side_by_side(gone, come):
        number = (known.recorded if before is not None else known.today) + index
        if before is None or after is None:
            message = before or after
            assert message is not None
            # An answer more or less, and a call's result, are told of where they were given.
            if message.role in ("user", "system") and digest_json(message.content) not in explained.texts:
                shown = [None if each is None else _said(each) for each in (before, after)]
                said = "the model is not told what it was" if after is None else "the model is told something more"
                yield Finding("request", "prompt", f"messages[{number}]", shown[0], shown[1], said)
            continue
        if before == after or _is_explained(before, after, explained):
            continue
        for change in changes(_said(before), _said(after), f"messages[{number}]"):
            said = f"message {number} of the request, {_whose(after)}, says something else"
            yield Finding("request", "prompt", change.path, change.before, change.after, said)


def _is_explained(before: Message, after: Message, explained: Explained) -> bool:
    if before.role == after.role == "assistant":
        return True
    if before.role == after.role == "tool":
        return after.tool_call_id in explained.calls
    return digest_json(before.content) in explained.texts or digest_json(after.content) in explained.texts


def _whose(message: Message) -> str:
    return {"tool": "a tool's result", "user": "of the user"}.get(message.role, f"of the {message.role}")


def _side_by_side(gone: Sequence[Message], come: Sequence[Message]) -> Iterator[tuple[int, Message | None, Message | None]]:
    """New messages of both sides in pairs; where there are not equally many, those that are the same are found first."""
    if len(gone) == len(come) or max(len(gone), len(come)) > ALIGNED_AT_MOST:
        for index in range(max(len(gone), len(come))):
            yield index, gone[index] if index < len(gone) else None, come[index] if index < len(come) else None
        return
    matcher = SequenceMatcher(
        None, [digest_json(_said(each)) for each in gone], [digest_json(_said(each)) for each in come], autojunk=False
    )
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        pairs = min(a_end - a, b_end - b)
        for offset in range(pairs):
            yield a + offset, gone[a + offset], come[b + offset]
        for index in range(a + pairs, a_end):
            yield index, gone[index], None
        for index in range(b + pairs, b_end):
            yield index, None, come[index]


def _said(message: Message) -> dict[str, Any]:
    """What a message says, without the ids of calls, which differ between any two runs of a real model."""
    said: dict[str, Any] = msgspec.to_builtins(message)
    said.pop("tool_call_id", None)
    said["tool_calls"] = [{"tool_name": call.tool_name, "arguments": call.arguments} for call in message.tool_calls]
    return {key: value for key, value in said.items() if value not in (None, [], ())}
