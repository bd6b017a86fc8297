"""What a remote agent's work is to us: records of our own, which know no protocol and no SDK.

All of it was said by the remote agent, and nothing of it was checked but its form.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

RemoteState = Literal["submitted", "working", "completed", "failed", "canceled", "rejected", "input-required", "auth-required", "unknown"]
"""The states of the protocol, in its words; "unknown" where the agent names none, or one that this version does not know."""

ENDED: frozenset[RemoteState] = frozenset({"completed", "failed", "canceled", "rejected"})
"""States that a task does not leave any more."""

WAITING: frozenset[RemoteState] = frozenset({"input-required", "auth-required"})
"""States that a task leaves when somebody on our side has done something."""


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file among an agent's results, by its bytes or by an address; exactly one of the two. An address is never fetched.

    Attributes:
        name: the file's name as the agent has it, which is no path to be written to; None where it has none.
        media_type: such as "application/pdf"; None where the agent does not say.
        content: its bytes.
        url: where it is said to be.
    """

    name: str | None = None
    media_type: str | None = None
    content: bytes | None = None
    url: str | None = None


class RemoteArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a task.

    Attributes:
        id: unique within its task.
        name, description: as the agent has them, or None.
        text: its text parts, one after the other as they are.
        data: its JSON values.
        files: its files.
    """

    id: str
    name: str | None = None
    description: str | None = None
    text: str = ""
    data: tuple[Any, ...] = ()
    files: tuple[RemoteFile, ...] = ()


class RemoteTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a remote agent, as it was when it was asked for. An agent that answers at once, without a task, is a completed one.

    Attributes:
        id: the agent's name for it; None where it answered without a task.
        context_id: the conversation that it belongs to; None where the agent names none.
        state: how it stands.
        text: the answer: the text of all artifacts, or where they have none what the agent said last.
        message: what the agent said last about how it stands: a question, where it is "input-required"; empty where it said nothing.
        artifacts: its results, in their order.
        data: the JSON value among the results; a list where there are several, None where there is none.
        metadata: what else the agent says of it.
    """

    id: str | None = None
    context_id: str | None = None
    state: RemoteState = "unknown"
    text: str = ""
    message: str = ""
    artifacts: tuple[RemoteArtifact, ...] = ()
    data: Any = None
    metadata: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether it is over: completed, failed, canceled or rejected."""
        return self.state in ENDED

    @property
    def settled(self) -> bool:
        """Whether the agent does nothing more by itself: the task is over, or waits for somebody."""
        return self.state in ENDED or self.state in WAITING

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """The files of all artifacts."""
        return tuple(file for artifact in self.artifacts for file in artifact.files)


class RemoteUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """News of a task.

    Attributes:
        text: the next piece of the answer; empty where the news is something else.
        state: how the task stands.
        message: what the agent says of it, such as what it is doing now; empty where it says nothing.
        task_id: the agent's name for it, once it is known.
        task: the whole task, in the last update and in no other.
    """

    text: str = ""
    state: RemoteState = "unknown"
    message: str = ""
    task_id: str | None = None
    task: RemoteTask | None = None


class RemoteSkill(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent says it can do."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()


class RemoteCard(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of itself. Its words are the agent's: whoever shows them to a model lets a stranger speak to it.

    Attributes:
        name, description, version: its own words.
        url: where it takes messages.
        protocol: how: "JSONRPC" or "HTTP+JSON".
        protocol_version: of A2A, such as "1.0".
        streaming: whether its work can be watched.
        skills: what it can do.
    """

    name: str
    description: str
    version: str
    url: str
    protocol: str
    protocol_version: str
    streaming: bool
    skills: tuple[RemoteSkill, ...] = ()
