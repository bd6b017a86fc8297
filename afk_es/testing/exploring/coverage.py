"""What an exploration came by: which rules, limits, outcomes and failure paths its runs reached, counted by name, and which they never did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult, AgentRunEvent
from afk_es.machine import RunState
from afk_es.testing.exploring.acquaintance import Acquaintance
from afk_es.testing.simulation.observing import ObservedRun, Observer


class Coverage(Observer):
    """Counts what one simulation reaches, into `reached`.

    The names: `event:TYPE`, `rule:ID` (matched), `decision:ACTION`, `tool:NAME:OUTCOME`, `outcome:OUTCOME`, `limit:NAME`,
    `approval:OUTCOME`, `input:OUTCOME`, `model_failed:CLASS`, `tool_failed:CLASS`, `in_doubt:KIND`, `subagent:NAME`, `end:STATE`,
    `process:died`, `process:took_over`; and those of the marks.
    """

    def __init__(self) -> None:
        self.reached: Counter[str] = Counter()
        self.events: int = 0

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Count an event."""
        self.events += 1
        self.reached.update(names_of(event))

    def died(self, number: int) -> None:
        """Count a death."""
        self.reached["process:died"] += 1

    def took_over(self, number: int) -> None:
        """Count a takeover."""
        self.reached["process:took_over"] += 1

    def ended(self, run: ObservedRun, result: AgentResult) -> None:
        """Count an end."""
        self.reached[f"end:{result.state}"] += 1


def names_of(event: AgentRunEvent) -> Iterator[str]:
    """What an event shows to have been reached."""
    data = event.data
    yield f"event:{event.type}"
    match event.type:
        case "policy_decision":
            yield f"decision:{data['action']}"
            yield from (f"rule:{rule}" for rule in data["matched_rules"])
        case "tool_completed":
            yield f"outcome:{data['outcome']}"
            yield f"tool:{data['tool_name']}:{data['outcome']}"
            if data["outcome"] == "limited":
                yield "limit:max_tool_calls"
        case "limit_reached":
            yield f"limit:{data['limit']}"
        case "approval_resolved":
            yield f"approval:{data['outcome']}"
        case "input_resolved":
            yield f"input:{data['outcome']}"
        case "llm_failed":
            yield f"model_failed:{data['classification']}"
        case "tool_failed":
            yield f"tool_failed:{data['classification']}"
        case "effect_in_doubt":
            yield f"in_doubt:{data.get('effect', 'effect')}"
        case "subagent_started":
            yield f"subagent:{data['subagent_name']}"
        case _:
            pass


def expected_of(known: Acquaintance) -> tuple[str, ...]:
    """What the agents have, and an exploration should reach: their rules, tools, subagents, and the limits that they set."""
    names = [f"rule:{rule.rule_id}" for rule in known.rules if rule.enabled]
    for agent in known.agents.values():
        names += [f"tool:{tool.name}:returned" for tool in agent.tools]
        names += [f"subagent:{child.name}" for child in agent.subagents]
        names += [f"limit:{limit}" for limit in _limits_set(agent)]
    return tuple(dict.fromkeys(names))


def _limits_set(agent: Agent) -> Iterator[str]:
    limits: FailSafeConfig = agent.fail_safe
    for name in ("max_steps", "max_wall_time_s", "max_llm_calls", "max_tool_calls", "max_total_cost_usd"):
        if name in limits.model_fields_set and getattr(limits, name) is not None:
            yield name
    if "max_steps" in agent.model_fields_set and "max_steps" not in limits.model_fields_set:
        yield "max_steps"


@dataclass(frozen=True, kw_only=True)
class Explored:
    """What an exploration did, in which nothing was found.

    Attributes:
        agent: its name.
        profile: the name of the profile.
        seed: what the examples were drawn from.
        examples, events: how many.
        seconds: real time.
        counts: per name (see `Coverage`), in how many examples it was reached.
        missed: what the agent has, or a `sometimes` hoped for, and no example reached.
    """

    agent: str
    profile: str
    seed: int
    examples: int
    events: int
    seconds: float
    counts: Mapping[str, int] = field(repr=False)
    missed: tuple[str, ...]

    def reached(self, name: str) -> int:
        """In how many examples something was reached; `tool_failed` is short for `event:tool_failed`, and so with marks."""
        return reached(self.counts, name)

    def __str__(self) -> str:
        """A few lines to read."""
        rate = self.examples / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.agent}: {self.examples:,} examples, {self.events:,} events in {self.seconds:.1f} s ({rate:.0f} a second); nothing was found"
        ]
        for title, prefix in _TITLES.items():
            found = sorted((name.removeprefix(prefix), count) for name, count in self.counts.items() if name.startswith(prefix) and count)
            if found:
                lines.append(f"  {title}: " + ", ".join(f"{name} {count:,}" for name, count in found))
        if self.missed:
            lines.append("  never reached: " + ", ".join(self.missed))
        return "\n".join(lines)


_TITLES = {
    "ends": "end:",
    "rules": "rule:",
    "limits": "limit:",
    "tool calls": "outcome:",
    "approvals": "approval:",
    "subagents": "subagent:",
    "processes": "process:",
    "sometimes": "sometimes:",
    "reachable": "reachable:",
}


def reached(counts: Mapping[str, int], name: str) -> int:
    """How often a name was counted, in full or in short."""
    return next((counts[full] for full in (name, f"event:{name}", f"sometimes:{name}", f"reachable:{name}") if full in counts), 0)
