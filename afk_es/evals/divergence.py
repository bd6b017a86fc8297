"""Where a run parts from its golden, and in what: a class, a field, what was expected and what there is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

DivergenceClass = Literal["prompt", "tool_schema", "params", "policy", "order", "missing", "extra", "result", "limit", "engine_version"]
"""In what a run parts from its golden.

| class | what differs | fields, for example |
|---|---|---|
| prompt | the instructions or a message that the model is sent | `instructions`, `messages[3].content` |
| tool_schema | a tool as the model sees it: its name, description or parameters; one that is new or gone | `tools.refund.description` |
| params | what a model or a tool is called with: model, parameters, a call's arguments, timeouts, hints | `arguments.amount`, `parameters.temperature` |
| policy | a decision of the policy | `action`, `matched_rules` |
| order | the same calls in another order | `tool_name` |
| missing | what was recorded, and does not happen | `tool_name` |
| extra | what happens, and was not recorded | `tool_name` |
| result | what the run, a tool or the model came to: final text, structured answer, terminal state | `final_text`, `state` |
| limit | a limit of the agent, or that one was hit | `limits.max_steps` |
| engine_version | what an afk_es of another version records in another way | `type`, `data.new_key` |
"""

MatchMode = Literal["strict", "contract", "trajectory"]
"""How much of a golden has to be the same.

strict: everything. contract: decisions, arguments, policy and terminal state; event types and keys that the golden does not know are
ignored. trajectory: the tool calls.
"""


class Place(msgspec.Struct, frozen=True):
    """An event. `text` may hold anything; a renderer has to make it harmless."""

    run_id: str
    seq: int
    step: int
    agent_path: tuple[str, ...]
    type: str
    text: str
    tool_name: str = ""
    tool_call_id: str = ""


class Divergence(msgspec.Struct, frozen=True):
    """A place where a run parts from its golden.

    Attributes:
        kind: the class of what differs.
        field: a path in what differs.
        expected, actual: the values there, of the golden and of today; None where there is none.
        recorded, today: the events; None where that side has none there.
        message: one sentence for people, with the way out where there is one.
    """

    kind: DivergenceClass
    field: str
    expected: Any
    actual: Any
    recorded: Place | None
    today: Place | None
    message: str
