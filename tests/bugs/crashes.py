"""Mistakes about crashes, take-overs, cancellations and snapshots."""

from afk_es.core import RunnerConfig
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import (
    AtMostOnce,
    ChildrenAddUp,
    ControlsAreHeeded,
    FoldIsTheState,
    NoEffectWithoutAllow,
    NoLostTicket,
    NothingBreaks,
    OneEnd,
    OneOwner,
    ResumingTheEndedChangesNothing,
    WellNested,
)
from afk_es.testing.simulation.world import StuckError
from tests.bugs.agents import SCOUT, look_up, refund, reserve, shop
from tests.bugs.planting import Bug, Slip

CRASHING = WorldOptions(always=frozenset({"crashes"}))

BUGS = (
    Bug(
        name="run again after a crash",
        mistake="a call that was cut off is taken for one that has not begun",
        slips=(
            Slip(
                "afk_es.machine.run_facts:_turn_taken_over",
                'replace(turn, status="in_doubt")',
                'replace(turn, status="allowed")',
            ),
        ),
        agent=shop(policy=None),
        world=CRASHING,
        found_by=(AtMostOnce, WellNested),
    ),
    Bug(
        name="every tool repeatable",
        mistake="what is in doubt is run again, whatever the tool's author said",
        slips=(Slip("afk_es.machine.batches:_doubt", "tool is not None and tool.repeatable", "tool is not None"),),
        agent=shop(policy=None),
        world=CRASHING,
        found_by=(AtMostOnce,),
    ),
    Bug(
        name="failed payment tried again",
        mistake="a retryable failure is tried again, also of a tool that may not be repeated",
        slips=(Slip("afk_es.machine.tool_facts:tool_failed", "tool is not None and tool.repeatable", "tool is not None"),),
        agent=shop(policy=None, tool_failure_policy="retry_then_continue"),
        world=WorldOptions(always=frozenset({"tool_failures"})),
        found_by=(AtMostOnce,),
    ),
    Bug(
        name="a key for each attempt",
        mistake="the idempotency key is made of the position in the log",
        slips=(
            Slip(
                "afk_es.machine.batches:_started",
                "tool_key(state.run_id, turn.ordinal)",
                "tool_key(state.run_id, state.seq)",
            ),
        ),
        agent=shop(tools=(reserve, look_up), policy=None, tool_failure_policy="retry_then_continue"),
        world=WorldOptions(always=frozenset({"tool_failures"})),
        found_by=(AtMostOnce,),
    ),
    Bug(
        name="cancel races completion",
        mistake="a run that has its answer completes, although it was cancelled at that moment",
        slips=(
            Slip(
                "afk_es.machine.decision:decide",
                "if state.control is not None:",
                'if state.control is not None and state.phase != "answered":',
            ),
        ),
        agent=shop(),
        world=WorldOptions(always=frozenset({"races", "controls"})),
        first_seed=78,
        found_by=(ControlsAreHeeded,),
    ),
    Bug(
        name="cancellation forgotten in a crash",
        mistake="a new owner begins without any wish from outside",
        slips=(
            Slip(
                "afk_es.machine.run_facts:run_started",
                'state.control if state.control is not None and state.control.action == "cancel" else None',
                "None",
            ),
        ),
        agent=shop(tools=(look_up,), subagents=(SCOUT,)),
        world=WorldOptions(always=frozenset({"crashes", "controls"})),
        found_by=(ControlsAreHeeded,),
    ),
    Bug(
        name="child left behind",
        mistake="a run that is cancelled ends at once, and its subagents on their own",
        slips=(
            Slip(
                "afk_es.machine.decision:decide",
                'state.control.action == "cancel" and (alive := live_children(state))',
                'state.control.action == "cancel" and not state.batch and (alive := live_children(state))',
            ),
        ),
        agent=shop(tools=(look_up,), subagents=(SCOUT,)),
        world=WorldOptions(always=frozenset({"controls"})),
        found_by=(OneEnd, ChildrenAddUp),
    ),
    Bug(
        name="letters of the night lost",
        mistake="whoever resumes a run reads what is posted from now on",
        slips=(Slip("afk_es.core.inbox:Inbox.catch_up", "after = loop.state.last_letter", "after = await self._log.posted()"),),
        agent=shop(),
        config=RunnerConfig(interaction_mode="external"),
        found_by=(NoLostTicket,),
    ),
    Bug(
        name="nobody is woken",
        mistake="what is asked of a run lies in its inbox until something else comes",
        slips=(
            Slip(
                "afk_es.core.loop:Loop.post",
                "    self._inbox.append((None, draft))\n    self._wake.set()",
                "    self._inbox.append((None, draft))",
            ),
        ),
        agent=shop(),
        world=WorldOptions(always=frozenset({"controls"})),
        found_by=(StuckError,),
    ),
    Bug(
        name="pause that does not hold",
        mistake="a paused run finishes its step",
        slips=(
            Slip(
                "afk_es.machine.decision:decide",
                'if state.status == "paused":',
                'if state.status == "paused" and state.phase == "between":',
            ),
        ),
        agent=shop(policy=None),
        world=WorldOptions(always=frozenset({"controls"})),
        found_by=(ControlsAreHeeded,),
    ),
    Bug(
        name="stale owner dispatches",
        mistake="a log that refuses a write is not to take the run down",
        slips=(
            Slip(
                "afk_es.core.loop:Loop._flush",
                "    await self._log.append(events, epoch=self.state.epoch)",
                "    try:\n        await self._log.append(events, epoch=self.state.epoch)\n    except Exception:\n        pass",
            ),
        ),
        agent=shop(policy=None),
        world=WorldOptions(always=frozenset({"stalls"})),
        found_by=(OneOwner, NoEffectWithoutAllow),
    ),
    Bug(
        name="effect before intent",
        mistake="intents are kept for the next write, to save one",
        slips=(
            Slip(
                "afk_es.core.loop:Loop.run",
                "            await self._flush()\n            if self.state.ended:",
                "            if self.state.ended or not effects or self.state.seq % 2:\n                await self._flush()\n            if self.state.ended:",
            ),
        ),
        agent=shop(policy=None),
        found_by=(NoEffectWithoutAllow,),
    ),
    Bug(
        name="snapshot changes the result",
        mistake="a keyframe leaves a counter out, and nobody checks that it comes back equal",
        slips=(
            Slip(
                "afk_es.debugger.keyframe_codec:encode",
                "spec=NO_SPEC, context={}, instructions=None",
                "spec=NO_SPEC, context={}, instructions=None, tool_calls=0",
            ),
            Slip("afk_es.debugger.keyframe_codec:encode", " or decode(blob, _SHARED.decode(content)) != state", ""),
        ),
        agent=shop(policy=None),
        found_by=(FoldIsTheState,),
    ),
    Bug(
        name="ended run goes on",
        mistake="only a run that completed is not resumed any more",
        slips=(
            Slip(
                "afk_es.core.stretches:Stretches._resume",
                'if state.ended and state.status != "interrupted" and not reopens:',
                'if state.status in ("completed", "degraded"):',
            ),
        ),
        agent=shop(max_llm_calls=2, tools=(refund, look_up)),
        found_by=(ResumingTheEndedChangesNothing, NothingBreaks, OneEnd),
    ),
    Bug(
        name="result of an ended run is another",
        mistake="what a run came to is made of its last stretch",
        slips=(
            Slip(
                "afk_es.core.stretches:Stretches._resume",
                "notable = [event for event in events if event.type in RESULT_EVENTS]",
                "notable = [event for event in events if event.type in RESULT_EVENTS and event.at == events[-1].at]",
            ),
        ),
        agent=shop(policy=None),
        world=WorldOptions(always=frozenset({"time", "crashes"})),
        found_by=(ResumingTheEndedChangesNothing,),
    ),
)
