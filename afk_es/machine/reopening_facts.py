"""What reopening a run that failed changes: what of the old failure is forgiven, and what still holds. It asks nobody whether the world is well.

A reopening is a decision from outside, for which `run_started` says `reopened`. It may follow `run_failed` alone: a run that completed,
also degraded, has given its answer, and who cancelled meant it. What has returned is not repeated; effects in doubt, open questions and
tickets follow the rules of every resumption; time between the stretches does not count.

    the run failed by                             reopened
    ────────────────────────────────────────────  ─────────────────────────────────────────────────────────────────────────────────────
    a model call: attempts and fallbacks used     the call is put before the policy and asked again from the agent's own model, with fresh
      up, every circuit open, an error that         counts of attempts; all breakers are closed, so that it is really asked
      asking again cannot mend
    the policy, which refused the model call      it is asked again
    instructions that raised                      they are asked again
    a router that raised                          it is asked again
    a tool under a failing policy, or one         the model is told, as `continue_with_error` would; calls of the same answer that had not
      that raises on error                          begun go on
    a person's no under a failing policy          the model is told
    subagents, whose join failed                  the model is told; a child's run that failed stays as it is, and the model may ask anew
    a compaction that is all the run does         it is tried again
    subagents beyond a step's number or depth     the model is told
    max_tool_calls                                fails again at once while as many calls were made as may be
    max_steps, max_llm_calls, max_total_cost_usd  fail again before the next step, call or effect, unless the agent was given more; an
      (an output that is never valid ends so)       answer that is not valid yet is then asked for again
    an unknown price                              fails again at once: if the agent says so, while it does; if an answer came without its
                                                    price, while there is a limit on costs, which could not hold
"""

from __future__ import annotations

from msgspec.structs import replace

from afk_es.machine.model_facts import UNKNOWN_PRICE, unpriced
from afk_es.machine.retention import Measure
from afk_es.machine.spec import RunSpec
from afk_es.machine.state import Failure, ModelCall, RunState, ToolBatch


def reopened(state: RunState, spec: RunSpec) -> RunState:
    """A run that failed as the stretch that reopens it finds it, which has this spec."""
    changed = replace(state, fault=_held(state, spec), breakers=())
    if state.call is not None:
        changed = replace(changed, call=_asked_again(state, state.call))
    if state.batch is not None:
        turns = tuple([replace(turn, consequence="continue") if turn.consequence == "fail" else turn for turn in state.batch.turns])
        changed = replace(changed, batch=ToolBatch(state.batch.seq, turns, state.batch.delegation))
    if state.compaction is not None and state.compaction.failure is not None:
        # It grew too large by what it was before, and not by what it has grown since.
        compaction = replace(state.compaction, status="due", failures=0, failure=None, after=Measure())
        changed = replace(changed, compaction=compaction)
    return changed


def _held(state: RunState, spec: RunSpec) -> Failure | None:
    """The fault, where what it is about is still so."""
    fault = state.fault
    if fault is None:
        return None
    match fault.error_type:
        case "LimitReached":
            holds = state.tool_calls >= spec.limits.max_tool_calls
        case kind if kind == UNKNOWN_PRICE:
            # What the old agent said of its models, the new one's start has said anew.
            holds = spec.limits.max_total_cost_usd is not None and unpriced(state.spec) is None
        case _:
            holds = False
    return fault if holds else None


def _asked_again(state: RunState, call: ModelCall) -> ModelCall:
    """The model call of the step, from its start; what was answered before it in this step is not asked again."""
    if call.status in ("called", "in_doubt", "backoff"):
        return call
    return ModelCall(
        # Refused for want of a limit, it had been allowed; whatever else it failed by, the policy may see it otherwise now.
        "allowed" if call.status == "allowed" else "waiting",
        instructions_ready=call.instructions_ready,
        # What is told of the last attempt where a limit leaves no room for another.
        failure=call.failure,
        routed=call.routed and not _by_router(state, call),
    )


def _by_router(state: RunState, call: ModelCall) -> bool:
    """Whether the router failed: it comes first in a step, so nothing was delegated yet."""
    return call.status == "waiting" and state.delegated == 0 and state.fault is not None and state.fault.error_type != UNKNOWN_PRICE
