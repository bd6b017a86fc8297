"""How the payload of a task is understood: from JSON to the run that does it. It knows no log and no engine.

A contract is asked twice, where a task is pushed and again where it is taken, in another process and perhaps by newer code; so it is a
pure function of the payload.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from afk_es.agents import Agent
from afk_es.core import AgentResult
from afk_es.errors import ConfigurationError, PayloadError, ToolArgumentsError, UnregisteredError, text_of
from afk_es.llms import UserMessage
from afk_es.llms.content import content_of
from afk_es.machine.content import MultipartMessage, user_turn
from afk_es.machine.values import canonical_json, plain
from afk_es.queues.jobs import JobModel, job_agent, job_error, job_message, job_result
from afk_es.tools import Tool

CHAT = "runner.chat.v1"
JOB = "job.dispatch.v1"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DEEPEST = 100

F = TypeVar("F", bound="Callable[[Any], RunRequest | JobRequest]")


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The run that a payload asks for; arguments as of `Runner.run`.

    Attributes:
        agent: an agent, or the name of a registered one.
        user_message: what the user says.
        context: JSON data for instructions, policies and tools.
        thread_id: the thread to go on with, which is the task's lane; None: a new one.
    """

    agent: Agent | str
    user_message: UserMessage | None = None
    context: dict[str, Any] | None = None
    thread_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The job that a payload asks for.

    Attributes:
        handler: a tool, or the name of a registered one.
        payload: its arguments.
    """

    handler: Tool[..., Any] | str
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """A task as a Runner takes it, with the agent itself.

    Attributes:
        agent, user_message, context, thread_id: as for `Runner.run_once`.
    """

    agent: Agent
    user_message: UserMessage | None = None
    context: dict[str, Any] | None = None
    thread_id: str | None = None

    @property
    def is_job(self) -> bool:
        """Whether it has no model that thinks, but the one call of a job."""
        return isinstance(self.agent.model, JobModel)

    def reopened(self, run_id: str) -> None:
        """To be said just before a run that *has failed* in the log goes on: a job then asks for its call again."""
        if isinstance(self.agent.model, JobModel):
            self.agent.model.reopened(run_id)

    def left(self, run_id: str) -> None:
        """To be said when this process drives the run no longer: what `reopened` said holds for that time alone."""
        if isinstance(self.agent.model, JobModel):
            self.agent.model.left(run_id)

    def told(self, error: str) -> str:
        """What a run of it failed by, for people."""
        return job_error(error) if self.is_job else error

    def outcome(self, result: AgentResult) -> Any:
        """What the task came to; see `outcome_of`."""
        return outcome_of(result)


def outcome_of(result: AgentResult) -> Any:
    """What a task came to, as JSON: what the job's handler returned, else the run's structured output or its text."""
    if result.provider_adapter == JobModel.provider_id:
        return job_result(result)
    structured = result.final_structured
    if structured is None:
        return result.final_text
    return structured.model_dump(mode="json") if isinstance(structured, BaseModel) else plain(structured)


class Contract:
    """A kind of task. Made by `contract`.

    Attributes:
        name: under which tasks are pushed; it stands in the queue, so it stays what it is.
        payload: the Pydantic model that a payload has to fit; None: any JSON object.
    """

    def __init__(self, name: str, function: Callable[[Any], RunRequest | JobRequest], payload: type[BaseModel] | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"a contract is named by 1 to 128 letters, digits, '_', '-' and '.', such as 'invoices.send.v1', not {name!r:.160}"
            )
        if inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"contract {name!r} is a plain function of its payload, and not async: it is called where a task is pushed, too"
            )
        self.name = name
        self.payload = payload
        self._function = function

    def __repr__(self) -> str:
        return f"Contract({self.name!r})"

    def __call__(self, payload: Any) -> RunRequest | JobRequest:
        """Call the function itself."""
        return self._function(payload)

    def asked(self, payload: dict[str, Any]) -> RunRequest | JobRequest:
        """What a payload, plain JSON, asks for. Nobody has looked yet whether what it names is registered.

        Raises:
            PayloadError: it does not fit.
        """
        try:
            given = (
                payload if self.payload is None else self.payload.model_validate_json(canonical_json(payload), by_alias=True, by_name=True)
            )
            request: object = self._function(given)
        except PayloadError:
            raise
        except ValidationError as error:
            raise PayloadError(f"the payload does not fit {self.name}: {_problems(error)}") from error
        except Exception as error:
            # A function of the user's: that it cannot make anything of the payload is what there is to say.
            raise PayloadError(f"the payload does not fit {self.name}: {type(error).__name__}: {text_of(error)}") from error
        if not isinstance(request, (RunRequest, JobRequest)):
            raise ConfigurationError(f"contract {self.name!r} gave a {type(request).__name__}, and not a RunRequest or JobRequest")
        return request

    def request(self, payload: dict[str, Any], known: Known) -> TaskRun:
        """The run that a payload asks for.

        Raises:
            PayloadError: the payload does not fit.
            UnregisteredError: an agent or handler that it names is not known here.
        """
        return known.run_of(self.asked(payload))


@overload
def contract(name: str) -> Callable[[Callable[[dict[str, Any]], RunRequest | JobRequest]], Contract]: ...
@overload
def contract(name: str, *, payload: type[BaseModel]) -> Callable[[Callable[[Any], RunRequest | JobRequest]], Contract]: ...
def contract(name: str, *, payload: type[BaseModel] | None = None) -> Callable[[Callable[[Any], RunRequest | JobRequest]], Contract]:
    """Make a contract of a function from a payload to what it asks for.

    The function is pure, and is called where a task is pushed and where it is taken.

    Args:
        name: such as "invoices.send.v1". A payload of another shape wants another name, since old tasks may still be there.
        payload: the model that payloads have to fit, of which the function then gets an instance; None: it gets the JSON object.
    """

    def decorated(function: Callable[[Any], RunRequest | JobRequest]) -> Contract:
        return Contract(name, function, payload)

    return decorated


class Known:
    """The agents, job handlers and contracts that a process knows by name.

    Args:
        agents: by their names.
        handlers: tools, by their names.
        contracts: beside the two that are always there, "runner.chat.v1" and "job.dispatch.v1".

    Raises:
        ConfigurationError: two of one name, or something else than was asked for.
    """

    def __init__(self, agents: Iterable[Agent] = (), handlers: Iterable[Tool[..., Any]] = (), contracts: Iterable[Contract] = ()) -> None:
        self.agents: dict[str, Agent] = _by_name("agents", agents, Agent)
        self.handlers: dict[str, Tool[..., Any]] = _by_name("handlers", handlers, Tool)
        self.contracts: dict[str, Contract] = _by_name("contracts", (_CHAT, _JOB, *contracts), Contract)
        self._jobs: dict[str, tuple[Tool[..., Any], Agent]] = {}

    def __or__(self, other: Known) -> Known:
        """All that either knows; of what both know by one name, the other's."""
        both = Known()
        both.agents = self.agents | other.agents
        both.handlers = self.handlers | other.handlers
        both.contracts = self.contracts | other.contracts
        return both

    def contract(self, name: object) -> Contract:
        """The contract of that name.

        Raises:
            UnregisteredError: there is none.
        """
        found = self.contracts.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnregisteredError(f"no contract {name!r:.160} is registered here; there are {', '.join(sorted(self.contracts))}")
        return found

    def run_of(self, request: RunRequest | JobRequest) -> TaskRun:
        """The run that is asked for.

        Raises:
            UnregisteredError: what it names is not known here.
            PayloadError: the handler takes other arguments.
        """
        if isinstance(request, JobRequest):
            return self._job_of(request)
        agent = request.agent if isinstance(request.agent, Agent) else self._agent(request.agent)
        return TaskRun(agent=agent, user_message=request.user_message, context=request.context, thread_id=request.thread_id)

    def _job_of(self, request: JobRequest) -> TaskRun:
        handler = request.handler if isinstance(request.handler, Tool) else self._handler(request.handler)
        payload = dict(request.payload)
        try:
            handler.validate(payload)
        except ToolArgumentsError as error:
            # A line each, as a model is told; a task's error is one line of a list.
            raise PayloadError(str(error).replace(":\n- ", ": ", 1).replace("\n- ", "; ")) from error
        return TaskRun(agent=self._job(handler), user_message=job_message(payload))

    def _agent(self, name: str) -> Agent:
        if (found := self.agents.get(name)) is None:
            raise UnregisteredError(f"no agent {name!r:.160} is registered here; there {_listed(self.agents)}")
        return found

    def _handler(self, name: str) -> Tool[..., Any]:
        if (found := self.handlers.get(name)) is None:
            raise UnregisteredError(f"no job handler {name!r:.160} is registered here; there {_listed(self.handlers)}")
        return found

    def _job(self, handler: Tool[..., Any]) -> Agent:
        """One agent for all jobs of a handler: a Runner binds it once."""
        kept = self._jobs.get(handler.name)
        if kept is None or kept[0] is not handler:
            kept = self._jobs[handler.name] = (handler, job_agent(handler))
        return kept[1]


def plain_payload(payload: object) -> dict[str, Any]:
    """A payload as it will be stored: a JSON object, or a Pydantic model rendered as one.

    Raises:
        PayloadError: it is none; the message says where.
    """
    if isinstance(payload, BaseModel):
        payload = payload.model_dump(mode="json", by_alias=True)
    if not isinstance(payload, Mapping):
        raise PayloadError(f"a payload is a JSON object: a dict, or a Pydantic model; not {type(payload).__name__}")
    _check_json(payload, "payload", 0)
    try:
        stored: dict[str, Any] = plain(dict(payload))
    except (TypeError, OverflowError, ValueError) as error:
        raise PayloadError(f"a payload is JSON, and this is none: {error}") from error
    return stored


def _check_json(value: object, where: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise PayloadError(f"a payload is nested at most {_DEEPEST} deep; it goes deeper at {where[:200]}")
    match value:
        case None | bool() | str() | int():
            return
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise PayloadError(f"a payload is JSON, which has no {value}; it stands at {where}")
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise PayloadError(f"a payload is JSON, whose keys are strings; {where} has {key!r:.80}")
                _check_json(item, f"{where}.{key}", depth + 1)
        case list() | tuple():
            for index, item in enumerate(value):
                _check_json(item, f"{where}[{index}]", depth + 1)
        case _:
            raise PayloadError(f"a payload is JSON, and a {type(value).__name__} is not; it stands at {where}")


def chat_payload(agent: str, user_message: UserMessage | None, context: dict[str, Any] | None, thread_id: str | None) -> dict[str, Any]:
    """The payload of a chat."""
    text, parts = content_of(user_message)
    given = {"agent": agent, "user_message": parts or text, "context": context, "thread_id": thread_id}
    return {key: value for key, value in given.items() if value is not None}


def _chat(payload: dict[str, Any]) -> RunRequest:
    _check_keys(CHAT, payload, required=("agent",), optional=("user_message", "context", "thread_id"))
    agent, thread_id, context = payload["agent"], payload.get("thread_id"), payload.get("context")
    for key, value in (("agent", agent), ("thread_id", thread_id)):
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise PayloadError(f"{CHAT}: {key} is a non-empty string, not {value!r:.160}")
    if agent is None:
        raise PayloadError(f"{CHAT}: agent is the name of an agent, not null")
    if context is not None and not isinstance(context, dict):
        raise PayloadError(f"{CHAT}: context is an object, not {context!r:.160}")
    return RunRequest(agent=agent, user_message=_message(payload.get("user_message")), context=context, thread_id=thread_id)


def _message(said: object) -> UserMessage | None:
    """A user's message from a payload: text, or parts as `run_started` has them, in which a text may be just that."""
    if said is None or isinstance(said, str):
        return said
    try:
        if not isinstance(said, list):
            raise ValueError(f"it is a {type(said).__name__}")
        turn = user_turn("", [{"type": "text", "text": part} if isinstance(part, str) else part for part in said])
        parts = turn.parts if isinstance(turn, MultipartMessage) else ()
        content_of(parts)
    except (ValueError, AttributeError, TypeError) as error:
        raise PayloadError(
            f'{CHAT}: user_message is a text, or a list of texts, {{"type": "text", "text"}} and {{"type": "image", "url"}}: {error}'
        ) from error
    return parts


def _job(payload: dict[str, Any]) -> JobRequest:
    _check_keys(JOB, payload, required=("handler",), optional=("payload",))
    handler, arguments = payload["handler"], payload.get("payload", {})
    if not isinstance(handler, str) or not handler.strip():
        raise PayloadError(f"{JOB}: handler is the name of a tool, not {handler!r:.160}")
    if not isinstance(arguments, dict):
        raise PayloadError(f"{JOB}: payload is an object, the handler's arguments, not {arguments!r:.160}")
    return JobRequest(handler=handler, payload=arguments)


def _check_keys(name: str, payload: dict[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    legal = f"it has {', '.join(required)}, and may have {', '.join(optional)}"
    for key in required:
        if key not in payload:
            raise PayloadError(f"{name}: {key} is missing; {legal}")
    if strange := sorted(payload.keys() - {*required, *optional}):
        raise PayloadError(f"{name}: there is no {strange[0]!r:.80}; {legal}")


_CHAT = Contract(CHAT, _chat)
_JOB = Contract(JOB, _job)

T = TypeVar("T", Agent, Contract, "Tool[..., Any]")


def _by_name(what: str, items: Iterable[T], kind: type[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for item in items:
        if not isinstance(item, kind):
            raise ConfigurationError(f"{what} are of the type {kind.__name__}; {item!r:.160} is not")
        if found.setdefault(item.name, item) is not item:
            raise ConfigurationError(f"two {what} are named {item.name!r}, and a task could not say which is meant; rename one")
    return found


def _listed(names: Mapping[str, object]) -> str:
    return f"are {', '.join(sorted(names))}" if names else "is none"


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors(include_url=False)[:20])
