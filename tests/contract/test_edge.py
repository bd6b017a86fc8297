"""contract.md, "Import map" and the paragraph below it: what kind of thing each contract at the edge is.

That the map holds, also for an installed wheel, and which names are public, is tests/test_public_api.py.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

import afk_es
from afk_es import agents, core, llms, testing, tools
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, RunState

FROZEN_MODELS: list[type[BaseModel]] = [
    agents.Agent,
    agents.FailSafeConfig,
    agents.PolicyRule,
    agents.PolicyRuleCondition,
    agents.PolicyEvent,
    agents.PolicyDecision,
    core.RunnerConfig,
    core.AgentResult,
    core.ToolExecutionRecord,
    core.SubagentExecutionRecord,
    llms.LLMRequest,
    llms.LLMResponse,
]


@pytest.mark.parametrize("contract", FROZEN_MODELS, ids=lambda contract: contract.__name__)
def test_contracts_at_the_edge_are_frozen_pydantic_models(contract: type[BaseModel]) -> None:
    assert issubclass(contract, BaseModel)
    assert contract.model_config["frozen"] is True


@pytest.mark.parametrize("fact", [AgentRunEvent, RunState])
def test_events_and_state_are_msgspec_structs(fact: Any) -> None:
    assert issubclass(fact, msgspec.Struct)
    assert fact.__struct_config__.frozen


@pytest.mark.parametrize("port", [EventLog, llms.ChatModel, llms.StreamingChatModel])
def test_ports_are_protocols(port: Any) -> None:
    assert port._is_protocol


@pytest.mark.parametrize("name", ["Agent", "Runner", "tool", "FailSafeConfig", "PolicyEngine", "PolicyRule"])
def test_import_afk_es_re_exports_the_everyday_names(name: str) -> None:
    homes = [module for module in (agents, core, tools) if hasattr(module, name)]
    assert [getattr(module, name) is getattr(afk_es, name) for module in homes] == [True]


@pytest.mark.parametrize("name", ["LLMResponse", "ToolCall", "Usage"])
def test_all_three_are_importable_from_llms(name: str) -> None:
    assert getattr(llms, name).__doc__


def test_the_scripted_model_is_importable_from_testing() -> None:
    assert testing.ScriptedModel.__doc__
