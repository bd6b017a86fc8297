"""What tools are told of their call, and what the policy makes of it before it runs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from afk_es.agents import PolicyEngine, PolicyEvent, PolicyRule, PolicyRuleCondition
from afk_es.clock import SystemClock
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError
from afk_es.tools import ToolContext, tool
from tests.core.scenario import Counted, agent, always, asks, log_of, model_of, only, says, types


def shown(described: Any) -> str:
    """What the model was shown of the first tool result."""
    message = next(message for message in model_of(described).requests[1].messages if message.role == "tool")
    return message.content


# -------------------------------------------------------------------------------------------------------------- context and secrets


async def test_a_tool_is_told_its_call_its_context_and_its_secrets() -> None:
    told: list[ToolContext] = []

    async def look(ctx: ToolContext) -> str:
        told.append(ctx)
        return ctx.secrets["key"]

    config = RunnerConfig(secret_scope_provider=lambda ctx: {"key": f"for {ctx.metadata['user_id']}"})
    async with Runner(log=":memory:", config=config) as runner:
        described = agent([asks(("look", {})), says("ok")], look, name="scout", context_defaults={"region": "eu", "user_id": "nobody"})
        result = await runner.run(described, context={"user_id": "ada"})
        events = await log_of(runner, result.run_id)
    (ctx,) = told
    assert (ctx.run_id, ctx.thread_id, ctx.tool_call_id, ctx.agent_name, ctx.step) == (result.run_id, result.thread_id, "c1", "scout", 1)
    assert (ctx.user_id, ctx.metadata) == ("ada", {"region": "eu", "user_id": "ada"})
    assert ctx.idempotency_key == only(events, "tool_started")[0].data["idempotency_key"]
    assert "for ada" not in repr(ctx)
    assert result.tool_executions[0].output == "for ada"


async def test_a_secret_scope_that_raises_fails_the_call_and_not_the_runner() -> None:
    def refuse(ctx: ToolContext) -> dict[str, str]:
        raise PermissionError("vault is sealed")

    async with Runner(log=":memory:", config=RunnerConfig(secret_scope_provider=refuse)) as runner:
        work = Counted()
        result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool))
    assert (result.state, work.ran) == ("completed", 0)
    assert "vault is sealed" in (result.tool_executions[0].error or "")


async def test_what_a_tool_does_to_its_context_or_arguments_changes_nothing_of_the_run(runner: Runner) -> None:
    """Always-replay mode would find a state that its tools have changed behind its back."""

    def vandal(items: list[Any], ctx: ToolContext) -> str:
        items[0]["a"] = "changed"
        items.clear()
        ctx.metadata["list"].append("more")
        return "done"

    described = agent([asks(("vandal", {"items": [{"a": 1}]})), asks(("vandal", {"items": [{"a": 1}]})), says("ok")], vandal)
    result = await runner.run(described, context={"list": []})
    assert [record.success for record in result.tool_executions] == [True, True]
    assert model_of(described).requests[1].messages[-2].tool_calls[0].arguments == {"items": [{"a": 1}]}


ENDLESS: dict[str, Any] = {}
ENDLESS["itself"] = ENDLESS


@pytest.mark.parametrize("context", [{"connection": threading.Lock()}, {"then": object()}, "text", [1], ENDLESS])
async def test_a_context_that_is_not_json_is_a_mistake_and_nothing_is_written(context: Any, tmp_path: Path) -> None:
    runner = Runner(log=tmp_path / "runs.db")
    with pytest.raises(ConfigurationError, match="context"):
        await runner.run(agent([says("ok")]), context=context)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test


@pytest.mark.parametrize("wrong", [{"user_message": 7}, {"thread_id": ""}, {"thread_id": 7}])
async def test_wrong_arguments_are_a_mistake_and_nothing_is_written(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        await Runner(log=tmp_path / "runs.db").run(agent([says("ok")]), **wrong)
    with pytest.raises(ConfigurationError, match="an Agent"):
        await Runner(log=tmp_path / "runs.db").run("agent")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": {"debug": True}},
        {"policy_engine": [PolicyRule(action="deny", condition=lambda event: True)]},
        {"clock": 3},
        {"clock": SystemClock},
        {"ids": lambda kind: "one"},
    ],
)
def test_what_a_runner_is_made_of_is_checked_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Runner(log=":memory:", **wrong)


@pytest.mark.parametrize("name", [name for name in RunnerConfig.model_fields if name.endswith("_s")])
def test_no_time_of_a_runner_is_endless(name: str) -> None:
    """JSON has no infinity: a run that began with one could not be read again."""
    with pytest.raises(ValidationError, match="finite"):
        RunnerConfig(**{name: float("inf")})


async def test_sync_tools_run_beside_the_event_loop(runner: Runner) -> None:
    begun, loop = threading.Event(), asyncio.get_running_loop()
    answered: asyncio.Future[str] = loop.create_future()

    def ask_the_loop() -> str:
        begun.set()
        return asyncio.run_coroutine_threadsafe(answer(), loop).result(5)

    async def answer() -> str:
        return await answered

    handle = await runner.run_handle(agent([asks(("ask_the_loop", {})), says("ok")], ask_the_loop))
    await asyncio.to_thread(begun.wait, 5)
    answered.set_result("from the loop")
    assert (await handle.await_result()).tool_executions[0].output == "from the loop"


# ----------------------------------------------------------------------------------------------------------------------- policy


async def test_without_an_engine_every_call_is_allowed_and_said_to_be(runner: Runner) -> None:
    result = await runner.run(agent([asks(("work", {})), says("ok")], Counted().tool))
    decisions = only(await log_of(runner, result.run_id), "policy_decision")
    assert [(event.data["event_type"], event.data["action"], event.data["policy_id"]) for event in decisions] == [
        ("llm_before_execute", "allow", None),
        ("tool_before_execute", "allow", None),
        ("llm_before_execute", "allow", None),
    ]
    assert (decisions[1].data["tool_name"], decisions[1].data["tool_call_id"]) == ("work", "c1")


async def test_rules_of_runner_and_agent_are_one_set() -> None:
    of_runner = PolicyEngine([PolicyRule(rule_id="runner", action="allow", condition=always, subjects=("tool",), priority=1)])
    of_agent = PolicyEngine([PolicyRule(rule_id="agent", action="deny", condition=always, subjects=("tool",), priority=2, reason="no")])
    async with Runner(log=":memory:", policy_engine=of_runner) as runner:
        work = Counted()
        described = agent([asks(("work", {})), says("ok")], work.tool, policy_engine=of_agent)
        result = await runner.run(described)
        (decision,) = [event for event in only(await log_of(runner, result.run_id), "policy_decision") if "tool_name" in event.data]
    assert (decision.data["action"], decision.data["policy_id"], decision.data["matched_rules"]) == ("deny", "agent", ["agent", "runner"])
    assert work.ran == 0
    assert "no" in shown(described)


async def test_a_rule_sees_validated_arguments_with_their_defaults(runner: Runner) -> None:
    seen: list[PolicyEvent] = []

    def note(event: PolicyEvent) -> bool:
        seen.append(event)
        return False

    engine = PolicyEngine([PolicyRule(action="deny", condition=note, subjects=("tool",))])
    work = Counted(read_only=True)
    await runner.run(agent([asks(("work", {})), asks(("work", {"n": "3"})), says("ok")], work.tool, policy_engine=engine), context={"a": 1})
    assert [event.tool_args for event in seen] == [{"n": 0}, {"n": 3}]
    assert {(event.tool_name, event.tool_read_only, str(event.context)) for event in seen} == {("work", True, "{'a': 1}")}


async def test_a_rule_rewrites_arguments_and_the_log_says_so(runner: Runner) -> None:
    rule = PolicyRule(
        rule_id="cap", action="allow", condition=PolicyRuleCondition(tool_name="work"), subjects=("tool",), updated_tool_args={"n": 1}
    )
    work = Counted()
    result = await runner.run(agent([asks(("work", {"n": 900})), says("ok")], work.tool, policy_engine=PolicyEngine([rule])))
    assert work.arguments == [1]
    decision = only(await log_of(runner, result.run_id), "policy_decision")[1]
    assert decision.data["updated_tool_args"] == {"n": 1}


async def test_a_rule_rewrites_an_argument_with_an_alias(runner: Runner) -> None:
    class Transfer(BaseModel):
        amount: int = Field(alias="amountInCents")

    paid = []

    @tool(Transfer)
    def pay(args: Transfer) -> str:
        """Pay."""
        paid.append(args.amount)
        return "paid"

    rule = PolicyRule(action="allow", condition=always, subjects=("tool",), updated_tool_args={"amount": 5})
    result = await runner.run(agent([asks(("pay", {"amountInCents": 900})), says("ok")], pay, policy_engine=PolicyEngine([rule])))
    assert (result.tool_executions[0].error, paid) == (None, [5])


async def test_rewritten_arguments_are_validated_again(runner: Runner) -> None:
    rule = PolicyRule(action="allow", condition=always, subjects=("tool",), updated_tool_args={"n": "many"})
    work = Counted()
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, policy_engine=PolicyEngine([rule])))
    assert (result.state, work.ran) == ("completed", 0)
    assert "invalid arguments for work" in (result.tool_executions[0].error or "")


async def test_a_denials_reason_reaches_the_model(runner: Runner) -> None:
    rule = PolicyRule(action="deny", condition=always, subjects=("tool",), reason="ask the treasurer first")
    described = agent([asks(("work", {})), says("ok")], Counted().tool, policy_engine=PolicyEngine([rule]))
    result = await runner.run(described)
    assert "ask the treasurer first" in shown(described)
    assert (result.tool_executions[0].success, result.tool_executions[0].error) == (False, "ask the treasurer first")


async def test_a_rule_that_raises_denies_and_says_so(runner: Runner) -> None:
    def broken(event: PolicyEvent) -> bool:
        raise ZeroDivisionError("oops")

    work = Counted()
    engine = PolicyEngine([PolicyRule(action="allow", condition=broken, subjects=("tool",))])
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, policy_engine=engine))
    assert (result.state, work.ran) == ("completed", 0)
    assert "oops" in (result.tool_executions[0].error or "")


@pytest.mark.parametrize(
    ("fallback", "ends", "ran", "outcome"),
    [("allow", "completed", 1, "granted"), ("deny", "completed", 0, "denied"), ("defer", "interrupted", 0, "deferred")],
)
async def test_in_headless_mode_the_fallback_answers_for_the_person(fallback: Any, ends: str, ran: int, outcome: str) -> None:
    engine = PolicyEngine([PolicyRule(rule_id="four eyes", action="request_approval", condition=always, subjects=("tool",))])
    async with Runner(log=":memory:", config=RunnerConfig(approval_fallback=fallback)) as runner:
        work = Counted()
        result = await runner.run(agent([asks(("work", {"n": 3})), says("ok")], work.tool, policy_engine=engine))
        events = await log_of(runner, result.run_id)
    assert (result.state, work.ran) == (ends, ran)
    (request,) = only(events, "approval_requested")
    (answer,) = only(events, "approval_resolved")
    assert (request.data["tool_name"], request.data["arguments"], request.data["policy_id"]) == ("work", {"n": 3}, "four eyes")
    assert (answer.data["outcome"], answer.data["by"], answer.data["arguments_hash"]) == (
        outcome,
        "fallback",
        request.data["arguments_hash"],
    )
    assert types(events).index("approval_requested") < types(events).index("approval_resolved")


async def test_a_request_for_input_without_a_person_is_denied(runner: Runner) -> None:
    engine = PolicyEngine([PolicyRule(action="request_user_input", condition=always, subjects=("tool",))])
    work = Counted()
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, policy_engine=engine))
    assert (result.state, work.ran) == ("completed", 0)
    assert "no input was given" in (result.tool_executions[0].error or "")
