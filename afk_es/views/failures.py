"""How a run failed, and whether it may go better another time, as a fold of its events. It decides nothing: when to try again is the caller's.

    may go better                                          will not by itself
    ─────────────────────────────────────────────────────  ─────────────────────────────────────────────────────────────────
    a model was out of reach, overloaded or too slow, or   the provider refused the request or the credentials; instructions
      left alone after too many failures (CircuitOpen)       raised
    a tool raised, ran out of time or could not be         a tool raised a ToolError: it says in its own words what is wrong
      reached
    a subagent failed by what may go better                a subagent failed by what will not
    a router raised                                        a limit is reached, a price unknown, a policy or a person said no

Of a model and its fallbacks one that may answer another time is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from afk_es.machine.events import AgentRunEvent

FOR_GOOD = frozenset({"LimitReached", "UnknownPrice", "PolicyDenied", "ApprovalDenied"})
"""Error types of a `run_failed` that the same run would meet again."""

FAILURE_EVENTS = frozenset(
    {"run_started", "llm_completed", "llm_failed", "circuit_open", "compaction_failed", "tool_completed", "run_failed"}
)
"""The events that say all there is to say of a failure."""


@dataclass(frozen=True, slots=True)
class RunFailure:
    """How a run failed.

    Attributes:
        error: the message of its `run_failed`.
        error_type: "LimitReached", "UnknownPrice", "PolicyDenied", "ApprovalDenied", "ToolFailed", "SubagentFailed", "CircuitOpen", or the
            class of what the model's adapter, the instructions, the router or the summariser raised.
        retryable: whether the world failed it for the moment, and the run, reopened, may go better. False for what has to be changed first.
        retry_after_s: seconds from then on that the provider asked to wait, or that a model is left alone; None where nobody said.
    """

    error: str
    error_type: str
    retryable: bool
    retry_after_s: float | None = None


def failure_of(events: Iterable[AgentRunEvent]) -> RunFailure | None:
    """How the run of these events failed, or None where it did not, or went on since. Of them only `FAILURE_EVENTS` count."""
    failure: RunFailure | None = None
    # What the models failed by that were asked since one has answered, the last word of each.
    asked: dict[str, tuple[bool, float | None]] = {}
    tools: list[AgentRunEvent] = []
    for event in events:
        data = event.data
        match event.type:
            case "run_started":
                failure = None
                # A stretch that only goes on with the run may end it by what failed in the one before.
                if data.get("reopened"):
                    asked.clear()
                    tools.clear()
            case "llm_completed":
                asked.clear()
                tools.clear()
            case "llm_failed" | "compaction_failed":
                name = data.get("model") or data.get("summariser") or ""
                asked[name] = (data["classification"] == "retryable", data.get("retry_after_s"))
            case "circuit_open":
                asked[data["model"]] = (True, data["cooldown_s"])
            case "tool_completed" if not data["success"]:
                tools.append(event)
            case "run_failed":
                failure = _judged(data["error"], data["error_type"], asked, tools)
            case _:
                pass
    return failure


def _judged(error: str, error_type: str, asked: dict[str, tuple[bool, float | None]], tools: list[AgentRunEvent]) -> RunFailure:
    match error_type:
        case kind if kind in FOR_GOOD:
            return RunFailure(error, error_type, retryable=False)
        case "ToolFailed" | "SubagentFailed":
            return RunFailure(error, error_type, retryable=any(_is_about(error, event) for event in tools))
        case _:
            waits = [wait_s for retryable, wait_s in asked.values() if retryable]
            known = [wait_s for wait_s in waits if wait_s is not None]
            wait_s = min(known) if known and len(known) == len(waits) else None
            # Where no model failed it was the router, which is the user's function as a tool is.
            return RunFailure(error, error_type, retryable=bool(waits) or not asked, retry_after_s=wait_s)


def _is_about(error: str, event: AgentRunEvent) -> bool:
    """Whether it is this call that the run failed by, and it may go better another time."""
    data = event.data
    return data.get("classification") == "retryable" and error.endswith(f"({data['tool_call_id']}): {data['error']}")
