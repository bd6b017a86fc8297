"""Rules on what an agent may do, and the engine that puts a call before them. Both are immutable and decide from the event alone.

Everything unclear denies: a rule that raises, that does not answer yes or no, or that cannot compare what it is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from afk_es.agents.condition import PolicyRuleCondition
from afk_es.agents.policy_event import PolicyAction, PolicyDecision, PolicyEvent
from afk_es.errors import ConfigurationError, text_of
from afk_es.machine.values import digest_json

__all__ = ["PolicyAction", "PolicyDecision", "PolicyEngine", "PolicyEvent", "PolicyRule", "PolicyRuleCondition"]

Subject = Literal["any", "llm", "tool", "subagent", "llm_before_execute", "tool_before_execute", "subagent_before_execute"]


class PolicyRule(BaseModel):
    """One rule.

    Attributes:
        action: what follows where it matches; `PolicyDecision` says what each action means.
        condition: a function of the event that answers True or False, without side effects and not async; or a `PolicyRuleCondition`.
        priority: higher ones are asked first; default 100.
        enabled: default True.
        subjects: what it is asked about: "any" (the default), "llm", "tool", "subagent", or an event type such as "tool_before_execute".
        reason: for the log, for the person who is asked, and for the model where the call is denied.
        request_payload: shown to the person who is asked.
        updated_tool_args: merged over a tool call's arguments, key by key at the top level, where the call may go ahead (allow,
            request_approval, request_user_input); the result is validated again.
        rule_id: among equal priorities, the order of asking; default derived from the rule's content.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    action: PolicyAction
    condition: PolicyRuleCondition | Callable[[PolicyEvent], bool]
    priority: int = 100
    enabled: bool = True
    subjects: tuple[Subject, ...] = ("any",)
    reason: str | None = None
    request_payload: dict[str, Any] = {}
    updated_tool_args: dict[str, Any] | None = None
    rule_id: str = Field(default_factory=lambda given: _derived_id(given), min_length=1)

    @field_validator("condition")
    @classmethod
    def _synchronous(cls, condition: Any) -> Any:
        if inspect.iscoroutinefunction(condition) or inspect.iscoroutinefunction(type(condition).__call__):
            raise ValueError("must not be async: a policy decides from the event alone")
        return condition

    @field_validator("subjects")
    @classmethod
    def _some_subject(cls, subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
        if not subjects:
            raise ValueError("must name something, or the rule would never be asked; to switch it off, enabled=False")
        return subjects

    @model_validator(mode="after")
    def _rewrites_what_goes_ahead(self) -> PolicyRule:
        if self.updated_tool_args is not None and self.action in ("deny", "defer"):
            raise ValueError(f"updated_tool_args mean nothing where the action is {self.action!r}")
        return self

    def concerns(self, event_type: str) -> bool:
        """Whether it is asked about events of this type."""
        return self.enabled and any(
            subject in ("any", event_type) or event_type == f"{subject}_before_execute" for subject in self.subjects
        )

    def matches(self, event: PolicyEvent) -> bool:
        """Whether its condition holds.

        Raises:
            Exception: whatever the condition raised.
            TypeError: the condition did not answer True or False.
        """
        if isinstance(self.condition, PolicyRuleCondition):
            return self.condition.matches(event)
        answer: object = self.condition(event)
        if answer is True or answer is False:
            return answer
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("its condition is async, and a policy decides from the event alone")
        raise TypeError(f"its condition must answer True or False, not {answer!r:.80}")


def _derived_id(given: dict[str, Any]) -> str:
    condition = given.get("condition")
    if isinstance(condition, PolicyRuleCondition):
        described: Any = condition.model_dump(mode="json", exclude_unset=True)
    else:
        named: Any = condition if hasattr(condition, "__qualname__") else type(condition)
        described = f"{named.__module__}.{named.__qualname__}"
    content = {**{key: given.get(key) for key in ("action", "priority", "subjects", "reason")}, "condition": described}
    return f"rule_{digest_json(content)[:12]}"


class PolicyEngine:
    """Rules in the order they are asked: by priority, highest first, then by rule id. The first that matches decides.

    Args:
        rules: the rules. Derived ids that coincide are told apart by position.

    Raises:
        ConfigurationError: two rules with one given id.
    """

    __slots__ = ("_by_event_type", "rules")

    rules: tuple[PolicyRule, ...]
    _by_event_type: dict[str, tuple[PolicyRule, ...]]

    def __init__(self, rules: Iterable[PolicyRule] = ()) -> None:
        ordered = sorted(_with_unique_ids(rules), key=lambda rule: (-rule.priority, rule.rule_id))
        object.__setattr__(self, "rules", tuple(ordered))
        object.__setattr__(self, "_by_event_type", {})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a PolicyEngine does not change; make another one, or use PolicyEngine.combined")

    def __repr__(self) -> str:
        return f"PolicyEngine({list(self.rules)!r})"

    @classmethod
    def combined(cls, *engines: PolicyEngine | None) -> PolicyEngine:
        """One engine with the rules of all, in one order.

        Raises:
            ConfigurationError: two rules with one given id.
        """
        present = [engine for engine in engines if engine is not None]
        if len(present) == 1:
            return present[0]
        distinct: list[PolicyRule] = []
        for engine in present:
            distinct.extend(rule for rule in engine.rules if not any(rule is other for other in distinct))
        return cls(distinct)

    def evaluate(self, event: PolicyEvent) -> PolicyDecision:
        """What is to be done about the event; allow where no rule matches. Never raises."""
        rules = self._concerned(event.event_type)
        if not rules:
            return PolicyDecision()
        decisive: tuple[PolicyRule, str | None] | None = None
        matched: list[str] = []
        for rule in rules:
            failure: str | None = None
            try:
                if not rule.matches(event):
                    continue
            except Exception as error:  # noqa: BLE001 - a rule is the user's code, and its failure is a denial
                failure = f"rule {rule.rule_id} could not be evaluated, so the call is denied: {type(error).__name__}: {text_of(error)}"
            matched.append(rule.rule_id)
            if decisive is None:
                decisive = (rule, failure)
        if decisive is None:
            return PolicyDecision()
        return _decision(*decisive, tuple(matched), event)

    def _concerned(self, event_type: str) -> tuple[PolicyRule, ...]:
        rules = self._by_event_type.get(event_type)
        if rules is None:
            rules = tuple(rule for rule in self.rules if rule.concerns(event_type))
            self._by_event_type[event_type] = rules
        return rules


def _decision(rule: PolicyRule, failure: str | None, matched: tuple[str, ...], event: PolicyEvent) -> PolicyDecision:
    if failure is not None:
        return PolicyDecision(action="deny", reason=failure, policy_id=rule.rule_id, matched_rules=matched)
    updated = None
    if rule.updated_tool_args is not None and event.event_type != "llm_before_execute":
        updated = {**event.tool_args, **rule.updated_tool_args}
    return PolicyDecision(
        action=rule.action,
        reason=rule.reason,
        policy_id=rule.rule_id,
        matched_rules=matched,
        request_payload=rule.request_payload,
        updated_tool_args=updated,
    )


def _with_unique_ids(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    taken: dict[str, PolicyRule] = {}
    for rule in rules:
        if not isinstance(rule, PolicyRule):
            raise ConfigurationError(f"a policy engine takes PolicyRule objects, not {rule!r}")
        if rule.rule_id not in taken:
            taken[rule.rule_id] = rule
        elif "rule_id" in rule.model_fields_set or "rule_id" in taken[rule.rule_id].model_fields_set:
            raise ConfigurationError(f"two policy rules have the id {rule.rule_id!r}; give each its own")
        else:
            position = next(number for number in range(2, len(taken) + 3) if f"{rule.rule_id}_{number}" not in taken)
            renamed = f"{rule.rule_id}_{position}"
            copy = rule.model_copy(update={"rule_id": renamed})
            copy.model_fields_set.discard("rule_id")
            taken[renamed] = copy
    return list(taken.values())
