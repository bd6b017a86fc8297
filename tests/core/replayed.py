"""The law of replays, for all who test it: today's agent on its own recording does the same, and reaches nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from afk_es.agents import Agent
from afk_es.core import AgentRunEvent, RecordedPeople, Replayed, Runner
from afk_es.debugger.comparison import Divergence, first_divergence
from afk_es.debugger.recording import Recording
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.tools import Tool


class Exploding:
    """Models, tools and people who must not be reached; whoever does is noted, even where what is raised is caught."""

    provider_id = "scripted"
    model = "scripted-1"

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def chat(self, request: LLMRequest) -> LLMResponse:
        raise self._reached("the model")

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        raise self._reached("a person")

    async def request_input(self, request: InputRequest) -> InputDecision:
        raise self._reached("a person")

    def tool(self, live: Tool[..., Any]) -> Tool[..., Any]:
        """The same tool to a model, and nothing behind it."""

        def run(*_arguments: Any, **_more: Any) -> Any:
            raise self._reached(live.name)

        dead = live.__class__.__new__(live.__class__)
        dead.__dict__.update(live.__dict__)
        dead.__dict__["execute"] = run
        return dead

    def agent(self, live: Agent) -> Agent:
        """The same agent, whose tools, and those of its subagents, are dead."""
        tools = [self.tool(each) for each in live.tools]
        return live.model_copy(update={"tools": tools, "subagents": [self.agent(each) for each in live.subagents]})

    def _reached(self, who: str) -> AssertionError:
        self.reached.append(who)
        return AssertionError(f"{who} was reached by a replay")


async def copied(runs: Iterable[Sequence[AgentRunEvent]]) -> MemoryEventLog:
    """A log in memory with these runs, which nobody else has a hand on."""
    log = MemoryEventLog()
    await log.open()
    for events in runs:
        epoch, batch = 0, list[AgentRunEvent]()
        for event in events:
            if event.type == "run_started":
                if batch:
                    await log.append(batch, epoch=epoch)
                epoch, batch = event.data["epoch"], []
            batch.append(event)
        await log.append(batch, epoch=epoch)
    return log


async def divergence(log: EventLog, recorded: str, replay: str) -> Divergence | None:
    """Where the replay and the recording part."""
    return await first_divergence([await Recording.open(log, recorded)], [await Recording.open(log, replay)])


async def assert_same(runner: Runner, agent: Agent, run_id: str) -> Replayed:
    """The law: nothing differs, nothing is left over, nothing is unanswered, and every event stands where it stood."""
    replayed = await runner.replay(agent, run_id=run_id)
    assert replayed.unanswered == ()
    assert replayed.leftovers == ()
    found = await divergence(runner.log, run_id, replayed.run_id)
    assert found is None, found
    before, after = await runner.log.read(run_id), await runner.log.read(replayed.run_id)
    assert [event.type for event in after] == [event.type for event in before]
    assert [event.at - after[0].at for event in after] == [event.at - before[0].at for event in before]
    assert after[0].data["replay_of"] == {"run_id": run_id, "seq": len(before)}
    return replayed


def replaying(runner: Runner, log: EventLog, **changes: Any) -> Runner:
    """A Runner like this one that only replays."""
    people = RecordedPeople() if runner.config.interaction_mode == "interactive" else None
    return Runner(**{"log": log, "config": runner.config, "interaction_provider": people, **changes})
