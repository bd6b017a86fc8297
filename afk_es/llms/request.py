"""What a model is asked, whatever vendor it goes to. It holds the conversation without ever looking through it.

A run's messages come as `Messages`, a view that costs nothing to keep; validation lets it pass by its type alone. So the request of step
3,000 costs what the request of step 50 costs, and adapters render the list once, when they send it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator

from afk_es.llms.chat import chat_messages, chat_tools, message_from_chat, tool_from_chat
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import Message, Messages

_ONLY_TOOLSPECS = {ToolSpec}


def _messages(value: object) -> Sequence[Message]:
    if isinstance(value, Messages):
        return value
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"messages are a list of Message or chat dicts; this is {type(value).__name__}")
    return tuple(_message(item) for item in value)


def _message(item: object) -> Message:
    if isinstance(item, Message):
        return item
    if isinstance(item, Mapping):
        return message_from_chat(item)
    raise ValueError(f"a message is a Message or a chat dict; this one is {type(item).__name__}")


def _tools(value: object) -> tuple[ToolSpec, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"tools are a list of ToolSpec or chat dicts; this is {type(value).__name__}")
    # The tuple of a run is shared by all its requests, and passes as it is.
    if isinstance(value, tuple) and _ONLY_TOOLSPECS.issuperset(map(type, value)):
        return value
    return tuple(_tool(item) for item in value)


def _tool(item: object) -> ToolSpec:
    if isinstance(item, ToolSpec):
        return item
    if isinstance(item, Mapping):
        return tool_from_chat(item)
    raise ValueError(f"a tool is a ToolSpec or a chat dict; this one is {type(item).__name__}")


def _stop(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class LLMRequest(BaseModel):
    """A question to a model.

    Attributes:
        model: the model's name, as its provider or LiteLLM knows it.
        messages: the conversation. `Messages` passes as it is; a list of `Message` or of chat dicts becomes a tuple.
        tools: what the model may call. A list of `ToolSpec` or of chat dicts becomes a tuple.
        tool_choice: "auto", "none", "required", or the provider's object that names one tool; None leaves it to the provider.
        max_tokens: most tokens of the answer.
        temperature: None, as everywhere here, leaves it to the provider.
        top_p: share of the probability mass to sample from, 0 to 1.
        stop: texts at which the answer ends; one string is one text.
        response_format: JSON Schema of the answer, for structured output; or the provider's own `{"type": "json_object"}` form.
        reasoning_enabled: whether the model should think first. False goes before the two below.
        reasoning_effort: how hard, in the provider's word ("minimal", "low", "medium", "high"); alone, it turns thinking on.
        reasoning_max_tokens: most tokens of thinking; alone, it turns thinking on. Goes before the effort where the model takes both.
        timeout_s: seconds until the call is given up; None takes the adapter's default.
        idempotency_key: the same for every attempt at the same question.
        attempt: which attempt at it this is, over all processes; above 1 it may have been asked before. Not part of the question.
        metadata: for the provider's logs; not part of the question.
        extra: parameters for the provider that have no field here, passed on as they are.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    model: str = Field(min_length=1)
    messages: Annotated[Sequence[Message], PlainValidator(_messages), PlainSerializer(chat_messages)]
    tools: Annotated[tuple[ToolSpec, ...], PlainValidator(_tools), PlainSerializer(chat_tools)] = ()
    tool_choice: str | dict[str, Any] | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stop: Annotated[tuple[str, ...], BeforeValidator(_stop)] = ()
    response_format: dict[str, Any] | None = None
    reasoning_enabled: bool | None = None
    reasoning_effort: str | None = None
    reasoning_max_tokens: int | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)
    idempotency_key: str | None = None
    attempt: int = Field(default=1, ge=1)
    metadata: dict[str, Any] = {}
    extra: dict[str, Any] = {}
