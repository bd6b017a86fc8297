"""Runs as streams of comparable entries: each event by its agent, kind, tool and arguments, and by what it says, without what never repeats.

Ids, times, tokens and owners differ between any two runs and are left out. Events of one batch of tool calls stand in the order of the
calls and not in that in which they finished; a subagent's run stands where it was started.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from afk_es.debugger.recording import Recording
from afk_es.errors import RunNotFoundError
from afk_es.machine.events import TERMINAL, AgentRunEvent
from afk_es.machine.values import digest_json

BATCH_KEPT = 5_000
"""Events of one batch that are put in order; beyond it they stand as they came."""

DEEPEST = 16
"""Levels of subagents that are followed."""

_NEVER_THE_SAME: frozenset[str] = frozenset(
    {
        "run_id",
        "thread_id",
        "owner",
        "epoch",
        "latency_ms",
        "tool_call_id",
        "tool_call_ids",
        "ticket_id",
        "request_id",
        "idempotency_key",
        "correlation_id",
        "request_hash",
        "arguments_hash",
        "input_hash",
        "usage",
        "cost_usd",
        "cost_budget_usd",
        "cached",
        "ordinal",
        "expires_at",
        "letter",
        "tokens",
        "tokens_before",
        "tokens_after",
        "intent_seq",
        "up_to",
        "history",
        "parent",
        "forked_from",
        "replay_of",
        "fork",
        "forked_as",
        "answers_from",
        "recorded_agent",
        "untouched",
        "reused",
        "edited",
        "stubbed",
        "used",
        "step",
    }
)


_NAMES_OTHERS: dict[str, tuple[str, ...]] = {
    "control_requested": ("reason",),
    "run_cancelled": ("reason",),
    "run_completed": ("missing",),
    "run_interrupted": ("reason",),
    "subagent_completed": ("error",),
    "subagent_waiting": ("reason",),
    "tool_completed": ("error",),
}
"""Per type, texts of ours that name runs of the family and tickets."""

_ID = re.compile(r"\brun_(?=\w*\d)\w+|(?<=\(ticket )[^()]*(?=\))")
"""Ids of runs have digits in them; a word such as run_tests in somebody's own text is no id, and its difference is one."""

Hear = Callable[[Recording, AgentRunEvent], bool]
"""Told every event in the order of its log, for whoever folds a run beside comparing it; False leaves the event out of the entries."""


class Entry:
    """An event in a comparison.

    Attributes:
        path: the agents from the outermost to the one whose run it is of.
        tool: of a tool call; the subagent's of a subagent; "" of others.
        arguments: digest of the arguments of the call that it is about, or "".
    """

    __slots__ = ("_content", "_facts", "arguments", "event", "path", "tool")

    def __init__(self, event: AgentRunEvent, path: tuple[str, ...], tool: str, arguments: str) -> None:
        self.event: AgentRunEvent = event
        self.path: tuple[str, ...] = path
        self.tool: str = tool
        self.arguments: str = arguments
        self._facts: dict[str, Any] | None = None
        self._content: str | None = None

    @property
    def key(self) -> tuple[tuple[str, ...], str, str, str]:
        """By what entries are aligned."""
        return self.path, self.event.type, self.tool, self.arguments

    @property
    def facts(self) -> dict[str, Any]:
        """What the event says, without what never repeats."""
        if self._facts is None:
            self._facts = facts_of(self.event)
        return self._facts

    @property
    def content(self) -> str:
        """Digest of key and facts: equal where nothing differs."""
        if self._content is None:
            self._content = digest_json([self.key, self.facts])
        return self._content

    def same_as(self, other: Entry) -> bool:
        """Whether nothing differs that could be the same."""
        if self.key != other.key:
            return False
        # Most entries of two runs of one agent are equal to the letter, and no digest is needed to see that.
        return self.event.data == other.event.data or self.facts == other.facts


def facts_of(event: AgentRunEvent) -> dict[str, Any]:
    """What an event says, without ids, times, tokens, and where it was imported from."""
    facts = {name: value for name, value in event.data.items() if name not in _NEVER_THE_SAME}
    if event.type == "llm_completed":
        facts.pop("model", None)
        facts["tool_calls"] = [{"tool_name": call["tool_name"], "arguments": call["arguments"]} for call in facts["tool_calls"]]
    elif event.type == "run_started":
        facts.pop("imported", None)
    elif event.type == "timer_fired":
        facts["timer"] = facts["timer"].partition(":")[0]
    for key in _NAMES_OTHERS.get(event.type, ()):
        said = facts.get(key)
        if said:
            facts[key] = _ID.sub("", said) if isinstance(said, str) else [_ID.sub("", each) for each in said]
    return facts


async def entries(
    rec: Recording, *, after: int = 0, subagents: bool = True, depth: int = 0, hear: Hear | None = None, root: str | None = None
) -> AsyncIterator[Entry]:
    """The entries of a run.

    Args:
        after: begin behind this seq, which has to be the end of a step.
        subagents: put the runs of its subagents in where they are started.
        hear: is told every event that is read, those of subagents' runs among them, and may leave it out.
        root: the name that the outermost agent goes by here, so that an agent and the same under another name can be compared.
    """
    agent = rec.first.data["agent"]
    path = (*agent.get("agent_path", ()), agent["agent_name"])
    if root is not None:
        path = (root, *path[1:])
    below = _Below(subagents, depth, hear, root)
    calls: dict[str, tuple[int, str]] = {}
    """Per call id of the batch, its place and the digest of its arguments."""
    held: list[AgentRunEvent] = []

    async for page in rec.pages(after=after):
        for event in page:
            if hear is not None and not hear(rec, event):
                continue
            if calls and event.type not in _IN_PLACE and len(held) < BATCH_KEPT:
                held.append(event)
                continue
            if held:
                async for entry in _in_order(rec, held, path, calls, below):
                    yield entry
                held.clear()
            if event.type in _BATCH_ENDS:
                calls = _calls_of(event)
            # Where a fork begins of its own is nothing that it does.
            if event.seq == 1 or "forked_from" not in event.data:
                yield _entry(event, path, calls)
    async for entry in _in_order(rec, held, path, calls, below):
        yield entry


class _Below(NamedTuple):
    """How the runs of subagents are read."""

    followed: bool
    depth: int
    hear: Hear | None
    root: str | None


_BATCH_ENDS = frozenset({"step_started", "subagents_routed", "llm_called", "llm_completed"})
_IN_PLACE = _BATCH_ENDS | TERMINAL | {"run_started"}
"""Types that stand where they came. A stretch may end and another begin in the middle of a batch, whose calls then go on."""


def _calls_of(event: AgentRunEvent) -> dict[str, tuple[int, str]]:
    if event.type == "llm_completed":
        return {call["id"]: (index, digest_json(call["arguments"])) for index, call in enumerate(event.data["tool_calls"])}
    if event.type == "subagents_routed" and event.data["plan"] is not None:
        return {node["id"]: (index, digest_json(node["task"])) for index, node in enumerate(event.data["plan"]["nodes"])}
    return {}


async def _in_order(
    rec: Recording,
    held: list[AgentRunEvent],
    path: tuple[str, ...],
    calls: dict[str, tuple[int, str]],
    below: _Below,
) -> AsyncIterator[Entry]:
    """The events of a batch by their calls; what is about none of them behind those."""
    last = len(calls)

    def place(event: AgentRunEvent) -> int:
        if event.type == "tool_batch_started":
            return -1
        return calls.get(event.data.get("tool_call_id", ""), (last, ""))[0]

    for event in sorted(held, key=place):
        yield _entry(event, path, calls)
        if event.type == "subagent_started" and below.followed and below.depth < DEEPEST:
            try:
                child = await Recording.open(rec.log, event.data["run_id"])
            except RunNotFoundError:
                continue  # Announced, and the process died before it began.
            async for entry in entries(child, depth=below.depth + 1, hear=below.hear, root=below.root):
                yield entry


def _entry(event: AgentRunEvent, path: tuple[str, ...], calls: dict[str, tuple[int, str]]) -> Entry:
    data = event.data
    tool = data.get("tool_name") or data.get("subagent_name") or ""
    arguments = calls.get(data.get("tool_call_id", ""), (0, ""))[1]
    return Entry(event, path, tool, arguments)
