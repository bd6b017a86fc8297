"""A run as spans: what is under what, when it began and ended, what is said of it; the same whenever and by whomever it is read."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from msgspec.structs import replace

from afk_es.agents import FailSafeConfig
from afk_es.errors import LLMRetryableError
from afk_es.machine import AgentRunEvent
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from afk_es.views import Span, SpanReader, genai, spans
from afk_es.views.spans import delegation_span_id, stretch_span_id, trace_id
from tests.views.runs import add, agent, calls, eventful, events_of
from tests.views.test_metrics import answered, called, failed, over, started, story
from tests.views.test_metrics import tool as of


def named(found: list[Span], name: str) -> list[Span]:
    return [span for span in found if span.name == name]


def moments(span: Span) -> list[str]:
    return [event.name for event in span.events]


async def test_the_tree_of_an_eventful_run() -> None:
    events = await eventful()
    found = spans(events)
    root, *children = found
    assert [span.name for span in found] == [
        "invoke_agent agent",
        "chat scripted-1",
        "execute_tool add",
        "execute_tool flaky",
        "chat scripted-1",
        "chat scripted-1",
    ]
    assert root.parent_id is None
    assert {span.parent_id for span in children} == {root.span_id}
    assert len({span.span_id for span in found}) == len(found)
    assert {span.trace_id for span in found} == {trace_id(events[0].run_id)}
    assert [span.kind for span in found] == ["internal", "client", "internal", "internal", "client", "client"]
    assert (root.start, root.end) == (events[0].at, events[-1].at)
    assert all(root.start <= span.start <= span.end <= root.end for span in children)
    assert all(span.error is None for span in found)


async def test_what_is_said_of_a_run_a_request_and_a_tool() -> None:
    events = await eventful()
    root, chat, adding, flaky, *_ = spans(events)
    assert root.attributes == {
        genai.OPERATION: "invoke_agent",
        genai.AGENT_NAME: "agent",
        genai.CONVERSATION: events[0].thread_id,
        genai.RUN_ID: events[0].run_id,
        genai.EPOCH: 1,
        genai.PROVIDER: "scripted",
        genai.REQUEST_MODEL: "scripted-1",
        genai.INPUT_TOKENS: 30,
        genai.OUTPUT_TOKENS: 6,
        genai.COST: 0.75,
        genai.STATE: "completed",
        genai.STEPS: 3,
    }
    assert chat.attributes == {
        genai.OPERATION: "chat",
        genai.PROVIDER: "scripted",
        genai.REQUEST_MODEL: "scripted-1",
        genai.CONVERSATION: events[0].thread_id,
        genai.STEP: 1,
        genai.ATTEMPTS: 1,
        genai.INPUT_TOKENS: 10,
        genai.OUTPUT_TOKENS: 2,
        genai.COST: 0.25,
        genai.FINISH_REASONS: ("tool_calls",),
    }
    assert adding.attributes == {
        genai.OPERATION: "execute_tool",
        genai.TOOL_NAME: "add",
        genai.TOOL_CALL_ID: "c1",
        genai.TOOL_TYPE: "function",
        genai.STEP: 1,
        genai.ATTEMPTS: 1,
        genai.OUTCOME: "returned",
    }
    assert (moments(flaky), flaky.attributes[genai.ATTEMPTS]) == (["attempt", "failure", "attempt"], 2)
    assert genai.ERROR_TYPE not in flaky.attributes, "what went well in the end is no error"
    assert moments(root) == ["afk.policy_decision", "afk.tool_completed"], "the denied call was never executed"


async def test_content_is_told_only_to_whoever_asks() -> None:
    events = await eventful()
    content = {genai.INPUT_MESSAGES, genai.OUTPUT_MESSAGES, genai.TOOL_ARGUMENTS, genai.TOOL_RESULT}
    assert not any(content & span.attributes.keys() for span in spans(events))
    root, chat, adding, *_ = spans(events, content=True)
    assert json.loads(str(root.attributes[genai.INPUT_MESSAGES])) == [{"role": "user", "parts": [{"type": "text", "content": "go"}]}]
    asked = json.loads(str(chat.attributes[genai.OUTPUT_MESSAGES]))[0]["parts"]
    assert [part["name"] for part in asked] == ["add", "flaky"]
    assert (adding.attributes[genai.TOOL_ARGUMENTS], adding.attributes[genai.TOOL_RESULT]) == ('{"a":1,"b":2}', "3")


async def test_one_request_over_all_its_attempts_and_another_for_the_fallback() -> None:
    described = agent(
        LLMRetryableError("a", status_code=503),
        LLMRetryableError("b", status_code=503),
        LLMRetryableError("c", status_code=503),
        fail_safe=FailSafeConfig(max_wall_time_s=None, fallback_model_chain=(ScriptedModel(["well"], model="spare"),)),
    )
    events = await events_of(described)
    root, first, second = spans(events)
    assert (first.name, second.name) == ("chat scripted-1", "chat spare")
    assert moments(first) == ["attempt", "failure", "attempt", "failure", "attempt", "failure"]
    assert (first.error, first.attributes[genai.ERROR_TYPE], first.attributes[genai.ATTEMPTS]) == ("c", "LLMRetryableError", 3)
    assert first.end == [event.at for event in events if event.type == "llm_failed"][-1]
    assert (second.error, root.error, root.attributes[genai.STATE]) == (None, None, "completed")


async def test_a_failed_run_says_why() -> None:
    root, chat = spans(await events_of(agent(LLMRetryableError("no"), fail_safe=FailSafeConfig(llm_failure_policy="fail_fast"))))
    assert chat.attributes[genai.ERROR_TYPE] == "LLMRetryableError"
    assert root.error is not None
    assert root.attributes[genai.ERROR_TYPE]


async def test_a_tool_that_failed_for_good() -> None:
    @tool
    async def break_down() -> str:
        raise OSError("gone")

    (broken,) = named(spans(await events_of(agent(calls(("break_down", {})), "sorry", tools=(break_down,)))), "execute_tool break_down")
    assert (broken.attributes[genai.ERROR_TYPE], broken.attributes[genai.OUTCOME]) == ("OSError", "failed")
    assert "gone" in str(broken.error)


def test_what_is_cut_by_the_end_of_the_run_ends_with_it() -> None:
    found = spans(
        story(
            (0, "run_started", started()),
            (1, "llm_called", called()),
            (2, "llm_completed", answered("a")),
            (3, "tool_started", of("a", "c1", attempt=1)),
            (4, "llm_called", called()),
            (5, "run_cancelled", {"reason": "enough"}),
        )
    )
    assert [(span.end - found[0].start).total_seconds() for span in found] == [5, 2, 5, 5]
    assert found[3].attributes[genai.ERROR_TYPE] == "running", "the state of this story's events"
    assert not any(genai.UNFINISHED in span.attributes for span in found)


def test_a_dead_process_leaves_unfinished_spans_and_the_next_stretch_links_to_them() -> None:
    events = story(
        (0, "run_started", started()),
        (1, "llm_called", called()),
        (2, "warning", {"kind": "k"}),
        (50, "run_started", started(2)),
        (51, "effect_in_doubt", {"effect": "llm", "intent_seq": 2, "resolution": "ask_again"}),
        (52, "llm_called", called(2)),
        (53, "llm_completed", answered()),
        (54, "run_completed", {"state": "completed"}),
    )
    found = spans(events)
    died, cut, resumed, asked = found
    assert (died.attributes[genai.UNFINISHED], cut.attributes[genai.UNFINISHED]) == (True, True)
    assert died.end == cut.end == events[2].at
    assert (resumed.links[0].trace_id, resumed.links[0].span_id) == (died.trace_id, died.span_id)
    assert asked.parent_id == resumed.span_id
    assert moments(resumed) == ["afk.effect_in_doubt"]
    assert spans(events[:3]) == [died, cut], "without the rest it is unfinished just so"
    assert spans(events[3:]) == [resumed, asked], "whoever sees only the later stretch tells the same of it"


async def test_event_by_event_each_span_is_told_once_and_the_same() -> None:
    events = await eventful()
    reader = SpanReader()
    told = [span for event in events for span in reader.read(event)]
    assert sorted(told, key=lambda span: span.seq) == spans(events)
    assert told[-1].name == "invoke_agent agent"
    assert reader.cut() == []


async def test_every_beginning_of_a_run_can_be_told() -> None:
    events = await eventful()
    whole = {span.span_id for span in spans(events)}
    for length in range(len(events) + 1):
        found = spans(events[:length])
        assert {span.span_id for span in found} <= whole
        unfinished = [span.name for span in found if span.attributes.get(genai.UNFINISHED)]
        assert unfinished[:1] == ([] if length in (0, len(events)) else ["invoke_agent agent"])
    assert spans(events[3:]) == [], "without the beginning of a stretch there is nothing to be under"


def delegated(run_id: str, call_id: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "subagent_name": "helper",
        "correlation_id": "x",
        "run_id": run_id,
        "tool_name": "transfer_to_helper",
        "tool_call_id": call_id,
        **more,
    }


def returned(run_id: str, call_id: str = "c1", error: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"subagent_name": "helper", "success": error is None, "latency_ms": 1.0, "error": error, "run_id": run_id}
    return {**told, "tool_call_id": call_id, **more}


def delegating(*facts: tuple[float, str, dict[str, Any]]) -> list[AgentRunEvent]:
    return story(
        (0, "run_started", started()),
        (1, "llm_called", called()),
        (2, "llm_completed", answered("transfer_to_helper")),
        *facts,
        (9, "run_completed", {"state": "completed"}),
    )


def child_of(root: str, run_id: str = "run_child") -> list[AgentRunEvent]:
    parent = {"run_id": "run_1", "tool_call_id": "c1", "root": root}
    events = story((4, "run_started", {**started(), "parent": parent}), (5, "run_completed", {"state": "completed"}))
    return [replace(event, run_id=run_id) for event in events]


def test_a_subagents_run_joins_its_parents_trace_under_the_call_it_serves() -> None:
    found = spans(
        delegating(
            (3, "subagent_started", delegated("run_child")),
            (6, "subagent_completed", returned("run_child")),
            (7, "tool_completed", over("transfer_to_helper", "c1")),
        )
    )
    (call,) = named(found, "execute_tool transfer_to_helper")
    (child,) = spans(child_of("run_1"))
    assert child.parent_id == call.span_id == delegation_span_id("run_child")
    assert child.trace_id == call.trace_id == trace_id("run_1")
    assert (call.attributes[genai.SUBAGENT], call.attributes[genai.SUBAGENT_RUN]) == ("helper", "run_child")
    assert ((call.end - call.start).total_seconds(), call.attributes[genai.OUTCOME]) == (3, "returned")
    assert moments(found[0]) == [], "that the model was told of it is no news"


def test_each_attempt_of_a_subagent_is_a_run_and_a_span() -> None:
    found = spans(
        delegating(
            (3, "subagent_started", delegated("run_child")),
            (4, "subagent_completed", returned("run_child", error="lost", error_type="Timeout")),
            (5, "subagent_started", delegated("run_again", attempt=2)),
            (6, "subagent_completed", returned("run_again")),
            (7, "tool_completed", over("transfer_to_helper", "c1")),
        )
    )
    first, second = named(found, "execute_tool transfer_to_helper")
    assert (first.error, first.attributes[genai.ERROR_TYPE], second.error) == ("lost", "Timeout", None)
    assert [first.span_id, second.span_id] == [delegation_span_id("run_child"), delegation_span_id("run_again")]
    assert second.attributes[genai.ATTEMPTS] == 2


def test_a_call_with_a_start_of_its_own_takes_the_childs_id_and_ends_with_its_result() -> None:
    found = spans(
        delegating(
            (3, "tool_started", of("transfer_to_helper", "c1", attempt=1)),
            (3, "subagent_started", delegated("run_child")),
            (6, "subagent_completed", returned("run_child")),
            (7, "tool_completed", over("transfer_to_helper", "c1")),
        )
    )
    (call,) = named(found, "execute_tool transfer_to_helper")
    assert (call.span_id, (call.end - call.start).total_seconds()) == (delegation_span_id("run_child"), 4)


def test_subagents_of_a_router_are_known_by_their_correlation() -> None:
    begun = {"subagent_name": "helper", "correlation_id": "node-1", "run_id": "run_child"}
    ended = {
        "subagent_name": "helper",
        "success": False,
        "latency_ms": 1.0,
        "error": None,
        "correlation_id": "node-1",
        "run_id": "run_child",
    }
    found = spans(
        story(
            (0, "run_started", started()),
            (1, "subagent_started", begun),
            (4, "subagent_completed", ended),
            (5, "subagent_completed", {**ended, "correlation_id": "of another stretch"}),
            (9, "run_completed", {"state": "completed"}),
        )
    )
    (call,) = named(found, "execute_tool helper")
    assert ((call.end - call.start).total_seconds(), call.error) == (3, "the subagent failed")
    assert call.attributes[genai.ERROR_TYPE] == "SubagentFailed"


def test_grandchildren_are_in_the_roots_trace_and_a_parent_without_a_root_is_one() -> None:
    assert spans(child_of("run_0"))[0].trace_id == trace_id("run_0")
    orphan = child_of("")
    assert spans(orphan)[0].trace_id == trace_id("run_1")


def test_deferred_calls_end_when_they_are_deferred_and_background_news_are_moments() -> None:
    ticket = {"ticket_id": "t1", "status": "pending", "summary": None, "resume_hint": None}
    found = spans(
        story(
            (0, "run_started", started()),
            (1, "llm_failed", failed(0)),
            (2, "tool_started", of("a", "c1", attempt=1)),
            (3, "tool_deferred", of("a", "c1", **ticket)),
            (4, "tool_background_resolved", of("a", "c1", ticket_id="t1", output=1)),
            (5, "tool_failed", of("a", "c9", attempt=0, error="e", error_type="E", classification="non_fatal")),
            (6, "llm_completed", answered()),
            (7, "run_completed", {"state": "completed"}),
        )
    )
    root, call = found
    assert call.attributes[genai.OUTCOME] == "deferred"
    assert moments(root) == ["afk.llm_failed", "afk.tool_background_resolved", "afk.tool_failed"]
    assert root.events[1].attributes["afk.ticket_id"] == "t1"


def test_ids_have_the_lengths_that_opentelemetry_wants() -> None:
    assert len(trace_id("r")) == 32
    assert len(stretch_span_id("r", 1)) == len(delegation_span_id("r")) == 16
    assert stretch_span_id("r", 1) != stretch_span_id("r", 2)


def test_a_response_model_and_cached_tokens_are_told_where_they_are_known() -> None:
    answer = answered(usage=(10, 2), cost=None) | {"model": "m0-0613", "finish_reason": "stop"}
    answer["usage"] |= {"cache_read_input_tokens": 7}
    _root, chat = spans(story((0, "run_started", started()), (1, "llm_called", called()), (2, "llm_completed", answer)))
    assert (chat.attributes[genai.RESPONSE_MODEL], chat.attributes[genai.CACHED_TOKENS]) == ("m0-0613", 7)
    assert genai.COST not in chat.attributes


async def test_times_are_those_of_the_log() -> None:
    events = await events_of(agent(calls(("add", {"a": 1, "b": 1})), "2", tools=(add,)))
    at = {event.seq: event.at for event in events}
    assert all(span.start == at[span.seq] for span in spans(events))
    assert all(isinstance(span.end, dt.datetime) for span in spans(events))


def forked_story(*facts: tuple[float, str, dict[str, Any]], epoch: int = 2) -> list[Any]:
    """A run that shares one request under way with the run it was forked from, and what its own process did then."""
    base = {"run_id": "run_0", "seq": 2}
    shared = [(0.0, "run_started", started()), (1.0, "llm_called", called())]
    return story(*shared, (5.0, "run_started", {**started(epoch), "resumed": False, "forked_from": base}), *facts)


def test_a_fork_links_to_the_stretch_it_was_forked_from_and_says_what_it_reused() -> None:
    again = called() | {"attempt": 1}
    found = spans(
        forked_story(
            (6, "llm_called", again), (6, "llm_completed", answered() | {"reused": 2}), (7, "run_completed", {"state": "completed"})
        )
    )
    root = named(found, "invoke_agent desk")[-1]
    assert [(link.trace_id, link.span_id) for link in root.links] == [(trace_id("run_0"), stretch_span_id("run_0", 1))]
    chat = named(found, "chat m0")[-1]
    assert chat.attributes[genai.REUSED] is True
    for span in (root, chat):
        assert genai.INPUT_TOKENS not in span.attributes, "the other run has used it up"
