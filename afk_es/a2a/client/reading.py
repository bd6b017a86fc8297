"""From the SDK's protobuf records to ours: tasks, messages, cards, and the news of a stream put together to a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as ProtobufMessage

from afk_es.a2a.client.scrubbing import Scrubber
from afk_es.a2a.client.tasks import (
    RemoteArtifact,
    RemoteCard,
    RemoteFile,
    RemoteSkill,
    RemoteState,
    RemoteTask,
    RemoteUpdate,
)
from afk_es.errors import LLMCapabilityError, LLMInvalidResponseError
from afk_es.machine.values import clean_text, plain

_STATES: dict[int, RemoteState] = {
    pb.TASK_STATE_SUBMITTED: "submitted",
    pb.TASK_STATE_WORKING: "working",
    pb.TASK_STATE_COMPLETED: "completed",
    pb.TASK_STATE_FAILED: "failed",
    pb.TASK_STATE_CANCELED: "canceled",
    pb.TASK_STATE_REJECTED: "rejected",
    pb.TASK_STATE_INPUT_REQUIRED: "input-required",
    pb.TASK_STATE_AUTH_REQUIRED: "auth-required",
}


MOST_ARTIFACTS = 1000
"""Results of one task that are put together from the pieces of a stream."""


def task_of(task: pb.Task) -> RemoteTask:
    """A task as it stands.

    Raises:
        LLMInvalidResponseError: it has no id.
    """
    if not task.id:
        raise LLMInvalidResponseError("the remote agent told of a task without an id")
    artifacts = tuple(_artifact(artifact) for artifact in task.artifacts)
    message = _text(task.status.message.parts, "\n")
    data = [value for artifact in artifacts for value in artifact.data] or _data(task.status.message.parts)
    return RemoteTask(
        id=task.id,
        context_id=task.context_id or None,
        state=_STATES.get(task.status.state, "unknown"),
        text=_written(task) or message,
        message=message,
        artifacts=artifacts,
        data=_single(data),
        metadata=_object(task.metadata),
    )


def answer_of(message: pb.Message) -> RemoteTask:
    """What an agent answers at once, as a task that is over."""
    text = _text(message.parts, "\n")
    artifact = RemoteArtifact(id=message.message_id, text=text, data=tuple(_data(message.parts)), files=_files(message.parts))
    return RemoteTask(
        id=message.task_id or None,
        context_id=message.context_id or None,
        state="completed",
        text=text,
        message=text,
        artifacts=(artifact,),
        data=_single(artifact.data),
        metadata=_object(message.metadata),
    )


def card_of(card: pb.AgentCard, interface: pb.AgentInterface) -> RemoteCard:
    """A card, with the interface that is used."""
    skills = tuple(
        RemoteSkill(id=skill.id, name=skill.name, description=skill.description, tags=tuple(skill.tags)) for skill in card.skills
    )
    return RemoteCard(
        name=clean_text(card.name),
        description=clean_text(card.description),
        version=clean_text(card.version),
        url=interface.url,
        protocol=interface.protocol_binding,
        protocol_version=interface.protocol_version,
        streaming=card.capabilities.streaming,
        skills=skills,
    )


class Unfolding:
    """A task put together from the news of a stream, whole tasks and changes.

    Args:
        task_id: the task that the news must be of; None where the first that names one says it.
        max_bytes: of all that is put together.
        scrubber: takes secrets out of what is told.
    """

    def __init__(self, task_id: str | None, max_bytes: int, scrubber: Scrubber) -> None:
        self.task_id = task_id
        self._max_bytes = max_bytes
        self._taken = 0
        self._task: pb.Task | None = None
        self._answer: RemoteTask | None = None
        self._shown: list[str] = []
        self._scrubber = scrubber
        self._told = scrubber.stream()

    @property
    def settled(self) -> bool:
        """Whether there will be no more by itself."""
        return self._answer is not None or (self._task is not None and self._task.status.state in _SETTLED)

    def task(self) -> RemoteTask | None:
        """The task as far as it is known."""
        if self._answer is not None:
            return self._scrubber.value(self._answer)
        return self._scrubber.value(task_of(self._task)) if self._task is not None else None

    def take(self, news: pb.StreamResponse) -> RemoteUpdate:
        """Add some news, and say what is new.

        Raises:
            LLMInvalidResponseError: it is of another task, or of none.
            LLMCapabilityError: it is too much.
        """
        match news.WhichOneof("payload"):
            case "task":
                return self.take_task(news.task)
            case "message":
                self._check(news.message.task_id or self.task_id)
                self._answer = answer_of(news.message)
                return self._update(self._rest(self._answer.text))
            case "status_update":
                self._check(news.status_update.task_id)
                task = self._known(news.status_update.context_id)
                task.status.CopyFrom(news.status_update.status)
                task.metadata.MergeFrom(news.status_update.metadata)
                return self._update("")
            case "artifact_update":
                self._check(news.artifact_update.task_id)
                return self._update(self._take_artifact(self._known(news.artifact_update.context_id), news.artifact_update))
            case _:
                raise LLMInvalidResponseError("the remote agent told of nothing: neither a task nor a message nor a change of one")

    def take_task(self, task: pb.Task) -> RemoteUpdate:
        """Take a whole task in place of what is known.

        Raises:
            LLMInvalidResponseError: it is another task, or has no id.
        """
        self._check(task.id)
        self._task = task
        return self._update(self._rest(_written(task)))

    def _check(self, task_id: str | None) -> None:
        if not task_id:
            if self.task_id is None and self._task is None:
                return
            raise LLMInvalidResponseError("the remote agent told of a task without an id")
        if self.task_id is None:
            self.task_id = task_id
        elif task_id != self.task_id:
            told, asked = self._scrubber.text(task_id), self._scrubber.text(self.task_id)
            raise LLMInvalidResponseError(f"the remote agent told of task {told!r:.100}, and was asked about {asked!r:.100}")

    def _known(self, context_id: str) -> pb.Task:
        if self.task_id is None:
            raise LLMInvalidResponseError("the remote agent told of a change in a task without an id")
        if self._task is None:
            self._task = pb.Task(id=self.task_id, context_id=context_id)
        return self._task

    def _take_artifact(self, task: pb.Task, news: pb.TaskArtifactUpdateEvent) -> str:
        self._taken += news.ByteSize()
        if self._taken > self._max_bytes:
            raise LLMCapabilityError(f"the remote agent's results have more than {self._max_bytes:,} bytes")
        for at, artifact in enumerate(task.artifacts):
            if artifact.artifact_id == news.artifact.artifact_id:
                if not news.append:
                    # Taken back and said anew, as an agent does that wrote it in pieces and now has it whole.
                    task.artifacts[at].CopyFrom(news.artifact)
                    return self._rest(_written(task))
                artifact.parts.extend(news.artifact.parts)
                return self._showing(_text(news.artifact.parts, ""))
        if len(task.artifacts) >= MOST_ARTIFACTS:
            # Each piece is looked up among them: many thousands would keep the event loop busy for minutes.
            raise LLMCapabilityError(f"the remote agent's task has more than {MOST_ARTIFACTS:,} results")
        task.artifacts.append(news.artifact)
        text = _text(news.artifact.parts, "")
        return self._showing(f"\n\n{text}" if text and self._shown else text)

    def _showing(self, text: str) -> str:
        if text:
            self._shown.append(text)
        return text

    def _rest(self, written: str) -> str:
        """What of the answer was not shown yet; nothing where it is another one by now, which only the whole task tells."""
        shown = "".join(self._shown)
        return self._showing(written[len(shown) :] if written.startswith(shown) else "")

    def _update(self, text: str) -> RemoteUpdate:
        text = self._told.take(clean_text(text), last=self.settled)
        if self._answer is not None:
            return RemoteUpdate(text=text, state="completed", task_id=self.task_id)
        status = self._task.status if self._task is not None else pb.TaskStatus()
        return RemoteUpdate(
            text=text,
            state=_STATES.get(status.state, "unknown"),
            message=self._scrubber.text(_text(status.message.parts, "\n")),
            task_id=self.task_id,
        )


_SETTLED = frozenset(
    {
        pb.TASK_STATE_COMPLETED,
        pb.TASK_STATE_FAILED,
        pb.TASK_STATE_CANCELED,
        pb.TASK_STATE_REJECTED,
        pb.TASK_STATE_INPUT_REQUIRED,
        pb.TASK_STATE_AUTH_REQUIRED,
    }
)


def _artifact(artifact: pb.Artifact) -> RemoteArtifact:
    return RemoteArtifact(
        id=artifact.artifact_id,
        name=clean_text(artifact.name) or None,
        description=clean_text(artifact.description) or None,
        # Pieces of a streamed text are parts of one artifact, so nothing is put between them.
        text=_text(artifact.parts, ""),
        data=tuple(_data(artifact.parts)),
        files=_files(artifact.parts),
    )


def _written(task: pb.Task) -> str:
    return "\n\n".join(text for text in (_text(artifact.parts, "") for artifact in task.artifacts) if text)


def _text(parts: Iterable[pb.Part], between: str) -> str:
    return clean_text(between.join(part.text for part in parts if part.WhichOneof("content") == "text"))


def _data(parts: Iterable[pb.Part]) -> list[Any]:
    return [_plain(part.data) for part in parts if part.WhichOneof("content") == "data"]


def _files(parts: Iterable[pb.Part]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            name=clean_text(part.filename) or None,
            media_type=clean_text(part.media_type) or None,
            content=part.raw if part.WhichOneof("content") == "raw" else None,
            url=clean_text(part.url) if part.WhichOneof("content") == "url" else None,
        )
        for part in parts
        if part.WhichOneof("content") in ("raw", "url")
    )


def _single(values: Iterable[Any]) -> Any:
    found = list(values)
    return found[0] if len(found) == 1 else found or None


def _plain(value: ProtobufMessage) -> Any:
    try:
        return _whole_numbers(plain(MessageToDict(value)))
    except (ValueError, RecursionError) as error:
        raise LLMInvalidResponseError(f"the remote agent sent data that is no JSON: {error}") from error


def _object(value: ProtobufMessage) -> dict[str, Any]:
    found: dict[str, Any] = _plain(value)
    return found


def _whole_numbers(value: Any) -> Any:
    """The value with its whole numbers as such: protobuf's JSON has floats alone."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value
