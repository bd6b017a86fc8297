"""What a tool may answer, and how any answer becomes plain JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError, to_jsonable_python

from afk_es.errors import AfkError, ToolError, text_of
from afk_es.machine.values import clean_text, plain


class ToolResult(BaseModel):
    """An answer with its success spelled out. A tool may return one; `Tool.call` always does.

    Attributes:
        output: the answer; None for a failure.
        success: False makes the call a failed one.
        error: for a failure, what the model is told.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    output: Any = None
    success: bool = True
    error: str | None = None


class ToolDeferredHandle(BaseModel):
    """Returned by a tool whose work goes on in the background: the call is accepted, its result comes later.

    Attributes:
        ticket_id: names the work in one line of at most 200 characters, and is no other open ticket's of the run; None lets the runner
            derive one from the run and the call.
        status: what the model is told of its state; default "pending".
        summary: one sentence for the model.
        resume_hint: how to go on meanwhile, for the model.
        expires_in_s: seconds after which the work counts as failed; None means the runner's `background_tool_result_ttl_s`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    ticket_id: str | None = Field(default=None, max_length=200, pattern=r"^\P{C}*[^\s\p{C}]\P{C}*$")
    status: str = "pending"
    summary: str | None = None
    resume_hint: str | None = None
    expires_in_s: float | None = Field(default=None, gt=0)


def plain_output(output: Any, tool_name: str) -> Any:
    """The output as plain JSON, rendered as Pydantic renders it; where some bytes are not UTF-8, bytes become base64.

    Raises:
        ToolError: it cannot be JSON. The tool has run; only its answer is lost.
    """
    kind = type(output)
    if kind is str:
        return clean_text(output)
    if output is None or kind is bool:
        return output
    try:
        return plain(_jsonable(output))
    except Exception as error:
        reason = text_of(error) or type(error).__name__
        raise ToolError(f"the output of {tool_name} ({kind.__name__}) cannot be rendered as JSON: {reason}") from error


def _jsonable(output: Any) -> Any:
    try:
        return to_jsonable_python(output)
    except (UnicodeDecodeError, PydanticSerializationError) as error:
        if "utf-8" not in str(error):
            raise
        return to_jsonable_python(output, bytes_mode="base64")


def settled(output: Any, tool_name: str) -> Any:
    """The plain output that a returned value stands for; a `ToolDeferredHandle` is passed through.

    Raises:
        ToolError: a `ToolResult` that is not a success, or an output that cannot be JSON.
    """
    if isinstance(output, ToolDeferredHandle):
        return output
    if isinstance(output, ToolResult):
        if not output.success:
            raise ToolError(output.error or f"{tool_name} failed and did not say why")
        output = output.output
    return plain_output(output, tool_name)


def failure_text(error: BaseException) -> str:
    """What the model is told of an exception: our own messages as they are, others led by their type."""
    text = text_of(error)
    if isinstance(error, AfkError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
