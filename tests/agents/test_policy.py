"""Policies: the order of rules, what conditions mean, and that whatever is unclear denies."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from afk_es.agents import PolicyDecision, PolicyEngine, PolicyEvent, PolicyRule, PolicyRuleCondition
from afk_es.errors import ConfigurationError

ALWAYS = PolicyRuleCondition()


def event(**fields: Any) -> PolicyEvent:
    given = {"event_type": "tool_before_execute", "tool_name": "pay", "tool_args": {"amount": 500}, "tool_read_only": False, **fields}
    return PolicyEvent(**given)


def rule(rule_id: str, action: Any = "allow", condition: Any = ALWAYS, **fields: Any) -> PolicyRule:
    return PolicyRule(rule_id=rule_id, action=action, condition=condition, **fields)


def test_no_rule_or_no_match_allows() -> None:
    assert PolicyEngine().evaluate(event()) == PolicyDecision(action="allow")
    assert PolicyEngine([rule("a", "deny", lambda asked: False)]).evaluate(event()) == PolicyDecision()


def test_priority_descending_then_rule_id_the_first_match_decides_and_all_are_listed() -> None:
    engine = PolicyEngine(
        [
            rule("b", "deny"),
            rule("a", "defer", reason="later"),
            rule("low", priority=1),
            rule("high", "deny", lambda e: False, priority=999),
        ]
    )
    assert [each.rule_id for each in engine.rules] == ["high", "a", "b", "low"]
    assert engine.evaluate(event()) == PolicyDecision(action="defer", reason="later", policy_id="a", matched_rules=("a", "b", "low"))


def test_disabled_rules_and_other_subjects_are_not_asked() -> None:
    engine = PolicyEngine([rule("a", "deny", enabled=False), rule("b", "deny", subjects=("llm", "subagent_before_execute"))])
    assert engine.evaluate(event()).action == "allow"
    assert engine.evaluate(PolicyEvent(event_type="llm_before_execute")).policy_id == "b"
    assert engine.evaluate(PolicyEvent(event_type="subagent_before_execute")).policy_id == "b"


async def _coroutine() -> bool:
    return True


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (lambda asked: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda asked: None, "must answer True or False, not None"),
        (lambda asked: _coroutine(), "is async"),
        (PolicyRuleCondition(args={"amount": {"gt": "100"}}), "args.amount is 500 (int) and cannot be compared"),
    ],
)
def test_a_rule_that_raises_denies_and_says_so(condition: Any, text: str) -> None:
    decision = PolicyEngine([rule("broken", "allow", condition)]).evaluate(event())
    assert (decision.action, decision.policy_id, decision.matched_rules) == ("deny", "broken", ("broken",))
    assert "rule broken could not be evaluated" in str(decision.reason)
    assert text in str(decision.reason)


def test_a_rule_may_look_into_the_arguments_of_whatever_it_is_asked_about() -> None:
    engine = PolicyEngine([PolicyRule(action="deny", condition=lambda event: event.tool_args.get("amount", 0) > 100)])
    assert engine.evaluate(PolicyEvent(event_type="llm_before_execute")).action == "allow"
    assert engine.evaluate(PolicyEvent(event_type="tool_before_execute", tool_name="refund", tool_args={"amount": 101})).action == "deny"


def test_a_broken_rule_below_the_deciding_one_changes_nothing() -> None:
    engine = PolicyEngine([rule("first", priority=200), rule("broken", "deny", lambda asked: 1 / 0)])
    assert engine.evaluate(event()).action == "allow"


def test_updated_arguments_are_merged_over_the_original_ones() -> None:
    engine = PolicyEngine([rule("cap", updated_tool_args={"amount": 100}, request_payload={"why": "cap"})])
    decision = engine.evaluate(event(tool_args={"amount": 500, "to": "x"}))
    assert decision.updated_tool_args == {"amount": 100, "to": "x"}
    assert decision.request_payload == {"why": "cap"}
    assert engine.evaluate(PolicyEvent(event_type="llm_before_execute")).updated_tool_args is None


ARGS = {
    "amount": 500,
    "flag": True,
    "name": "rm -rf",
    "none": None,
    "tags": ["a", 1],
    "to": {"country": "DE", "lines": [{"sku": "A1"}]},
    "a.b": 1,
}


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ({"tool_name": "p*"}, True),
        ({"tool_name": "P*"}, False),
        ({"tool_names": ("x", "pa?")}, True),
        ({"tool_name_prefix": "pa"}, True),
        ({"tool_name_prefix": "ay"}, False),
        ({"read_only": False}, True),
        ({"read_only": True}, False),
        ({"event_type": "llm_before_execute"}, False),
        ({"subagent_name": "*"}, False),
        ({"args": {"amount": 500, "to.country": "DE"}}, True),
        ({"args": {"to.lines.0.sku": "A1"}}, True),
        ({"args": {"to.lines.7.sku": {"ne": "A1"}}}, False),
        ({"args": {"a.b": 1}}, True),
        ({"args": {"amount": {"gt": 100, "le": 500}}}, True),
        ({"args": {"amount": {"lt": 500}}}, False),
        ({"args": {"amount": {"ge": 501}}}, False),
        ({"args": {"amount": {"in": [1, 500]}}}, True),
        ({"args": {"amount": {"not_in": [1, 500]}}}, False),
        ({"args": {"flag": {"eq": 1}}}, False),
        ({"args": {"flag": {"ne": 1}}}, True),
        ({"args": {"name": {"matches": "rm\\s+-rf"}}}, True),
        ({"args": {"name": {"contains": "rm"}}}, True),
        ({"args": {"tags": {"contains": 1}}}, True),
        ({"args": {"tags": {"contains": True}}}, False),
        ({"args": {"to": {"contains": "country"}}}, True),
        ({"args": {"missing": {"exists": False}}}, True),
        ({"args": {"missing": {"ne": 3}}}, False),
        ({"args": {"amount": {"exists": True}}}, True),
        ({"args": {"amount": {"exists": False}}}, False),
        ({"args": {"none": {"gt": 3}}}, False),
        ({"args": {"none": None}}, True),
        ({"context": {"tier": "gold"}}, True),
        ({"all": [{"tool_name": "pay"}, {"read_only": False}]}, True),
        ({"any": [{"tool_name": "x"}, {"args": {"amount": 500}}]}, True),
        ({"any": []}, False),
        ({"not": {"tool_name": "pay"}}, False),
    ],
)
def test_what_a_condition_matches(condition: dict[str, Any], matches: bool) -> None:
    assert PolicyRuleCondition(**condition).matches(event(tool_args=ARGS, context={"tier": "gold"})) is matches


def test_an_argument_with_dots_in_its_name_cannot_hide_the_one_the_path_leads_to() -> None:
    condition = PolicyRuleCondition(args={"to.country": "DE"})
    assert condition.matches(event(tool_args={"to": {"country": "DE"}, "to.country": "XX"}))


@pytest.mark.parametrize(
    "comparison",
    [{"gt": 1}, {"matches": "x"}, {"contains": "x"}, {"contains": "x", "exists": True}],
)
def test_values_that_cannot_be_compared_raise(comparison: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"args\.flag is True"):
        PolicyRuleCondition(args={"flag": comparison}).matches(event(tool_args=ARGS))


@pytest.mark.parametrize(
    "comparison",
    [{}, {"gt": None}, {"gt": True}, {"gt": float("nan")}, {"in": None}, {"matches": "(?=x)"}, {"more": 1}],
)
def test_senseless_comparisons_are_refused(comparison: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, ConfigurationError)):
        PolicyRuleCondition(args={"x": comparison})
    with pytest.raises(ValidationError, match="args"):
        PolicyRuleCondition(args=[comparison])  # type: ignore[arg-type,unused-ignore]


def test_a_text_contains_texts_only() -> None:
    with pytest.raises(TypeError, match="is a text and cannot contain 1"):
        PolicyRuleCondition(args={"name": {"contains": 1}}).matches(event(tool_args=ARGS))


def test_a_regular_expression_takes_linear_time() -> None:
    condition = PolicyRuleCondition(args={"x": {"matches": "^(a+)+$"}})
    assert not condition.matches(event(tool_args={"x": "a" * 100_000 + "b"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"condition": lambda: _coroutine, "action": "explode"}, "'allow', 'deny', 'defer'"),
        ({"action": "deny"}, "condition"),
        ({"action": "deny", "condition": _coroutine}, "must not be async"),
        ({"action": "deny", "condition": ALWAYS, "subjects": ()}, "must name something"),
        ({"action": "deny", "condition": ALWAYS, "subjects": ("tools",)}, "'any', 'llm', 'tool'"),
        ({"action": "deny", "condition": ALWAYS, "updated_tool_args": {}}, "mean nothing"),
    ],
)
def test_senseless_rules_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PolicyRule(**fields)


def test_derived_ids_are_stable_and_told_apart_by_position() -> None:
    def build() -> list[PolicyRule]:
        return [PolicyRule(action="allow", condition=lambda asked: True) for _ in range(3)]

    first, second = PolicyEngine(build()), PolicyEngine(build())
    ids = [each.rule_id for each in first.rules]
    assert ids == [each.rule_id for each in second.rules]
    assert len(set(ids)) == 3
    assert len(PolicyEngine.combined(first, second).rules) == 6


def test_given_ids_must_differ() -> None:
    with pytest.raises(ConfigurationError, match="two policy rules have the id 'a'"):
        PolicyEngine([rule("a"), rule("a", "deny")])
    with pytest.raises(ConfigurationError, match="PolicyRule objects"):
        PolicyEngine(["deny"])  # type: ignore[list-item]


def test_engines_combine_into_one_order_and_do_not_change() -> None:
    runner, agent = PolicyEngine([rule("runner", priority=1)]), PolicyEngine([rule("agent", "deny")])
    assert [each.rule_id for each in PolicyEngine.combined(runner, None, agent).rules] == ["agent", "runner"]
    assert PolicyEngine.combined(runner, None) is runner
    assert len(PolicyEngine.combined(runner, runner).rules) == 1
    with pytest.raises(AttributeError, match="does not change"):
        runner.rules = ()
