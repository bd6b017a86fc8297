"""contract.md, "Models": the port, what goes through it, the errors, the builder, and the scripted model."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es import Agent, Runner
from afk_es.clock import SimulatedClock
from afk_es.errors import ConfigurationError
from afk_es.llms import (
    LLMBuilder,
    LLMCancelledError,
    LLMCapabilityError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRequest,
    LLMResponse,
    LLMRetryableError,
    LLMTimeoutError,
    Message,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, StuckModel, agent, asks, log_of, model_of, only, says

REQUEST = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "reasoning_enabled",
    "reasoning_effort",
    "reasoning_max_tokens",
    "timeout_s",
    "idempotency_key",
    "metadata",
    "extra",
]
"""The fields of LLMRequest; its "thinking settings" have the names that Agent gives them."""

RESPONSE: dict[str, Any] = {
    "text": "",
    "tool_calls": (),
    "finish_reason": None,
    "usage": None,
    "cost_usd": None,
    "model": None,
    "structured_response": None,
    "raw": None,
}

# -------------------------------------------------------------------------------------------------------------------------- the port


class Plain:
    """All that a model needs to be."""

    provider_id: str = "mine"

    async def chat(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(text=f"{request.model} was asked {request.messages[-1].content!r}")


async def test_the_port_is_any_object_with_provider_id_and_chat(runner: Runner) -> None:
    result = await runner.run(Agent(model=Plain()), user_message="Hello")
    assert (result.final_text, result.provider_adapter) == ("mine was asked 'Hello'", "mine")


class Streaming(Plain):
    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[TextDelta | ToolCallDelta | LLMResponse]:
        if request.messages[-1].role == "user":
            yield ToolCallDelta(0, "c1", "work", '{"n": 1}')
            yield asks(("work", {"n": 1}))
            return
        yield TextDelta("piece ")
        yield TextDelta("by piece")
        yield LLMResponse(text="piece by piece")


async def test_chat_stream_gives_deltas_and_ends_with_the_response(runner: Runner) -> None:
    handle = await runner.run_stream(agent(Streaming(), Counted().tool), user_message="go")
    events = [event async for event in handle]
    assert [event.text_delta for event in events if event.type == "text_delta"] == ["piece ", "by piece"]
    assert (handle.result.state, handle.result.final_text) == ("completed", "piece by piece")
    assert handle.result.tool_executions[0].output == "done 1"


async def test_a_stream_without_its_response_is_an_invalid_response(runner: Runner) -> None:
    class Broken(Plain):
        async def chat_stream(self, request: LLMRequest) -> AsyncIterator[TextDelta]:
            yield TextDelta("and then")

    handle = await runner.run_stream(agent(Broken()), user_message="go")
    await handle.collect_text()
    failed = only(await log_of(runner, handle.run_id), "llm_failed")
    assert {event.data["error_type"] for event in failed} == {"LLMInvalidResponseError"}


# --------------------------------------------------------------------------------------------------------------- request and response


def test_the_request_has_its_fields_and_is_frozen() -> None:
    assert set(REQUEST) <= LLMRequest.model_fields.keys()
    request: Any = LLMRequest(model="m", messages=[Message("user", "Hello")])
    with pytest.raises(ValidationError, match="frozen"):
        request.model = "other"


def test_the_request_takes_every_field() -> None:
    request = LLMRequest(
        model="m",
        messages=[{"role": "user", "content": "Hello"}],
        tools=[{"type": "function", "function": {"name": "work", "parameters": {"type": "object"}}}],
        tool_choice="required",
        max_tokens=10,
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
        reasoning_enabled=True,
        reasoning_effort="low",
        reasoning_max_tokens=100,
        timeout_s=3.0,
        idempotency_key="k",
        metadata={"a": 1},
        extra={"seed": 7},
    )
    assert request.messages[0] == Message("user", "Hello")
    assert request.tools[0].name == "work"
    assert (request.temperature, tuple(request.stop), request.extra) == (0.5, ("END",), {"seed": 7})


@pytest.mark.parametrize("field", RESPONSE)
def test_each_field_of_the_response_has_its_default(field: str) -> None:
    assert getattr(LLMResponse(), field) == RESPONSE[field]


def test_malformed_data_is_a_clear_error_at_the_boundary() -> None:
    with pytest.raises(ValidationError, match="tool_calls"):
        LLMResponse(tool_calls="work")
    with pytest.raises(ValidationError, match="messages"):
        LLMRequest(model="m", messages="Hello")


def test_tool_call_and_usage() -> None:
    call = ToolCall(id="c1", tool_name="work", arguments={"n": 1})
    assert (call.id, call.tool_name, call.arguments) == ("c1", "work", {"n": 1})
    usage = Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (1, 2, 3)


async def test_arguments_are_the_raw_string_where_the_models_json_was_broken(runner: Runner) -> None:
    broken = LLMResponse(tool_calls=(ToolCall("c1", "work", '{"n": '),))
    described = agent([broken, says("sorry")], Counted().tool)
    result = await runner.run(described, user_message="go")
    (completed,) = [event for event in only(await log_of(runner, result.run_id), "llm_completed") if event.data["tool_calls"]]
    assert completed.data["tool_calls"][0]["arguments"] == '{"n": '
    assert (result.state, result.tool_executions[0].success) == ("completed", False)


async def test_a_message_carries_role_content_tool_calls_and_tool_call_id(runner: Runner) -> None:
    described = agent([asks(("work", {"n": 1})), says("ok")], Counted().tool, instructions="Be brief.")
    await runner.run(described, user_message="go")
    system, user, assistant, result = model_of(described).requests[1].messages
    assert (system.role, system.content) == ("system", "Be brief.")
    assert (user.role, user.content) == ("user", "go")
    assert (assistant.role, assistant.tool_calls) == ("assistant", (ToolCall("c1", "work", {"n": 1}),))
    assert (result.role, result.tool_call_id) == ("tool", "c1")


async def test_a_run_fills_model_messages_tools_and_an_idempotency_key(runner: Runner) -> None:
    described = agent([says("ok")], Counted().tool)
    await runner.run(described, user_message="go")
    (request,) = model_of(described).requests
    assert (request.model, [each.name for each in request.tools], bool(request.idempotency_key)) == ("scripted-1", ["work"], True)


# ----------------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "error",
    [LLMTimeoutError, LLMRetryableError, LLMInvalidResponseError, LLMConfigurationError, LLMCapabilityError, LLMCancelledError],
)
async def test_each_error_is_an_llm_error_and_its_class_is_in_the_event(error: type[LLMError], runner: Runner) -> None:
    assert issubclass(error, LLMError)
    result = await runner.run(agent([error("no luck")] * 3), user_message="go")
    failed = only(await log_of(runner, result.run_id), "llm_failed")
    assert (result.state, {event.data["error_type"] for event in failed}) == ("failed", {error.__name__})
    retried = error in (LLMTimeoutError, LLMRetryableError, LLMInvalidResponseError)
    assert len(failed) == (3 if retried else 1)


# ----------------------------------------------------------------------------------------------------------------------------- builder

METHODS = [
    "provider",
    "model",
    "profile",
    "settings",
    "with_retry",
    "with_timeout",
    "with_rate_limit",
    "with_circuit_breaker",
    "with_cache",
    "with_fallback",
    "with_middlewares",
    "build",
]
QUESTION = LLMRequest(model="m", messages=[Message("user", "Hello")])


@pytest.mark.parametrize("method", METHODS)
def test_the_builder_has_its_methods(method: str) -> None:
    assert inspect.isfunction(getattr(LLMBuilder, method))


@pytest.mark.parametrize("profile", ["development", "production", "high_throughput", "low_latency"])
def test_profiles(profile: Any) -> None:
    assert LLMBuilder().profile(profile).model("m").build().provider_id


def test_an_unknown_profile_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="development, production, high_throughput, low_latency"):
        LLMBuilder().profile("turbo")  # type: ignore[arg-type]


async def test_it_is_fluent_and_what_it_builds_is_a_model(runner: Runner) -> None:
    inner = ScriptedModel(["built"])
    model = LLMBuilder().provider(inner).model("house").settings(temperature=0.25).with_timeout(7).build()
    result = await runner.run(Agent(model=model), user_message="Hello")
    assert result.final_text == "built"
    (request,) = inner.requests
    assert (request.model, request.temperature, request.timeout_s) == ("house", 0.25, 7)


async def test_with_middlewares() -> None:
    async def shout(request: LLMRequest, call_next: Any) -> LLMResponse:
        answered = await call_next(request)
        return answered.model_copy(update={"text": answered.text.upper()})  # type: ignore[no-any-return]

    model = LLMBuilder().provider(ScriptedModel(["hello"])).with_middlewares(shout).build()
    assert (await model.chat(QUESTION)).text == "HELLO"


class Failing(ScriptedModel):
    """A model that is busy for the first so many requests."""

    def __init__(self, failures: int) -> None:
        super().__init__([*[LLMRetryableError("busy", status_code=503)] * failures, *["at last"] * 90])


def timed(inner: Any, clock: SimulatedClock) -> Any:
    """A builder on that model whose waits are the clock's; only the branch of the builder's rest can say so."""
    builder: Any = LLMBuilder().provider(inner)
    return builder.with_clock(clock)


async def test_retry_3_by_default_with_half_a_second_of_exponential_backoff_and_jitter(clock: SimulatedClock) -> None:
    inner = Failing(2)
    assert (await timed(inner, clock).build().chat(QUESTION)).text == "at last"
    assert len(inner.requests) == 3
    assert 0.75 <= clock.monotonic() <= 1.5
    with pytest.raises(LLMRetryableError):
        await timed(Failing(3), clock).build().chat(QUESTION)


async def test_with_retry(clock: SimulatedClock) -> None:
    inner = Failing(4)
    assert (await timed(inner, clock).with_retry(5).build().chat(QUESTION)).text == "at last"
    assert len(inner.requests) == 5


def test_request_timeout_30_s_and_stream_idle_45_s_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class Seen(Plain):
        def __init__(self, **settings: Any) -> None:
            made.append(settings)

    monkeypatch.setattr("afk_es.llms.builder.LiteLLMModel", Seen)
    LLMBuilder().model("gpt-5.2-mini").build()
    assert [(settings["timeout_s"], settings["stream_idle_s"]) for settings in made] == [(30.0, 45.0)]


async def test_with_timeout_gives_up_in_time() -> None:
    model = LLMBuilder().provider(StuckModel()).with_timeout(0.01).with_retry(1).build()
    with pytest.raises(LLMTimeoutError):
        await asyncio.wait_for(model.chat(QUESTION), 2)


async def test_rate_20_a_second_with_bursts_of_40_by_default(clock: SimulatedClock) -> None:
    model = timed(ScriptedModel(lambda request: "ok"), clock).build()
    for _ in range(40):
        await model.chat(QUESTION)
    assert clock.monotonic() == pytest.approx(0, abs=1e-6)
    for _ in range(20):
        await model.chat(QUESTION)
    assert clock.monotonic() == pytest.approx(1.0, abs=0.1)


async def test_with_rate_limit(clock: SimulatedClock) -> None:
    model = timed(ScriptedModel(lambda request: "ok"), clock).with_rate_limit(2, burst=1).build()
    for _ in range(5):
        await model.chat(QUESTION)
    assert clock.monotonic() == pytest.approx(2.0, abs=0.6)


async def test_breaker_5_failures_30_s_one_probe_by_default(clock: SimulatedClock) -> None:
    inner = Failing(5)
    model = timed(inner, clock).with_retry(1).build()
    for _ in range(5):
        with pytest.raises(LLMRetryableError):
            await model.chat(QUESTION)
    with pytest.raises(LLMError):
        await model.chat(QUESTION)
    assert len(inner.requests) == 5, "the breaker is open, so nobody was asked"
    clock.advance(31)
    assert (await model.chat(QUESTION)).text == "at last"


async def test_cache_is_off_by_default_and_lasts_30_s(clock: SimulatedClock) -> None:
    inner = ScriptedModel(lambda request: "ok")
    model = timed(inner, clock).build()
    await model.chat(QUESTION)
    await model.chat(QUESTION)
    assert len(inner.requests) == 2
    cached = timed(inner, clock).with_cache().build()
    await cached.chat(QUESTION)
    await cached.chat(QUESTION)
    assert len(inner.requests) == 3
    clock.advance(31)
    await cached.chat(QUESTION)
    assert len(inner.requests) == 4


async def test_with_fallback() -> None:
    builder: Any = LLMBuilder().provider(ScriptedModel([LLMConfigurationError("down")]))
    model = builder.with_fallback(ScriptedModel(["the spare one"])).build()
    assert (await model.chat(QUESTION)).text == "the spare one"


@pytest.mark.parametrize("name", ["gpt-5.2-mini", "anthropic/claude-sonnet-4-5", "ollama/llama3"])
def test_model_strings_go_to_litellm(name: str) -> None:
    model = LLMBuilder().model(name).build()
    assert (model.provider_id, model.model) == ("litellm", name)
    assert Agent(model=name).model == name


# -------------------------------------------------------------------------------------------------------------------- ScriptedModel


async def test_scripted_model_answers_from_a_list_in_order() -> None:
    model = ScriptedModel([LLMResponse(text="one"), "two", ValueError("three"), lambda request: f"four {request.model}"])
    assert (await model.chat(QUESTION)).text == "one"
    assert (await model.chat(QUESTION)).text == "two"
    with pytest.raises(ValueError, match="three"):
        await model.chat(QUESTION)
    assert (await model.chat(QUESTION)).text == "four m"


async def test_running_out_is_a_clear_error(runner: Runner) -> None:
    result = await runner.run(agent([asks(("work", {}))], Counted().tool), user_message="go")
    assert result.state == "failed"
    assert "1 answers" in result.final_text
    assert "request 2" in result.final_text
