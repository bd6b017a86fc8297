"""Every exception of afk_es, under one root.

Three kinds of trouble are kept apart. What the world does to a run (a failing tool, a model that answers 500) is not an exception at
all: it is an event, and the run ends in a state that says so. What the caller does wrong is raised at once, before anything is
written. What we did wrong says which run and which event.

    AfkError
    ├── UsageError                    the caller's mistake; nothing was written
    │   ├── ConfigurationError        a contract object or a combination of arguments that cannot work
    │   │   └── MissingExtraError     it needs a library of an extra that is not installed; an ImportError as well
    │   ├── RunNotFoundError          no run with that id in this log
    │   ├── RunExistsError            another run of that id is in this log
    │   ├── RunOwnedError             another live owner drives this run
    │   ├── AgentMismatchError        resumed with another agent than the recorded one
    │   ├── TaskNotFoundError         no task with that id in this queue
    │   ├── TaskExistsError           another task was pushed under that key
    │   ├── TaskStateError            a task that is not in a state in which that can be done with it
    │   ├── UnregisteredError         an agent, job handler or contract that is not known here by that name
    │   └── PayloadError              a task's payload that does not fit its contract
    ├── LogError                      the event log could not be opened, read or written
    │   ├── LogFormatError            not a log of ours, or of a newer version, or damaged
    │   │   ├── ForeignLogError
    │   │   ├── NewerLogError
    │   │   └── CorruptLogError
    │   ├── LogUnavailableError       right file, wrong moment: locked, full, read-only, closed
    │   │   ├── LogLockedError
    │   │   ├── LogFullError
    │   │   ├── LogReadOnlyError
    │   │   └── LogClosedError
    │   ├── HeadConflictError         somebody else appended first: this owner is stale
    │   ├── ClashError                a table beside the log refused what was to be written to it
    │   └── InvalidEventError         an event whose data does not have the declared shape
    ├── LeaseLostError                the time for which this process had the run is over; it started nothing more
    ├── LLMError                      what a model adapter raises; the loop turns it into `llm_failed`
    │   ├── LLMTimeoutError           retryable
    │   ├── LLMRetryableError         retryable: 408, 429, 5xx, connection
    │   ├── LLMInvalidResponseError   retryable: the provider answered something that is not an answer
    │   ├── LLMConfigurationError     terminal: bad request, authentication, unknown model
    │   ├── LLMCapabilityError        terminal: the model cannot do what was asked of it
    │   ├── LLMCircuitOpenError       terminal: not asked, after too many failures in a row
    │   └── LLMCancelledError         terminal: the call was cancelled on the provider's side
    ├── ToolError                     raised by a tool to tell the model, in its own words, what went wrong
    │   ├── ToolArgumentsError        the model's arguments do not satisfy the tool's schema
    │   ├── ToolTimeoutError          the tool did not finish in time
    │   ├── ToolUnavailableError      the server that the tool lives on cannot be reached, or was lost in mid-call
    │   └── UnknownToolError          no tool of that name
    ├── RunError                      `AgentResult.raise_for_state()`: the run did not complete
    │   ├── RunFailedError
    │   ├── RunDegradedError
    │   ├── RunCancelledError
    │   ├── RunInterruptedError
    │   └── CompactionFailedError     raised by `Runner.compact_thread`: the summariser failed, or the compaction was cut off
    ├── TelemetryError                a telemetry sink could not tell; never reaches a run
    └── InvariantError                our bug: names the run and the seq
"""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """What the exception says. Exceptions of users' code may be unable to say anything, and must still be told of."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a `__str__` of the user's; that it raised is what there is to say
        return f"(its message cannot be made: {type(broken).__name__})"


class AfkError(Exception):
    """Root of every exception that afk_es raises on purpose."""


class UsageError(AfkError):
    """The caller asked for something that cannot be done. Nothing was written."""


class ConfigurationError(UsageError, ValueError):
    """An argument, or a combination of arguments, that cannot work."""


class MissingExtraError(ConfigurationError, ImportError):
    """What was asked for needs a library that comes with an extra of this package, and is not installed."""


class RunNotFoundError(UsageError, LookupError):
    """The log has no run with that id."""


class RunExistsError(UsageError):
    """The log has another run of that id already."""


class RunOwnedError(UsageError):
    """Another owner that is still alive drives this run."""


class AgentMismatchError(UsageError):
    """The agent given to `resume` is not the one the log recorded. The message names what differs."""


class TaskNotFoundError(UsageError, LookupError):
    """The queue has no task with that id."""


class TaskExistsError(UsageError):
    """The queue has another task under that key."""


class TaskStateError(UsageError):
    """The task is not in a state in which that can be done with it. The message says in which it is."""


class UnregisteredError(UsageError, LookupError):
    """No agent, job handler or contract is registered here by that name. Another worker may know it."""


class PayloadError(UsageError, ValueError):
    """A task's payload does not fit its contract. The message says where."""


class LogError(AfkError):
    """The event log could not be opened, read or written. The message names the file and the way out."""


class LogFormatError(LogError):
    """The file is not something this version can read as an event log."""


class ForeignLogError(LogFormatError):
    """The file exists and is not an afk_es log."""


class NewerLogError(LogFormatError):
    """The log was written by a newer afk_es than this one."""


class CorruptLogError(LogFormatError):
    """The log is damaged: a torn page, a broken hash chain, a row that cannot be decoded."""


class LogUnavailableError(LogError):
    """The log is fine, but cannot be used at this moment."""


class LogLockedError(LogUnavailableError):
    """Another process held the write lock for longer than the busy timeout."""


class LogFullError(LogUnavailableError):
    """The disk, or the quota, is full. What was appended before is safe."""


class LogReadOnlyError(LogUnavailableError):
    """The file or its directory cannot be written."""


class LogClosedError(LogUnavailableError):
    """The store was used after it had been closed."""


class LeaseLostError(AfkError):
    """The time for which this process had been lent the run is over, and others may have it. It started nothing more; the run can go on."""


class ClashError(LogError):
    """A constraint of a table, of the log's or beside it, refused what was to be written. Nothing was."""


class HeadConflictError(LogError):
    """The run's log has moved on without this owner, who is stale and must not dispatch anything more."""


class InvalidEventError(LogError):
    """An event's data does not have the shape declared for its type."""


class LLMError(AfkError):
    """A model call failed.

    Attributes:
        status_code: the HTTP status, where there was one.
        retry_after_s: seconds the provider asked to wait, where it said so.
    """

    def __init__(self, message: str, *, status_code: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after_s = retry_after_s


class LLMTimeoutError(LLMError):
    """The model did not answer in time. Retryable."""


class LLMRetryableError(LLMError):
    """The provider was overloaded or out of reach (408, 429, 5xx, connection). Retryable."""


class LLMInvalidResponseError(LLMError):
    """The provider answered something that is not a chat completion. Retryable."""


class LLMConfigurationError(LLMError):
    """Bad request, missing or wrong credentials, unknown model. Terminal: asking again cannot help."""


class LLMCapabilityError(LLMError):
    """The model cannot do what the request asks of it. Terminal."""


class LLMCircuitOpenError(LLMError):
    """The model was not asked: its circuit breaker is open, and lets a call through again in `retry_after_s`. Terminal for this model."""


class LLMCancelledError(LLMError):
    """The call was cancelled on the provider's side. Terminal."""


class ToolError(AfkError):
    """Raise it in a tool to tell the model what went wrong; only the message is shown to it."""


class ToolArgumentsError(ToolError, ValueError):
    """The arguments do not satisfy the tool's schema. The message says which and why, for the model to correct itself."""


class ToolTimeoutError(ToolError, TimeoutError):
    """The tool did not finish within its timeout."""


class ToolUnavailableError(ToolError, ConnectionError):
    """The server that the tool lives on cannot be reached, or was lost in mid-call; the message says which. It may go better later."""


class UnknownToolError(ToolError, LookupError):
    """There is no tool of that name. The message lists close matches."""


class RunError(AfkError):
    """A run ended in another state than completed.

    Attributes:
        result: the `AgentResult`.
    """

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class RunFailedError(RunError):
    """The run failed: an unrecoverable error, or a limit under a failing policy."""


class RunDegradedError(RunError):
    """The run ended with part of the work."""


class RunCancelledError(RunError):
    """The caller cancelled the run."""


class RunInterruptedError(RunError):
    """The run was interrupted and can be resumed."""


class CompactionFailedError(RunError):
    """A thread could not be compacted. The run that tried is in the log, and the model sees the thread as before."""


class TelemetryError(AfkError):
    """A sink of ours could not tell what it was given. A run never sees it; `export_run` lets it through."""


class InvariantError(AfkError):
    """A bug in afk_es. Please report it with the run's log (`afk-es log RUN --format json`).

    Attributes:
        run_id: the run.
        seq: the event at which the invariant broke.
    """

    def __init__(self, message: str, *, run_id: str, seq: int) -> None:
        super().__init__(f"run {run_id} at seq {seq}: {message}")
        self.run_id = run_id
        self.seq = seq
