"""Goal: whatever a provider does, the run goes on as its policy says, and its log tells each attempt.

Method: LiteLLM against a local server that fails as it is told to; each row is a run, streamed and not, whose events are compared whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, AgentRunEvent, Runner
from afk_es.llms import BuiltModel, LLMBuilder, litellm_clients
from afk_es.tools import tool
from tests.core.scenario import agent, limits, log_of, only, types
from tests.support.openai_server import BrokenStream, HttpAnswer, NoAnswer, OpenAIServer, Reply, SlowStream, error

ANSWER = {"content": "It is a good answer, whole and in order."}
BUSY = error(503, "busy")
PATIENT_S = 30.0
GIVE_UP_S = 1.5
"""Real seconds, where a provider falls silent: long enough for an answer on a busy machine, and slow tokens take longer in all."""

ALWAYS: Any = object()
"""In a script: what stands before it, for ever."""


@dataclass(frozen=True)
class Row:
    """What the provider does, and what the log shows of it.

    Attributes:
        script: the replies of the first model, in order.
        events: of the run from its first `llm_called` to its last `llm_completed`: `a1` a request to the first model, `b1` one to the
            fallback, `retryable LLMTimeoutError` and its like a failure, `wait`, `open` the breaker's, `answer`.
        streamed_only: it is about streams.
        waits_s: the least the first wait took.
        settings: of the agent's FailSafeConfig.
        give_up_s: the model's timeouts.
    """

    script: tuple[Any, ...]
    events: str
    streamed_only: bool = False
    waits_s: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    give_up_s: float = PATIENT_S


ROWS: dict[str, Row] = {
    "well": Row((ANSWER,), "a1, answer"),
    "429": Row((error(429, "slow down"), ANSWER), "a1, retryable LLMRetryableError, wait, a2, answer", waits_s=0.25),
    "429 with Retry-After": Row(
        (error(429, "slow down", headers={"Retry-After": "7"}), ANSWER), "a1, retryable LLMRetryableError, wait, a2, answer", waits_s=7.0
    ),
    "two 500s": Row(
        (error(500, "oops"), error(500, "oops"), ANSWER),
        "a1, retryable LLMRetryableError, wait, a2, retryable LLMRetryableError, wait, a3, answer",
    ),
    "500 for ever": Row(
        (error(500, "oops"), ALWAYS),
        "a1, retryable LLMRetryableError, wait, a2, retryable LLMRetryableError, wait, a3, retryable LLMRetryableError, b1, answer",
    ),
    "500 for ever, and a breaker": Row(
        (error(500, "oops"), ALWAYS),
        "a1, retryable LLMRetryableError, wait, a2, retryable LLMRetryableError, open, b1, answer",
        settings={"breaker_failure_threshold": 2},
    ),
    "a reset in mid-stream": Row(
        (BrokenStream(ANSWER, 4, "cut"), ANSWER), "a1, retryable LLMRetryableError, wait, a2, answer", streamed_only=True
    ),
    "a stream that ends early": Row(
        (BrokenStream(ANSWER, 4, "eof"), ANSWER), "a1, retryable LLMRetryableError, wait, a2, answer", streamed_only=True
    ),
    "a stream that falls silent": Row(
        (BrokenStream(ANSWER, 4, "idle"), ANSWER),
        "a1, retryable LLMTimeoutError, wait, a2, answer",
        streamed_only=True,
        give_up_s=GIVE_UP_S,
    ),
    "slow tokens": Row((SlowStream(ANSWER, GIVE_UP_S / 8),), "a1, answer", streamed_only=True, give_up_s=GIVE_UP_S),
    "no answer at all": Row((NoAnswer(), ANSWER), "a1, retryable LLMTimeoutError, wait, a2, answer", give_up_s=GIVE_UP_S),
    "broken JSON": Row((HttpAnswer(200, '{"choices": [{'), ANSWER), "a1, retryable LLMInvalidResponseError, wait, a2, answer"),
    "empty choices": Row(
        (HttpAnswer(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}), ANSWER),
        "a1, retryable LLMInvalidResponseError, wait, a2, answer",
    ),
    "a key that is refused": Row((error(401, "who are you"),), "a1, terminal LLMConfigurationError, b1, answer"),
    "no retries": Row((BUSY, ALWAYS), "a1, retryable LLMRetryableError, b1, answer", settings={"llm_failure_policy": "fail_fast"}),
}


class Provider:
    """The server, and what it is told to do."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.server = OpenAIServer(self._reply)

    def _reply(self, body: dict[str, Any]) -> Reply:
        if body["model"] == "b":
            return ANSWER
        if len(self.script) > 1 and self.script[1] is ALWAYS:
            return self.script[0]  # type: ignore[no-any-return]
        return self.script.pop(0)  # type: ignore[no-any-return]

    def model(self, name: str, give_up_s: float = PATIENT_S) -> LLMBuilder:
        """A model of this server."""
        builder = LLMBuilder().provider("openai").model(name).profile("development").settings(api_base=self.server.url, api_key="key")
        return builder.with_timeout(give_up_s, stream_idle_s=give_up_s).with_retry(3)

    def agent(self, *tools: Any, give_up_s: float = PATIENT_S, **settings: Any) -> Agent:
        """An agent on model a, with b to fall back to."""
        chain = self.model("a", give_up_s).with_fallback(self.model("b").build()).build()
        return agent(chain, *tools, fail_safe=limits(**settings))


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Let LiteLLM load what it loads with its first calls before any deadline of a test begins."""
    litellm_clients.load()
    with OpenAIServer(lambda _body: ANSWER) as server:
        model = LLMBuilder().provider("openai").model("a").settings(api_base=server.url, api_key="key").build()
        Runner(log=":memory:").run_sync(agent(model), user_message="go")


@pytest.fixture
def provider() -> Iterator[Provider]:
    told = Provider()
    with told.server:
        yield told


@pytest.fixture
async def runner() -> Any:
    clock = SimulatedClock(autojump_threshold_s=0.01)
    async with Runner(log=":memory:", clock=clock, ids=SeededIds()) as opened:
        yield opened


async def whole(runner: Runner, described: Agent) -> AgentResult:
    """Run without a stream."""
    return await runner.run(described, user_message="go")


async def streamed(runner: Runner, described: Agent) -> AgentResult:
    """Run with a stream, and check that its last attempt's text is the answer's, whole."""
    handle = await runner.run_stream(described, user_message="go")
    text = "".join([event.text_delta or "" async for event in handle])
    assert text.endswith(handle.result.final_text)
    return handle.result


def told(events: list[AgentRunEvent]) -> str:
    """The events about the model, in the words of the table."""
    words: list[str] = []
    for event in events:
        data = event.data
        match event.type:
            case "llm_called":
                words.append(f"{data['model'].removeprefix('openai/')}{data['attempt']}")
            case "llm_failed":
                words.append(f"{data['classification']} {data['error_type']}")
            case "timer_fired":
                words.append("wait")
            case "circuit_open":
                words.append("open")
            case "llm_completed":
                words.append("answer")
            case _:
                pass
    return ", ".join(words)


CASES = [
    pytest.param(name, run, id=f"{name}, {run.__name__}") for name, row in ROWS.items() for run in (whole, streamed)[row.streamed_only :]
]


@pytest.mark.parametrize(("name", "run"), CASES)
async def test_each_failure_is_an_event_and_the_run_comes_to_its_answer(
    name: str, run: Callable[[Runner, Agent], Any], provider: Provider, runner: Runner
) -> None:
    row = ROWS[name]
    provider.script = list(row.script)
    result = await run(runner, provider.agent(give_up_s=row.give_up_s, **row.settings))
    events = await log_of(runner, result.run_id)
    assert told(events) == row.events
    assert (result.state, result.final_text) == ("completed", ANSWER["content"])
    assert len(provider.server.requests) == len(only(events, "llm_called")), "a request that no event announced"
    bodies = [{**received.body, "model": ""} for received in provider.server.requests]
    assert all(body == bodies[0] for body in bodies), "an attempt is asked the same again, without half an answer in it"
    if row.waits_s:
        failed, fired = only(events, "llm_failed")[0], only(events, "timer_fired")[0]
        assert (fired.at - failed.at).total_seconds() >= row.waits_s


@pytest.mark.parametrize("run", [whole, streamed])
async def test_arguments_that_are_no_json_are_the_models_mistake_and_it_is_told(
    run: Callable[[Runner, Agent], Any], provider: Provider, runner: Runner
) -> None:
    @tool
    def work(n: int) -> str:
        """Do some work."""
        raise AssertionError("it must not run")

    call = {"id": "c1", "type": "function", "function": {"name": "work", "arguments": '{"n": '}}
    provider.script = [{"content": None, "tool_calls": [call]}, ANSWER]
    result = await run(runner, provider.agent(work))
    events = await log_of(runner, result.run_id)
    (refused,) = only(events, "tool_failed")
    assert refused.data["classification"] == "non_fatal"
    assert result.final_text == ANSWER["content"]


async def hung_up(provider: Provider) -> bool:
    """Whether the server saw its client close the connection, within some seconds."""
    return await asyncio.to_thread(provider.server.hang_ups.acquire, timeout=10)


async def test_leaving_a_stream_closes_the_connection(provider: Provider, runner: Runner) -> None:
    provider.script = [BrokenStream(ANSWER, 4, "idle")]
    described = agent(provider.model("a").build())
    handle = await runner.run_stream(described, user_message="go")
    async with handle:
        async for event in handle:
            if event.text_delta:
                break
    assert handle.result.state == "cancelled"
    assert await hung_up(provider)


@pytest.mark.parametrize("reply", [NoAnswer(), BrokenStream(ANSWER, 4, "idle")], ids=["before the answer", "in mid-stream"])
async def test_cancelling_a_run_closes_the_connection(reply: Reply, provider: Provider, runner: Runner) -> None:
    provider.script = [reply]
    described = agent(provider.model("a").build())
    if isinstance(reply, NoAnswer):
        running = await runner.run_handle(described, user_message="go")
        assert await asyncio.to_thread(provider.server.kept.acquire, timeout=10)
        await running.cancel()
        assert (await running.await_result()).state == "cancelled"
    else:
        stream = await runner.run_stream(described, user_message="go")
        async for event in stream:
            if event.text_delta:
                await stream.interrupt()
        assert stream.result.state == "interrupted"
    assert await hung_up(provider)


async def test_a_stream_that_is_given_up_closes_its_connection(provider: Provider, runner: Runner) -> None:
    provider.script = [BrokenStream(ANSWER, 4, "idle"), ANSWER]
    result = await streamed(runner, provider.agent(give_up_s=GIVE_UP_S))
    assert result.state == "completed"
    assert await hung_up(provider)


async def test_the_models_own_breaker_and_rate_hold_over_runs_against_a_server_that_is_down(provider: Provider, runner: Runner) -> None:
    provider.script = [BUSY, ALWAYS]
    first = provider.model("a").with_circuit_breaker(3).with_rate_limit(1000)
    model: BuiltModel = first.with_fallback(provider.model("b").build()).build()
    for _ in range(3):
        assert (await runner.run(agent(model), user_message="go")).state == "completed"
    asked = [received.body["model"] for received in provider.server.requests]
    assert asked == ["a", "a", "a", "b", "b", "b"]


async def test_the_text_of_a_broken_attempt_is_streamed_and_not_kept(provider: Provider, runner: Runner) -> None:
    provider.script = [BrokenStream(ANSWER, 4, "cut"), ANSWER, ANSWER]
    described = provider.agent()
    handle = await runner.run_stream(described, user_message="go")
    text = "".join([event.text_delta or "" async for event in handle])
    whole_answer = str(ANSWER["content"])
    half = text.removesuffix(whole_answer)
    assert half
    assert whole_answer.startswith(half), "half an answer was seen, and then a whole one"
    assert "text_delta" not in types(await log_of(runner, handle.run_id))
    await runner.run(described, user_message="again", thread_id=handle.thread_id)
    assert [turn["content"] for turn in provider.server.requests[-1].body["messages"]] == ["go", whole_answer, "again"]
