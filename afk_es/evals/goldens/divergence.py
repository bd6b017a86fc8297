"""Where a run parts from its golden, and in what: a class, a field, what was expected and what there is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

DivergenceClass = Literal["prompt", "tool_schema", "params", "policy", "order", "missing", "extra", "result", "limit", "engine_version"]
"""In what a run parts from its golden.

| class | what differs | fields, for example |
|---|---|---|
| prompt | the instructions or a message that the model is sent | `instructions`, `messages[3].content`, `user_message` |
| tool_schema | a tool as the model sees it; one that is new or gone; the order of all | `tools.refund.description`, `tools.refund`, `tools` |
| params | what a model or a tool is called with: model, arguments, timeouts, hints | `arguments.amount`, `models[0].model`, `tools.refund.timeout_s` |
| policy | a decision of the policy, or what a person or the fallback decided | `action`, `matched_rules`, `updated_tool_args.amount` |
| order | the same calls in another order, or in other answers of the model | `tool_name`, `arguments` (of calls to one tool), `position` |
| missing | what was recorded, and does not happen, or another tool in its place; an answer that nobody asks for | `tool_name`, `type` |
| extra | what happens, and was not recorded; what is asked for and has no recorded answer | `tool_name`, `type` |
| result | what the run, a tool or the model came to | `final_text`, `final_structured`, `state`, `output`, `outcome`, `error` |
| limit | a limit of the agent, or that one was hit | `limits.max_steps` |
| engine_version | what an afk_es of another version records in another way | `type`, `data.new_key` |

A path is as the debugger's expressions write it: `arguments["user id"]`. What differs is told once, where it is first met: instructions of
the agent and not of each request; a call and not its policy decision, its start and its result as well; an output and not the message that
repeats it.
"""

MatchMode = Literal["strict", "contract", "trajectory"]
"""How much of a golden has to be the same.

strict: everything. contract: the calls that are asked for with their arguments, what the policy decides (not the words of its reason),
limits that are hit, and the state that the run ends in; prompts, texts, descriptions, and event types and keys that the golden does not
know are ignored, and noted. trajectory: the tool calls.
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
