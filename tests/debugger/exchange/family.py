"""Runs worth exporting: an earlier run on the thread, then one with hostile texts, a failure, an image, a secret and a subagent."""

from __future__ import annotations

from typing import Any

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.llms import Image, LLMResponse, ToolCall, Usage
from afk_es.log import EventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import tool

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> ]]> --> \u202e\u0007\x1b[2J\ufffe [go](javascript:alert(1)) ```` | & \"'"
SECRET = "sk-live-abcdef1234567890"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


# Async: two calls of one answer end in one order, and threads would race.
@tool(read_only=True)
async def look(q: str) -> dict[str, str]:
    """Look something up."""
    if q == "broken":
        raise ValueError(HOSTILE)
    return {"found": q, "api_key": SECRET, "text": HOSTILE}


def asks(*calls: tuple[str, dict[str, Any]], text: str = "") -> LLMResponse:
    made = tuple(ToolCall(f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls))
    return LLMResponse(text=text, tool_calls=made, usage=Usage(100, 20, 120), cost_usd=0.25)


def desk() -> Agent:
    """The agent of the second run."""
    helper = Agent(name="helper", model=ScriptedModel([asks(("look", {"q": "below"})), "Helped."]), tools=[look])
    script: list[Any] = [
        asks(("look", {"q": HOSTILE}), ("look", {"q": "broken"}), text=HOSTILE),
        asks(("transfer_to_helper", {"task": "Help."})),
        f"Done: {HOSTILE}",
    ]
    return Agent(name="desk", model=ScriptedModel(script), instructions=f"Be kind. {HOSTILE}", tools=[look], subagents=[helper])


async def recorded(log: EventLog) -> str:
    """The id of the second run; both are in the log, and the subagent's."""
    runner = Runner(log=log, clock=SimulatedClock(tick=0.25), ids=SeededIds(5))
    first = await runner.run(Agent(name="desk", model=ScriptedModel(["Hello."])), user_message="Hi", thread_id="thread_one")
    assert first.state == "completed"
    message: list[str | Image] = [
        f"Look at this {HOSTILE}",
        Image(data=PIXEL, media_type="image/png"),
        Image(url="https://example.org/track.png"),
    ]
    result = await runner.run(desk(), user_message=message, context={"password": SECRET}, thread_id="thread_one")
    assert result.state == "completed", result.error
    return result.run_id
