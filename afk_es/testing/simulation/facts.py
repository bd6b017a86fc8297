"""What can happen in a simulated world, as data: what model, tools and people answer, and what befalls the process. A run's script is a tuple of it.

Everything here is JSON, so a script can be printed, kept, edited and performed again.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

# --------------------------------------------------------------------------------------------------------------------- what is answered


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call in a model's answer. `arguments` is a str where the model's JSON is broken."""

    id: str
    tool_name: str
    arguments: dict[str, Any] | str = {}


class ModelAnswers(msgspec.Struct, frozen=True, omit_defaults=True, tag="model_answers"):
    """The model answers.

    Attributes:
        tokens: of the request and of the answer; None where the provider does not say.
        cost_usd: None where it is unknown.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = "stop"
    tokens: tuple[int, int] | None = None
    cost_usd: float | None = None


ModelFault = Literal["timeout", "overloaded", "invalid_response", "refused_request", "connection"]


class ModelFails(msgspec.Struct, frozen=True, omit_defaults=True, tag="model_fails"):
    """The call of the model fails.

    Attributes:
        retry_after_s: of an overloaded provider that says so.
    """

    fault: ModelFault = "timeout"
    retry_after_s: float | None = None


class ToolReturns(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_returns"):
    """The tool answers with this JSON."""

    output: Any = None


class ToolFails(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_fails"):
    """The tool raises: in its own words ("error", not tried again), by a bug or a lost connection ("crash"), or in time-out."""

    fault: Literal["error", "crash", "timeout"] = "crash"
    message: str = "it broke"


class ToolDefers(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_defers"):
    """The tool goes on in the background.

    Attributes:
        ticket_id: None lets the runner name it.
        expires_in_s: its term; None for the runner's.
    """

    ticket_id: str | None = None
    expires_in_s: float | None = None


class ToolRuns(msgspec.Struct, frozen=True, tag="tool_runs"):
    """The tool's own code runs."""


class PersonSays(msgspec.Struct, frozen=True, omit_defaults=True, tag="person_says"):
    """A person answers.

    Attributes:
        outcome: "yes" grants an approval, or is an answer where words are asked for; "put_off" leaves the question open; "absent" is a
            provider that cannot ask.
        outside: the answer comes past the provider, as from another process.
    """

    outcome: Literal["yes", "no", "put_off", "absent"] = "yes"
    words: str = "yes"
    by: str = "ann"
    outside: bool = False


class Summarises(msgspec.Struct, frozen=True, omit_defaults=True, tag="summarises"):
    """The summariser answers; None for one that fails."""

    text: str | None = "They spoke."


Fact: TypeAlias = ModelAnswers | ModelFails | ToolReturns | ToolFails | ToolDefers | ToolRuns | PersonSays | Summarises

# ---------------------------------------------------------------------------------------------------------------------- what happens


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """Something that the run waits for comes.

    Attributes:
        to: the key of the `Ask`.
        fact: what comes; of a kind that fits.
    """

    to: str
    fact: Fact


class TimePasses(msgspec.Struct, frozen=True, omit_defaults=True, tag="time_passes"):
    """Time passes: so many seconds, or up to the next thing that waits for time to pass."""

    seconds: float | None = None


class Crash(msgspec.Struct, frozen=True, omit_defaults=True, tag="crash"):
    """The process dies, and another one goes on with the run.

    Attributes:
        appends: 0 for now; n for at the n-th write to the log from now on.
        when: whether that write is still made.
        downtime_s: how long nobody runs the run.
        version: which of the agents goes on; None for the same.
    """

    appends: int = 0
    when: Literal["before", "after"] = "after"
    downtime_s: float = 0.0
    version: int | None = None


class Control(msgspec.Struct, frozen=True, tag="control"):
    """Somebody pauses, resumes, lays down or cancels the run. "resume" goes on with one that was laid down, "reopen" with one that failed."""

    action: Literal["pause", "resume", "interrupt", "cancel", "reopen"]


class TicketEnds(msgspec.Struct, frozen=True, omit_defaults=True, tag="ticket_ends"):
    """What a tool does in the background comes to its end, well where `error` is None.

    Attributes:
        ticket: which, counted among the open ones.
    """

    ticket: int = 0
    output: Any = None
    error: str | None = None


class StalledProcess(msgspec.Struct, frozen=True, tag="stalled_process"):
    """The process stops without dying, as under SIGSTOP, and another takes the run over; the first wakes up where the run ends."""


class UserSays(msgspec.Struct, frozen=True, tag="user_says"):
    """The run has ended, and the user goes on with the thread."""

    text: str


class Together(msgspec.Struct, frozen=True, tag="together"):
    """All of these at one moment, before the run can take in any of them."""

    actions: tuple[Answer | Control | TicketEnds, ...]


Action: TypeAlias = Answer | TimePasses | Crash | Control | TicketEnds | StalledProcess | UserSays | Together
Script: TypeAlias = tuple[Action, ...]


def script_json(script: Script) -> bytes:
    """A script as JSON, to be kept or printed."""
    return msgspec.json.encode(script)


def script_from(data: bytes | str) -> Script:
    """The script that `script_json` wrote.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.json.decode(data, type=Script)
