"""What a run came to, as the result of the call that it is. Failures are results as well: they are for the model behind the client to read."""

from __future__ import annotations

from typing import Any, Final

from mcp_types import CallToolResult, TextContent

from afk_es.core import AgentResult
from afk_es.machine.values import canonical_json

RUN_ID: Final = "afk_es/run_id"
"""In `_meta` of a result: the run that the call is, for `afk-es show RUN`."""

WAITS_FOR: Final = "afk_es/waits_for"
"""In `_meta` of a result: the ids of the questions that people have to answer first. The call has not come to its end, and the same call by the
same key goes on with it: a client may ask again, now and then, until the result comes without this.
"""

WITHDRAWN: Final = "afk_es/withdrawn"
"""In `_meta` of a call with a key: True says that the call of that key is not wanted any more. It is cancelled, and none is begun. For a call
that waits for people, of which no request is under way that could be cancelled by the protocol's means.
"""

IDEMPOTENCY_KEY: Final = "afk_es/idempotency_key"
"""In `_meta` of a call: the caller's name for it, of 1 to 256 characters. The same call under the same key is done once."""

RETRY_AFTER_S: Final = "afk_es/retry_after_s"
"""In `_meta` of a result that refuses a call: seconds after which it would be let in."""


def failure(text: str, **meta: Any) -> CallToolResult:
    """A call that did not do what it was for, with what its caller should know."""
    return CallToolResult(content=[TextContent(text=text)], is_error=True, **_with(meta))


def result_of_tool(result: AgentResult, **meta: Any) -> CallToolResult:
    """What the tool gave. What went on in the background has two records, and the later one is the result."""
    if result.state not in ("completed", "degraded") or not result.tool_executions:
        return failure(_reason(result), **meta)
    record = result.tool_executions[-1]
    if not record.success:
        return failure(record.error or f"{record.tool_name} failed and did not say why", **meta)
    return success(record.output, **meta)


def result_of_agent(result: AgentResult, *, structured: bool, **meta: Any) -> CallToolResult:
    """What the agent answered.

    Args:
        structured: whether it has promised data of an output type, without which a client takes no success.
    """
    if result.state not in ("completed", "degraded"):
        return failure(_reason(result), **meta)
    if not structured:
        return CallToolResult(content=[TextContent(text=result.final_text)], **_with(meta))
    if result.final_structured is None:
        return failure(result.final_text or _reason(result), **meta)
    data = result.final_structured
    return success(data if isinstance(data, dict) else data.model_dump(mode="json"), **meta)


def success(output: Any, **meta: Any) -> CallToolResult:
    """The output as text, and where it is data as such too: before 2026-07-28 that is an object, so what is none stands in one."""
    if output is None:
        return CallToolResult(content=[], **_with(meta))
    if isinstance(output, str):
        return CallToolResult(content=[TextContent(text=output)], **_with(meta))
    data = output if isinstance(output, dict) else {"result": output}
    return CallToolResult(content=[TextContent(text=canonical_json(output).decode())], structured_content=data, **_with(meta))


def _reason(result: AgentResult) -> str:
    match result.state:
        case "cancelled":
            return "the call was cancelled"
        case "interrupted":
            return f"the call was laid down before its end: {result.error or 'no reason was given'}"
        case _:
            return result.error or result.final_text or f"the run is {result.state}"


def _with(meta: dict[str, Any]) -> dict[str, Any]:
    return {"_meta": meta} if meta else {}
