"""Goal: a handler that raises, answers what it may not, cancels itself or never answers ends its stretch, and never the run.

Method: in a run that needs every kind of handler, each performance of each kind goes wrong in each way; then the run is resumed with sound
handlers. What had returned is not done again, and the result is that of the run in which nothing went wrong.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.errors import InvariantError
from afk_es.handlers import live_handlers
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.machine import Draft
from afk_es.machine.effects import AskPerson, CallModel, EvaluatePolicy, ExecuteTool, ResolveInstructions, ValidateOutput
from tests.core.scenario import Counted, agent, asks, limits, log_of, only

KINDS: dict[type, int] = {ResolveInstructions: 2, EvaluatePolicy: 4, CallModel: 2, AskPerson: 1, ExecuteTool: 2, ValidateOutput: 1}
"""The kinds of handlers, and how often the run needs each."""

INLINE = (EvaluatePolicy, ValidateOutput)
"""They compute and wait for nothing, so they cannot hang."""


class Answer(BaseModel):
    """What the agent is to say."""

    done: bool


class Clerks:
    """People who approve."""

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """Yes."""
        return ApprovalDecision(outcome="granted", by="ann")

    async def request_input(self, request: InputRequest) -> InputDecision:
        """Nobody asks."""
        raise AssertionError("nobody asks for words")


class Work:
    """An agent that needs every handler, and what its tools did."""

    def __init__(self) -> None:
        self.pay, self.put = Counted(name="pay"), Counted(name="put")

    def agent(self, *, wall_time_s: float = 100.0) -> Agent:
        """The agent; a resumed run may be given more time."""

        def answer(request: LLMRequest) -> Any:
            if any(message.role == "tool" for message in request.messages):
                return LLMResponse(text='{"done": true}', finish_reason="stop")
            return asks(("pay", {"n": 1}), ("put", {"n": 2}))

        return agent(
            answer,
            self.pay.tool,
            self.put.tool,
            instructions=_instructions,
            output_type=Answer,
            fail_safe=limits(max_wall_time_s=wall_time_s),
        )


async def _instructions(context: Any) -> str:
    return "Be brief."


RULE = PolicyRule(action="request_approval", subjects=("tool",), condition=PolicyRuleCondition(tool_name="pay"))


async def raises(effect: Any) -> Draft:
    raise KeyError("a bug")


async def answers_what_it_may_not(effect: Any) -> Draft:
    return Draft("run_completed", {"state": "completed"})


async def cancels_itself(effect: Any) -> Draft:
    raise asyncio.CancelledError


async def never_answers(effect: Any) -> Draft:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


BUGS: dict[Callable[[Any], Any], str] = {
    raises: "raised KeyError: 'a bug'",
    answers_what_it_may_not: "answered run_completed, which is none of its endings",
    cancels_itself: "was cancelled from inside",
}


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, kind: type | None, number: int, bug: Callable[[Any], Any]) -> Iterator[Counter[type]]:
    """The handler of this kind has the bug in its performance of this number."""
    performed: Counter[type] = Counter()

    def handlers(binding: Any, emit: Any, report: Any) -> Any:
        def counted(each: type, handler: Any) -> Any:
            async def perform(effect: Any, state: Any) -> Draft:
                performed[each] += 1
                if each is kind and performed[each] == number:
                    draft: Draft = await bug(effect)
                    return draft
                told: Draft = await handler(effect, state)
                return told

            return perform

        return {each: counted(each, handler) for each, handler in live_handlers(binding, emit, report).items()}

    with monkeypatch.context() as patched:
        patched.setattr("afk_es.core.runner.live_handlers", handlers)
        yield performed


@contextmanager
def _no_bug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[type]]:
    with broken(monkeypatch, None, 0, raises) as performed:
        yield performed


@pytest.fixture
async def desk() -> Any:
    """A Runner with rules and people."""
    config = RunnerConfig(interaction_mode="interactive")
    clock = SimulatedClock(autojump_threshold_s=0.01)
    people: Any = Clerks()
    async with Runner(
        log=":memory:", clock=clock, ids=SeededIds(7), config=config, policy_engine=PolicyEngine([RULE]), interaction_provider=people
    ) as opened:
        yield opened


def told(result: AgentResult) -> Any:
    return result.state, result.final_structured, sorted((record.tool_name, record.output) for record in result.tool_executions)


EXPECTED = ("completed", Answer(done=True), [("pay", "done 1"), ("put", "done 2")])


async def test_the_run_needs_every_handler_as_often_as_this_says(desk: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with _no_bug(monkeypatch) as performed:
        result = await desk.run(Work().agent(), user_message="go")
    assert told(result) == EXPECTED
    assert performed == KINDS


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
@pytest.mark.parametrize(("kind", "number"), [(kind, n) for kind, times in KINDS.items() for n in range(1, times + 1)])
async def test_a_bug_ends_the_stretch_and_the_run_goes_on_without_it(
    desk: Runner, monkeypatch: pytest.MonkeyPatch, kind: type, number: int, bug: Callable[[Any], Any]
) -> None:
    work = Work()
    with broken(monkeypatch, kind, number, bug):
        handle = await desk.run_handle(work.agent(), user_message="go")
        with pytest.raises(InvariantError) as caught:
            await asyncio.wait_for(handle.await_result(), 10)
    assert f"the handler of {kind.__name__} {BUGS[bug]}" in str(caught.value)
    before = await log_of(desk, handle.run_id)
    assert caught.value.run_id == handle.run_id
    assert caught.value.seq <= before[-1].seq, "what had happened before the bug is in the log, and perhaps what ended beside it"
    asked = len(only(before, "llm_completed"))
    with _no_bug(monkeypatch) as performed:
        result = await desk.resume(work.agent(), run_id=handle.run_id)
    assert performed[CallModel] == KINDS[CallModel] - asked, "a model that has answered is not asked again"
    await _came_to_its_end(desk, result, before, work)


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, n) for kind, times in KINDS.items() if kind not in INLINE for n in range(1, times + 1)]
)
async def test_one_that_never_answers_is_cut_by_the_deadline(
    desk: Runner, monkeypatch: pytest.MonkeyPatch, kind: type, number: int
) -> None:
    work = Work()
    with broken(monkeypatch, kind, number, never_answers):
        first = await asyncio.wait_for(desk.run(work.agent(), user_message="go"), 20)
    if kind is not AskPerson:  # A question has a term of its own, and what it falls back to is an answer.
        assert first.state == "interrupted"
        assert "max_wall_time_s" in (first.error or "")
    before = await log_of(desk, first.run_id)
    result = await desk.resume(work.agent(wall_time_s=100_000.0), run_id=first.run_id, allow_agent_change=True)
    await _came_to_its_end(desk, result, before, work)


async def _came_to_its_end(desk: Runner, result: AgentResult, before: list[Any], work: Work) -> None:
    events = await log_of(desk, result.run_id)
    assert events[: len(before)] == before
    assert await desk.log.verify(result.run_id) is None
    doubted = {event.data["intent_seq"] for event in events if event.type == "effect_in_doubt"}
    assert (work.pay.ran <= 1, work.put.ran <= 1) == (True, True), "neither tool may be repeated"
    unknown = {event.data["tool_name"] for event in only(events, "tool_completed") if event.data["outcome"] == "unknown"}
    assert bool(unknown) <= bool(doubted), "what nobody knows is said to be in doubt"
    state, structured, tools = told(result)
    assert (state, structured) == EXPECTED[:2]
    assert [item for item in tools if item[0] not in unknown] == [item for item in EXPECTED[2] if item[0] not in unknown]
