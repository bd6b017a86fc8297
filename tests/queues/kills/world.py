"""The world outside that the workers of a kill test act upon: a journal of effects, and the agents and handlers that write it.

Nothing else is believed of what happened. A line is written with one system call, so that a kill never tears it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.errors import LLMRetryableError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, ToolContext, tool
from tests.support.zygote import note

CHECKED: ContextVar[float | None] = ContextVar("checked", default=None)
"""When, by the time of day, the lease was asked last before the effect that this is, and said that it held."""

NOT_NOW = "not now"


class World:
    """The effects of one process.

    Args:
        life: the process, by a name that no other has.
        linger_s: how long an effect is under way.
        halfway: called in the middle of every effect.
    """

    def __init__(self, directory: Path, life: str, linger_s: float = 0.0, halfway: Callable[[], None] = lambda: None) -> None:
        self._journal = directory / "journal.jsonl"
        self._attempts = directory / "attempts"
        self._attempts.mkdir(exist_ok=True)
        self._life = life
        self._linger_s = linger_s
        self._halfway = halfway

    def now(self) -> float:
        """The time of day, in seconds, by which lines and events are compared."""
        return time.time()

    def note(self, what: str, **more: Any) -> None:
        """Add a line."""
        note(self._journal, json.dumps({"what": what, "life": self._life, "at": self.now(), **more}))

    def begin(self, tool_name: str, item: str, ctx: ToolContext) -> dict[str, Any]:
        """An effect starts now."""
        line = {"tool": tool_name, "item": item, "run": ctx.run_id, "key": ctx.idempotency_key, "checked": CHECKED.get()}
        self.note("start", **line)
        self._halfway()
        return line

    async def effect(self, tool_name: str, item: str, ctx: ToolContext) -> str:
        """One that takes its time, and then has taken place."""
        line = self.begin(tool_name, item, ctx)
        await asyncio.sleep(self._linger_s)
        self.note("did", **line)
        return f"{tool_name} {item}"

    def attempt(self, run_id: str) -> int:
        """The how-maniest attempt this is, over all processes."""
        number = 1
        while True:
            try:
                os.close(os.open(self._attempts / f"{run_id}.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                number += 1
            else:
                return number

    # -------------------------------------------------------------------------------------------------------- who acts upon it

    def tools(self) -> list[Tool[..., Any]]:
        """Of agents; as handlers of jobs as well."""

        @tool
        async def pay(item: str, ctx: ToolContext) -> str:
            """Pay."""
            return await self.effect("pay", item, ctx)

        @tool
        async def wire(item: str, ctx: ToolContext) -> str:
            """Wire money, if somebody approves."""
            return await self.effect("wire", item, ctx)

        @tool(idempotent=True)
        async def put(item: str, ctx: ToolContext) -> str:
            """Put."""
            return await self.effect("put", item, ctx)

        @tool(read_only=True)
        async def look(item: str, ctx: ToolContext) -> str:
            """Look."""
            return await self.effect("look", item, ctx)

        @tool(idempotent=True)
        def stamp(item: str, ctx: ToolContext) -> str:
            """Stamp, in a thread."""
            line = self.begin("stamp", item, ctx)
            time.sleep(self._linger_s)
            self.note("did", **line)
            return f"stamp {item}"

        @tool
        async def flaky(item: str, fails: int, ctx: ToolContext) -> str:
            """Fail so often, and then do it."""
            number = self.attempt(ctx.run_id)
            if fails < 0 or number <= fails:
                self._halfway()
                raise ConnectionError(NOT_NOW)
            return await self.effect("flaky", item, ctx)

        return [pay, wire, put, look, stamp, flaky]

    def handlers(self) -> list[Tool[..., Any]]:
        """Of jobs."""
        return [each for each in self.tools() if each.name in ("pay", "put", "stamp", "flaky")]

    def agents(self) -> list[Agent]:
        """Of chats."""
        tools = self.tools()
        strict = FailSafeConfig(tool_failure_policy="fail_run")
        impatient = FailSafeConfig(llm_failure_policy="fail_fast")
        return [
            Agent(name="chat", model=ScriptedModel(self._answer), tools=tools),
            Agent(name="strict", model=ScriptedModel(self._answer), tools=tools, fail_safe=strict),
            Agent(name="careful", model=ScriptedModel(self._answer), tools=tools, policy_engine=_asks_for("wire")),
            Agent(name="moody", model=ScriptedModel(self._moody), tools=tools, fail_safe=impatient),
        ]

    def _answer(self, request: LLMRequest) -> LLMResponse:
        """The next turn of the errand, or its last words."""
        self.note("ask", run=request.metadata["run_id"], checked=CHECKED.get())
        errand, done, asked = _progress(request)
        turns: Sequence[Sequence[str]] = errand["turns"]
        if done == len(turns):
            return LLMResponse(text=f"done {errand['name']}", finish_reason="stop")
        calls = []
        for number, name in enumerate(turns[done], 1):
            arguments: dict[str, Any] = {"item": f"{errand['name']}/{done}/{number}"}
            if name == "flaky":
                arguments["fails"] = errand["fails"]
            calls.append(ToolCall(f"call_{asked + 1}_{number}", name, arguments))
        return LLMResponse(tool_calls=tuple(calls), finish_reason="tool_calls")

    def _moody(self, request: LLMRequest) -> LLMResponse | Exception:
        errand, _, asked = _progress(request)
        if asked == 0 and self.attempt(request.metadata["run_id"]) <= errand["fails"]:
            return LLMRetryableError(NOT_NOW, status_code=503)
        return self._answer(request)


def _progress(request: LLMRequest) -> tuple[dict[str, Any], int, int]:
    """The errand, the turns that are done, and those that were asked for. A turn that failed is to be asked for again."""
    messages = list(request.messages)
    last = max(index for index, message in enumerate(messages) if message.role == "user")
    done = asked = 0
    failed = False
    for message in messages[last + 1 :]:
        if message.tool_calls:
            done, asked, failed = done + (asked > 0 and not failed), asked + 1, False
        elif message.role == "tool" and NOT_NOW in message.content:
            failed = True
    return json.loads(messages[last].content), done + (asked > 0 and not failed), asked


def _asks_for(name: str) -> PolicyEngine:
    condition = PolicyRuleCondition(tool_name=name)
    return PolicyEngine([PolicyRule(rule_id="two pairs of eyes", action="request_approval", condition=condition, subjects=("tool",))])
