"""What a server answered to a call, as the output of a tool or as its failure. It is data of somebody else's, and nothing here acts on it."""

from __future__ import annotations

import re
from typing import Any

from mcp_types import CallToolResult, ContentBlock, EmbeddedResource, TextContent, TextResourceContents

from afk_es.errors import ToolError
from afk_es.machine.values import canonical_json, clean_text, plain
from afk_es.mcp.schemas import Checker

MAX_ERROR_CHARS = 4_000
"""Of a failure's text. It is for a model to put its call right, and not a place for data."""

# What could move a cursor or hide a line in a terminal; tabs and line ends are text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def cleaned(text: str, max_chars: int) -> str:
    """The text without characters that show as nothing or move others, and no longer than that."""
    text = _CONTROL.sub("", clean_text(text).replace("\r\n", "\n"))
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def output_of(result: CallToolResult, tool: str, server: str, checker: Checker | None, max_bytes: int) -> Any:
    """The output as JSON: what is structured where there is some, else the text, else the blocks as a list.

    Args:
        checker: of the tool's output schema; None where it has none.
        max_bytes: of the output as JSON.

    Raises:
        ToolError: the server says that the call failed, or the result is too large, or is not what the tool's schema says.
    """
    if result.is_error:
        raise ToolError(said_by(result) or f"{tool} failed, and server {server!r} did not say why")
    output = plain(_output(result))
    size = len(canonical_json(output))
    if size > max_bytes:
        raise ToolError(
            f"the result of {tool} has {size} bytes, and max_result_bytes of server {server!r} is {max_bytes}; the call was made, and its "
            "result is lost: ask for less"
        )
    if checker is not None:
        _check(result, checker, tool, server)
    return output


def said_by(result: CallToolResult) -> str:
    """What the server says of a failure: cleaned and bounded, perhaps nothing."""
    return cleaned(_text(result.content), MAX_ERROR_CHARS).strip()


def _check(result: CallToolResult, checker: Checker, tool: str, server: str) -> None:
    if "structured_content" not in result.model_fields_set:
        problems = ["there is no structured content"]
    else:
        problems = checker.problems(plain(result.structured_content))
    if problems:
        raise ToolError(
            f"the result of {tool} is not what server {server!r} said it would be; the call was made, and its result is not used:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )


def _output(result: CallToolResult) -> Any:
    beyond_text = [block for block in result.content if _text_of(block) is None]
    if "structured_content" in result.model_fields_set and result.structured_content is not None:
        if not beyond_text:
            return result.structured_content
        # The texts are the structured content again, as the protocol asks of servers.
        return {"structured_content": result.structured_content, "content": [_block(block) for block in beyond_text]}
    if not beyond_text:
        return _text(result.content)
    return [_block(block) for block in result.content]


def _text(content: list[ContentBlock]) -> str:
    return "\n".join(text for block in content if (text := _text_of(block)) is not None)


def _text_of(block: ContentBlock) -> str | None:
    """A block's text; that of a resource counts where it has no more than that to say."""
    return block.text if isinstance(block, TextContent) else None


def _block(block: ContentBlock) -> dict[str, Any]:
    if isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents):
        return {"type": "resource", "uri": str(block.resource.uri), "text": block.resource.text}
    found: dict[str, Any] = block.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "annotations"})
    return found
