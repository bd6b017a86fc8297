"""Agent and FailSafeConfig: their defaults are the contract's, and what cannot work is refused at construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from afk_es.agents import Agent, FailSafeConfig
from afk_es.errors import ConfigurationError
from afk_es.machine.spec import POLICIES, BreakerRule, Limits, Policies
from afk_es.tools import Tool, tool


class Model:
    provider_id = "mine"

    async def chat(self, request: Any) -> Any:
        return request


def lookup(word: str) -> str:
    """Look it up."""
    return word


class Answer(BaseModel):
    text: str


def test_a_bare_agent_has_the_contracts_defaults() -> None:
    agent = Agent(model="m")
    assert (agent.name, agent.max_steps, agent.join_policy, agent.tools, agent.context_defaults) == ("agent", 20, "all_required", (), {})
    assert agent.static_instructions() is None
    assert agent.fail_safe == FailSafeConfig()


def test_plain_functions_become_tools_and_objects_with_the_port_are_models() -> None:
    model = Model()
    agent = Agent(model=model, tools=[lookup, tool(name="other")(lookup)], subagents=[Agent(model="m", name="helper")], output_type=Answer)
    assert agent.model is model
    assert [each.name for each in agent.tools] == ["lookup", "other"]
    assert all(isinstance(each, Tool) for each in agent.tools)
    assert repr(agent) == "Agent(name='agent', model='mine')"


def test_an_agent_does_not_change() -> None:
    agent = Agent(model="m")
    with pytest.raises(ValidationError, match="frozen"):
        agent.name = "other"  # type: ignore[misc,unused-ignore]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modle": "x"}, "no field 'modle'; did you mean 'model'"),
        ({"zzz": 1}, "its fields are: model, name"),
        ({"model": 3}, "provider_id: str and async chat"),
        ({"model": " "}, "must not be empty"),
        ({"name": "a b"}, "name: String should match"),
        ({"max_steps": 0}, "max_steps: Input should be greater"),
        ({"tools": [lookup, lookup]}, "two tools are named 'lookup'"),
        ({"tools": lookup}, r"write \[tool\]"),
        ({"tools": [3]}, "3 is no tool; write the function itself"),
        ({"tools": None}, "tools: must be a sequence of tools, not None; leave it out"),
        ({"inherit_context_keys": None}, "inherit_context_keys: must be a sequence, not None; leave it out"),
        ({"tools": [lambda x: x]}, "tool name '<lambda>'"),
        ({"subagents": [Agent(model="m")] * 2}, "two subagents are named 'agent'"),
        ({"subagents": Agent(model="m")}, r"write \[...\]"),
        ({"instructions": "x", "instruction_file": "y"}, "both given"),
        ({"instruction_file": "/nowhere/x.md"}, "/nowhere/x.md cannot be read"),
        ({"instruction_roles": lookup}, r"instruction_roles: must be a sequence, .* write \[...\]"),
        ({"policy_roles": [3]}, "policy_roles.0: Input should be callable"),
        ({"policy_roles": [Model().chat]}, "policy_roles: must not be async"),
        ({"skills": ["x"]}, "without skills_dir"),
        ({"skills": "x", "skills_dir": "."}, "skills: must be a sequence"),
        ({"skills": ["x"], "skills_dir": "/nowhere"}, "the directory '/nowhere' cannot be used"),
        ({"skill_policy": {"command_allowlist": [""]}}, "skill_policy: command_allowlist: an empty beginning"),
        ({"join_policy": "most"}, "join_policy: Input should be 'all_required'"),
        ({"fail_safe": {"max_steps": 0}}, "fail_safe.max_steps"),
        ({"output_type": dict}, "output_type"),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Agent(**{"model": "m", **fields})


@pytest.mark.parametrize("server", ["http://127.0.0.1:8000/mcp", {"command": "uvx"}, object])
def test_a_server_is_an_object_that_has_tools(server: object) -> None:
    with pytest.raises(ConfigurationError, match=r"mcp_servers: .* is no server; write afk_es\.mcp\.MCPClient"):
        Agent(model="m", mcp_servers=[server])  # type: ignore[list-item]


def test_instructions_come_from_text_a_file_or_the_prompts_directory(tmp_path: Path) -> None:
    (tmp_path / "agent.md").write_text("By name.", encoding="utf-8")
    (tmp_path / "special.md").write_text("By file.", encoding="utf-8")
    assert Agent(model="m", instructions="Inline.").static_instructions() == "Inline."
    assert Agent(model="m", prompts_dir=tmp_path).static_instructions() == "By name."
    assert Agent(model="m", prompts_dir=tmp_path, instruction_file="special.md").static_instructions() == "By file."
    assert Agent(model="m", prompts_dir=tmp_path, instructions=lambda context: "x").static_instructions() is None
    with pytest.raises(ConfigurationError, match=r"other\.md cannot be read"):
        Agent(model="m", prompts_dir=tmp_path, name="other")


def test_fail_safe_defaults_are_the_machines() -> None:
    assert FailSafeConfig().limits() == Limits()
    assert FailSafeConfig().policies() == Policies()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_of_the_machine_is_legal(policy: Any) -> None:
    assert FailSafeConfig(llm_failure_policy=policy).policies().llm_failure == policy


def test_an_unknown_policy_names_the_legal_ones() -> None:
    with pytest.raises(ValidationError) as caught:
        FailSafeConfig(tool_failure_policy="shrug")
    assert all(repr(policy) in str(caught.value) for policy in POLICIES)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_steps": 0},
        {"max_wall_time_s": 0},
        {"max_total_cost_usd": float("nan")},
        {"max_parallel_tools": 0},
        {"fallback_model_chain": "gpt"},
        {"fallback_model_chain": (3,)},
        {"max_stepz": 3},
    ],
)
def test_limits_have_bounds(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FailSafeConfig(**fields)


def test_fallbacks_are_names_or_models() -> None:
    model = Model()
    assert FailSafeConfig(fallback_model_chain=("m", model)).fallback_model_chain == ("m", model)


def test_the_breakers_settings_go_into_the_rule_of_the_machine_and_have_bounds() -> None:
    assert FailSafeConfig().breaker() == BreakerRule(5, 30.0)
    assert FailSafeConfig(breaker_failure_threshold=2, breaker_cooldown_s=0).breaker() == BreakerRule(2, 0.0)
    for wrong in ({"breaker_failure_threshold": 0}, {"breaker_cooldown_s": -1}):
        with pytest.raises(ValueError, match="greater than or equal"):
            FailSafeConfig.model_validate(wrong)
