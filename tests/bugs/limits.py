"""Mistakes about limits: one too many of each, and limits that are forgotten on the way."""

from afk_es.core import RunnerConfig
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import ChildrenAddUp, CostLimitHolds, LimitsHold, NoLostTicket, TimeLimitsHold, WellNested
from tests.bugs.agents import CLERK, SCOUT, look_up, refund, reserve, shop
from tests.bugs.planting import Bug, Slip

COSTLY = WorldOptions(always=frozenset({"costly"}))

BUGS = (
    Bug(
        name="one step too many",
        mistake="> for >=",
        slips=(Slip("afk_es.machine.limits:breached", "state.step >= limits.max_steps", "state.step > limits.max_steps"),),
        agent=shop(max_steps=3),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="one request too many",
        mistake="> for >=",
        slips=(
            Slip("afk_es.machine.limits:before_call", "state.llm_calls >= limits.max_llm_calls", "state.llm_calls > limits.max_llm_calls"),
        ),
        agent=shop(max_llm_calls=3),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="one tool call too many",
        mistake="the room of a batch is counted from 0",
        slips=(
            Slip("afk_es.machine.tool_facts:tool_batch_started", "index < room", "index <= room"),
            Slip("afk_es.machine.batches:decide_batch", "started >= spec.limits.max_tool_calls", "started > spec.limits.max_tool_calls"),
        ),
        agent=shop(max_tool_calls=2),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="one tool too many at once",
        mistake=">= for >, where several calls were granted while others ran",
        slips=(Slip("afk_es.machine.batches:decide_batch", '"allowed" if places > 0', '"allowed" if places >= 0'),),
        agent=shop(max_parallel_tools=1),
        found_by=(LimitsHold,),
        world=WorldOptions(people="yes"),
    ),
    Bug(
        name="cost limit not reached by reaching it",
        mistake="<= for <: with the money spent to the cent, another request is sent",
        slips=(Slip("afk_es.machine.limits:before_effects", "state.cost_usd < Decimal", "state.cost_usd <= Decimal"),),
        agent=shop(max_total_cost_usd=0.5),
        world=COSTLY,
        found_by=(CostLimitHolds,),
    ),
    Bug(
        name="unknown price is none",
        mistake="an answer without a price counts as free, under a cost limit",
        slips=(
            Slip("afk_es.machine.model_facts:llm_completed", "unpriced = cost is None and", "unpriced = cost == 0 and cost is None and"),
        ),
        agent=shop(max_total_cost_usd=0.5),
        world=WorldOptions(always=frozenset({"unknown_cost"})),
        found_by=(CostLimitHolds,),
    ),
    Bug(
        name="time starts anew on resume",
        mistake="the deadline of a stretch is the whole limit, whatever was used before",
        slips=(
            Slip(
                "afk_es.machine.run_facts:_wall_time",
                "limits.max_wall_time_s - state.elapsed.total_seconds()",
                "limits.max_wall_time_s",
            ),
        ),
        agent=shop(max_wall_time_s=40.0),
        world=WorldOptions(always=frozenset({"time", "crashes"})),
        found_by=(TimeLimitsHold,),
    ),
    Bug(
        name="one second too long",
        mistake="the deadline is rounded up",
        slips=(
            Slip(
                "afk_es.machine.run_facts:_wall_time",
                "dt.timedelta(seconds=remaining)",
                "dt.timedelta(seconds=int(remaining) + 1)",
            ),
        ),
        agent=shop(max_wall_time_s=40.0),
        world=WorldOptions(always=frozenset({"time"})),
        found_by=(TimeLimitsHold,),
    ),
    Bug(
        name="tool's time-out ignored",
        mistake="it is not passed on to what waits for the tool",
        slips=(Slip("afk_es.tools.definition:Tool.execute", ", self.timeout_s if timeout_s is None else timeout_s,", ", None,"),),
        agent=shop(tools=(look_up,)),
        world=WorldOptions(always=frozenset({"time"})),
        found_by=(TimeLimitsHold,),
    ),
    Bug(
        name="one level too deep",
        mistake="a child gets its parent's depth, and not one less",
        slips=(
            Slip(
                "afk_es.core.delegation:Children.bound",
                "max(parent.spec.limits.max_subagent_depth - 1, 0)",
                "max(parent.spec.limits.max_subagent_depth, 0)",
            ),
        ),
        agent=shop(subagents=(CLERK,), max_subagent_depth=1),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="one subagent too many",
        mistake="> for >=",
        slips=(
            Slip(
                "afk_es.machine.delegation_facts:_refusal",
                "state.delegated + taken >= limits",
                "state.delegated + taken > limits",
            ),
        ),
        agent=shop(tools=(look_up,), subagents=(SCOUT,), max_subagent_fanout_per_step=1),
        world=WorldOptions(always=frozenset({"parallel_calls"})),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="retry forgets the limit",
        mistake="the limit of requests is looked at before the first attempt of a step only",
        slips=(
            Slip("afk_es.machine.turns:_ask", "breach = before_call(state)", "breach = before_call(state) if call.attempt == 0 else None"),
        ),
        agent=shop(max_llm_calls=2),
        world=WorldOptions(always=frozenset({"model_failures"})),
        found_by=(LimitsHold,),
    ),
    Bug(
        name="one attempt too many",
        mistake="<= for <",
        slips=(Slip("afk_es.machine.model_facts:llm_failed", "failures < retry.attempts", "failures <= retry.attempts"),),
        agent=shop(),
        world=WorldOptions(troubles=frozenset({"time"}), always=frozenset({"model_failures"})),
        first_seed=720,
        found_by=(LimitsHold,),
    ),
    Bug(
        name="child's cost not rolled up",
        mistake="only a child that succeeded has spent anything",
        slips=(Slip("afk_es.machine.delegation_facts:_spent", "if cost is not None:", 'if cost is not None and data["success"]:'),),
        agent=shop(tools=(look_up,), subagents=(SCOUT,)),
        world=WorldOptions(always=frozenset({"model_failures"})),
        found_by=(ChildrenAddUp,),
    ),
    Bug(
        name="child without a budget",
        mistake="a child has its own cost limit, and not its share of the parent's",
        slips=(
            Slip(
                "afk_es.core.delegation:Children.bound",
                "(own.max_total_cost_usd, budget_usd)",
                "(own.max_total_cost_usd,)",
            ),
        ),
        agent=shop(tools=(look_up,), subagents=(SCOUT,), max_total_cost_usd=0.5),
        world=COSTLY,
        found_by=(CostLimitHolds,),
    ),
    Bug(
        name="one ticket too many",
        mistake="> for >=",
        slips=(
            Slip("afk_es.machine.tickets:refused", "len(state.tickets) >= terms.max_pending", "len(state.tickets) > terms.max_pending"),
        ),
        agent=shop(tools=(reserve, refund), policy=None),
        config=RunnerConfig(interaction_mode="interactive", background_tool_max_pending=1),
        world=WorldOptions(always=frozenset({"deferrals"})),
        found_by=(NoLostTicket, WellNested),
    ),
)
