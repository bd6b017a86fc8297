"""Puts a model or tool call before the policy. A tool call's arguments are validated first, so that a rule sees only what could run."""

from __future__ import annotations

from typing import Any

from afk_es.agents import PolicyDecision, PolicyEngine, PolicyEvent
from afk_es.agents.agent import PolicyRole
from afk_es.errors import ToolArgumentsError, text_of
from afk_es.handlers.binding import Binding
from afk_es.handlers.policy_roles import decided_by_roles
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import EvaluatePolicy
from afk_es.machine.values import ToolCall, clean_text, plain
from afk_es.tools import Tool, unknown_tool


class PolicyHandler:
    """Performs `EvaluatePolicy`."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def __call__(self, effect: EvaluatePolicy, state: RunState) -> Draft:
        """The decision, or why the call cannot be decided on."""
        call = effect.call
        if call is None:
            return self._decision(effect, state)
        tool = self._binding.tools.get(call.tool_name)
        if tool is None:
            return _refused(call, "UnknownTool", unknown_tool(call.tool_name, self._binding.tools))
        try:
            valid = tool.validate(call.arguments)
            arguments = tool.json_arguments(valid) if self._asks_somebody else None
        except ToolArgumentsError as error:
            return _refused(call, "InvalidArguments", str(error))
        except Exception as error:  # noqa: BLE001 - validators of the user's model run here; what they raise, the model is told
            return _refused(call, type(error).__name__, f"the arguments of {call.tool_name} could not be validated: {text_of(error)}")
        return self._decision(effect, state, tool, arguments)

    @property
    def _asks_somebody(self) -> bool:
        return bool(self._binding.policy.rules or self._binding.agent.policy_roles)

    def _decision(
        self, effect: EvaluatePolicy, state: RunState, tool: Tool[..., Any] | None = None, arguments: dict[str, Any] | None = None
    ) -> Draft:
        engine = self._binding.policy
        call = effect.call
        about: dict[str, Any] = {} if call is None else {"tool_name": call.tool_name, "tool_call_id": call.id}
        spec = state.spec.tool(call.tool_name) if call is not None and effect.event_type == "subagent_before_execute" else None
        subagent = spec.subagent if spec is not None else None
        if subagent is not None:
            about["subagent_name"] = subagent
        if not self._asks_somebody:
            return Draft("policy_decision", {"event_type": effect.event_type, **_ALLOWED, "matched_rules": [], **about})
        event = PolicyEvent(
            event_type=effect.event_type,
            run_id=state.run_id,
            thread_id=state.thread_id,
            step=effect.step,
            context=plain(state.context),
            tool_name=tool.name if tool is not None else None,
            tool_args=arguments or {},
            tool_read_only=tool.read_only if tool is not None else None,
            subagent_name=subagent,
        )
        decision = decided(engine, self._binding.agent.policy_roles, event)
        # A rule that raised says why in the exception's words, which may hold what cannot be stored.
        reason = clean_text(decision.reason) if decision.reason is not None else None
        data = {
            "event_type": effect.event_type,
            "action": decision.action,
            "reason": reason,
            "policy_id": decision.policy_id,
            "matched_rules": list(decision.matched_rules),
            **about,
        }
        if decision.updated_tool_args is not None:
            data["updated_tool_args"] = plain(decision.updated_tool_args)
        if decision.request_payload:
            data["request_payload"] = plain(decision.request_payload)
        return Draft("policy_decision", data, reason or "")


def decided(engine: PolicyEngine, roles: tuple[PolicyRole, ...], event: PolicyEvent) -> PolicyDecision:
    """What the rules say of the event, or, where none matched, the first role that has something to say."""
    decision = engine.evaluate(event)
    if roles and not decision.matched_rules:
        return decided_by_roles(roles, event) or decision
    return decision


_ALLOWED = {"action": "allow", "reason": None, "policy_id": None}


def _refused(call: ToolCall, error_type: str, error: str) -> Draft:
    data: dict[str, Any] = {
        "tool_name": call.tool_name,
        "tool_call_id": call.id,
        "attempt": 0,
        "error": clean_text(error),
        "error_type": error_type,
        "classification": "non_fatal",
    }
    return Draft("tool_failed", data, data["error"])
