"""Goal: a policy is asked again just what it was asked, and what it says is called exact no further than it is.

Method: runs of every kind are recorded under a policy that keeps each event it is shown. Asked again, it has to be shown the same events;
then other policies are tried, and every number of the answer is compared with the run it came from.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import (
    Agent,
    DelegationNode,
    DelegationPlan,
    PolicyDecision,
    PolicyEngine,
    PolicyEvent,
    PolicyRule,
    PolicyRuleCondition,
    RouterInput,
)
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import EditDecision, EditToolResult, Runner
from afk_es.errors import ConfigurationError, RunNotFoundError, UsageError
from afk_es.evals import PolicyWhatIf, RunSelection, policy_what_if
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.core.scenario import agent, asks, says

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """A Runner on a log in memory."""
    async with Runner(log=":memory:", clock=SimulatedClock(autojump_threshold_s=0.02), ids=SeededIds(7)) as opened:
        yield opened


class Address(BaseModel):
    city: str
    country: str = "AT"


@tool(read_only=True)
def look(order: str, depth: int = 2) -> str:
    """Look an order up."""
    return f"{order} is fine"


@tool
def pay(order: str, amount: float, to: Address | None = None, tags: list[str] | None = None) -> str:
    """Pay something back."""
    return f"paid {amount}"


class Watching:
    """A policy that allows everything, and keeps what it was shown."""

    def __init__(self, also: tuple[PolicyRule, ...] = ()) -> None:
        self.shown: list[PolicyEvent] = []
        self.engine = PolicyEngine([PolicyRule(action="deny", condition=self._keep, priority=1_000, rule_id="watching"), *also])

    def _keep(self, event: PolicyEvent) -> bool:
        self.shown.append(event.model_copy(deep=True))
        return False

    def by_run(self) -> dict[str, list[PolicyEvent]]:
        """What it was shown, per run: of a family, runs take turns."""
        found: dict[str, list[PolicyEvent]] = {}
        for event in self.shown:
            found.setdefault(event.run_id, []).append(event)
        return found


def denying(condition: Callable[[PolicyEvent], bool], reason: str = "no", rule_id: str = "deny") -> PolicyEngine:
    """A policy that denies what the condition holds for."""
    return PolicyEngine([PolicyRule(action="deny", condition=condition, reason=reason, rule_id=rule_id)])


def of_tool(name: str, more: Callable[[PolicyEvent], bool] = lambda event: True) -> Callable[[PolicyEvent], bool]:
    """A condition that holds for calls of a tool."""
    return lambda event: event.tool_name == name and more(event)


def clerk(script: list[Any] | None = None, **fields: Any) -> Agent:
    """Looks, pays twice in one answer, looks again, and says so."""
    told = script or [
        asks(("look", {"order": "A-1"}), text="first"),
        asks(("pay", {"order": "A-1", "amount": 5, "to": {"city": "Graz"}}), ("pay", {"order": "A-2", "amount": 900})),
        asks(("look", {"order": "A-2", "depth": 7})),
        says("done"),
    ]
    return agent(told, look, pay, name="clerk", context_defaults={"user": "mira", "tier": 3}, **fields)


async def what_if(runner: Runner, policy: Any, **given: Any) -> PolicyWhatIf:
    return await policy_what_if(runner.log, policy, **given)


class TestWhatIsAskedAgain:
    """The policy is shown the same events as then."""

    async def asked_again(self, runner: Runner, described: Agent, watching: Watching, by: Any = None) -> None:
        then = watching.by_run()
        assert then
        watching.shown = []
        seen = await what_if(runner, by or watching.engine)
        assert watching.by_run() == then
        assert (seen.same, seen.decisions) == (True, sum(map(len, then.values())))

    @pytest.mark.parametrize("with_agent", [True, False])
    async def test_of_a_run_with_defaults_and_nested_arguments(self, runner: Runner, with_agent: bool) -> None:
        watching = Watching()
        described = clerk(policy_engine=watching.engine)
        await runner.run(described, user_message="go", context={"ticket": [1, {"a": None}]})
        assert watching.shown[3].tool_args == {"order": "A-1", "amount": 5.0, "to": {"city": "Graz", "country": "AT"}, "tags": None}
        await self.asked_again(runner, described, watching, described if with_agent else None)

    async def test_with_an_agent_arguments_are_coerced_as_its_tools_do(self, runner: Runner) -> None:
        watching = Watching()
        described = clerk([asks(("look", {"order": "A", "depth": "4"})), says("x")], policy_engine=watching.engine)
        await runner.run(described)
        assert watching.shown[1].tool_args == {"order": "A", "depth": 4}
        await self.asked_again(runner, described, watching, described)
        watching.shown = []
        await what_if(runner, watching.engine)
        assert watching.shown[1].tool_args == {"order": "A", "depth": "4"}, "without the tools it is as the model wrote it"

    async def test_of_subagents_and_plans_and_retries(self, runner: Runner) -> None:
        watching = Watching()

        def route(given: RouterInput) -> DelegationPlan | None:
            node = DelegationNode(id="n1", subagent="helper", task="look around")
            return DelegationPlan(nodes=(node,)) if given.step == 1 else None

        def helper(request: Any) -> Any:
            return says("seen") if request.messages[-1].role == "tool" else asks(("look", {"order": "B"}))

        below = agent(ScriptedModel(helper), look, name="helper", policy_engine=watching.engine)
        boss = agent(
            [asks(("transfer_to_helper", {"task": "again"}), ("look", {"order": "C"})), says("ok")],
            look,
            name="boss",
            subagents=[below],
            subagent_router=route,
            policy_engine=watching.engine,
        )
        await runner.run(boss, user_message="go")
        assert [event.subagent_name for event in watching.shown if event.subagent_name] == ["helper", "helper"]
        assert len(watching.by_run()) == 3
        await self.asked_again(runner, boss, watching)
        await self.asked_again(runner, boss, watching, boss)

    async def test_of_a_fork_what_it_shares_was_asked_in_the_other_run(self, runner: Runner) -> None:
        watching = Watching()
        described = clerk(policy_engine=watching.engine)
        result = await runner.run(described, user_message="go")
        then = watching.by_run()[result.run_id]
        events = await runner.log.read(result.run_id)
        (first, *_rest) = [event.seq for event in events if event.type == "tool_completed"]
        fork = await runner.fork(
            clerk([says("never")], policy_engine=watching.engine),
            run_id=result.run_id,
            edits=[EditToolResult(first, output="B")],
            tools="recorded_or_live",
        )
        watching.shown = []
        seen = await what_if(runner, watching.engine, runs=[fork.run_id])
        shared = [event for event in watching.shown if event.run_id == result.run_id]
        assert shared == then[: len(shared)]
        assert (len(shared), seen.decisions) == (2, len(watching.shown))

    async def test_a_rule_may_do_with_an_event_as_it_likes(self, runner: Runner) -> None:
        await runner.run(clerk(), user_message="go")

        def vandal(event: PolicyEvent) -> bool:
            event.tool_args.clear()
            event.context["user"] = "mallory"
            event.tool_args["order"] = event
            return event.tool_name == "pay"

        first = await what_if(runner, denying(vandal))
        assert first.changed_runs[0].changes[0].arguments["amount"] == 5
        assert first == await what_if(runner, denying(vandal))
        watching = Watching()
        await what_if(runner, watching.engine)
        assert {event.context["user"] for event in watching.shown} == {"mira"}


class TestExactAndBounded:
    """Up to the first changed decision the answer is exact, after it bounded."""

    async def test_of_a_run(self, runner: Runner) -> None:
        result = await runner.run(clerk(), user_message="go")
        seen = await what_if(runner, denying(of_tool("pay"), "never pay"))
        (row,) = seen.changed_runs
        assert row.first is not None
        # The model, look, the model, pay: of eight decisions four are exact.
        assert (row.decisions, row.exact, row.bounded, row.changed) == (8, 4, 4, 2)
        assert (seen.changed, seen.unchanged, seen.carried, seen.changed_exact, seen.changed_bounded) == (1, 0, 0, 1, 1)
        assert (row.first.run_id, row.first.tool_name, row.first.exact, row.first.turn) == (result.run_id, "pay", True, "denied")
        assert row.first.arguments == {"order": "A-1", "amount": 5, "to": {"city": "Graz", "country": "AT"}, "tags": None}
        assert (row.first.before.action, row.first.after.action, row.first.after.reason) == ("allow", "deny", "never pay")
        assert [(change.exact, change.arguments["order"]) for change in row.changes] == [(True, "A-1"), (False, "A-2")]
        event = (await runner.log.read(result.run_id))[row.first.seq - 1]
        assert (event.type, event.step) == ("policy_decision", row.first.step)

    async def test_it_costs_nothing_and_writes_nothing(self, runner: Runner) -> None:
        result = await runner.run(clerk(), user_message="go")
        before = await runner.log.read(result.run_id)
        seen = await what_if(runner, denying(lambda event: True))
        assert (seen.model_calls, seen.tool_calls, seen.cost_usd) == (0, 0, 0.0)
        assert await runner.log.read(result.run_id) == before
        assert len(await runner.log.runs()) == 1

    async def test_a_denied_model_call_changes_the_run_at_once(self, runner: Runner) -> None:
        await runner.run(clerk(), user_message="go")
        seen = await what_if(runner, denying(lambda event: event.event_type == "llm_before_execute"))
        (row,) = seen.changed_runs
        assert row.first is not None
        assert (row.exact, row.first.tool_name, row.first.arguments, row.first.executed) == (1, None, {}, False)
        (model,) = [each for each in seen.tools if each.tool_name is None]
        assert (model.decisions, model.denied, model.exact) == (4, 4, 1)

    async def test_a_parent_bounds_the_runs_it_starts_later_and_a_child_what_follows_its_answer(self, runner: Runner) -> None:
        def helper(request: Any) -> Any:
            return says("seen") if request.messages[-1].role == "tool" else asks(("look", {"order": "B"}))

        below = agent(ScriptedModel(helper), look, name="helper")
        script = [
            asks(("transfer_to_helper", {"task": "one"})),
            asks(("pay", {"order": "P", "amount": 1})),
            asks(("transfer_to_helper", {"task": "two"})),
            says("ok"),
        ]
        boss = agent(script, look, pay, name="boss", subagents=[below])
        result = await runner.run(boss, user_message="go")
        children = [event.data["run_id"] for event in await runner.log.read(result.run_id) if event.type == "subagent_started"]

        by_parent = await what_if(runner, denying(of_tool("pay")))
        rows: dict[str, Any] = {}
        await what_if(runner, denying(of_tool("pay")), on_run=lambda row: rows.__setitem__(row.run_id, row))
        assert [rows[child].bounded for child in children] == [0, 3]
        (parted,) = {rows[children[1]].parted}
        assert parted == f"{result.run_id}:{rows[result.run_id].first.seq}"
        assert (by_parent.changed, by_parent.unchanged) == (1, 2)

        by_child = await what_if(runner, denying(of_tool("look")), on_run=lambda row: rows.__setitem__(row.run_id, row))
        assert (by_child.changed, by_child.carried, by_child.unchanged) == (1, 1, 1)
        assert rows[children[0]].first is not None
        assert (rows[children[1]].first, rows[children[1]].changed) == (None, 1)
        # Of the parent's own the model call and the gate of the first transfer come before the child goes elsewhere.
        assert (rows[result.run_id].exact, rows[result.run_id].first) == (2, None)
        assert rows[result.run_id].parted == f"{children[0]}:{rows[children[0]].first.seq}"

    async def test_parallel_subagents_do_not_bound_each_other(self, runner: Runner) -> None:
        def helper(request: Any) -> Any:
            return says("seen") if request.messages[-1].role == "tool" else asks(("look", {"order": request.messages[-1].content}))

        below = agent(ScriptedModel(helper), look, name="helper")
        boss = agent(
            [asks(("transfer_to_helper", {"task": "one"}), ("transfer_to_helper", {"task": "two"})), says("ok")], subagents=[below]
        )
        await runner.run(boss, user_message="go")
        seen = await what_if(runner, denying(of_tool("look")))
        assert (seen.changed, seen.changed_exact, seen.changed_bounded) == (2, 2, 0)


class TestWhatCountsAsAChange:
    """What the run, the model or a person would have been told."""

    async def first(self, runner: Runner, then: PolicyEngine, now: Any) -> Any:
        await runner.run(clerk(policy_engine=then), user_message="go")
        seen = await what_if(runner, now)
        return seen.changed_runs[0].first if seen.changed_runs else None

    async def test_another_rule_with_the_same_outcome_is_none(self, runner: Runner) -> None:
        assert await self.first(runner, denying(of_tool("pay")), denying(of_tool("pay"), rule_id="another")) is None

    async def test_an_allowing_rules_reason_is_told_to_nobody(self, runner: Runner) -> None:
        now = PolicyEngine([PolicyRule(action="allow", condition=of_tool("pay"), reason="fine")])
        assert await self.first(runner, PolicyEngine(), now) is None

    async def test_another_reason_of_a_denial_is_told_to_the_model(self, runner: Runner) -> None:
        change = await self.first(runner, denying(of_tool("pay")), denying(of_tool("pay"), "not on Fridays"))
        assert (change.differs, change.turn) == (("reason",), "otherwise")

    async def test_changed_arguments_are_one_and_the_same_arguments_are_none(self, runner: Runner) -> None:
        def capped(amount: float) -> PolicyEngine:
            small = of_tool("pay", lambda event: event.tool_args["amount"] == 5)
            return PolicyEngine([PolicyRule(action="allow", condition=small, updated_tool_args={"amount": amount})])

        change = await self.first(runner, capped(3.0), capped(4.0))
        assert (change.differs, change.before.arguments["amount"], change.after.arguments["amount"]) == (("arguments",), 3, 4)
        seen = await what_if(runner, capped(3.0))
        assert seen.same
        async with Runner(log=":memory:") as other:
            assert await self.first(other, PolicyEngine(), capped(5.0)) is None, "rewritten to what it was"

    async def test_a_denial_that_is_none_any_more(self, runner: Runner) -> None:
        change = await self.first(runner, denying(of_tool("pay")), PolicyEngine())
        assert (change.turn, change.executed, change.before.action) == ("allowed", False, "deny")

    async def test_approvals_put_off_and_the_answers_of_people(self, runner: Runner) -> None:
        asking = PolicyEngine([PolicyRule(action="request_approval", condition=of_tool("pay"), reason="money", request_payload={"a": 1})])
        change = await self.first(runner, asking, PolicyEngine())
        assert (change.turn, change.person, change.executed) == ("allowed", "denied by fallback", False)
        assert (await what_if(runner, asking)).same, "what people said stands"
        reworded = PolicyEngine([PolicyRule(action="request_approval", condition=of_tool("pay"), reason="money", request_payload={"a": 2})])
        assert (await what_if(runner, reworded)).changed_runs[0].changes[0].differs == ("payload",)
        words = PolicyEngine([PolicyRule(action="request_user_input", condition=of_tool("pay"), reason="money", request_payload={"a": 1})])
        assert (await what_if(runner, words)).changed_runs[0].changes[0].turn == "otherwise"
        deferring = PolicyEngine([PolicyRule(action="defer", condition=of_tool("pay"), reason="money")])
        assert (await what_if(runner, deferring)).changed_runs[0].changes[0].turn == "put_off"

    async def test_rules_that_could_not_be_evaluated_then_and_now(self, runner: Runner) -> None:
        def absent(event: PolicyEvent) -> bool:
            return bool(event.tool_name == "pay" and event.context["nothing"])

        await runner.run(clerk(policy_engine=denying(absent)), user_message="go")
        again = await what_if(runner, denying(absent))
        assert (again.same, again.raised_before, again.raised) == (True, 2, 2)
        assert again.raised_first is not None
        assert "KeyError" in (again.raised_first.after.reason or "")
        mended = await what_if(runner, PolicyEngine())
        assert (mended.raised_before, mended.raised, mended.changed) == (2, 0, 1)
        assert mended.changed_runs[0].changes[0].before.raised

    async def test_a_role_and_a_function_are_asked_as_a_run_asks_them(self, runner: Runner) -> None:
        def careful(event: PolicyEvent) -> PolicyDecision | None:
            return PolicyDecision(action="deny", reason="careful") if event.tool_name == "pay" else None

        await runner.run(clerk(policy_roles=[careful]), user_message="go")
        assert (await what_if(runner, careful)).same
        assert (await what_if(runner, clerk(policy_roles=[careful]))).same
        assert not (await what_if(runner, clerk())).same


class TestSums:
    """What is added up, and what is left out of it."""

    async def test_what_was_done_and_would_have_been_denied_writes_first(self, runner: Runner) -> None:
        await runner.run(clerk(), user_message="go")
        seen = await what_if(runner, denying(lambda event: event.tool_name is not None))
        assert [(change.tool_name, change.executed) for change in seen.executed] == [
            ("pay", True),
            ("pay", True),
            ("look", True),
            ("look", True),
        ]
        assert (seen.undone, seen.undone_writes) == (4, 2)
        tools = {each.tool_name: each for each in seen.tools}
        assert (tools["pay"].read_only, tools["pay"].denied, tools["pay"].undone, tools["look"].read_only) == (False, 2, 2, True)

    async def test_a_call_that_never_ran_was_not_done(self, runner: Runner) -> None:
        await runner.run(clerk(policy_engine=denying(of_tool("pay"))), user_message="go")
        seen = await what_if(runner, denying(of_tool("pay"), "another"))
        assert (seen.undone, seen.changed_exact) == (0, 1)

    async def test_what_forks_share_is_counted_once_and_edits_stand(self, runner: Runner) -> None:
        described = clerk(policy_engine=denying(of_tool("pay", lambda event: event.tool_args["amount"] > 100)))
        result = await runner.run(described, user_message="go")
        alone = await what_if(runner, denying(of_tool("pay")))
        events = await runner.log.read(result.run_id)
        denied = next(event.seq for event in events if event.type == "policy_decision" and event.data["action"] == "deny")
        script = [asks(("look", {"order": "A-2", "depth": 7})), says("done")]
        fork = await runner.fork(
            clerk(script, policy_engine=described.policy_engine),
            run_id=result.run_id,
            edits=[EditDecision(denied, action="allow")],
            tools="recorded_or_live",
        )
        own = await runner.log.read(fork.run_id)
        began = next(event.seq for event in own if event.data.get("forked_from"))
        rows: dict[str, Any] = {}
        both = await what_if(runner, denying(of_tool("pay")), on_run=lambda row: rows.__setitem__(row.run_id, row))
        assert both.edited == 1
        assert rows[fork.run_id].forked_from == {"run_id": result.run_id, "seq": began - 1}
        # The fork has the shared first change as its own, and adds only its own decisions to the sums.
        assert rows[fork.run_id].first.seq == rows[result.run_id].first.seq
        own_decisions = sum(event.type == "policy_decision" and not event.data.get("edited") for event in own if event.seq > began)
        assert both.decisions == alone.decisions + own_decisions
        assert both.changed_exact == alone.changed_exact
        for order in ([fork.run_id, result.run_id], [result.run_id, fork.run_id]):
            named = await what_if(runner, denying(of_tool("pay")), runs=order)
            assert (named.decisions, named.changed_exact, named.undone) == (both.decisions, both.changed_exact, both.undone)

    async def test_runs_of_other_agents_are_no_affair_of_an_agents_policy(self, runner: Runner) -> None:
        await runner.run(clerk(), user_message="go")
        await runner.run(agent([says("hi")], name="other"))
        strict = clerk(policy_engine=denying(lambda event: True))
        seen = await what_if(runner, strict)
        assert (seen.runs, seen.others, seen.changed) == (1, 1, 1)

    async def test_a_subagents_policy_is_that_of_the_subagent(self, runner: Runner) -> None:
        def team(policy: PolicyEngine | None = None) -> Agent:
            below = agent([asks(("look", {"order": "B"})), says("seen")], look, name="helper", policy_engine=policy)
            return agent([asks(("transfer_to_helper", {"task": "one"}), ("look", {"order": "C"})), says("ok")], look, subagents=[below])

        await runner.run(team(), user_message="go")
        seen = await what_if(runner, team(denying(of_tool("look"))))
        assert [(change.arguments["order"], change.exact) for row in seen.changed_runs for change in row.changes] == [("B", True)]

    async def test_a_policy_that_answers_what_no_log_can_hold_is_said_to(self, runner: Runner) -> None:
        await runner.run(clerk(), user_message="go")
        odd = PolicyEngine([PolicyRule(action="request_approval", condition=of_tool("pay"), request_payload={"a": object()})])
        with pytest.raises(ConfigurationError, match="no log can hold"):
            await what_if(runner, odd)
        with pytest.raises(ConfigurationError, match="not 7"):
            await what_if(runner, 7)


class TestWhichRuns:
    """Named, or selected."""

    async def test_by_agent_state_thread_time_and_expression(self, runner: Runner) -> None:
        first = await runner.run(clerk(), user_message="go", thread_id="t1")
        await runner.run(agent([says("hi")], name="other"), thread_id="t2")
        now = (await runner.log.runs(limit=1))[0].started_at

        async def runs(**given: Any) -> int:
            return (await what_if(runner, PolicyEngine(), runs=RunSelection(**given))).runs

        assert await runs() == 2
        assert await runs(agent="cl*") == 1
        assert await runs(state="failed") == 0
        assert await runs(state="completed") == 2
        assert await runs(thread_id="t1") == 1
        assert await runs(newest=1) == 1
        assert await runs(since=now + dt.timedelta(seconds=1)) == 0
        assert await runs(where='tool = "pay"') == 1
        assert (await what_if(runner, PolicyEngine(), runs=[first.run_id])).decisions == 8
        with pytest.raises(RunNotFoundError, match="run_nowhere"):
            await what_if(runner, PolicyEngine(), runs=["run_nowhere"])
        with pytest.raises(UsageError, match="time zone"):
            RunSelection(since=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused

    async def test_a_selected_run_brings_its_subagents_runs_and_a_selected_subagents_run_knows_its_parent(self, runner: Runner) -> None:
        below = agent([asks(("look", {"order": "B"})), says("seen")], look, name="helper")
        script = [asks(("pay", {"order": "P", "amount": 1})), asks(("transfer_to_helper", {"task": "one"})), says("ok")]
        result = await runner.run(agent(script, pay, name="boss", subagents=[below]), user_message="go")
        (child,) = [event.data["run_id"] for event in await runner.log.read(result.run_id) if event.type == "subagent_started"]
        assert (await what_if(runner, PolicyEngine(), runs=[result.run_id])).runs == 2
        assert (await what_if(runner, PolicyEngine(), runs=RunSelection(agent="boss"))).runs == 2
        own_thread = (await runner.log.read(child))[0].thread_id
        assert (await what_if(runner, PolicyEngine(), runs=RunSelection(agent="helper"))).runs == 0
        for which in ([child], RunSelection(agent="helper", subagents=True), RunSelection(thread_id=own_thread, subagents=True)):
            seen = await what_if(runner, denying(of_tool("pay")), runs=which)
            assert (seen.runs, seen.decisions, seen.exact, seen.bounded) == (1, 3, 0, 3)

    async def test_runs_of_the_first_version(self, tmp_path: Path) -> None:
        log = SqliteEventLog(shutil.copy(ROOT / "fixtures" / "logs" / "v1.db", tmp_path), read_only=True)
        await log.open()
        try:
            seen = await policy_what_if(log, PolicyEngine())
            recorded = 0
            for record in await log.runs(limit=1_000):
                recorded += len(await log.scan(record.run_id, types=("policy_decision",)))
        finally:
            await log.close()
        assert recorded > 0
        assert seen.decisions == recorded

    async def test_a_run_that_goes_on_is_asked_as_far_as_it_is(self, runner: Runner) -> None:
        deferring = PolicyEngine([PolicyRule(action="defer", condition=PolicyRuleCondition(tool_name="pay"))])
        result = await runner.run(clerk(policy_engine=deferring), user_message="go")
        assert result.state == "interrupted"
        seen = await what_if(runner, deferring)
        assert (seen.same, seen.runs) == (True, 1)
        assert seen.decisions > 3


async def test_progress_is_told(runner: Runner) -> None:
    await runner.run(clerk(), user_message="go")
    await runner.run(agent([says("hi")]))
    told: list[tuple[int, int]] = []
    await policy_what_if(runner.log, PolicyEngine(), progress=lambda runs, decisions: told.append((runs, decisions)))
    assert told == [(1, 1), (2, 9)]
