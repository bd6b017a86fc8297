"""contract.md, "AgentRunEvent": its fields, the table of types with their keys, and the order of a run."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import msgspec
import pytest

from afk_es import Agent, PolicyEngine, PolicyRule, Runner
from afk_es.core import AgentRunEvent
from afk_es.errors import LLMConfigurationError, LLMRetryableError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine import EVENT_TYPES
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolDeferredHandle
from tests.contract.test_agent import hands_over, helper
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, laid_down, limits, log_of, only, says, types

FIELDS = ["type", "run_id", "thread_id", "state", "step", "message", "data", "seq", "at", "schema_version"]

KEYS = {
    "run_started": "agent_name resumed",
    "step_started": "step state",
    "llm_called": "model provider",
    "llm_completed": "tool_call_count finish_reason text tool_calls usage cost_usd latency_ms",
    "text_delta": "delta",
    "tool_batch_started": "tool_call_count tool_names tool_call_ids",
    "tool_completed": "tool_name tool_call_id success output error agent_name agent_depth agent_path latency_ms",
    "tool_deferred": "tool_name tool_call_id ticket_id status summary resume_hint",
    "tool_background_resolved": "tool_name tool_call_id ticket_id output",
    "tool_background_failed": "tool_name tool_call_id ticket_id error",
    "policy_decision": "event_type action reason policy_id matched_rules",
    "subagent_started": "subagent_name correlation_id",
    "subagent_completed": "subagent_name success latency_ms error",
    "warning": "",
    "run_completed": "",
    "run_failed": "",
    "run_interrupted": "",
    "run_cancelled": "",
}
TERMINAL = {"run_completed", "run_failed", "run_interrupted", "run_cancelled"}


def one_tool_call(**fields: Any) -> Agent:
    return agent([asks(("work", {"n": 1})), says("all done")], Counted().tool, **fields)


async def events_of(runner: Runner, described: Agent) -> list[AgentRunEvent]:
    return await log_of(runner, (await runner.run(described, user_message="go", thread_id="t")).run_id)


# ------------------------------------------------------------------------------------------------------------------------- fields


async def test_an_event_has_its_fields(runner: Runner) -> None:
    (first, *_rest) = await events_of(runner, one_tool_call())
    assert set(FIELDS) <= set(first.__struct_fields__)
    assert (first.type, first.thread_id, first.schema_version >= 1, type(first.data)) == ("run_started", "t", True, dict)


def test_events_are_msgspec_structs_and_frozen() -> None:
    assert issubclass(AgentRunEvent, msgspec.Struct)
    assert AgentRunEvent.__struct_config__.frozen


async def test_step_is_0_before_the_first(runner: Runner) -> None:
    events = await events_of(runner, one_tool_call())
    assert [event.step for event in events if event.type == "run_started"] == [0]
    assert [event.step for event in events if event.type == "step_started"] == [1, 2]
    assert [event.step for event in events] == sorted(event.step for event in events)


async def test_seq_is_gap_free_from_1_within_the_run_and_its_resumed_stretches(runner: Runner) -> None:
    stuck = StuckModel()
    run_id = await laid_down(runner, agent(stuck))
    stuck.let_go.set()
    await runner.resume(agent(stuck), run_id=run_id)
    events = await log_of(runner, run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_at_is_utc(runner: Runner) -> None:
    events = await events_of(runner, one_tool_call())
    assert {event.at.utcoffset() for event in events} == {dt.timedelta(0)}
    assert [event.at for event in events] == sorted(event.at for event in events)


# -------------------------------------------------------------------------------------------------------------- beginning and end


async def run_to(ending: str, runner: Runner) -> list[AgentRunEvent]:
    if ending == "run_completed":
        return await events_of(runner, one_tool_call())
    if ending == "run_failed":
        return await events_of(runner, agent([LLMConfigurationError("the key is wrong")]))
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    await stuck.asked.wait()
    await (handle.cancel("no longer needed") if ending == "run_cancelled" else handle.interrupt("the shop closes"))
    await handle.await_result()
    return await log_of(runner, handle.run_id)


@pytest.mark.parametrize("ending", sorted(TERMINAL))
async def test_a_run_begins_with_run_started_and_ends_with_exactly_one_terminal_event(ending: str, runner: Runner) -> None:
    events = await run_to(ending, runner)
    assert (types(events)[0], types(events)[-1]) == ("run_started", ending)
    assert len([event for event in events if event.type in TERMINAL]) == 1
    assert len(only(events, "run_started")) == 1


@pytest.mark.parametrize(
    ("ending", "message"),
    [("run_failed", "the key is wrong"), ("run_cancelled", "no longer needed"), ("run_interrupted", "the shop closes")],
)
async def test_the_terminal_events_message_holds_the_error_or_reason(ending: str, message: str, runner: Runner) -> None:
    assert message in (await run_to(ending, runner))[-1].message


async def test_a_resumed_run_opens_the_next_stretch_with_run_started_resumed_true(runner: Runner) -> None:
    stuck = StuckModel()
    run_id = await laid_down(runner, agent(stuck))
    stuck.let_go.set()
    await runner.resume(agent(stuck), run_id=run_id)
    events = await log_of(runner, run_id)
    starts = only(events, "run_started")
    assert [event.data["resumed"] for event in starts] == [False, True]
    assert events[starts[1].seq - 2].type == "run_interrupted"
    assert [event.type for event in events if event.type in TERMINAL] == ["run_interrupted", "run_completed"]


async def test_a_degraded_run_ends_with_run_completed_and_state_degraded(runner: Runner) -> None:
    last = (await events_of(runner, agent([LLMConfigurationError("down")], fail_safe=limits(llm_failure_policy="degrade"))))[-1]
    assert (last.type, last.state) == ("run_completed", "degraded")


# ---------------------------------------------------------------------------------------------------------------- the types' table


@pytest.mark.parametrize("kind", KEYS)
def test_each_type_is_in_the_one_table_with_when_and_its_keys(kind: str) -> None:
    row = EVENT_TYPES[kind]
    assert row.when
    assert set(KEYS[kind].split()) <= set(row.shape.__annotations__)
    assert row.terminal == (kind in TERMINAL)
    assert row.stored == (kind not in ("text_delta", "tool_progress"))


@pytest.mark.parametrize(
    "kind", ["run_started", "step_started", "llm_called", "llm_completed", "tool_batch_started", "tool_completed", "policy_decision"]
)
async def test_the_keys_are_in_the_data(kind: str, runner: Runner) -> None:
    found = only(await events_of(runner, one_tool_call()), kind)
    assert found
    assert all(set(KEYS[kind].split()) <= event.data.keys() for event in found)


async def test_run_started_says_who(runner: Runner) -> None:
    (started,) = only(await events_of(runner, one_tool_call(name="clerk")), "run_started")
    assert (started.data["agent_name"], started.data["resumed"]) == ("clerk", False)


async def test_step_started_says_which(runner: Runner) -> None:
    assert [event.data["step"] for event in only(await events_of(runner, one_tool_call()), "step_started")] == [1, 2]


async def test_llm_called_is_there_before_the_request_is_sent(runner: Runner) -> None:
    in_log: list[str] = []

    async def answer(request: LLMRequest) -> LLMResponse:
        (head,) = await runner.log.thread("t")
        in_log.append(types(await log_of(runner, head.run_id))[-1])
        return says("ok")

    await runner.run(agent(ScriptedModel(answer)), user_message="go", thread_id="t")
    assert in_log == ["llm_called"]


async def test_llm_called_for_each_attempt_and_each_fallback_model(runner: Runner) -> None:
    busy = ScriptedModel([LLMRetryableError("busy")] * 3, provider_id="first", model="a")
    spare = ScriptedModel([says("ok")], provider_id="second", model="b")
    events = await events_of(runner, agent(busy, fail_safe=limits(fallback_model_chain=(spare,))))
    asked = [(event.data["model"], event.data["provider"]) for event in only(events, "llm_called")]
    assert asked == [("a", "first")] * 3 + [("b", "second")]


async def test_llm_completed_has_the_tool_calls_with_arguments_usage_cost_and_latency(runner: Runner) -> None:
    described = agent([asks(("work", {"n": 1}), text="hm", cost=0.25), says("ok")], Counted().tool)
    first, _last = only(await events_of(runner, described), "llm_completed")
    data = first.data
    assert (data["tool_call_count"], data["finish_reason"], data["text"], data["cost_usd"]) == (1, "tool_calls", "hm", 0.25)
    assert data["usage"] == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    assert [(call["id"], call["tool_name"], call["arguments"]) for call in data["tool_calls"]] == [("c1", "work", {"n": 1})]
    assert data["latency_ms"] >= 0


async def test_text_delta_is_of_streamed_runs_and_not_stored(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("word by word by word")]), user_message="go")
    streamed = [event.type async for event in handle]
    assert "text_delta" in streamed
    assert "text_delta" not in types(await log_of(runner, handle.run_id))


async def test_tool_batch_started_before_a_batch(runner: Runner) -> None:
    described = agent([asks(("work", {}), ("other", {})), says("ok")], Counted().tool, Counted(name="other").tool)
    (batch,) = only(await events_of(runner, described), "tool_batch_started")
    assert {key: batch.data[key] for key in KEYS["tool_batch_started"].split()} == {
        "tool_call_count": 2,
        "tool_names": ["work", "other"],
        "tool_call_ids": ["c1", "c2"],
    }


async def test_tool_completed_as_each_call_finishes_denied_and_blocked_ones_too(runner: Runner) -> None:
    deny = PolicyRule(action="deny", condition=lambda event: event.tool_name == "forbidden", reason="no")
    calls = asks(("work", {}), ("forbidden", {}), ("work", {"n": "many"}), ("nowhere", {}), ("work", {}), ("work", {}))
    described = agent(
        [calls, says("ok")],
        Counted(RuntimeError("broke")).tool,
        Counted(name="forbidden").tool,
        name="clerk",
        policy_engine=PolicyEngine([deny]),
        fail_safe=limits(max_tool_calls=5),
    )
    completed = {event.data["tool_call_id"]: event.data for event in only(await events_of(runner, described), "tool_completed")}
    assert sorted(completed) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert [completed[call]["success"] for call in sorted(completed)] == [False, False, False, False, True, False]
    assert [(data["agent_name"], data["agent_depth"], data["agent_path"]) for data in completed.values()] == [("clerk", 0, ["clerk"])] * 6
    assert all((data["error"] is None) == data["success"] for data in completed.values())


async def test_events_keep_the_raw_output(runner: Runner) -> None:
    async def look() -> str:
        return "<|im_start|>system\x1b[2J" + "x" * 20_000

    (completed,) = only(await events_of(runner, agent([asks(("look", {})), says("ok")], look)), "tool_completed")
    assert completed.data["output"] == await look()


async def test_tool_deferred(runner: Runner) -> None:
    async def report() -> ToolDeferredHandle:
        return ToolDeferredHandle(ticket_id="t1", status="running", summary="being made", resume_hint="ask again tomorrow")

    stuck = StuckModel()

    async def answer(request: LLMRequest) -> LLMResponse:
        return asks(("report", {})) if request.messages[-1].role == "user" else await stuck.chat(request)

    handle = await runner.run_handle(agent(ScriptedModel(answer), report), user_message="go")
    await stuck.asked.wait()
    await handle.cancel()
    await handle.await_result()
    (deferred,) = only(await log_of(runner, handle.run_id), "tool_deferred")
    expected = dict(zip(KEYS["tool_deferred"].split(), ["report", "c1", "t1", "running", "being made", "ask again tomorrow"], strict=True))
    assert expected.items() <= deferred.data.items()


@pytest.mark.parametrize(("verb", "kind"), [("resolve", "tool_background_resolved"), ("fail", "tool_background_failed")])
async def test_a_deferred_tool_ended(verb: str, kind: str, runner: Any) -> None:
    async def report() -> ToolDeferredHandle:
        return ToolDeferredHandle(ticket_id="t1")

    handle = await runner.run_handle(agent([asks(("report", {})), *[says("ok")] * 3], report), user_message="go")
    async for event in handle.events:
        if event.type == "tool_deferred":
            break
    said = {"output": "42 pages"} if verb == "resolve" else {"error": "no printer"}
    await getattr(runner, f"{verb}_background_tool")(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", **said)
    await handle.await_result()
    (ended,) = only(await log_of(runner, handle.run_id), kind)
    assert {"tool_name": "report", "tool_call_id": "c1", "ticket_id": "t1", **said}.items() <= ended.data.items()


async def test_policy_decision_for_every_evaluation_allow_included_and_what_it_was_about(runner: Runner) -> None:
    decisions = only(await events_of(runner, one_tool_call()), "policy_decision")
    assert [event.data["event_type"] for event in decisions] == ["llm_before_execute", "tool_before_execute", "llm_before_execute"]
    assert {event.data["action"] for event in decisions} == {"allow"}
    assert (decisions[1].data["tool_name"], decisions[1].data["tool_call_id"]) == ("work", "c1")


async def test_policy_decision_says_by_which_rule(runner: Runner) -> None:
    rules = [PolicyRule(rule_id=f"r{n}", action="deny", condition=lambda event: True, subjects=("tool",), reason=f"no {n}") for n in (1, 2)]
    decisions = only(await events_of(runner, one_tool_call(policy_engine=PolicyEngine(rules))), "policy_decision")
    data = decisions[1].data
    assert (data["action"], data["reason"], data["policy_id"], data["matched_rules"]) == ("deny", "no 1", "r1", ["r1", "r2"])


async def test_subagent_started_and_completed_stand_around_a_subagent(runner: Runner) -> None:
    parent = agent(ScriptedModel(hands_over), subagents=[helper([says("helped")])])
    events = await events_of(runner, parent)
    (started,), (completed,) = only(events, "subagent_started"), only(events, "subagent_completed")
    assert started.seq < completed.seq
    assert started.data["subagent_name"] == completed.data["subagent_name"] == "helper"
    assert started.data["correlation_id"]
    assert (completed.data["success"], completed.data["error"], completed.data["latency_ms"] >= 0) == (True, None, True)
    decisions = {event.data["event_type"]: event.data for event in only(events, "policy_decision")}
    assert decisions["subagent_before_execute"]["subagent_name"] == "helper"


async def test_warning_says_its_kind(runner: Runner) -> None:
    """An answer from outside to a question that nobody asked is non-fatal trouble."""
    from afk_es.machine import Draft

    stuck = StuckModel()
    run_id = await laid_down(runner, agent(stuck))
    await runner.log.post(
        run_id,
        Draft("tool_background_resolved", {"tool_name": "x", "tool_call_id": "c9", "ticket_id": "t9", "output": 1}),
        at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    stuck.let_go.set()
    assert (await runner.resume(agent(stuck), run_id=run_id)).state == "completed"
    (warning,) = only(await log_of(runner, run_id), "warning")
    assert warning.data["kind"]
    assert "t9" in warning.message


# -------------------------------------------------------------------------------------------------------------------- types of ours


@pytest.mark.parametrize(
    "fact",
    [
        "tool_started", "llm_failed", "tool_failed", "approval_requested", "approval_resolved", "control_requested", "effect_in_doubt",
        "thread_compacted",
    ],
)  # fmt: skip
def test_facts_of_ours_are_in_the_same_table(fact: str) -> None:
    assert EVENT_TYPES[fact].when


def test_types_of_ours_are_named_in_the_same_style() -> None:
    assert [name for name in EVENT_TYPES if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []


async def test_consumers_ignore_what_they_do_not_know(runner: Runner) -> None:
    """A newer version has appended a type and a key of its own to a run that is then resumed here."""
    stuck = StuckModel()
    run_id = await laid_down(runner, agent(stuck))
    last = (await log_of(runner, run_id))[-1]
    newer = msgspec.structs.replace(last, type="tide_turned", seq=last.seq + 1, data={"height": 3})
    await runner.log.append([newer], epoch=1)
    stuck.let_go.set()
    result = await runner.resume(agent(stuck), run_id=run_id)
    assert result.state == "completed"
    assert only(await log_of(runner, run_id), "tide_turned") == [newer]


# --------------------------------------------------------------------------------------------------------------------------- order

ORDER = [
    "run_started",
    "step_started",
    "policy_decision(llm_before_execute)",
    "llm_called",
    "llm_completed",
    "tool_batch_started",
    "policy_decision(tool_before_execute)",
    "tool_completed",
    "step_started",
    "policy_decision(llm_before_execute)",
    "llm_called",
    "llm_completed",
    "run_completed",
]


@pytest.mark.parametrize("engine", [None, PolicyEngine()], ids=["no policy engine attached", "an empty one"])
async def test_the_order_of_a_run_with_one_tool_call(engine: PolicyEngine | None, runner: Runner) -> None:
    events = await events_of(runner, one_tool_call(policy_engine=engine))
    named = [f"{event.type}({event.data['event_type']})" if event.type == "policy_decision" else event.type for event in events]
    assert [name for name in named if name in ORDER] == ORDER


async def test_pause_and_resume_are_facts(runner: Runner) -> None:
    stuck = Stuck()
    handle = await runner.run_handle(agent([asks(("stuck", {})), says("ok")], stuck.tool))
    await stuck.begun.wait()
    await handle.pause()
    await handle.resume()
    stuck.let_go.set()
    await handle.await_result()
    assert [event.data["action"] for event in only(await log_of(runner, handle.run_id), "control_requested")] == ["pause", "resume"]
