"""A task, as a pure fold of a run's events: its state, what was said, what it came to. It knows no log, no server and no clock.

========================================  =============================================================================================
the run                                   the task
========================================  =============================================================================================
has begun                                 submitted
takes its steps, or is paused             working
is laid down, and waits for somebody      input-required: the question is the status' message; without one, any message goes on with it
is laid down because its server stopped   working: it goes on when a server takes it up
completed, degraded                       completed; what a degraded one has not done is in the status' message, and in the metadata
failed, or its time is used up            failed, or rejected where a policy did not let the model be asked at all
cancelled                                 canceled
========================================  =============================================================================================

The status has the time of the last event. What the answer is, is one artifact; while it is written it grows, and at the end it is replaced
by the whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from a2a.utils.proto_utils import normalize_large_integers_to_strings
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from afk_es.interaction.port import ApprovalRequest, InputRequest
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL, PartData
from afk_es.machine.values import canonical_json

METADATA = "afk_es/"
"""How the keys of ours in a task's, message's or artifact's metadata begin."""

ASKED = "a2a"
"""Under which key the context of a run has what the door keeps of the message that it stands for: `message_id`, `digest`, and where they are given
`context_id`, `references` and `metadata`."""

ANSWER = "answer"
"""The id of the artifact that has the answer."""

LAID_DOWN_BY = frozenset({"event loop", "a2a server"})
"""Who lays down a run that its server is to take up again: the origins of such an interrupt."""

SERVER_STOPS = "a2a server"

FINAL = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_REJECTED,
    }
)
SETTLED = FINAL | {TaskState.TASK_STATE_INPUT_REQUIRED}
"""The states in which nothing happens before somebody says something."""

_TELLING = frozenset({"LimitReached", "PolicyDenied"})
"""Failures whose text is told to the client. Any other may hold what a provider or a tool said in confidence: its type is told."""


class TaskFold:
    """What the events so far come to; `take` them in their order, from the run's first."""

    def __init__(self) -> None:
        self.run_id: str = ""
        self.context_id: str = ""
        self.seq: int = 0
        self.state: TaskState = TaskState.TASK_STATE_SUBMITTED
        self.laid_down: bool = False
        """Whether the run was laid down, and waits for somebody."""
        self.open_call: int = 0
        """The seq of the model call that goes on; 0 while none does."""
        self._agent_name = ""
        self._at: dt.datetime | None = None
        self._history: list[Message] = []
        self._said: Message | None = None
        self._text = ""
        self._output: Any = None
        self._result = False
        self._missing: Sequence[str] = ()
        self._ending = ""
        self._origin: str | None = None
        self._limit = ""
        self._usage: dict[str, int] = {}
        self._cost_usd: float | None = None

    @property
    def said_id(self) -> str:
        """The id of the last that the agent said on its way; "" before anything."""
        return self._said.message_id if self._said is not None else ""

    def take(self, event: AgentRunEvent) -> None:
        """One event more; of a type that tells nothing of a task, its time."""
        self.seq, self._at = event.seq, event.at
        take = _TAKEN.get(event.type)
        if take is not None:
            take(self, event, event.data)

    # ------------------------------------------------------------------------------------------------------------------------- the events

    def _started(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.laid_down, self._origin, self._said, self._limit = False, None, None, ""
        if data["resumed"]:
            self.state = TaskState.TASK_STATE_WORKING
            return
        asked = asked_of(event)
        self.run_id, self._agent_name = event.run_id, data["agent_name"]
        self.context_id = asked.get("context_id", event.thread_id)
        parts = _parts_of(data.get("user_message"), data.get("user_parts"))
        self._history.append(self._message(asked.get("message_id", f"{event.run_id}.1"), Role.ROLE_USER, parts))

    def _stepped(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.state = TaskState.TASK_STATE_WORKING

    def _called(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.open_call = event.seq

    def _call_failed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.open_call = 0

    def _answered(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.open_call = 0
        self._spent(event, data)
        self._text, self._output = data["text"], data.get("structured_response")
        if data["tool_call_count"] and data["text"]:
            self._said = self._message(f"{event.run_id}.{event.seq}", Role.ROLE_AGENT, [Part(text=data["text"])])
            self._history.append(self._said)

    def _validated(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._output = data["output"]

    def _rejected(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._output = None

    def _spent(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if "reused" in data:
            return
        for key, count in (data.get("usage") or {}).items():
            self._usage[key] = self._usage.get(key, 0) + count
        if data.get("cost_usd") is not None:
            self._cost_usd = (self._cost_usd or 0.0) + data["cost_usd"]

    def _inquired(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        text = data.get("prompt") or approval_question(data["tool_name"], data.get("arguments", {}), data.get("reason"))
        self._history.append(self._message(f"{event.run_id}.{event.seq}", Role.ROLE_AGENT, [Part(text=text)]))

    def _resolved(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        if "reference" not in data:
            # Somebody else answered: that is no message of this client's.
            return
        why = f": {data['reason']}" if data.get("reason") else ""
        words = data.get("value") or {"granted": "yes", "denied": "no"}.get(data["outcome"], data["outcome"]) + why
        self._history.append(self._message(data["reference"], Role.ROLE_USER, [Part(text=words)]))

    def _controlled(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._origin = data["origin"] if data["action"] == "interrupt" else self._origin

    def _limited(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self._limit = data["limit"]

    def _interrupted(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.open_call = 0
        self._ending = data["reason"]
        if self._limit == "max_wall_time_s":
            # Nothing that a client says gives it more time; whoever runs the agent can, and then it goes on after all.
            self.state, self._ending = TaskState.TASK_STATE_FAILED, data["reason"].partition("; to go on")[0]
            return
        self.laid_down = self._origin not in LAID_DOWN_BY
        self.state = TaskState.TASK_STATE_INPUT_REQUIRED if self.laid_down else TaskState.TASK_STATE_WORKING

    def _completed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.state, self._result = TaskState.TASK_STATE_COMPLETED, True
        self._missing = data.get("missing", ()) if data["state"] == "degraded" else ()

    def _failed(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        refused = data["error_type"] == "PolicyDenied"
        self.state = TaskState.TASK_STATE_REJECTED if refused else TaskState.TASK_STATE_FAILED
        told = data["error_type"] in _TELLING
        # What a limit says may end with what the last attempt failed with, which is the provider's word.
        self._ending = data["error"].partition("; the last attempt failed")[0] if told else f"the agent failed ({data['error_type']})"

    def _cancelled(self, event: AgentRunEvent, data: dict[str, Any]) -> None:
        self.state, self._ending = TaskState.TASK_STATE_CANCELED, data["reason"]

    # --------------------------------------------------------------------------------------------------------------------------- the task

    def task(self, pending: Sequence[ApprovalRequest | InputRequest] = (), note: str = "") -> Task:
        """The task as it stands.

        Args:
            pending: the questions that a run which is laid down waits with, of its subagents too.
            note: what is said before the question, such as why an answer was none.
        """
        task = Task(
            id=self.run_id, context_id=self.context_id, status=self.status(pending, note), history=self._history, artifacts=self.artifacts()
        )
        task.metadata.update(self.metadata())
        return task

    def status(self, pending: Sequence[ApprovalRequest | InputRequest] = (), note: str = "") -> TaskStatus:
        """Where it stands, and what is said about that."""
        status = TaskStatus(state=self.state, message=self._telling(pending, note))
        if self._at is not None:
            status.timestamp.CopyFrom(timestamp(self._at))
        return status

    def artifacts(self) -> list[Artifact]:
        """What it came to: the answer, as text and, of an agent with an output type, as data."""
        if not self._result:
            return []
        parts = [] if self._output is not None and _is_json_of(self._text, self._output) else [Part(text=self._text)]
        if self._output is not None:
            parts.append(data_part(self._output))
        return [Artifact(artifact_id=ANSWER, name=ANSWER, parts=parts)]

    def metadata(self) -> dict[str, Any]:
        """What is told beside the protocol's own fields: the agent, and what the run and its subagents used, as far as it is known."""
        told: dict[str, Any] = {"agent": self._agent_name}
        if self._usage:
            told["usage"] = dict(self._usage)
        if self._cost_usd is not None:
            told["cost_usd"] = self._cost_usd
        if self._missing:
            told["state"], told["missing"] = "degraded", list(self._missing)
        return {f"{METADATA}{key}": value for key, value in told.items()}

    def _telling(self, pending: Sequence[ApprovalRequest | InputRequest], note: str) -> Message | None:
        if self.state == TaskState.TASK_STATE_INPUT_REQUIRED:
            return self._question(pending, note)
        if self._missing:
            return self._about("incomplete", "Incomplete:\n" + "\n".join(f"- {sentence}" for sentence in self._missing))
        if self.state in FINAL:
            return self._about("end", self._ending) if self._ending and not self._result else None
        return self._said

    def _question(self, pending: Sequence[ApprovalRequest | InputRequest], note: str) -> Message:
        if not pending:
            return self._about("laid-down", f"{note}The task was laid down: {self._ending}. Any message to it goes on with it.")
        text = f"{note}{_question_of(pending)}"
        message = self._about(f"asks.{'.'.join(request.request_id for request in pending)}", text)
        message.parts.append(data_part({"requests": [request_data(request) for request in pending]}))
        return message

    def _about(self, what: str, text: str) -> Message:
        return self._message(f"{self.run_id}.{self.seq}.{what}", Role.ROLE_AGENT, [Part(text=text)])

    def _message(self, message_id: str, role: Role, parts: Iterable[Part]) -> Message:
        return Message(message_id=message_id, role=role, parts=parts, task_id=self.run_id, context_id=self.context_id)


_TAKEN = {
    "run_started": TaskFold._started,
    "step_started": TaskFold._stepped,
    "llm_called": TaskFold._called,
    "llm_failed": TaskFold._call_failed,
    "llm_completed": TaskFold._answered,
    "output_validated": TaskFold._validated,
    "output_rejected": TaskFold._rejected,
    "subagent_completed": TaskFold._spent,
    "thread_compacted": TaskFold._spent,
    "approval_requested": TaskFold._inquired,
    "input_requested": TaskFold._inquired,
    "approval_resolved": TaskFold._resolved,
    "input_resolved": TaskFold._resolved,
    "control_requested": TaskFold._controlled,
    "limit_reached": TaskFold._limited,
    "run_interrupted": TaskFold._interrupted,
    "run_completed": TaskFold._completed,
    "run_failed": TaskFold._failed,
    "run_cancelled": TaskFold._cancelled,
}


def folded(events: Iterable[AgentRunEvent]) -> TaskFold:
    """The fold of these events."""
    fold = TaskFold()
    for event in events:
        fold.take(event)
    return fold


def asked_of(first_event: AgentRunEvent) -> Mapping[str, Any]:
    """What the door kept of the message that this run stands for; empty for a run of no door."""
    asked = (first_event.data.get("context") or {}).get(ASKED)
    return asked if isinstance(asked, Mapping) else {}


def left(events: Sequence[AgentRunEvent]) -> bool:
    """Whether the run is one that a server has to go on with, unless a process drives it: it has no end, or was laid down as a server stopped."""
    return events[-1].type not in TERMINAL or folded(events).state not in SETTLED


def approval_question(tool_name: str, arguments: Any, reason: str | None) -> str:
    """The words in which a client is asked for a yes or no."""
    why = f" Reason: {reason}." if reason else ""
    return f"May {tool_name} be called with {canonical_json(arguments).decode()}?{why} Answer yes or no."


def request_data(request: ApprovalRequest | InputRequest) -> dict[str, Any]:
    """A question as data, for clients that answer by program: the `request_id` goes back with the decision."""
    return {
        "request_id": request_name(request),
        "kind": request.kind,
        "tool_name": request.tool_name,
        "arguments": request.arguments,
        "reason": request.reason,
        **({"prompt": request.prompt} if isinstance(request, InputRequest) else {}),
    }


def request_name(request: ApprovalRequest | InputRequest) -> str:
    """The name of a question among all of a task, those of its subagents too, whose own ids may repeat."""
    return f"{request.run_id}/{request.request_id}"


def data_part(value: Any) -> Part:
    """JSON data as a part. Integers that a double does not hold become text, as JSON readers elsewhere would round them."""
    return Part(data=ParseDict(normalize_large_integers_to_strings(value), Value()), media_type="application/json")


def timestamp(at: dt.datetime) -> Timestamp:
    """A moment in the protocol's form."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _question_of(pending: Sequence[ApprovalRequest | InputRequest]) -> str:
    if len(pending) == 1:
        return _asked(pending[0])
    named = "\n".join(f"{request_name(request)}: {_asked(request)}" for request in pending)
    return f"{len(pending)} questions are open. Begin the answer with the name of the one that is meant.\n{named}"


def _asked(request: ApprovalRequest | InputRequest) -> str:
    if isinstance(request, InputRequest):
        return request.prompt
    return approval_question(request.tool_name, request.arguments, request.reason)


def _parts_of(text: str | None, parts: Sequence[PartData] | None) -> list[Part]:
    if not parts:
        return [Part(text=text or "")]
    # The bytes of an image are not sent back: the client has them, and every answer would carry them again.
    return [
        Part(text=part.get("text", "")) if part["type"] == "text" else Part(text=f"[{part.get('media_type', 'an image')}]")
        for part in parts
    ]


def _is_json_of(text: str, output: Any) -> bool:
    """Whether a text is nothing but the data, written down, so that it would be told twice."""
    try:
        return bool(msgspec.json.decode(text) == output)
    except msgspec.DecodeError:
        return False
