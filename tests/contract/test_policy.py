"""contract.md, "Policy": rules, their order, what they are asked, and what follows; approvals and grants."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es import PolicyEngine, PolicyRule, Runner
from afk_es.agents import PolicyEvent, PolicyRuleCondition
from afk_es.clock import SystemClock
from afk_es.core import AgentResult, AgentRunEvent, RunnerConfig
from afk_es.machine import Draft
from tests.core.scenario import Counted, agent, always, asks, limits, log_of, model_of, only, says

RULE: dict[str, Any] = {
    "priority": 100,
    "enabled": True,
    "subjects": ("any",),
    "reason": None,
    "request_payload": {},
    "updated_tool_args": None,
}
ACTIONS = ["allow", "deny", "defer", "request_approval", "request_user_input"]
EVENT = ["event_type", "run_id", "thread_id", "step", "context", "tool_name", "tool_args", "tool_read_only", "subagent_name", "metadata"]


def rule(action: Any = "deny", **fields: Any) -> PolicyRule:
    return PolicyRule(**{"action": action, "condition": always, "subjects": ("tool",), **fields})


async def ruled(runner: Runner, *rules: PolicyRule, **arguments: Any) -> tuple[AgentResult, dict[str, Any], Counted, str]:
    """A run that calls one tool: its result, the decision on the call, the tool, and what the model was told."""
    work = Counted()
    described = agent([asks(("work", arguments)), says("ok")], work.tool, policy_engine=PolicyEngine(rules))
    result = await runner.run(described, user_message="go", context={"user_id": "ada"})
    decision = next(event for event in only(await log_of(runner, result.run_id), "policy_decision") if "tool_name" in event.data)
    return result, decision.data, work, model_of(described).requests[1].messages[-1].content


# --------------------------------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize("field", RULE)
def test_each_field_has_its_default(field: str) -> None:
    assert getattr(PolicyRule(action="allow", condition=always), field) == RULE[field]


def test_rule_id_is_made_where_none_is_given() -> None:
    assert PolicyRule(action="allow", condition=always).rule_id
    assert PolicyRule(rule_id="mine", action="allow", condition=always).rule_id == "mine"


def test_rules_are_keyword_only_and_frozen() -> None:
    build: Any = PolicyRule
    with pytest.raises(TypeError):
        build("allow", always)
    kinds = {parameter.kind for parameter in inspect.signature(PolicyRule).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    made: Any = rule()
    with pytest.raises(ValidationError, match="frozen"):
        made.priority = 1


@pytest.mark.parametrize("action", ACTIONS)
def test_actions(action: Any) -> None:
    assert rule(action).action == action


def test_an_unknown_action_is_a_clear_error() -> None:
    with pytest.raises(ValidationError) as raised:
        rule("shrug")
    assert all(action in str(raised.value) for action in ACTIONS)


async def test_a_condition_is_a_callable_of_the_event_or_a_policy_rule_condition(runner: Runner) -> None:
    one = rule(condition=lambda event: event.tool_args["n"] > 100)
    two = rule(condition=PolicyRuleCondition.model_validate({"tool_name": "work"}))
    for condition, amount, ran in ((one, 5, 1), (one, 500, 0), (two, 5, 0)):
        _result, _decision, work, _told = await ruled(runner, condition, n=amount)
        assert work.ran == ran


async def test_a_rule_that_is_not_enabled_is_not_asked(runner: Runner) -> None:
    _result, decision, work, _told = await ruled(runner, rule(enabled=False))
    assert (decision["matched_rules"], work.ran) == ([], 1)


@pytest.mark.parametrize(("subject", "asked"), [("any", {"llm", "tool"}), ("tool", {"tool"}), ("llm", {"llm"}), ("subagent", set())])
async def test_subjects_say_what_a_rule_is_asked_about(subject: str, asked: set[str], runner: Runner) -> None:
    seen: set[str] = set()

    def note(event: PolicyEvent) -> bool:
        seen.add(event.event_type.removesuffix("_before_execute"))
        return False

    await ruled(runner, rule(condition=note, subjects=(subject,)))
    assert seen == asked


# ------------------------------------------------------------------------------------------------------------------------- the order


async def test_priority_descending_then_rule_id_and_the_first_match_decides(runner: Runner) -> None:
    rules = [
        rule("allow", rule_id="b", priority=5),
        rule("deny", rule_id="a", priority=5, reason="a decides"),
        rule("allow", rule_id="z", priority=9, condition=lambda event: False),
        rule("allow", rule_id="c", priority=1),
    ]
    for order in (rules, rules[::-1]):
        _result, decision, work, _told = await ruled(runner, *order)
        assert (decision["action"], decision["policy_id"], decision["reason"], work.ran) == ("deny", "a", "a decides", 0)


async def test_matched_rules_lists_all(runner: Runner) -> None:
    _result, decision, _work, _told = await ruled(
        runner, rule("allow", rule_id="b"), rule("deny", rule_id="c"), rule("deny", rule_id="a", priority=500)
    )
    assert decision["matched_rules"] == ["a", "b", "c"]


# -------------------------------------------------------------------------------------------------------------------------- the event


async def test_the_policy_event(runner: Runner) -> None:
    seen: list[PolicyEvent] = []

    def note(event: PolicyEvent) -> bool:
        seen.append(event)
        return False

    result, _decision, _work, _told = await ruled(runner, rule(condition=note, subjects=("any",)), n=3)
    assert set(EVENT) <= PolicyEvent.model_fields.keys()
    assert [event.event_type for event in seen] == ["llm_before_execute", "tool_before_execute", "llm_before_execute"]
    event = seen[1]
    assert (event.run_id, event.thread_id, event.step) == (result.run_id, result.thread_id, 1)
    assert (event.context, event.tool_name, event.tool_args, event.tool_read_only) == ({"user_id": "ada"}, "work", {"n": 3}, False)
    assert (seen[0].tool_name, event.subagent_name, event.metadata) == (None, None, {})


async def test_subagent_before_execute_names_the_subagent(runner: Runner) -> None:
    from afk_es.testing import ScriptedModel
    from tests.contract.test_agent import hands_over, helper

    deny = rule(condition=lambda event: event.subagent_name == "helper", subjects=("subagent_before_execute",), reason="alone, please")
    child = helper([says("helped")])
    parent = agent(ScriptedModel(hands_over), subagents=[child], policy_engine=PolicyEngine([deny]))
    result = await runner.run(parent, user_message="go")
    assert (result.state, model_of(child).requests) == ("completed", [])
    assert "alone, please" in model_of(parent).requests[1].messages[-1].content


# ------------------------------------------------------------------------------------------------------------------------- the answers


async def test_allow(runner: Runner) -> None:
    _result, decision, work, _told = await ruled(runner, rule("allow", rule_id="yes"))
    assert (decision["action"], decision["policy_id"], work.ran) == ("allow", "yes", 1)


async def test_deny(runner: Runner) -> None:
    result, decision, work, told = await ruled(runner, rule("deny", reason="closed on Sundays"))
    assert (decision["action"], work.ran, result.tool_executions[0].success) == ("deny", 0, False)
    assert "closed on Sundays" in told


async def test_defer_does_not_run_the_call_and_leaves_it_open(runner: Runner) -> None:
    work = Counted()
    described = agent([asks(("work", {"n": 1}))], work.tool, policy_engine=PolicyEngine([rule("defer", reason="after the audit")]))
    result = await runner.run(described, user_message="go")
    assert (result.state, work.ran) == ("interrupted", 0)
    assert [(request.tool_name, request.reason) for request in result.pending] == [("work", "after the audit")]


@pytest.mark.parametrize(("action", "asked"), [("request_approval", "approval_requested"), ("request_user_input", "input_requested")])
async def test_request_approval_and_request_user_input_ask(action: str, asked: str, runner: Runner) -> None:
    result, decision, work, _told = await ruled(runner, rule(action, request_payload={"team": "refunds"}), n=3)
    (request,) = only(await log_of(runner, result.run_id), asked)
    assert (decision["action"], work.ran, request.data["payload"]) == (action, 0, {"team": "refunds"})


async def test_updated_tool_args_are_what_the_tool_gets_and_both_versions_are_in_the_log(runner: Runner) -> None:
    result, decision, work, _told = await ruled(runner, rule("allow", updated_tool_args={"n": 10}), n=500)
    events = await log_of(runner, result.run_id)
    assert work.arguments == [10]
    assert decision["updated_tool_args"] == {"n": 10}
    assert only(events, "llm_completed")[0].data["tool_calls"][0]["arguments"] == {"n": 500}


async def test_a_rule_that_raises_denies_and_says_so(runner: Runner) -> None:
    def broken(event: PolicyEvent) -> bool:
        raise KeyError("customer")

    _result, decision, work, told = await ruled(runner, rule("allow", rule_id="shaky", condition=broken))
    assert (decision["action"], decision["policy_id"], work.ran) == ("deny", "shaky", 0)
    for said in (decision["reason"], told):
        assert re.search(r"shaky.*KeyError.*customer", said)


async def test_a_denied_model_call_is_not_made(runner: Runner) -> None:
    engine = PolicyEngine([rule(subjects=("llm_before_execute",), reason="after hours")])
    described = agent([says("never")], policy_engine=engine)
    result = await runner.run(described, user_message="go")
    assert (result.state, model_of(described).requests) == ("failed", [])
    assert "after hours" in result.final_text


# -------------------------------------------------------------------------------------------------------------------------- approvals


async def test_approval_requests_show_the_tool_its_arguments_and_the_rule(runner: Runner) -> None:
    result, _decision, _work, _told = await ruled(runner, rule("request_approval", rule_id="big sums", reason="over the limit"), n=500)
    (request,) = only(await log_of(runner, result.run_id), "approval_requested")
    assert (request.data["tool_name"], request.data["arguments"], request.data["policy_id"]) == ("work", {"n": 500}, "big sums")
    assert (request.data["reason"], request.data["agent_path"]) == ("over the limit", ["agent"])


async def parked(path: Path, work: Counted) -> tuple[AgentResult, AgentRunEvent, Any]:
    """A run that waits for an approval while no runner is alive, its request, and its agent."""
    described = agent(
        [asks(("work", {"n": 500})), says("done")],
        work.tool,
        policy_engine=PolicyEngine([rule("request_approval", rule_id="big sums")]),
        fail_safe=limits(),
    )
    async with Runner(log=path, config=RunnerConfig(interaction_mode="external")) as runner:
        result = await runner.run(described, user_message="go")
        (request,) = only(await log_of(runner, result.run_id), "approval_requested")
    return result, request, described


async def answered(path: Path, request: AgentRunEvent, **changes: Any) -> None:
    """A person's yes, left in the log by another process; `changes` make it an answer to something else."""
    said = {key: request.data[key] for key in ("request_id", "tool_call_id", "arguments_hash")}
    grant = Draft("approval_resolved", {**said, "outcome": "granted", "by": "grace", "reason": None, **changes})
    async with Runner(log=path) as other:
        await other.log.post(request.run_id, grant, at=SystemClock().now())


async def test_a_grant_is_durable_and_can_be_given_while_no_runner_is_alive(tmp_path: Path) -> None:
    path, work = tmp_path / "runs.db", Counted()
    result, request, described = await parked(path, work)
    assert (result.state, work.ran) == ("interrupted", 0)
    await answered(path, request)
    async with Runner(log=path, config=RunnerConfig(interaction_mode="external")) as runner:
        again = await runner.resume(described, run_id=result.run_id)
        events = await log_of(runner, result.run_id)
    assert (again.state, again.final_text, work.arguments) == ("completed", "done", [500])
    (grant,) = only(events, "approval_resolved")
    assert (grant.data["outcome"], grant.data["by"]) == ("granted", "grace")
    assert len(only(events, "approval_requested")) == 1


@pytest.mark.parametrize("changes", [{"tool_call_id": "c2"}, {"arguments_hash": "0" * 32}], ids=["another call", "other arguments"])
async def test_a_grant_is_bound_to_the_call_id_and_the_hash_of_the_arguments(changes: dict[str, str], tmp_path: Path) -> None:
    path, work = tmp_path / "runs.db", Counted()
    result, request, described = await parked(path, work)
    await answered(path, request, **changes)
    async with Runner(log=path, config=RunnerConfig(interaction_mode="external")) as runner:
        again = await runner.resume(described, run_id=result.run_id)
    assert (again.state, work.ran) == ("interrupted", 0)
