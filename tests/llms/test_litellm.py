"""LiteLLMModel against a local server: what it makes of answers, good and bad, streamed and not, and that it asks exactly once."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.llms import (
    Image,
    LLMCapabilityError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRequest,
    LLMResponse,
    LLMRetryableError,
    LLMTimeoutError,
    Message,
    Messages,
    MultipartMessage,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    Usage,
    litellm_clients,
)
from afk_es.llms.chat import message_from_chat, tool_from_chat
from afk_es.llms.litellm import LiteLLMModel
from afk_es.llms.litellm_thinking import thinking
from tests.support.openai_server import BrokenStream, HttpAnswer, NoAnswer, OpenAIServer, Received, Reply, error
from tests.support.tau import FIXTURE, Recording, recorded_turns

_REPOSITORY = Path(__file__).parents[2]
_HELLO = {"content": "Grüße, 世界 🌍 and\nall", "model": "gpt-4o-2024-08-06"}


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class _Scene:
    """A server, and a model that asks it."""

    def __init__(self) -> None:
        self.reply: Reply = _HELLO
        self.server = OpenAIServer(lambda _body: self.reply)

    def model(self, **settings: Any) -> LiteLLMModel:
        return LiteLLMModel(**{"api_base": self.server.url, "api_key": "key-of-the-test", **settings})

    @property
    def asked(self) -> list[Received]:
        return self.server.requests


@pytest.fixture(scope="module")
def shared() -> Iterator[_Scene]:
    # LiteLLM is loaded before any deadline of a test begins.
    litellm_clients.load()
    scene = _Scene()
    with scene.server:
        yield scene


@pytest.fixture
def scene(shared: _Scene) -> _Scene:
    shared.asked.clear()
    return shared


def _request(**fields: Any) -> LLMRequest:
    return LLMRequest(**{"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hello"}], **fields})


async def _whole(model: LiteLLMModel, request: LLMRequest) -> LLMResponse:
    return await model.chat(request)


async def _streamed(model: LiteLLMModel, request: LLMRequest) -> LLMResponse:
    """The last part of the stream, after checking that the deltas add up to it."""
    *deltas, last = [part async for part in model.chat_stream(request)]
    assert isinstance(last, LLMResponse)
    assert "".join(part.text for part in deltas if isinstance(part, TextDelta)) == last.text
    calls = [part for part in deltas if isinstance(part, ToolCallDelta)]
    assert [part.tool_name for part in calls if part.tool_name] == [call.tool_name for call in last.tool_calls]
    return last


both_ways = pytest.mark.parametrize("ask", [_whole, _streamed])


@both_ways
async def test_a_text_arrives_as_it_is_with_usage_price_and_the_providers_names(scene: _Scene, ask: Any) -> None:
    scene.reply = _HELLO
    response = await ask(scene.model(), _request())
    assert response.text == "Grüße, 世界 🌍 and\nall"
    assert response.tool_calls == ()
    assert response.finish_reason == "stop"
    assert response.usage == Usage(7, 5, 12)
    assert response.cost_usd == pytest.approx(7 * 2.5e-6 + 5 * 1e-5)
    assert len(scene.asked) == 1


@both_ways
async def test_parallel_tool_calls_arrive_in_order_and_broken_arguments_as_their_text(scene: _Scene, ask: Any) -> None:
    calls = [
        _call("a", "search", '{"q": "ü", "n": [1, 2]}'),
        _call("b", "search", '{"q": '),
        _call("c", "list", ""),
        _call("d", "x", "[1]"),
    ]
    scene.reply = {"content": "Looking.", "tool_calls": calls}
    response = await ask(scene.model(), _request(tools=[ToolSpec("search", "Search.", {"type": "object"})]))
    assert response.text == "Looking."
    assert response.finish_reason == "tool_calls"
    assert response.tool_calls == (
        ToolCall("a", "search", {"q": "ü", "n": [1, 2]}),
        ToolCall("b", "search", '{"q": '),
        ToolCall("c", "list", {}),
        ToolCall("d", "x", "[1]"),
    )


async def test_a_streamed_answer_is_the_answer_that_was_not_streamed(scene: _Scene) -> None:
    for reply in (_HELLO, {**_HELLO, "usage": None}, {"content": None, "tool_calls": [_call("a", "f", '{"x": 1}')]}, {"content": ""}):
        scene.reply = reply
        whole, streamed = await _whole(scene.model(), _request()), await _streamed(scene.model(), _request())
        assert streamed.model_dump() == {**whole.model_dump(), "model": streamed.model}


@both_ways
async def test_usage_that_was_not_sent_is_unknown_and_so_is_the_price(scene: _Scene, ask: Any) -> None:
    scene.reply = {**_HELLO, "usage": None}
    response = await ask(scene.model(), _request())
    assert response.usage is None
    assert response.cost_usd is None


@both_ways
async def test_tokens_that_the_provider_had_in_its_cache_are_told(scene: _Scene, ask: Any) -> None:
    usage = {"prompt_tokens": 70, "completion_tokens": 5, "total_tokens": 75, "prompt_tokens_details": {"cached_tokens": 64}}
    scene.reply = {**_HELLO, "usage": usage}
    response = await ask(scene.model(), _request())
    assert (response.usage, response.cache_read_tokens) == (Usage(70, 5, 75), 64)
    scene.reply = _HELLO
    assert (await ask(scene.model(), _request())).cache_read_tokens is None


@both_ways
async def test_a_model_without_a_known_price_has_usage_and_no_cost_unless_the_settings_say_it(scene: _Scene, ask: Any) -> None:
    scene.reply = {**_HELLO, "model": "house-blend"}
    response = await ask(scene.model(), _request(model="openai/house-blend"))
    assert (response.usage, response.cost_usd) == (Usage(7, 5, 12), None)
    priced = scene.model(input_cost_per_token=0.5, output_cost_per_token=0.25)
    assert (await ask(priced, _request(model="openai/house-blend"))).cost_usd == pytest.approx(7 * 0.5 + 5 * 0.25)
    assert [model.prices("openai/house-blend") for model in (scene.model(), priced)] == [False, True]
    assert scene.model().prices("openai/gpt-4o")


async def test_the_request_is_sent_as_it_was_asked(scene: _Scene) -> None:
    tools = (ToolSpec("f", "Does f.", {"type": "object", "properties": {"x": {"type": "integer"}}}),)
    history = Messages([Message("user", "go"), Message("assistant", "", (ToolCall("a", "f", {"x": 1}),)), Message("tool", "1", (), "a")])
    metadata = {"run_id": "run_1"}
    scene.reply = _HELLO
    await scene.model(seed=7).chat(
        _request(
            messages=history.led_by(Message("system", "Be brief.")),
            tools=tools,
            tool_choice="auto",
            temperature=0.5,
            top_p=0.9,
            max_tokens=99,
            stop="END",
            idempotency_key="key_1",
            metadata=metadata,
            extra={"user": "u1"},
        )
    )
    sent = scene.asked[0]
    assert [{"content": None, **message} for message in sent.body["messages"]] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [_call("a", "f", '{"x":1}')]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]
    assert sent.body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": tools[0].parameters}}
    ]
    rest = {name: sent.body[name] for name in ("model", "tool_choice", "temperature", "top_p", "max_tokens", "stop", "seed", "user")}
    assert rest == {
        "model": "gpt-4o", "tool_choice": "auto", "temperature": 0.5, "top_p": 0.9, "max_tokens": 99, "stop": ["END"], "seed": 7, "user": "u1"
    }  # fmt: skip
    assert sent.headers["idempotency-key"] == "key_1"
    assert sent.headers["authorization"] == "Bearer key-of-the-test"
    assert metadata == {"run_id": "run_1"}


@both_ways
async def test_images_are_sent_as_parts_of_the_content(scene: _Scene, ask: Any) -> None:
    scene.reply = _HELLO
    png = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
    message = MultipartMessage("user", "Look", parts=(Text("Look"), png, Image(url="https://example.org/a.png")))
    await ask(scene.model(), _request(messages=Messages([message])))
    assert scene.asked[0].body["messages"][0]["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


@both_ways
async def test_structured_output_is_asked_for_by_schema_and_parsed(scene: _Scene, ask: Any) -> None:
    schema = {"title": "City of it", "type": "object", "properties": {"city": {"type": "string"}}}
    scene.reply = {"content": '{"city": "Køge"}'}
    assert (await ask(scene.model(), _request(response_format=schema))).structured_response == {"city": "Køge"}
    assert scene.asked[0].body["response_format"] == {"type": "json_schema", "json_schema": {"name": "City_of_it", "schema": schema}}
    scene.reply = {"content": "Køge, I think"}
    assert (await ask(scene.model(), _request(response_format=schema))).structured_response is None


async def test_thinking_settings_reach_a_model_that_takes_them(scene: _Scene) -> None:
    scene.reply = _HELLO
    asked: list[dict[str, Any]] = [
        {},
        {"reasoning_effort": "low"},
        {"reasoning_enabled": True},
        {"reasoning_enabled": True, "reasoning_effort": "high"},
        {"reasoning_enabled": False, "reasoning_effort": "low"},
        {"reasoning_effort": "low", "reasoning_max_tokens": 2000},
    ]
    for fields in asked:
        await scene.model().chat(_request(model="openai/o3", **fields))
    assert [sent.body.get("reasoning_effort") for sent in scene.asked] == [None, "low", "medium", "high", "none", "low"]
    assert not any("thinking" in sent.body for sent in scene.asked)


@pytest.mark.parametrize(
    ("model", "fields", "sent"),
    [
        ("anthropic/claude-sonnet-4-5", {"reasoning_max_tokens": 2000}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("anthropic/claude-sonnet-4-5", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        (
            "anthropic/claude-sonnet-4-5",
            {"reasoning_effort": "low", "reasoning_max_tokens": 2000},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ("openai/o3", {"reasoning_effort": "low", "reasoning_max_tokens": 2000}, {"reasoning_effort": "low"}),
        ("openai/gpt-4o", {"reasoning_enabled": False}, {}),
        ("nobody-knows-me", {"reasoning_enabled": False}, {}),
        ("nobody-knows-me", {"reasoning_effort": "low", "reasoning_max_tokens": 2000}, {"reasoning_effort": "low"}),
    ],
)
def test_thinking_is_said_in_the_words_that_the_model_takes(model: str, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    assert thinking(litellm_clients.load(), _request(model=model, **fields)) == sent


@pytest.mark.parametrize("fields", [{"reasoning_effort": "low"}, {"reasoning_enabled": True}, {"reasoning_max_tokens": 2000}])
async def test_what_a_model_cannot_do_is_said_before_it_is_asked_or_left_out_if_the_settings_say_so(
    scene: _Scene, fields: dict[str, Any]
) -> None:
    with pytest.raises(LLMCapabilityError, match="drop_params"):
        await scene.model().chat(_request(**fields))
    assert scene.asked == []
    scene.reply = _HELLO
    await scene.model(drop_params=True).chat(_request(**fields))
    assert not {"reasoning_effort", "thinking"} & scene.asked[0].body.keys()


@both_ways
@pytest.mark.parametrize(
    ("reply", "kind", "status", "retry_after_s"),
    [
        (error(429, "slow down", headers={"Retry-After": "7"}), LLMRetryableError, 429, 7.0),
        (error(429, "slow down"), LLMRetryableError, 429, None),
        (error(500, "oops"), LLMRetryableError, 500, None),
        (error(503, "down", headers={"retry-after-ms": "250"}), LLMRetryableError, 503, 0.25),
        (error(408, "too slow"), LLMTimeoutError, 408, None),
        (error(400, "bad"), LLMConfigurationError, 400, None),
        (error(401, "no such key sk-proj-abcdefghijkl, nor key-of-the-test"), LLMConfigurationError, 401, None),
        (error(404, "no such model"), LLMConfigurationError, 404, None),
        (HttpAnswer(502, "<html>Bad gateway</html>"), LLMRetryableError, 502, None),
    ],
)
async def test_an_error_keeps_its_status_and_says_whether_to_ask_again(
    scene: _Scene, ask: Any, reply: Reply, kind: type[LLMError], status: int, retry_after_s: float | None
) -> None:
    scene.reply = reply
    with pytest.raises(kind) as raised:
        await ask(scene.model(), _request())
    assert type(raised.value) is kind
    assert (raised.value.status_code, raised.value.retry_after_s) == (status, retry_after_s)
    assert "sk-proj" not in str(raised.value)
    assert "key-of-the-test" not in str(raised.value)
    assert len(scene.asked) == 1, "there was a hidden retry"


@both_ways
@pytest.mark.parametrize(
    "body",
    [
        "<html>hello</html>",
        {"a": 1},
        [1],
        None,
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []},
        {"choices": [{}]},
    ],
    ids=["html", "no choices", "list", "null", "empty choices", "no message"],
)
async def test_an_answer_that_is_no_chat_completion_is_called_so(scene: _Scene, ask: Any, body: Any) -> None:
    scene.reply = HttpAnswer(200, body)
    with pytest.raises(LLMInvalidResponseError):
        await ask(scene.model(), _request())
    assert len(scene.asked) == 1


@both_ways
async def test_silence_is_a_timeout(scene: _Scene, ask: Any) -> None:
    scene.reply = NoAnswer()
    with pytest.raises(LLMTimeoutError, match=r"did not answer within 0\.2 s"):
        await ask(scene.model(), _request(timeout_s=0.2))


async def test_a_stream_that_falls_silent_is_a_timeout_after_its_first_words(scene: _Scene) -> None:
    scene.reply = BrokenStream(_HELLO, 3, "idle")
    stream = scene.model(stream_idle_s=0.2).chat_stream(_request())
    assert [await anext(stream), await anext(stream)] == [TextDelta("Grüße"), TextDelta(", 世界 ")]
    with pytest.raises(LLMTimeoutError, match="fell silent"):
        await anext(stream)


@pytest.mark.parametrize("ending", ["eof", "cut"])
@pytest.mark.parametrize("turn", [_HELLO, {"content": None, "tool_calls": [_call("a", "f", '{"x": 12345}')]}], ids=["text", "tool call"])
async def test_a_stream_that_breaks_off_is_a_failure_and_not_a_short_answer(scene: _Scene, turn: Any, ending: Any) -> None:
    scene.reply = BrokenStream(turn, 3, ending)
    with pytest.raises(LLMRetryableError):
        await _streamed(scene.model(), _request())
    assert len(scene.asked) == 1


async def test_a_stream_can_be_left_early(scene: _Scene) -> None:
    scene.reply = _HELLO
    stream = scene.model().chat_stream(_request())
    assert await anext(stream) == TextDelta("Grüße")
    await stream.aclose()  # type: ignore[attr-defined]


@both_ways
async def test_a_refused_connection_can_be_tried_again(scene: _Scene, ask: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(LLMRetryableError) as raised:
            await ask(scene.model(api_base=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"), _request())
    assert raised.value.status_code is None


@pytest.mark.usefixtures("scene")
async def test_what_cannot_work_is_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for model, request in (
        (LiteLLMModel(), _request()),
        (LiteLLMModel(api_key="k"), _request(model="no-such-provider-and-model")),
        (LiteLLMModel(api_key="k", api_base="nowhere"), _request()),
    ):
        with pytest.raises(LLMConfigurationError):
            await model.chat(request)


async def test_address_and_key_come_from_the_environment_as_litellm_reads_it(scene: _Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", scene.server.url)
    scene.reply = _HELLO
    await LiteLLMModel().chat(_request())
    assert scene.asked[0].headers["authorization"] == "Bearer key-of-the-environment"


async def test_concurrent_calls_do_not_mix(scene: _Scene) -> None:
    with OpenAIServer(lambda body: {"content": body["messages"][0]["content"]}) as echo:
        model = scene.model(api_base=echo.url)
        requests = [_request(messages=[{"role": "user", "content": f"number {number}"}]) for number in range(30)]
        answers = await asyncio.gather(
            *(_whole(model, request) for request in requests[:15]), *(_streamed(model, r) for r in requests[15:])
        )
    assert [answer.text for answer in answers] == [f"number {number}" for number in range(30)]


def test_secrets_are_not_in_the_repr() -> None:
    model = LiteLLMModel(api_base="https://user:pass@host/v1?token=t", api_key="sk-secret", aws_secret_access_key="hidden")
    assert repr(model) == "LiteLLMModel(api_base='https://host/v1', timeout_s=30.0, aws_secret_access_key=...)"


@pytest.mark.parametrize(
    "settings", [{"num_retries": 3}, {"stream": True}, {"timeout": 5}, {"timeout_s": 0}, {"stream_idle_s": float("nan")}]
)
def test_settings_that_belong_elsewhere_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LiteLLMModel(**settings)


def _in_a_process(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning:litellm", "-c", program, *arguments],
        cwd=_REPOSITORY, env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    noise = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert not noise, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_vendor() -> None:
    loaded = _in_a_process("import sys, afk_es.llms, afk_es.testing, afk_es.llms.litellm; print(*sys.modules)").split()
    assert not {"litellm", "openai", "httpx", "aiohttp", "hypothesis"} & set(loaded)


_THREE_LOOPS = """
import asyncio, sys
from afk_es.llms import LLMRequest
from afk_es.llms.chat import message_from_chat, tool_from_chat
from afk_es.llms.litellm import LiteLLMModel
from afk_es.llms.litellm_thinking import thinking

async def main():
    model = LiteLLMModel(api_base=sys.argv[1], api_key="k")
    request = LLMRequest(model="openai/x", messages=[{"role": "user", "content": "hi"}])
    print((await model.chat(request)).text)
    print([part async for part in model.chat_stream(request)][-1].text)

for _ in range(3):
    asyncio.run(main())
"""


def test_a_program_with_three_event_loops_one_after_the_other_works_and_ends(shared: _Scene) -> None:
    shared.reply = {"content": "hello"}
    assert _in_a_process(_THREE_LOOPS, shared.server.url).split() == ["hello"] * 6


def test_a_loop_that_did_not_close_leaves_no_client_to_a_later_loop_with_its_id(shared: _Scene) -> None:
    """Python gives a new loop the id of a dead one; LiteLLM finds its clients by that id."""
    shared.reply = _HELLO
    cache = litellm_clients.load().in_memory_llm_clients_cache.cache_dict

    async def stale() -> Callable[[], bool]:
        key = f"client-{id(asyncio.get_running_loop())}"
        cache[key] = object()
        await litellm_clients.ready()
        return lambda: key in cache

    assert not asyncio.run(stale())()


@pytest.mark.tau
@both_ways
async def test_recorded_conversations_go_through_http_and_back_unchanged(scene: _Scene, ask: Any) -> None:
    """Each assistant turn is asked for with the recorded history, which the server checks, and comes back as it was recorded."""
    recording = Recording.load(FIXTURE)
    tools = tuple(tool_from_chat(tool) for tool in recording.tools)
    with OpenAIServer(recorded_turns(recording)) as server:
        model = scene.model(api_base=server.url)
        for conversation in recording.conversations.values():
            messages = Messages(message_from_chat(turn) for turn in recording.history(conversation, 0))
            for turn in map(message_from_chat, conversation.messages):
                if turn.role == "assistant":
                    response = await ask(model, _request(model=f"openai/{conversation.key}", messages=messages, tools=tools))
                    assert (response.text, response.tool_calls) == (turn.content, turn.tool_calls)
                messages = messages.appended(turn)
