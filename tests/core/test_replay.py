"""Goal: a recorded run is run again by today's agent, offline, and what differs today shows and hides nothing behind it.

Method: real runs on real logs, replayed by an agent whose model, tools and people raise when they are reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.core import EditToolResult, RetentionPolicy, Runner, RunnerConfig, recorded_agent
from afk_es.core.replays import spec_of
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.llms import Image, LLMRequest
from afk_es.machine import RunSpec
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, ToolContext, tool
from tests.core.replayed import Exploding, assert_same, divergence
from tests.core.scenario import Counted, agent, always, asks, laid_down, log_of, only, says, types
from tests.support.stories import Stories

ENDED = ("failing", "trial_1", "trial_2", "looping", "cost_limit", "denied", "team", "earlier", "complete")


PAYING = PolicyRuleCondition(tool_name="pay")


def desk(**fields: Any) -> Agent:
    """An agent that looks twice at once, pays, and answers."""

    @tool(read_only=True)
    async def look(item: str) -> str:
        """Look something up."""
        return f"{item} costs 5"

    @tool
    async def pay(item: str, amount: int, ctx: ToolContext) -> str:
        """Pay for something."""
        return f"paid {amount} for {item}"

    script = [
        asks(("look", {"item": "lamp"}), ("look", {"item": "rug"}), cost=0.5),
        asks(("pay", {"item": "lamp", "amount": 5})),
        says("Done."),
    ]
    return agent(script, look, pay, **{"name": "desk", "instructions": "Be exact.", **fields})


def without_world(live: Agent) -> tuple[Agent, Exploding]:
    """The same agent, of which nobody can be reached."""
    dead = Exploding()
    return dead.agent(live).model_copy(update={"model": dead}), dead


# --------------------------------------------------------------------------------------------------------------------- the law


@pytest.mark.parametrize("name", ENDED)
async def test_every_story_of_the_demo_is_replayed_as_it_was(name: str, stories: Stories, tmp_path: Path) -> None:
    async with Runner(log=stories.copied(tmp_path).log) as runner:
        run_id = stories.run_ids[name]
        events = await log_of(runner, run_id)
        replayed = await assert_same(runner, recorded_agent(spec_of(events[0])), run_id)
        assert replayed.result.state == events[-1].state
        assert replayed.served >= len(only(events, "llm_completed"))


@pytest.mark.parametrize("where", ["memory", "sqlite"])
async def test_an_agent_that_has_not_changed_does_the_same_and_nobody_is_reached(where: str, tmp_path: Path) -> None:
    async with Runner(log=":memory:" if where == "memory" else tmp_path / "log.db") as runner:
        result = await runner.run(desk(), user_message="Buy the lamp.", context={"user_id": "ann"})
        today, dead = without_world(desk())
        replayed = await assert_same(runner, today, result.run_id)
    assert dead.reached == []
    assert replayed.served == 6
    again = replayed.result
    assert (again.final_text, again.total_cost_usd, again.usage_aggregate) == (
        result.final_text,
        result.total_cost_usd,
        result.usage_aggregate,
    )
    assert [each.output for each in again.tool_executions] == [each.output for each in result.tool_executions]
    assert again.state_snapshot == result.state_snapshot


async def test_every_answer_says_of_which_event_it_is_a_copy(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    replayed = await runner.replay(desk(), run_id=result.run_id)
    copies = [event for event in await log_of(runner, replayed.run_id) if "reused" in event.data]
    assert {event.type for event in copies} == {"llm_completed", "tool_completed"}
    assert all(event.data["reused"] == {"run_id": result.run_id, "seq": event.seq} for event in copies)
    assert replayed.result.usage_by_model == {}, "nothing was spent"


async def test_a_thread_begins_with_what_the_recorded_run_saw(runner: Runner) -> None:
    seen: list[int] = []

    def answer(request: LLMRequest) -> str:
        seen.append(len(request.messages))
        return f"answer {len(request.messages)}"

    described = agent(ScriptedModel(answer))
    for question in ("one", "two"):
        await runner.run(described, user_message=question, thread_id="t")
    result = await runner.run(described, user_message="three", thread_id="t")
    replayed = await assert_same(runner, described, result.run_id)
    calls = [only(await log_of(runner, run_id), "llm_called")[0].data["request_hash"] for run_id in (result.run_id, replayed.run_id)]
    assert calls[0] == calls[1], "the model would have been sent the same"
    assert seen == [1, 3, 5]
    assert replayed.result.thread_id != "t"


async def test_images_are_shown_again(runner: Runner) -> None:
    result = await runner.run(agent(["A cat."]), user_message=["What is this?", Image(data=b"\x89PNG\r\n\x1a\n")])
    replayed = await assert_same(runner, agent(["never asked"]), result.run_id)
    assert replayed.result.final_text == "A cat."


async def test_a_replay_of_a_replay_is_one_of_a_run(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    first = await runner.replay(desk(), run_id=result.run_id)
    await assert_same(runner, desk(), first.run_id)


# ------------------------------------------------------------------------------------------------------------ what differs today


async def test_other_instructions_come_to_the_same_calls(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    replayed = await runner.replay(desk(instructions="Be quick."), run_id=result.run_id)
    before, after = await log_of(runner, result.run_id), await log_of(runner, replayed.run_id)
    assert (replayed.result.state, replayed.leftovers, replayed.unanswered) == ("completed", (), ())
    assert types(after) == types(before)
    assert [
        a.data["request_hash"] == b.data["request_hash"] for a, b in zip(only(before, "llm_called"), only(after, "llm_called"), strict=True)
    ] == [False] * 3


async def test_a_policy_of_today_is_asked_and_its_arguments_get_what_the_same_call_got(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    engine = PolicyEngine(
        [PolicyRule(rule_id="half", action="allow", subjects=("tool",), condition=PAYING, updated_tool_args={"item": "lamp", "amount": 2})]
    )
    replayed = await runner.replay(desk(policy_engine=engine), run_id=result.run_id)
    found = await divergence(runner.log, result.run_id, replayed.run_id)
    assert found is not None
    assert found.a is not None
    assert found.a.type == "policy_decision"
    assert (replayed.result.state, replayed.leftovers) == ("completed", ()), "the call in the same place has an answer for it"


async def test_a_call_that_is_denied_today_leaves_its_answer_over(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    engine = PolicyEngine([PolicyRule(rule_id="no paying", action="deny", subjects=("tool",), condition=PAYING, reason="not today")])
    replayed = await runner.replay(desk(policy_engine=engine), run_id=result.run_id)
    (left,) = replayed.leftovers
    events = await log_of(runner, result.run_id)
    assert (left.run_id, left.what) == (result.run_id, "tool pay")
    assert events[left.seq - 1].type == left.type == "tool_completed"
    assert replayed.result.state == "completed"


async def test_a_limit_of_today_counts_what_was_recorded(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    replayed = await runner.replay(desk(fail_safe=desk().fail_safe.model_copy(update={"max_total_cost_usd": 0.4})), run_id=result.run_id)
    assert replayed.result.state != "completed"
    assert [left.what for left in replayed.leftovers] == ["model scripted-1", "model scripted-1", "tool look", "tool look", "tool pay"]


async def test_what_the_recording_has_no_answer_to_is_not_run_and_the_replay_says_so(runner: Runner) -> None:
    work = Counted()
    engine = PolicyEngine([PolicyRule(rule_id="no", action="deny", condition=always, subjects=("tool",))])
    result = await runner.run(agent([asks(("work", {"n": 1})), says("ok")], work.tool, policy_engine=engine), user_message="go")
    replayed = await runner.replay(agent([], work.tool), run_id=result.run_id)
    (missing,) = replayed.unanswered
    events = await log_of(runner, replayed.run_id)
    assert (missing.run_id, missing.what, work.ran) == (replayed.run_id, "tool work", 0)
    assert events[missing.seq - 1].type == "tool_started"
    assert (events[-1].type, replayed.result.error) == ("run_interrupted", missing.reason)
    assert [left.type for left in replayed.leftovers] == ["llm_completed"]


async def test_calls_that_changed_places_get_their_own_answers(runner: Runner) -> None:
    @tool(name="look", read_only=True)
    async def look(item: str) -> str:
        """Look."""
        return f"saw {item}"

    result = await runner.run(agent([asks(("look", {"item": "a"}), ("look", {"item": "b"})), says("ok")], look), user_message="go")
    rules = [
        PolicyRule(
            rule_id=f"swap {asked}",
            action="allow",
            subjects=("tool",),
            condition=PolicyRuleCondition(args={"item": asked}),
            updated_tool_args={"item": item},
        )
        for asked, item in (("a", "b"), ("b", "a"))
    ]
    replayed = await runner.replay(agent([], look, policy_engine=PolicyEngine(rules)), run_id=result.run_id)
    outputs = {event.data["tool_call_id"]: event.data["output"] for event in only(await log_of(runner, replayed.run_id), "tool_completed")}
    assert outputs == {"c1": "saw b", "c2": "saw a"}
    assert replayed.leftovers == ()


async def test_an_instructions_function_is_todays_and_that_of_a_recorded_agent_is_the_records(runner: Runner) -> None:
    asked: list[str] = []

    async def instructions(context: dict[str, Any]) -> str:
        asked.append(context["customer"])
        return f"Serve {context['customer']}."

    described = agent(["ok"], instructions=instructions)
    result = await runner.run(described, user_message="go", context={"customer": "Ada"})
    await assert_same(runner, described, result.run_id)
    assert asked == ["Ada", "Ada"]
    (first, *_rest) = await log_of(runner, result.run_id)
    await assert_same(runner, recorded_agent(spec_of(first)), result.run_id)
    assert asked == ["Ada", "Ada"]


# ---------------------------------------------------------------------------------------------------------- what cannot be replayed


async def test_what_cannot_be_replayed_is_refused_with_the_way_out_and_nothing_is_written(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.", thread_id="t")
    stuck = Counted()
    changed = await laid_down(runner, agent([asks(("work", {})), says("ok")], stuck.tool))
    await runner.resume(agent([asks(("work", {})), says("ok")], stuck.tool, instructions="Other."), run_id=changed, allow_agent_change=True)
    await runner.compact_thread(thread_id="t", retention=RetentionPolicy(max_messages=1))
    compaction = (await runner.log.thread("t"))[-1].run_id
    runs = len(await runner.log.runs())
    for run_id, match in ((changed, "another agent went on with it at seq"), (compaction, "only compacts a thread")):
        with pytest.raises(UsageError, match=match):
            await runner.replay(desk(), run_id=run_id)
    with pytest.raises(RunNotFoundError):
        await runner.replay(desk(), run_id="run_of_another_log")
    assert len(await runner.log.runs()) == runs
    assert result.state == "completed"


async def test_a_run_that_has_not_ended_is_refused(stories: Stories, tmp_path: Path) -> None:
    async with Runner(log=stories.copied(tmp_path).log) as runner:
        with pytest.raises(UsageError, match="has not ended"):
            await runner.replay(desk(), run_id=stories.run_ids["crashed"])


async def test_a_replay_is_not_resumed(runner: Runner) -> None:
    work = Counted()
    run_id = await laid_down(runner, agent([asks(("work", {})), says("ok")], work.tool))
    replayed = await runner.replay(agent([], work.tool), run_id=run_id)
    assert replayed.result.state == "interrupted"
    with pytest.raises(UsageError, match=f"replays run {run_id}.*replay that run again"):
        await runner.resume(agent([], work.tool), run_id=replayed.run_id)
    done = await runner.replay(desk(), run_id=(await runner.run(desk(), user_message="go")).run_id)
    assert (await runner.resume(desk(), run_id=done.run_id)).state == "completed", "one that has ended has its result"


# ------------------------------------------------------------------------------------------------------------------------- forks


async def test_a_fork_is_replayed_as_one_run_with_what_it_changed(runner: Runner) -> None:
    result = await runner.run(desk(), user_message="Buy the lamp.")
    first = only(await log_of(runner, result.run_id), "tool_completed")[0]
    fork = await runner.fork(
        desk().model_copy(update={"model": ScriptedModel([asks(("pay", {"item": "rug", "amount": 5})), says("Dear.")])}),
        run_id=result.run_id,
        edits=[EditToolResult(first.seq, output="lamp costs 500")],
        tools={"pay": "live"},
    )
    assert fork.final_text == "Dear."
    replayed = await runner.replay(desk(), run_id=fork.run_id)
    assert (replayed.result.final_text, replayed.leftovers, replayed.unanswered) == ("Dear.", (), ())


async def test_a_run_of_a_subagent_is_replayed_alone_with_its_place_in_the_family(runner: Runner) -> None:
    low = agent(["found it"], name="low")
    boss = agent([asks(("transfer_to_low", {"task": "Find it."})), says("ok")], name="boss", subagents=[low])
    result = await runner.run(boss, user_message="go")
    team = await assert_same(runner, boss, result.run_id)
    (child,) = result.subagent_executions
    alone = await runner.replay(low, run_id=child.run_id)
    assert alone.result.final_text == "found it"
    assert msgspec.convert((await log_of(runner, alone.run_id))[0].data["agent"], RunSpec).agent_path == ("boss",)
    (again,) = team.result.subagent_executions
    assert again.run_id != child.run_id
    assert (await log_of(runner, again.run_id))[0].data["replay_of"]["run_id"] == child.run_id


async def test_a_subagent_whose_run_the_log_has_not_got_is_answered_by_what_its_parent_heard(runner: Runner) -> None:
    low = agent(["found it"], name="low")
    boss = agent([asks(("transfer_to_low", {"task": "Find it."})), says("ok")], name="boss", subagents=[low])
    result = await runner.run(boss, user_message="go")
    fork = await runner.fork(boss, run_id=result.run_id, at=0, models="recorded")
    replayed = await runner.replay(boss, run_id=fork.run_id)
    assert (replayed.result.final_text, replayed.unanswered) == ("ok", ())


async def test_tools_of_other_kinds_are_never_run(runner: Runner) -> None:
    reached: list[str] = []

    @tool
    def blocking(item: str) -> str:
        """In a thread."""
        reached.append(item)
        return "done"

    tools: list[Tool[..., Any]] = [blocking]
    described = agent([asks(("blocking", {"item": "a"})), says("ok")], *tools)
    config = RunnerConfig(in_doubt="retry")
    async with Runner(log=runner.log, config=config) as other:
        result = await other.run(described, user_message="go")
        await assert_same(other, described, result.run_id)
    assert reached == ["a"]
