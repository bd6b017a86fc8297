"""A job: a run that calls one tool with what it was given, and answers with what that returned. It knows no queue.

The handler of a job is an ordinary tool and its run an ordinary run, so that intent, result, doubt, policy, approval, progress and time
travel are those of every other. What stands in place of a model decides by the conversation alone, in any process, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult
from afk_es.errors import LLMCapabilityError, LLMRetryableError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine.rendering import PREAMBLE
from afk_es.machine.values import Message, ToolCall, Usage, canonical_json
from afk_es.tools import Tool, posthook

_FAILED = "Error: "
"""What the text of a failed call begins with; see `render_error`."""

_TOLD_APART = "returned"

_MANY = 1_000_000
"""A job is tried again as often as its task says, and all of its tries are one run: no limit of a run may come before."""

_FAIL_SAFE = FailSafeConfig(
    llm_failure_policy="fail_fast",
    tool_failure_policy="fail_run",
    approval_denial_policy="fail_run",
    max_steps=_MANY,
    max_llm_calls=_MANY,
    max_tool_calls=_MANY,
    max_wall_time_s=None,
)


_OF_A_MODEL = "the model call failed: "
"""How the machine begins the words for a run that ended by its model."""


class JobFailedError(LLMCapabilityError):
    """The call of a job failed, or nobody knows whether it did, and nobody said to try it again. Under this name it stands in the log."""


class JobModel:
    """Stands where an agent has its model: asks for the one call, and when that has returned, ends the run.

    A call that failed is asked for again only where the run was reopened for that, see `reopened`. Otherwise, and so where the outcome of
    the call is unknown or a policy forbade it, the run fails with what is known.

    Args:
        tool_name: the tool that it asks for.
    """

    provider_id = "job"
    model = "job"

    def __init__(self, tool_name: str) -> None:
        self._tool_name = tool_name
        self._reopened: set[str] = set()

    def reopened(self, run_id: str) -> None:
        """Say that a run which had failed goes on now: what failed in it is asked for again, once."""
        self._reopened.add(run_id)

    def left(self, run_id: str) -> None:
        """Say that this process drives the run no longer. What was not asked for by then is for whoever reopens it next."""
        self._reopened.discard(run_id)

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The call, or the end.

        Raises:
            JobFailedError: the call failed, and nobody said to try it again.
            LLMRetryableError: what it had left to the background failed.
        """
        run_id = request.metadata.get("run_id", "")
        again = run_id in self._reopened
        self._reopened.discard(run_id)
        turns = [message for message in request.messages if message.role != "system"]
        last = turns[-1]
        calls = sum(1 for message in turns if message.role == "assistant")
        if calls and not _has_failed(last):
            return LLMResponse(text="The job is done.", finish_reason="stop", usage=Usage(), cost_usd=0.0, model=self.model)
        if calls and not again:
            # What ended in the background is told as a user would.
            raise (JobFailedError if last.role == "tool" else LLMRetryableError)(_failure(last))
        call = ToolCall(f"call_{calls + 1}", self._tool_name, _arguments(turns))
        return LLMResponse(tool_calls=(call,), finish_reason="tool_calls", usage=Usage(), cost_usd=0.0, model=self.model)


def job_agent(handler: Tool[..., Any]) -> Agent:
    """The agent whose runs are the jobs of this handler. It is named after it."""
    told_apart = replace(handler, raise_on_error=True, posthooks=(*handler.posthooks, _told_apart))
    return Agent(name=f"job_{handler.name}"[:64], model=JobModel(handler.name), tools=[told_apart], fail_safe=_FAIL_SAFE)


def job_message(payload: dict[str, Any]) -> str:
    """What the run of a job is told: the arguments of its call, as JSON."""
    return canonical_json(payload).decode()


def job_error(error: str) -> str:
    """What the run of a job failed by, without the model that there was none of."""
    return error.removeprefix(_OF_A_MODEL)


def job_result(result: AgentResult) -> Any:
    """What the handler of a job returned; None where it did not come to that."""
    done = [record for record in result.tool_executions if record.success and record.agent_depth == 0]
    return _as_returned(done[-1].output) if done else None


def _arguments(turns: Sequence[Message]) -> dict[str, Any]:
    asked = next(message.content for message in turns if message.role == "user")
    arguments: dict[str, Any] = msgspec.json.decode(asked)
    return arguments


def _said(message: Message) -> str:
    text = message.content
    if message.role == "user":
        text = text.partition("\n")[2]
    return text.removeprefix(PREAMBLE)


def _has_failed(message: Message) -> bool:
    return _said(message).startswith(_FAILED)


def _failure(message: Message) -> str:
    return _said(message).removeprefix(_FAILED)


@posthook
def _told_apart(result: dict[str, Any]) -> dict[str, Any]:
    """In a conversation a text that a handler returns must not look like a failure: such a one is wrapped, and so is what looks wrapped."""
    output = result["output"]
    if _is_wrapped(output) or (isinstance(output, str) and output.startswith((_FAILED, PREAMBLE))):
        return {**result, "output": {_TOLD_APART: output}}
    return result


def _as_returned(output: Any) -> Any:
    return output[_TOLD_APART] if _is_wrapped(output) else output


def _is_wrapped(output: Any) -> bool:
    return isinstance(output, dict) and output.keys() == {_TOLD_APART}
