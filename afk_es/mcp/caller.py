"""A client's call of a tool as an agent's run: whoever sent the call takes the place of the model. It knows no protocol.

So there is one machine for calls from outside as well: policies, approvals, the log, what is in doubt after a crash, and how it goes on. The
run has one message of the user, the call as text; the "model" asks for exactly that call, is shown its result, and is done. It is a function of
the messages alone, so such a run can be replayed, forked and resumed as any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from afk_es.agents import Agent, FailSafeConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.machine.values import canonical_json, plain
from afk_es.tools import Tool

_TURNS: Final = 3
"""The call, its result, and once more where the tool went on in the background and its result came later."""

_DONE: Final = "The client has the result."
"""What the run says at its end. The result is in the log once, where the tool gave it."""


class Caller:
    """A `ChatModel`: the client's part in the run of its call.

    Attributes:
        provider_id: "mcp".
        model: "client".
    """

    provider_id: str = "mcp"
    model: str = "client"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The call that the message stands for; once it was made, the end."""
        if any(message.role == "assistant" for message in request.messages):
            return self._answer(text=_DONE, finish_reason="stop")
        name, _space, arguments = request.messages[-1].content.partition(" ")
        call = ToolCall("call", name, msgspec.json.decode(arguments))
        return self._answer(tool_calls=(call,), finish_reason="tool_calls")

    def _answer(self, **fields: Any) -> LLMResponse:
        # Nobody was paid: that is known, and not unknown.
        return LLMResponse(usage=Usage(0, 0, 0), cost_usd=0.0, model=self.model, **fields)

    def prices(self, model: str) -> bool:
        """True: it costs nothing."""
        return True


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """The call as the run's message: the tool's name and the arguments as canonical JSON.

    Raises:
        TypeError: the arguments are no JSON.
    """
    return f"{name} {canonical_json(plain(arguments)).decode()}"


def calling(tool: Tool[..., Any], timeout_s: float | None) -> Agent:
    """The agent whose run a call of the tool is. In the log it has the tool's name.

    Args:
        timeout_s: how long a tool may take that does not say so itself; None for as long as it likes.
    """
    limited = tool if tool.timeout_s is not None else replace(tool, timeout_s=timeout_s)
    # The time is the tool's: that of a person who has to approve first is no part of it, and has a term of its own.
    limits = FailSafeConfig(llm_failure_policy="fail_fast", max_steps=_TURNS, max_wall_time_s=None)
    return Agent(name=tool.name, description=tool.description, model=Caller(), tools=[limited], max_steps=_TURNS, fail_safe=limits)
