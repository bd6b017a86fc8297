"""Models: the port, what goes through it, and the adapters behind it.

Importing this package loads no vendor's client.
"""

from afk_es.errors import (
    LLMCancelledError,
    LLMCapabilityError,
    LLMCircuitOpenError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
)
from afk_es.llms.builder import LLMBuilder
from afk_es.llms.built import BuiltModel
from afk_es.llms.chat import chat_messages, chat_tools
from afk_es.llms.content import UserMessage, image_from_file
from afk_es.llms.failure import Failure, classify
from afk_es.llms.port import (
    ChatModel,
    Link,
    LinkedChatModel,
    LLMMiddleware,
    PricedChatModel,
    StreamingChatModel,
    WithdrawableChatModel,
)
from afk_es.llms.prices import ModelPrices
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse, StreamPart, TextDelta, ToolCallDelta
from afk_es.machine.content import Image, MultipartMessage, Text
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import Message, Messages, ToolCall, Usage

__all__ = [
    "LLMBuilder",
    "BuiltModel",
    "LLMMiddleware",
    "ChatModel",
    "PricedChatModel",
    "StreamingChatModel",
    "LinkedChatModel",
    "WithdrawableChatModel",
    "Link",
    "ModelPrices",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "Messages",
    "MultipartMessage",
    "Text",
    "Image",
    "image_from_file",
    "UserMessage",
    "ToolCall",
    "ToolSpec",
    "Usage",
    "TextDelta",
    "ToolCallDelta",
    "StreamPart",
    "chat_messages",
    "chat_tools",
    "Failure",
    "classify",
    "LLMError",
    "LLMTimeoutError",
    "LLMRetryableError",
    "LLMInvalidResponseError",
    "LLMConfigurationError",
    "LLMCapabilityError",
    "LLMCircuitOpenError",
    "LLMCancelledError",
]
