"""The description of an agent, field by field: each is of one class, and none is left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from afk_es.evals.goldens.agent_changes import agent_changes
from afk_es.evals.goldens.finding import Finding, plain_fields, unknown_keys
from afk_es.machine.delegation import DelegationSpec
from afk_es.machine.spec import (
    Background,
    BreakerRule,
    Interaction,
    Limits,
    ModelSpec,
    Policies,
    Rendering,
    Retention,
    Retry,
    RunSpec,
    ToolSpec,
)

SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}}}
LOOK = ToolSpec("look", "Look an order up.", SCHEMA)
PAY = ToolSpec("pay", "Pay.", {"type": "object"})
SPEC = RunSpec("desk", (ModelSpec("scripted-1", "scripted"),), instructions="Be brief.", tools=(LOOK, PAY), parameters={"temperature": 0.0})


def found(other: RunSpec) -> list[tuple[str, str]]:
    findings = list(agent_changes(msgspec.to_builtins(SPEC), msgspec.to_builtins(other)))
    assert all(finding.message for finding in findings)
    return [(finding.kind, finding.field) for finding in findings]


EDITS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "agent_name": ("counter", [("params", "agent_name")]),
    "models": ((ModelSpec("scripted-2", "scripted"),), [("params", "models[0].model")]),
    "instructions": ("Be rude.", [("prompt", "instructions")]),
    "dynamic_instructions": (True, [("prompt", "dynamic_instructions")]),
    "skills": (("refunds",), [("prompt", "skills")]),
    "tools": ((PAY, LOOK), [("tool_schema", "tools")]),
    "parameters": ({"temperature": 1.0}, [("params", "parameters.temperature")]),
    "output_schema": ({"type": "object"}, [("params", "output_schema")]),
    "limits": (Limits(max_steps=3), [("limit", "limits.max_steps")]),
    "policies": (Policies(tool_failure="fail"), [("params", "policies.tool_failure")]),
    "retry": (Retry(attempts=9), [("params", "retry.attempts")]),
    "breaker": (BreakerRule(failures=9), [("params", "breaker")]),
    "rendering": (Rendering(max_chars=900), [("params", "rendering.max_chars")]),
    "interaction": (Interaction(mode="external"), [("params", "interaction.mode")]),
    "in_doubt": ("ask", [("params", "in_doubt")]),
    "background": (Background(grace_s=9.0), [("params", "background")]),
    "agent_path": (("boss",), [("params", "agent_path[0]")]),
    "retention": (Retention(max_turns=9), [("params", "retention")]),
    "delegation": (DelegationSpec(), [("params", "delegation")]),
}


def test_every_field_of_a_spec_is_here() -> None:
    assert set(EDITS) == set(RunSpec.__struct_fields__)


@pytest.mark.parametrize("name", EDITS)
def test_a_field_that_differs_is_of_its_class(name: str) -> None:
    value, expected = EDITS[name]
    assert found(replace(SPEC, **{name: value})) == expected


TOOL_EDITS: dict[str, tuple[Any, tuple[str, str]]] = {
    "description": ("Look.", ("tool_schema", "tools.look.description")),
    "parameters": (
        {"type": "object", "properties": {"order": {"type": "string"}}},
        ("tool_schema", "tools.look.parameters.properties.order.type"),
    ),
    "kind": ("subagent", ("tool_schema", "tools.look.kind")),
    "read_only": (True, ("params", "tools.look.read_only")),
    "idempotent": (True, ("params", "tools.look.idempotent")),
    "destructive": (True, ("params", "tools.look.destructive")),
    "open_world": (True, ("params", "tools.look.open_world")),
    "timeout_s": (9.0, ("params", "tools.look.timeout_s")),
    "raise_on_error": (True, ("params", "tools.look.raise_on_error")),
    "server": ("files", ("params", "tools.look.server")),
    "subagent": ("clerk", ("params", "tools.look.subagent")),
    "subagent_digest": ("abc", ("params", "tools.look.subagent_digest")),
}


def test_every_field_of_a_tool_is_here() -> None:
    assert {"name", *TOOL_EDITS} == set(ToolSpec.__struct_fields__)


@pytest.mark.parametrize("name", TOOL_EDITS)
def test_a_field_of_a_tool_is_of_what_the_model_sees_or_of_how_it_runs(name: str) -> None:
    value, expected = TOOL_EDITS[name]
    assert found(replace(SPEC, tools=(replace(LOOK, **{name: value}), PAY))) == [expected]


def test_a_tool_that_has_another_name_is_gone_and_new() -> None:
    assert found(replace(SPEC, tools=(replace(LOOK, name="look up"), PAY))) == [
        ("tool_schema", "tools.look"),
        ("tool_schema", 'tools["look up"]'),
    ]


def test_the_order_of_tools_is_told_once_and_not_where_one_is_new() -> None:
    assert found(replace(SPEC, tools=(LOOK, replace(PAY, name="sell"), PAY))) == [("tool_schema", "tools.sell")]


def test_values_that_are_defaults_are_told_as_what_they_are() -> None:
    """A description leaves them out, and a reader would otherwise be told that nothing became three."""
    (finding,) = agent_changes(msgspec.to_builtins(SPEC), msgspec.to_builtins(replace(SPEC, limits=Limits(max_steps=3))))
    assert (finding.expected, finding.actual) == (20, 3)


def test_a_description_with_fields_of_another_version_is_of_that_class() -> None:
    raw = msgspec.to_builtins(SPEC)
    newer = {**raw, "mood": "calm", "limits": {"max_patience_s": 3}}
    found = list(agent_changes(raw, newer))
    assert [(each.kind, each.field, each.actual) for each in found] == [
        ("engine_version", "data.agent.limits.max_patience_s", 3),
        ("engine_version", "data.agent.mood", "calm"),
    ]
    assert list(agent_changes(newer, newer)) == []


def test_the_same_finding_has_the_same_identity_whoever_meets_it() -> None:
    one = Finding("agent", "prompt", "instructions", "a", "b", "of the agent")
    assert one.identity == Finding("request", "prompt", "instructions", "a", "b", "of a request").identity
    assert one.identity != Finding("agent", "prompt", "instructions", "b", "a").identity


def test_plain_fields_have_all_of_them() -> None:
    assert plain_fields(Limits())["max_steps"] == 20
    assert dict(unknown_keys({"a": [{"b": 1}], "c": 2}, {"a": [{}]}, "x")) == {"x.a[0].b": 1, "x.c": 2}


def test_a_price_that_is_known_is_no_other_model_and_one_that_is_not_is() -> None:
    """A simulated world asks for no price; where one is known to be missing, a run with a cost limit ends at once."""

    def said(recorded: bool | None, today: bool | None) -> list[str]:
        asked = [ModelSpec("gpt-4o", "litellm", priced) for priced in (recorded, today)]
        old, new = (replace(SPEC, models=(model,), retention=Retention(max_turns=9, model=model)) for model in asked)
        return [finding.field for finding in agent_changes(msgspec.to_builtins(old), msgspec.to_builtins(new))]

    assert said(None, True) == said(True, None) == []
    assert said(None, False) == said(True, False) == ["models[0].priced", "retention.model.priced"]
