"""contract.md, "Agent: a frozen description (keyword-only)"."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from afk_es import Agent, FailSafeConfig, PolicyEngine, PolicyRule, Runner, tool
from afk_es.agents import PolicyDecision, PolicyEvent, RouterInput
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from tests.contract.pending import built_elsewhere
from tests.core.scenario import Counted, agent, asks, limits, log_of, model_of, only, says, turns

DEFAULTS: dict[str, Any] = {
    "name": "agent",
    "instructions": None,
    "instruction_file": None,
    "prompts_dir": None,
    "tools": (),
    "subagents": (),
    "context_defaults": {},
    "inherit_context_keys": (),
    "model_resolver": None,
    "skills": (),
    "skills_dir": None,
    "mcp_servers": (),
    "instruction_roles": (),
    "policy_roles": (),
    "policy_engine": None,
    "subagent_router": None,
    "join_policy": "all_required",
    "max_concurrent_subagents": None,
    "max_steps": 20,
    "tool_parallelism": None,
    "fail_safe": FailSafeConfig(),
    "reasoning_enabled": None,
    "reasoning_effort": None,
    "reasoning_max_tokens": None,
    "output_type": None,
}
"""The fields of the section in its order. What is given no default there has the empty one."""


@pytest.mark.parametrize("field", DEFAULTS)
def test_each_field_has_its_default(field: str) -> None:
    assert getattr(Agent(model="m"), field) == DEFAULTS[field]


def test_subagent_parallelism_mode_is_one_of_single_parallel_and_configurable() -> None:
    assert Agent(model="m").subagent_parallelism_mode in ("single", "parallel", "configurable")
    for mode in ("single", "parallel", "configurable"):
        assert Agent(model="m", subagent_parallelism_mode=mode).subagent_parallelism_mode == mode
    other: Any = {"subagent_parallelism_mode": "some"}
    with pytest.raises(ValueError, match="subagent_parallelism_mode"):
        Agent(model="m", **other)


def test_model_is_required() -> None:
    build: Any = Agent
    with pytest.raises((TypeError, ValueError), match="model"):
        build()


def test_keyword_only() -> None:
    build: Any = Agent
    with pytest.raises(TypeError):
        build("m")
    kinds = {parameter.kind for name, parameter in inspect.signature(Agent).parameters.items() if name != "self"}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


def test_frozen() -> None:
    described: Any = Agent(model="m")
    with pytest.raises(ValidationError, match="frozen"):
        described.max_steps = 3


# -------------------------------------------------------------------------------------------------------- "model (str, or an object)"


async def test_model_is_a_str_that_model_resolver_can_answer_for(runner: Runner) -> None:
    model = ScriptedModel(["resolved"])
    asked: list[str] = []

    def resolve(name: str) -> ScriptedModel:
        asked.append(name)
        return model

    result = await runner.run(Agent(model="house/large", model_resolver=resolve), user_message="Hello")
    assert (result.final_text, result.requested_model) == ("resolved", "house/large")
    assert set(asked) == {"house/large"}
    assert model.requests[0].model == "house/large"


async def test_model_is_an_object_with_the_model_port(runner: Runner) -> None:
    class Mine:
        provider_id = "mine"

        async def chat(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse(text="from an object")

    result = await runner.run(Agent(model=Mine()), user_message="Hello")
    assert (result.final_text, result.provider_adapter) == ("from an object", "mine")


# ------------------------------------------------------------------------------------------------------------------- instructions


async def shown_instructions(runner: Runner, **fields: Any) -> list[str]:
    described = agent([says("ok")], **fields)
    result = await runner.run(described, user_message="Hello", context={"name": "Ada"})
    assert result.state == "completed", result.error
    return [content for role, content in turns(model_of(described).requests[0]) if role == "system"]


async def async_instructions(context: dict[str, Any]) -> str:
    await asyncio.sleep(0)
    return f"Serve {context['name']}."


@pytest.mark.parametrize(
    ("instructions", "shown"),
    [("Be brief.", "Be brief."), (lambda context: f"Greet {context['name']}.", "Greet Ada."), (async_instructions, "Serve Ada.")],
    ids=["str", "callable(context) sync", "callable(context) async"],
)
async def test_instructions_are_a_str_or_a_callable(instructions: Any, shown: str, runner: Runner) -> None:
    assert await shown_instructions(runner, instructions=instructions) == [shown]


async def test_instruction_file_and_prompts_dir(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "desk.md").write_text("You are the desk.", encoding="utf-8")
    (tmp_path / "night.md").write_text("It is night.", encoding="utf-8")
    assert await shown_instructions(runner, name="desk", prompts_dir=tmp_path) == ["You are the desk."]
    assert await shown_instructions(runner, prompts_dir=tmp_path, instruction_file="night.md") == ["It is night."]
    assert await shown_instructions(runner, instruction_file=tmp_path / "night.md") == ["It is night."]


async def test_an_agent_without_instructions_is_legal(runner: Runner) -> None:
    assert await shown_instructions(runner) == []


@built_elsewhere
async def test_instruction_roles_add_to_the_instructions(runner: Runner) -> None:
    roles = [lambda context: f"You serve {context['name']}.", async_instructions]
    (shown,) = await shown_instructions(runner, instructions="Be brief.", instruction_roles=roles)
    assert [shown.find(part) >= 0 for part in ("Be brief.", "You serve Ada.", "Serve Ada.")] == [True] * 3


@built_elsewhere
async def test_policy_roles_decide(runner: Runner) -> None:
    def careful(event: PolicyEvent) -> PolicyDecision | None:
        return PolicyDecision(action="deny", reason="not by role") if event.tool_name == "work" else None

    work = Counted()
    described = agent([asks(("work", {})), says("then not")], work.tool, policy_roles=[careful])
    result = await runner.run(described, user_message="go")
    assert (result.state, work.ran) == ("completed", 0)
    assert "not by role" in (result.tool_executions[0].error or "")


@built_elsewhere
async def test_skills_and_skills_dir(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "totals").mkdir()
    (tmp_path / "totals" / "SKILL.md").write_text("---\nname: totals\ndescription: Adds orders up.\n---\nAdd.\n", encoding="utf-8")
    described = agent([says("ok")], skills=["totals"], skills_dir=tmp_path)
    await runner.run(described, user_message="Hello")
    (request,) = model_of(described).requests
    assert len(request.tools) == 4
    assert "Adds orders up." in request.messages[0].content


# -------------------------------------------------------------------------------------------------------------- tools and context


async def test_no_tool_is_added_that_the_user_did_not_list(runner: Runner) -> None:
    @tool
    def look(word: str) -> str:
        """Look it up."""
        return word

    for listed in ([], [look]):
        described = agent([says("ok")], *listed)
        await runner.run(described, user_message="Hello")
        assert [offered.name for offered in model_of(described).requests[0].tools] == [each.name for each in listed]


async def test_context_defaults_stand_under_what_the_run_says(runner: Runner) -> None:
    seen: list[dict[str, Any]] = []

    def instruct(context: dict[str, Any]) -> str:
        seen.append(context)
        return "x"

    described = agent([says("ok")], instructions=instruct, context_defaults={"region": "eu", "user": "nobody"})
    await runner.run(described, user_message="Hello", context={"user": "ada"})
    assert seen == [{"region": "eu", "user": "ada"}]


async def test_the_agents_policy_engine_is_asked(runner: Runner) -> None:
    rule = PolicyRule(rule_id="mine", action="deny", condition=lambda event: event.tool_name == "work", reason="no")
    work = Counted()
    result = await runner.run(agent([asks(("work", {})), says("ok")], work.tool, policy_engine=PolicyEngine([rule])), user_message="go")
    assert (result.state, work.ran) == ("completed", 0)


async def test_max_steps_20(runner: Runner) -> None:
    model = ScriptedModel(lambda request: asks(("work", {})))
    result = await runner.run(agent(model, Counted().tool), user_message="go")
    assert (result.state, result.state_snapshot.step, len(model.requests)) == ("failed", 20, 20)


@pytest.mark.parametrize("most", [1, 2])
async def test_tool_parallelism(most: int, runner: Runner) -> None:
    running, peak = 0, 0

    async def work() -> str:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.002)
        running -= 1
        return "done"

    described = agent([asks(*[("work", {})] * 5), says("ok")], work, tool_parallelism=most)
    assert (await runner.run(described, user_message="go")).state == "completed"
    assert peak == most


async def test_reasoning_enabled_effort_and_max_tokens_reach_the_model(runner: Runner) -> None:
    described = agent([says("ok")], reasoning_enabled=True, reasoning_effort="high", reasoning_max_tokens=2048)
    await runner.run(described, user_message="Hello")
    (request,) = model_of(described).requests
    assert (request.reasoning_enabled, request.reasoning_effort, request.reasoning_max_tokens) == (True, "high", 2048)


# -------------------------------------------------------------------------------------------------------------------- output_type


class Verdict(BaseModel):
    refund: bool
    reason: str


async def test_output_type_is_validated_and_the_validation_error_is_sent_back_to_the_model(runner: Runner) -> None:
    described = agent(['{"refund": "perhaps"}', '{"refund": true, "reason": "lost"}'], output_type=Verdict)
    result = await runner.run(described, user_message="Refund?")
    assert result.final_structured == Verdict(refund=True, reason="lost")
    told = model_of(described).requests[1].messages[-1].content
    assert "refund" in told
    assert "reason" in told
    assert "Field required" in told


# ---------------------------------------------------------------------------------------------------------- "hold no run state"


async def test_agents_are_reusable_and_hold_no_run_state(runner: Runner) -> None:
    described = agent(ScriptedModel(lambda request: says(request.messages[-1].content.upper())))
    before = described.model_dump(exclude={"model"})
    results = await asyncio.gather(*(runner.run(described, user_message=f"hello {n}") for n in range(5)))
    assert [result.final_text for result in results] == [f"HELLO {n}" for n in range(5)]
    assert len({result.thread_id for result in results}) == 5
    assert described.model_dump(exclude={"model"}) == before


# ----------------------------------------------------------------------------------------------------------------------- subagents


def helper(script: Any, **fields: Any) -> Agent:
    return agent(script, **{"name": "helper", **fields})


def hands_over(request: LLMRequest) -> LLMResponse:
    """The first tool that is offered, called with a task, then the answer: what a model makes of a team it is shown."""
    if request.messages[-1].role == "tool":
        return says("the team is done")
    calls = [ToolCall(f"c{n}", each.name, dict.fromkeys(each.parameters["required"], "the task")) for n, each in enumerate(request.tools)]
    return LLMResponse(tool_calls=tuple(calls))


@built_elsewhere
async def test_subagents_are_offered_and_run(runner: Runner) -> None:
    child = helper([says("helped")])
    parent = agent(ScriptedModel(hands_over), subagents=[child])
    result = await runner.run(parent, user_message="go")
    assert (result.state, result.final_text) == ("completed", "the team is done")
    assert [offered.name for offered in model_of(parent).requests[0].tools] == ["transfer_to_helper"]
    assert model_of(child).requests[0].messages[-1].content.find("the task") >= 0
    (record,) = result.subagent_executions
    assert (record.subagent_name, record.success, record.output_text) == ("helper", True, "helped")


@built_elsewhere
async def test_inherit_context_keys(runner: Runner) -> None:
    seen: list[dict[str, Any]] = []

    def instruct(context: dict[str, Any]) -> str:
        seen.append(context)
        return "Help."

    child = helper([says("helped")], instructions=instruct, inherit_context_keys=["customer"], context_defaults={"tone": "kind"})
    await runner.run(agent(ScriptedModel(hands_over), subagents=[child]), user_message="go", context={"customer": "ada", "secret": 1})
    assert seen == [{"customer": "ada", "tone": "kind"}]


@built_elsewhere
@pytest.mark.parametrize("policy", ["all_required", "allow_optional_failures", "first_success", "quorum"])
def test_join_policy(policy: Any) -> None:
    assert Agent(model="m", join_policy=policy).join_policy == policy


@built_elsewhere
@pytest.mark.parametrize("at_once", ["max_concurrent_subagents", "subagent_parallelism_mode"])
async def test_max_concurrent_subagents_and_single_mode_run_one_after_the_other(at_once: str, runner: Runner) -> None:
    running, peak = 0, 0

    async def answer(request: LLMRequest) -> LLMResponse:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.002)
        running -= 1
        return says("helped")

    children = [helper(ScriptedModel(answer), name=f"helper{n}") for n in range(3)]
    one = {"max_concurrent_subagents": 1} if at_once == "max_concurrent_subagents" else {"subagent_parallelism_mode": "single"}
    result = await runner.run(agent(ScriptedModel(hands_over), subagents=children, **one), user_message="go")
    assert (result.state, len(result.subagent_executions), peak) == ("completed", 3, 1)


@built_elsewhere
def test_subagent_router() -> None:
    def route(given: RouterInput) -> None:
        return None

    assert Agent(model="m", subagents=[helper(["x"])], subagent_router=route).subagent_router is route


async def test_fail_safe_holds_for_the_agents_runs(runner: Runner) -> None:
    described = agent(ScriptedModel(lambda request: asks(("work", {}))), Counted().tool, fail_safe=limits(max_llm_calls=2))
    result = await runner.run(described, user_message="go")
    assert result.state == "failed"
    assert only(await log_of(runner, result.run_id), "limit_reached")[0].data["limit"] == "max_llm_calls"
