"""One run of an agent that hands its task to a hostile remote agent, and what holds of any such run, whatever the remote does."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afk_es.a2a import A2AClient
from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult, Runner
from afk_es.errors import AfkError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.testing import ScriptedModel, log_problems
from tests.a2a.hostile.lies import LIES, STREAMING, STREAMS
from tests.a2a.hostile.server import CARD, Server
from tests.support.wire import Journal

SECRET = "sk-secret-of-the-user"
"""The client's token; a server may send it back."""

LONGEST_LOG = 256 * 1024
"""Bytes that a run may write because of a remote agent."""

MOST_MEMORY_MIB = 96
"""By how much the process may grow in a trial."""

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]|<\\|im_start\\|>|^System:", re.MULTILINE)
"""What a terminal or a model would take for more than text."""


@dataclass
class Trial:
    """What happened.

    Attributes:
        events: of the run and of its subagent's run, each in order.
        asked: what the model was asked, in order.
        told: everything that the server was told.
    """

    result: AgentResult | None = None
    error: AfkError | None = None
    events: list[AgentRunEvent] = field(default_factory=list)
    asked: list[LLMRequest] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    took_s: float = 0.0
    grew_mib: float = 0.0

    def sent(self, *methods: str) -> list[Any]:
        """The requests of these methods that the server was sent."""
        return [entry for entry in self.told if entry.get("method") in methods]

    def ending(self) -> dict[str, Any]:
        """How the subagent ended."""
        return next(event.data for event in self.events if event.type == "subagent_completed")

    def failures(self) -> list[dict[str, Any]]:
        """What went wrong when the remote was asked."""
        return [event.data for event in self.events if event.type == "llm_failed"]


async def tried(lie: str, directory: Path, *, wall_s: float = 30.0, **options: Any) -> Trial:
    """Run the agent to its end.

    Args:
        wall_s: how long the run may take.
        options: of the client.
    """
    trial = Trial()
    log = MemoryEventLog()
    journal = Journal(directory / "told.jsonl")
    server = Server(STREAMS[lie], journal, STREAMING) if lie in STREAMS else Server(LIES[lie], journal)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tasks = asyncio.all_tasks()

    def answered(request: LLMRequest) -> LLMResponse:
        trial.asked.append(request)
        if request.messages[-1].role == "tool":
            return LLMResponse(text=request.messages[-1].content)
        return LLMResponse(tool_calls=(ToolCall(id="c", tool_name="transfer_to_far", arguments={"task": "Do it"}),))

    async with server.served() as url:
        client = A2AClient(url, token=SECRET, **{"timeout_s": 0.5, "task_timeout_s": 0.5, **options})
        far = client.agent(name="far", description="An agent elsewhere.")
        boss = Agent(name="boss", model=ScriptedModel(answered), subagents=[far], fail_safe=FailSafeConfig(max_wall_time_s=wall_s))
        began = time.monotonic()
        try:
            async with Runner(log=log) as runner:
                trial.result = await runner.run(boss, user_message="Go", run_id="run")
        except AfkError as error:
            trial.error = error
        trial.took_s = time.monotonic() - began
        await client.aclose()
        trial.told = journal.entries()
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    if left:
        # The SDK leaves generators to the event loop to close.
        assert (await asyncio.wait(left, timeout=1.0))[1] == set(), "tasks were left behind"
    trial.grew_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for record in reversed(await log.runs()):
        trial.events += await log.read(record.run_id)
    return trial


def broken_promises(trial: Trial) -> list[str]:
    """What does not hold, of what holds of every run whatever the remote does."""
    broken: list[str] = []
    for run_id in {event.run_id for event in trial.events}:
        broken += [f"the log: {problem}" for problem in log_problems([event for event in trial.events if event.run_id == run_id])]
    written = json.dumps([event.data for event in trial.events])
    if len(written) > LONGEST_LOG:
        broken.append(f"the run wrote {len(written)} bytes")
    if SECRET in written + str(trial.error):
        broken.append("the token is in the log or in the error")
    if "Traceback" in written + str(trial.error):
        broken.append("a traceback is in the log or in the error")
    if trial.grew_mib > MOST_MEMORY_MIB:
        broken.append(f"the process grew by {trial.grew_mib:.0f} MiB")
    for request in trial.asked:
        shown = [message.content for message in request.messages if message.role == "tool"]
        broken += [f"the model was shown {found.group()!r}" for each in shown if (found := _OBEYED.search(each))]
    broken += [f"it fetched {entry['fetched']}" for entry in trial.told if entry.get("fetched", ["GET", CARD])[1] != CARD]
    ids = {entry["params"]["message"]["messageId"] for entry in trial.sent("SendMessage", "SendStreamingMessage")}
    if len(ids) > 1:
        broken.append(f"one request was made under {len(ids)} message ids")
    return broken
