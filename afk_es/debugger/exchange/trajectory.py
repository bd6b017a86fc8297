"""A run as an ATIF trajectory (the Agent Trajectory Interchange Format of Harbor, RFC 0001), with those of its subagents embedded.

The format has no place for policies, people, retries or crashes; what is left out is counted in `notes`. What it has no field for and an
import of ours would need, stands in `extra` under `afk_es`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.debugger.exchange.report import Report, report_of
from afk_es.debugger.exchange.schemas import tool_definitions
from afk_es.debugger.exchange.story import Call, Turn
from afk_es.log import EventLog
from afk_es.machine.values import Message
from afk_es.redaction import Redaction
from afk_es.views import visible_json

VERSION = "ATIF-v1.7"
"""The first version in which trajectories of subagents are embedded."""

_DEEPEST = 16
_OURS = "afk_es"


async def trajectory_json(log: EventLog, report: Report, redaction: Redaction | None) -> str:
    """The trajectory as JSON to read."""
    value = await _trajectory(log, report, redaction, {report.run_id})
    return msgspec.json.format(visible_json(value), indent=2).decode() + "\n"


async def _trajectory(log: EventLog, report: Report, redaction: Redaction | None, above: set[str]) -> dict[str, Any]:
    children = [call.child for turn in report.turns for call in turn.calls if call.child is not None]
    embedded = []
    for child in dict.fromkeys(children):
        if child not in above and len(above) < _DEEPEST and await log.head(child) is not None:
            embedded.append(await _trajectory(log, await report_of(log, child, redaction), redaction, {*above, child}))
    steps = _Steps(report, {each["trajectory_id"] for each in embedded}).steps()
    metrics: dict[str, Any] = {"total_steps": len(steps)}
    if report.usage.total_tokens:
        metrics["total_prompt_tokens"] = report.usage.input_tokens
        metrics["total_completion_tokens"] = report.usage.output_tokens
    if report.cost_usd is not None:
        metrics["total_cost_usd"] = report.cost_usd
    agent: dict[str, Any] = {"name": report.agent_name, "version": _agent_version(report), "model_name": report.models[0]}
    if report.tools:
        agent["tool_definitions"] = tool_definitions(report.tools)
    ours: dict[str, Any] = {"run_id": report.run_id, "state": report.status, "ending": report.ending, "redacted": report.redacted}
    value: dict[str, Any] = {
        "schema_version": VERSION,
        "session_id": report.thread_id,
        "trajectory_id": report.run_id,
        "agent": agent,
        "steps": steps,
        "final_metrics": metrics,
        "extra": {_OURS: {**ours, **report.made_by}},
    }
    left_out = sum(turn.kind == "note" and not turn.calls for turn in report.turns)
    if left_out:
        value["notes"] = f"{left_out} facts for which the format has no place (retries, policies, people, how it ended) are left out."
    if embedded:
        value["subagent_trajectories"] = embedded
    return value


def _agent_version(report: Report) -> str:
    metadata = (report.imported or {}).get("metadata")
    agent = metadata.get("agent") if isinstance(metadata, dict) else None
    version = agent.get("version") if isinstance(agent, dict) else None
    return version if isinstance(version, str) else "unknown"


class _Steps:
    """The steps of a trajectory while they are made."""

    def __init__(self, report: Report, embedded: set[str]) -> None:
        self._report = report
        self._embedded = embedded
        self._found: list[dict[str, Any]] = []

    def steps(self) -> list[dict[str, Any]]:
        """All of them; at least one."""
        report = self._report
        if report.instructions:
            self._add("system", report.instructions, at=report.started_at.isoformat())
        self._remembered(report.history)
        for turn in report.turns:
            if turn.kind == "user":
                self._add("user", _with_images(turn), at=turn.at.isoformat())
            elif turn.kind == "assistant":
                self._answer(turn)
            elif turn.calls:
                self._add("agent", turn.text, at=turn.at.isoformat(), llm_call_count=0, **self._called(turn.calls))
        if not self._found:
            self._add("system", "The run has no conversation.", at=report.started_at.isoformat())
        return self._found

    def _add(self, source: str, message: Any, *, at: str | None = None, **fields: Any) -> None:
        step: dict[str, Any] = {"step_id": len(self._found) + 1, "source": source, "message": message}
        if at is not None:
            step["timestamp"] = at
        self._found.append({**step, **{key: value for key, value in fields.items() if value is not None}})

    def _answer(self, turn: Turn) -> None:
        extra = {key: value for key, value in turn.extra.items() if key not in ("reasoning", "reasoning_effort", "llm_call_count", "extra")}
        kept = turn.extra.get("extra")
        called = self._called(turn.calls)
        errors = {call.call_id: call.error for call in turn.calls if call.error is not None and call.outcome != "unknown"}
        if errors:
            extra["errors"] = errors
        if turn.took_s:
            extra["latency_ms"] = round(turn.took_s * 1000, 3)
        whole = {**(kept if isinstance(kept, dict) else {}), **({_OURS: extra} if extra else {})}
        self._add(
            "agent",
            turn.text,
            at=turn.at.isoformat(),
            model_name=turn.model,
            reasoning_content=turn.extra.get("reasoning"),
            reasoning_effort=turn.extra.get("reasoning_effort"),
            llm_call_count=turn.extra.get("llm_call_count", 1),
            metrics=_metrics(turn),
            extra=whole or None,
            **called,
        )

    def _called(self, calls: list[Call]) -> dict[str, Any]:
        """The calls and what they came to. Those whose outcome nobody knows have no result."""
        if not calls:
            return {}
        made = [{"tool_call_id": call.call_id, "function_name": call.tool_name, "arguments": _arguments(call.arguments)} for call in calls]
        results = [
            self._result(call) for call in sorted(calls, key=lambda call: call.ended or 0) if call.outcome not in ("open", "unknown")
        ]
        return {"tool_calls": made, **({"observation": {"results": results}} if results else {})}

    def _result(self, call: Call) -> dict[str, Any]:
        content = call.error if call.error is not None else call.output
        text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
        result: dict[str, Any] = {"source_call_id": call.call_id, "content": text}
        if call.child in self._embedded:
            result["subagent_trajectory_ref"] = [{"trajectory_id": call.child}]
        return result

    def _remembered(self, history: tuple[Message, ...]) -> None:
        """What the thread remembered: steps of other trajectories that this one's model saw."""
        results: dict[str, str] = {}
        for message in reversed(history):
            if message.role == "tool" and message.tool_call_id is not None:
                results[message.tool_call_id] = message.content
                continue
            fields: dict[str, Any] = {}
            if message.tool_calls:
                fields["tool_calls"] = [
                    {"tool_call_id": call.id, "function_name": call.tool_name, "arguments": _arguments(call.arguments)}
                    for call in message.tool_calls
                ]
                known = [{"source_call_id": call.id, "content": results.pop(call.id)} for call in message.tool_calls if call.id in results]
                if known:
                    fields["observation"] = {"results": known}
            source = {"assistant": "agent", "user": "user"}.get(message.role, "system")
            self._found.append({"source": source, "message": message.content, "is_copied_context": True, **fields})
        start = 1 if self._found and "step_id" in self._found[0] else 0
        self._found[start:] = [{"step_id": number + start, **step} for number, step in enumerate(reversed(self._found[start:]), start=1)]


def _arguments(arguments: Any) -> dict[str, Any]:
    """Arguments are an object in the format; text that was none is kept as it was."""
    return arguments if isinstance(arguments, dict) else {"raw": arguments}


def _with_images(turn: Turn) -> Any:
    if not any(part.get("type") == "image" for part in turn.parts):
        return turn.text
    parts: list[dict[str, Any]] = []
    for part in turn.parts:
        if part.get("type") == "text":
            parts.append({"type": "text", "text": part.get("text", "")})
            continue
        kind = part.get("media_type") or "image/png"
        path = part.get("url") or f"data:{kind};base64,{part.get('data', '')}"
        parts.append({"type": "image", "source": {"media_type": kind, "path": path}})
    return parts


def _metrics(turn: Turn) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    if turn.usage is not None:
        found["prompt_tokens"] = turn.usage["input_tokens"]
        found["completion_tokens"] = turn.usage["output_tokens"]
        if "cache_read_tokens" in turn.usage:
            found["cached_tokens"] = turn.usage["cache_read_tokens"]
    if turn.cost_usd is not None:
        found["cost_usd"] = turn.cost_usd
    return found or None
