"""`check_golden`: today's agent on recorded answers. The unchanged one passes, a change of any kind is caught, and nothing is proved by nothing."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.cli.demo_runs.recording import DEMO_RUNS
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner, RunnerConfig, recorded_agent
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals import CheckReport, Golden, MatchMode, check_golden, check_golden_sync, compare_with_golden
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.tools import tool
from tests.evals.desk import (
    ANSWER,
    INSTRUCTIONS,
    LOOK,
    NOTIFY,
    REFUND,
    TOOLS,
    agent,
    asks,
    edited,
    events_in,
    facts_in,
    look,
    notify,
    ran,
    recorded,
    refund,
    rules,
    says,
)
from tests.support.stories import Stories

REPLAYABLE = [run.name for run in DEMO_RUNS if run.name != "crashed"]
"""Of the demo's runs; that one has not ended."""


def found(report: CheckReport) -> list[tuple[str, str]]:
    """Class and field of all divergences."""
    return [(each.kind, each.field) for each in report.divergences]


def todays(name: str) -> Agent:
    """The agent of a story."""
    module, _, attribute = next(run.agent for run in DEMO_RUNS if run.name == name).partition(":")
    described: Agent = getattr(importlib.import_module(module), attribute)
    return described


@pytest.fixture
async def story_log(stories: Stories) -> AsyncIterator[EventLog]:
    log = SqliteEventLog(stories.log)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def golden() -> Golden:
    return await recorded()


# ------------------------------------------------------------------------------------------------------------------ unchanged agents


@pytest.mark.parametrize("name", REPLAYABLE)
async def test_the_unchanged_agent_of_every_story_passes(story_log: EventLog, stories: Stories, name: str) -> None:
    golden = await Golden.of(story_log, stories.run_ids[name], name=name)
    report = await check_golden(golden, todays(name))
    assert (report.outcome, report.divergences, report.leftovers, report.notes) == ("passed", (), (), ())
    assert report.served > 0


@pytest.mark.parametrize("name", REPLAYABLE)
@pytest.mark.parametrize("mode", ["contract", "trajectory"])
async def test_what_passes_strictly_passes_in_the_other_modes(story_log: EventLog, stories: Stories, name: str, mode: MatchMode) -> None:
    golden = await Golden.of(story_log, stories.run_ids[name], name=name, mode=mode)
    report = await check_golden(golden, todays(name))
    assert (report.outcome, report.mode) == ("passed", mode)


async def test_the_agent_as_the_file_tells_of_it_passes(golden: Golden) -> None:
    assert (await check_golden(golden, recorded_agent(golden.spec()))).ok


async def test_no_model_tool_or_person_is_reached(golden: Golden) -> None:
    """The script would run out, and the tool would say so."""

    @tool(name="refund", timeout=10.0)
    async def refund_for_real(order: int, amount: int) -> str:
        """Pay money back for an order."""
        raise AssertionError("money was paid")

    report = await check_golden(
        golden, agent("no answer of this is asked for", tools=(look, refund_for_real, notify)), policy_engine=rules()
    )
    assert report.ok


# ------------------------------------------------------------------------------------------------------------------ one change at a time


@tool(name="refund", timeout=10.0)
async def refund_by_another_description(order: int, amount: int) -> str:
    """Pay money back."""
    return ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"instructions": INSTRUCTIONS + " Please."}, ("prompt", "instructions")),
        ({"tools": (look, refund_by_another_description, notify)}, ("tool_schema", "tools.refund.description")),
        ({"tools": (look, notify, refund)}, ("tool_schema", "tools")),
        ({"tools": (*TOOLS, tool(name="sleep")(lambda: ""))}, ("tool_schema", "tools.sleep")),
        ({"limits": {"max_tool_calls": 100}}, ("limit", "limits.max_tool_calls")),
        ({"limits": {"tool_failure_policy": "fail"}}, ("params", "policies.tool_failure")),
        ({"reasoning_max_tokens": 100}, ("params", "parameters.reasoning_max_tokens")),
    ],
)
async def test_one_change_of_the_agent_is_one_divergence(golden: Golden, changed: dict[str, Any], expected: tuple[str, str]) -> None:
    """And not one for each request that it is in."""
    report = await check_golden(golden, agent(**changed), policy_engine=rules())
    assert found(report) == [expected]


async def test_a_tool_that_is_gone_is_told_of_before_what_follows(golden: Golden) -> None:
    report = await check_golden(golden, agent(tools=(look, refund)), policy_engine=rules())
    assert found(report)[0] == ("tool_schema", "tools.notify")


async def test_another_model_is_one_divergence(golden: Golden) -> None:
    described = agent()
    described.model.model = "scripted-2"
    report = await check_golden(golden, described, policy_engine=rules())
    assert found(report) == [("params", "models[0].model")]


async def test_one_rule_of_the_policy_is_caught_with_what_it_changes(golden: Golden) -> None:
    report = await check_golden(golden, agent(), policy_engine=rules(largest=10))
    assert found(report) == [("policy", "action"), ("result", "outcome"), ("missing", "tool_name")]
    first = report.divergences[0]
    assert (first.expected, first.actual) == ("allow", "deny")
    assert first.today is not None
    assert first.today.tool_name == "refund"
    assert [left.what for left in report.leftovers] == ["tool refund"]


async def test_arguments_that_a_rule_changes_are_of_the_policy() -> None:
    def smaller(amount: int) -> PolicyEngine:
        return PolicyEngine(
            [PolicyRule(rule_id="cap", action="allow", condition=_is_refund, updated_tool_args={"order": 7, "amount": amount})]
        )

    golden = await recorded(policy=smaller(5))
    assert (await check_golden(golden, agent(), policy_engine=smaller(5))).ok
    report = await check_golden(golden, agent(), policy_engine=smaller(6))
    assert found(report)[0] == ("policy", "updated_tool_args.amount")


def _is_refund(event: Any) -> bool:
    return bool(event.tool_name == "refund")


async def test_a_limit_that_is_hit_is_told_with_where(golden: Golden) -> None:
    report = await check_golden(golden, agent(limits={"max_steps": 2}), policy_engine=rules())
    assert found(report)[:3] == [("limit", "limits.max_steps"), ("limit", "limits.max_steps"), ("result", "state")]
    assert found(report)[3:] == [("missing", "type")]
    assert report.divergences[1].actual == {"limit": "max_steps", "maximum": 2.0, "used": 2.0}


async def test_how_results_are_shown_is_a_parameter_and_changes_each_message_once(golden: Golden) -> None:
    report = await check_golden(golden, agent(), policy_engine=rules(), config=RunnerConfig(untrusted_tool_preamble=False))
    assert found(report) == [
        ("params", "rendering.preamble"),
        ("prompt", "messages[2].content"),
        ("prompt", "messages[4].content"),
        ("prompt", "messages[5].content"),
    ]


async def test_instructions_that_are_a_function_are_asked_today() -> None:
    def told(context: dict[str, Any]) -> str:
        return "Be brief."

    def told_otherwise(context: dict[str, Any]) -> str:
        return "Be very brief."

    golden = await recorded(agent(instructions=told))
    assert (await check_golden(golden, agent(instructions=told), policy_engine=rules())).ok
    report = await check_golden(golden, agent(instructions=told_otherwise), policy_engine=rules())
    assert found(report) == [("prompt", "instructions")]
    assert report.divergences[0].today is not None
    assert report.divergences[0].today.type == "instructions_resolved"


async def test_another_name_of_the_agent_is_one_divergence(golden: Golden) -> None:
    report = await check_golden(golden, agent().model_copy(update={"name": "counter"}), policy_engine=rules())
    assert found(report) == [("params", "agent_name")]


async def test_what_a_subagent_is_is_told_where_it_runs(story_log: EventLog, stories: Stories) -> None:
    golden = await Golden.of(story_log, stories.run_ids["team"], name="team")
    team = todays("team")
    first = team.subagents[0]
    other = team.model_copy(update={"subagents": [first.model_copy(update={"instructions": "Do as you like."}), *team.subagents[1:]]})
    report = await check_golden(golden, other)
    (one,) = [each for each in report.divergences if each.field == "instructions"]
    assert (one.kind, one.actual) == ("prompt", "Do as you like.")
    assert one.today is not None
    assert one.today.agent_path == (team.name, first.name)


# ----------------------------------------------------------------------------------------------------------------------------- threads


async def test_every_run_of_a_thread_is_checked_on_its_recorded_history() -> None:
    """So that one that differs is one divergence, and not the beginning of many."""
    log = MemoryEventLog()
    clock = SimulatedClock(tick=0.01, autojump_threshold_s=0.01)
    async with Runner(log=log, clock=clock, ids=SeededIds(0), policy_engine=rules()) as runner:
        await runner.run(agent(says("Hello.")), user_message="Hi.", thread_id="t")
        second = await runner.run(agent(asks(REFUND), says("Paid.")), user_message="Pay.", thread_id="t")
        third = await runner.run(agent(says("Bye.")), user_message="Bye.", thread_id="t")
    await log.open()
    golden = await Golden.of(log, third.run_id, name="thread", thread=True)
    assert (await check_golden(golden, agent(), policy_engine=rules())).ok
    report = await check_golden(golden, agent(), policy_engine=rules(largest=10))
    assert found(report) == [("policy", "action"), ("result", "outcome"), ("missing", "tool_name")]
    assert report.divergences[0].recorded is not None
    assert report.divergences[0].recorded.run_id == golden.runs[1]
    assert [run.recorded for run in report.runs] == list(golden.runs)
    ids = [run.run_id for run in await log.runs(thread_id="t")][::-1]
    assert second.run_id in ids
    assert (await compare_with_golden(golden, log, ids)).ok
    assert (await compare_with_golden(golden, log, third.run_id)).ok
    with pytest.raises(UsageError, match="checks 3 runs"):
        await compare_with_golden(golden, log, ids[:2])


# ------------------------------------------------------------------------------------------------------------------ what proves nothing


async def test_a_golden_without_a_recorded_answer_measures_nothing() -> None:
    """The policy lets nobody be asked, so the run ended before it began."""
    nobody = PolicyEngine([PolicyRule(rule_id="off", action="deny", condition=lambda event: True, subjects=("llm",))])
    golden = await recorded(policy=nobody)
    report = await check_golden(golden, agent(), policy_engine=nobody)
    assert (report.outcome, report.served, report.ok, report.exit_code) == ("not_measurable", 0, False, 3)
    assert "no recorded answer" in report.reason


async def test_an_agent_that_cannot_be_made_measures_nothing(golden: Golden) -> None:
    def broken() -> Agent:
        raise KeyError("API_KEY")

    report = await check_golden(golden, broken)
    assert (report.outcome, report.reason) == ("not_measurable", "KeyError: 'API_KEY'")
    assert "made str" in (await check_golden(golden, lambda: "agent")).reason  # type: ignore[arg-type,return-value]


async def test_there_has_to_be_an_agent(golden: Golden) -> None:
    with pytest.raises(UsageError, match="needs today's agent"):
        await check_golden(golden, None)  # type: ignore[arg-type]


async def test_an_agent_may_be_made_by_a_function(golden: Golden) -> None:
    async def later() -> Agent:
        return agent()

    assert (await check_golden(golden, agent, policy_engine=rules())).ok
    assert (await check_golden(golden, later, policy_engine=rules())).ok


async def test_a_runner_may_be_made_by_a_function(golden: Golden) -> None:
    asked: list[RunnerConfig] = []

    def made(log: EventLog, config: RunnerConfig) -> Runner:
        asked.append(config)
        return Runner(log=log, config=config, policy_engine=rules(largest=10))

    assert found(await check_golden(golden, agent(), runner_factory=made))[0] == ("policy", "action")
    assert asked == [golden.config()]


async def test_a_file_that_cannot_have_happened_measures_nothing_where_nothing_contradicts_it(golden: Golden, tmp_path: Path) -> None:
    def cut(lines: list[dict[str, Any]]) -> None:
        lines.remove(events_in(lines, "tool_batch_started")[0])
        for seq, line in enumerate([line for line in lines if line.get("fact") == "event"], start=1):
            line["seq"] = seq

    report = await check_golden(edited(golden, tmp_path, cut), agent(), policy_engine=rules())
    assert report.outcome == "not_measurable"
    assert "lost-order.golden.jsonl:" in report.reason


OUTCOMES: dict[str, tuple[str, Any]] = {
    "an error": ("error", "the desk is closed"),
    "calls of the model": ("llm_calls", 7),
    "calls of tools": ("tool_calls", 7),
    "a price": ("cost_usd", 9.5),
    "tokens": ("tokens", [1, 2, 3]),
}


@pytest.mark.parametrize("change", OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_an_outcome_that_no_line_shows_is_held_against_all_of_them(golden: Golden, tmp_path: Path, change: tuple[str, Any]) -> None:
    """Somebody edits what the run is said to have come to, in the file."""
    name, value = change
    wrong = edited(golden, tmp_path, lambda lines: facts_in(lines, "outcome")[0].update({name: value}))
    report = await check_golden(wrong, agent(), policy_engine=rules())
    assert found(report) == [("result", name)]
    assert report.first is not None
    assert report.first.message.endswith("; restore the file")
    assert (await check_golden(wrong, agent(), mode="contract", policy_engine=rules())).ok


async def test_a_price_that_an_event_tells_otherwise_contradicts_the_outcome(golden: Golden, tmp_path: Path) -> None:
    dearer = edited(golden, tmp_path, lambda lines: events_in(lines, "llm_completed")[0]["data"].update(cost_usd=5.0))
    assert found(await check_golden(dearer, agent(), policy_engine=rules())) == [("result", "cost_usd")]


async def test_settings_that_no_runner_takes_are_told_in_a_sentence(golden: Golden, tmp_path: Path) -> None:
    def negative(lines: list[dict[str, Any]]) -> None:
        facts_in(lines, "agent")[0]["value"]["rendering"] = {"max_chars": -1}

    report = await check_golden(edited(golden, tmp_path, negative), agent(), policy_engine=rules())
    assert report.outcome == "not_measurable"
    assert report.reason.startswith("the recorded tool_output_max_chars cannot be (")
    assert report.reason.endswith("; restore the file, or give the check today's config")


async def test_a_run_that_is_not_there_is_the_callers_mistake(golden: Golden) -> None:
    log, _result = await ran()
    with pytest.raises(RunNotFoundError):
        await compare_with_golden(golden, log, "run_nobody")


def test_the_sync_twin_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    golden = asyncio.run(recorded())
    assert check_golden_sync(golden, agent(), policy_engine=rules()).ok


async def test_the_sync_twin_refuses_a_running_loop(golden: Golden) -> None:
    with pytest.raises(UsageError, match="await check_golden"):
        check_golden_sync(golden, agent())


# ------------------------------------------------------------------------------------------------------------- answers too few or too many


async def test_what_nobody_asks_for_any_more_is_left_over_and_missing() -> None:
    """The model may be asked once only, so its second and third answer are left."""
    golden = await recorded()
    report = await check_golden(golden, agent(limits={"max_llm_calls": 1}), mode="trajectory", policy_engine=rules())
    assert report.outcome == "diverged"
    assert {found.kind for found in report.divergences} == {"missing"}
    assert len(report.leftovers) == 4


async def test_what_was_never_recorded_is_extra(golden: Golden, tmp_path: Path) -> None:
    """A call that was denied has no recorded result; today it is let through."""
    golden = await recorded(policy=rules(largest=10))
    report = await check_golden(golden, agent(), policy_engine=rules())
    assert found(report)[0] == ("policy", "action")
    assert any(each.kind == "extra" and each.field == "tool_name" and each.actual == "refund" for each in report.divergences)
    assert ("result", "state") in found(report)


async def test_an_edit_that_changes_nothing_that_is_held_is_a_note(golden: Golden, tmp_path: Path) -> None:
    def other_output(lines: list[dict[str, Any]]) -> None:
        events_in(lines, "tool_completed")[0]["data"]["output"]["status"] = "found"

    report = await check_golden(edited(golden, tmp_path, other_output), agent(), policy_engine=rules())
    assert report.outcome == "passed"
    assert "edited by hand" in report.notes[0]


# ------------------------------------------------------------------------------------------------------------------ runs that happened


async def test_call_ids_of_a_real_model_make_no_difference(golden: Golden) -> None:
    from afk_es.llms import LLMResponse, ToolCall

    def renamed(answer: LLMResponse, stem: str) -> LLMResponse:
        calls = tuple(ToolCall(f"{stem}{number}", call.tool_name, call.arguments) for number, call in enumerate(answer.tool_calls))
        return answer.model_copy(update={"tool_calls": calls})

    script = (renamed(asks(LOOK), "toolu_a"), renamed(asks(REFUND, NOTIFY), "toolu_b"), says(ANSWER))
    log, result = await ran(agent(*script), seed=9)
    assert (await compare_with_golden(golden, log, result.run_id)).ok


async def test_all_divergences_are_found_and_a_bounded_number_is_kept() -> None:
    def script(shift: int) -> list[Any]:
        return [*[asks(("look", {"order": number + shift})) for number in range(70)], says(ANSWER)]

    plenty = {"max_steps": 100, "max_llm_calls": 100}
    golden = await recorded(agent(*script(0), limits=plenty))
    log, result = await ran(agent(*script(1000), limits=plenty))
    report = await compare_with_golden(golden, log, result.run_id)
    assert found(report)[0] == ("params", "arguments.order")
    assert len(report.divergences) == 50
    assert report.more >= 20
    places = [each.today.seq for each in report.divergences if each.today is not None]
    assert places == sorted(places)


async def test_notes_and_reports_are_data() -> None:
    import msgspec

    report = await check_golden(await recorded(), agent(instructions="x"), policy_engine=rules())
    data = msgspec.to_builtins(report)
    assert data["outcome"] == "diverged"
    assert data["divergences"][0]["kind"] == "prompt"
    assert msgspec.json.decode(msgspec.json.encode(report), type=CheckReport) == report
