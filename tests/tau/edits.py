"""Edits of the agent, drawn from a seed, and which of them a golden's check catches: `python -m tests.tau.edits` prints the table.

An edit that nothing in a conversation can show, such as a rule about a tool that is never called in it, is not to be caught there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.evals import Golden, MatchMode, check_golden
from tests.support.tau import Conversation, Recording
from tests.tau.goldens import recorded, today

SEED = 20
SAMPLE = 12
MODES: tuple[MatchMode, ...] = ("strict", "contract", "trajectory")

Edited = tuple[Agent, bool]
"""The agent, and whether what it does in this conversation differs and not only what it is."""

Edit = Callable[[Recording, Conversation, random.Random], Edited]


def one_word_of_the_instructions(recording: Recording, conversation: Conversation, die: random.Random) -> Edited:
    """One word is left out."""
    words = recording.instructions.split(" ")
    words.pop(die.randrange(len(words)))
    return today(dataclasses.replace(recording, instructions=" ".join(words)), conversation), False


def one_tools_description(recording: Recording, conversation: Conversation, die: random.Random) -> Edited:
    """One sentence is added to one tool."""
    place = die.randrange(len(recording.tools))
    tools: list[dict[str, Any]] = [dict(tool) for tool in recording.tools]
    tools[place]["function"] = {**tools[place]["function"], "description": f"{tools[place]['function']['description']} Use it with care."}
    return today(dataclasses.replace(recording, tools=tuple(tools)), conversation), False


def one_policy_rule(recording: Recording, conversation: Conversation, die: random.Random) -> Edited:
    """One tool is denied, drawn from all calls, so that what is called often is."""
    calls = [call[1] for each in recording.conversations.values() for run in each.runs for call in run.calls]
    name = die.choice(calls)
    rule = PolicyRule(rule_id="new", action="deny", subjects=("tool",), condition=PolicyRuleCondition(tool_name=name), reason="not today")
    agent = today(recording, conversation).model_copy(update={"policy_engine": PolicyEngine([rule])})
    return agent, name in {call[1] for run in conversation.runs for call in run.calls}


def one_limit(recording: Recording, conversation: Conversation, die: random.Random) -> Edited:
    """A run may have fewer steps."""
    agent = today(recording, conversation)
    steps = die.randint(1, 12)
    fail_safe = agent.fail_safe.model_copy(update={"max_steps": steps})
    longest = max(sum(turn["role"] == "assistant" for turn in run.turns) + (not run.answered) for run in conversation.runs)
    return agent.model_copy(update={"fail_safe": fail_safe, "max_steps": steps}), longest > steps


def the_order_of_tools(recording: Recording, conversation: Conversation, die: random.Random) -> Edited:
    """Two tools change places."""
    tools = list(recording.tools)
    one, other = die.sample(range(len(tools)), 2)
    tools[one], tools[other] = tools[other], tools[one]
    return today(dataclasses.replace(recording, tools=tuple(tools)), conversation), False


EDITS: Mapping[str, Edit] = {
    "instructions": one_word_of_the_instructions,
    "tool description": one_tools_description,
    "policy rule": one_policy_rule,
    "limit": one_limit,
    "tool order": the_order_of_tools,
}


@dataclasses.dataclass
class Row:
    """What became of one edit in one mode, over the sample.

    Attributes:
        caught, missed: checks.
        acts: conversations in which the agent does something else; in the others it only is another.
        acts_caught: of those, caught ones.
        classes: of the first divergences.
    """

    edit: str
    mode: MatchMode
    caught: int = 0
    missed: int = 0
    acts: int = 0
    acts_caught: int = 0
    classes: Counter[str] = dataclasses.field(default_factory=Counter)

    def __str__(self) -> str:
        classes = ", ".join(f"{name} {times}" for name, times in self.classes.most_common())
        return f"{self.edit:<18}{self.mode:<12}{self.caught:>7}{self.missed:>8}{self.acts:>6}{self.acts_caught:>8}  {classes}"


HEAD = f"{'edit':<18}{'mode':<12}{'caught':>7}{'missed':>8}{'acts':>6}{'caught':>8}  first divergence"


async def table(
    recording: Recording, goldens: Mapping[str, Golden], sample: Sequence[Conversation], modes: Sequence[MatchMode] = MODES
) -> list[Row]:
    """Every edit on every conversation of the sample, in every mode."""
    rows: list[Row] = []
    for edit, make in EDITS.items():
        for mode in modes:
            row = Row(edit, mode)
            for conversation in sample:
                agent, acts = make(recording, conversation, random.Random(f"{SEED} {edit} {conversation.key}"))
                report = await check_golden(goldens[conversation.key], agent, mode=mode)
                row.caught += not report.ok
                row.missed += report.ok
                row.acts += acts
                row.acts_caught += acts and not report.ok
                row.classes.update([report.first.kind] if report.first is not None else [])
            rows.append(row)
    return rows


def sampled(recording: Recording) -> list[Conversation]:
    """The sample, drawn from the seed."""
    conversations = list(recording.conversations.values())
    return random.Random(SEED).sample(conversations, min(SAMPLE, len(conversations)))


def main() -> None:
    """Print the table."""
    recording = Recording.load()
    sample = sampled(recording)

    async def run() -> list[Row]:
        with tempfile.TemporaryDirectory() as directory:
            return await table(recording, await recorded(recording, sample, Path(directory)), sample)

    print(HEAD, *asyncio.run(run()), sep="\n")


if __name__ == "__main__":
    main()
