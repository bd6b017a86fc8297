"""What differs between the agent that a golden recorded and today's: the description of both, field by field, each field in its class.

| of the description | class |
|---|---|
| instructions, whether they are a function, skills | prompt |
| a tool's name, description, parameters, kind; a tool that is new or gone; the order of the tools | tool_schema |
| a tool's timeout, hints, subagent | params |
| limits | limit |
| models, parameters, output schema, failure policies, retries, rendering, interaction, background tools, retention, delegation | params |
| what this version of afk_es does not know | engine_version |

The order of the tools is no `order`: no call comes in another place, but the model reads another list, and providers cache it as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.debugger.changes import at_key, changes
from afk_es.evals.goldens.finding import Finding, plain_fields, unknown_keys
from afk_es.machine.spec import ModelSpec, Retention, RunSpec, ToolSpec

_PROMPT = ("instructions", "dynamic_instructions", "skills")
_VISIBLE = ("description", "parameters", "kind")
"""What the model sees of a tool beside its name."""


def agent_changes(recorded: dict[str, Any], today: dict[str, Any]) -> Iterator[Finding]:
    """What differs between two specs as `run_started.agent` has them.

    Raises:
        msgspec.ValidationError: one of them is no spec.
    """
    old, new = msgspec.convert(recorded, RunSpec), msgspec.convert(today, RunSpec)
    if old != new:
        yield from _specs(old, new)
    if recorded != today:
        yield from _unknown(recorded, today, old, new)


def _specs(old: RunSpec, new: RunSpec) -> Iterator[Finding]:
    for name in RunSpec.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name in ("models", "retention"):
            before, after = _without_known_prices(before), _without_known_prices(after)
        if before == after:
            continue
        if name == "tools":
            yield from tool_changes(before, after)
        elif name in _PROMPT:
            yield Finding("agent", "prompt", name, plain_fields(before), plain_fields(after), _PROMPT_MESSAGES[name])
        elif name == "limits":
            for change in changes(plain_fields(before), plain_fields(after), name):
                message = f"the limit {change.path.removeprefix('limits.')} is another one"
                yield Finding("agent", "limit", change.path, change.before, change.after, message)
        else:
            for change in changes(plain_fields(before), plain_fields(after), name):
                yield Finding("agent", "params", change.path, change.before, change.after, _MESSAGES.get(name, f"another {name}"))


def _without_known_prices(asked: tuple[ModelSpec, ...] | Retention | None) -> tuple[ModelSpec, ...] | Retention | None:
    """Who is asked, and nowhere that its price is known. A run does the same with a known price and with one that only the answers tell; a
    simulated world asks for none, so what it has recorded would differ from every real agent."""
    match asked:
        case None:
            return None
        case Retention(model=model):
            return replace(asked, model=replace(model, priced=None)) if model is not None and model.priced else asked
        case _:
            return tuple(replace(model, priced=None) if model.priced else model for model in asked)


_PROMPT_MESSAGES = {
    "instructions": "the instructions are not those that were recorded",
    "dynamic_instructions": "the instructions are a function on one side only",
    "skills": "other skills are told of",
}
_MESSAGES = {
    "agent_name": "the agent has another name",
    "models": "another model is asked, or another one stands in for it",
    "parameters": "the model is asked with another parameter",
    "output_schema": "the final answer is to have another form",
    "policies": "another thing follows from a failure",
    "retry": "failures are tried again in another way",
    "rendering": "tool outputs are shown to the model in another way",
    "interaction": "people are asked in another way",
}


def tool_changes(old: Sequence[ToolSpec], new: Sequence[ToolSpec]) -> Iterator[Finding]:
    """What differs between the tools of two agents: each tool by its name, and then the order of those that both have."""
    before, after = {tool.name: tool for tool in old}, {tool.name: tool for tool in new}
    for name, tool in before.items():
        if name not in after:
            yield Finding("agent", "tool_schema", at_key("tools", name), _shown(tool), None, f"the agent has no tool {name} any more")
        elif tool != after[name]:
            yield from _tool(tool, after[name])
    for name, tool in after.items():
        if name not in before:
            yield Finding("agent", "tool_schema", at_key("tools", name), None, _shown(tool), f"the tool {name} is new")
    ordered = [name for name in before if name in after], [name for name in after if name in before]
    if ordered[0] != ordered[1]:
        yield Finding("agent", "tool_schema", "tools", list(before), list(after), "the model is told of the tools in another order")


def _tool(old: ToolSpec, new: ToolSpec) -> Iterator[Finding]:
    path = at_key("tools", old.name)
    for name in ToolSpec.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name in _VISIBLE:
            for change in changes(before, after, f"{path}.{name}"):
                yield Finding(
                    "agent", "tool_schema", change.path, change.before, change.after, f"the tool {old.name} is described differently"
                )
        else:
            yield Finding("agent", "params", f"{path}.{name}", before, after, f"the tool {old.name} runs with another {name}")


def _shown(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _unknown(recorded: dict[str, Any], today: dict[str, Any], old: RunSpec, new: RunSpec) -> Iterator[Finding]:
    """Keys that this version has no field for, of an agent that another version described."""
    before, after = (
        dict(unknown_keys(recorded, plain_fields(old), "data.agent")),
        dict(unknown_keys(today, plain_fields(new), "data.agent")),
    )
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield Finding(
                "engine", "engine_version", path, before.get(path), after.get(path), "another version of afk_es describes the agent so"
            )
