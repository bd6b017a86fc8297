"""ScriptedModel: what it answers, in which order, and what it says when it has no more."""

from __future__ import annotations

import asyncio

import pytest

from afk_es.llms import (
    ChatModel,
    LLMConfigurationError,
    LLMRequest,
    LLMResponse,
    LLMRetryableError,
    StreamingChatModel,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from afk_es.testing import ScriptedModel, ScriptExhaustedError


def _request(text: str = "hello") -> LLMRequest:
    return LLMRequest(model="m", messages=[{"role": "user", "content": text}])


def test_it_is_a_model_that_streams() -> None:
    model = ScriptedModel([])
    assert isinstance(model, ChatModel)
    assert isinstance(model, StreamingChatModel)
    assert (model.provider_id, model.model) == ("scripted", "scripted-1")


async def test_it_answers_in_order_from_every_kind_of_answer() -> None:
    async def later(request: LLMRequest) -> str:
        return f"later: {request.messages[-1].content}"

    whole = LLMResponse(tool_calls=(ToolCall("a", "f", {}),))
    model = ScriptedModel(["one", whole, lambda request: len(request.messages) * "x", later, LLMRetryableError("busy")])
    first = await model.chat(_request())
    assert (first.text, first.finish_reason, first.model) == ("one", "stop", "scripted-1")
    assert await model.chat(_request()) is whole
    assert (await model.chat(_request())).text == "x"
    assert (await model.chat(_request("tea"))).text == "later: tea"
    with pytest.raises(LLMRetryableError, match="busy"):
        await model.chat(_request())
    assert [request.messages[0].content for request in model.requests] == ["hello", "hello", "hello", "tea", "hello"]


async def test_running_out_says_how_many_answers_there_were_and_what_was_asked() -> None:
    model = ScriptedModel(["one"])
    await model.chat(_request())
    with pytest.raises(ScriptExhaustedError, match="has 1 answers, and this is request 2; the last user message was 'and now'"):
        await model.chat(_request("and now"))


async def test_a_function_alone_answers_every_request_in_any_order() -> None:
    model = ScriptedModel(lambda request: request.messages[-1].content.upper())
    answers = await asyncio.gather(*(model.chat(_request(f"n{number}")) for number in range(50)))
    assert [answer.text for answer in answers] == [f"N{number}" for number in range(50)]


async def test_a_stream_brings_a_few_words_at_a_time_then_the_answer() -> None:
    response = LLMResponse(text=" One two three\nfour  five ", tool_calls=(ToolCall("a", "f", {"x": 12345}), ToolCall("b", "g", "{bro")))
    *deltas, last = [part async for part in ScriptedModel([response]).chat_stream(_request())]
    assert last is response
    texts = [part.text for part in deltas if isinstance(part, TextDelta)]
    assert texts == [" One two three", "\nfour  five "]
    calls = [part for part in deltas if isinstance(part, ToolCallDelta)]
    assert [(part.index, part.id, part.tool_name) for part in calls if part.id] == [(0, "a", "f"), (1, "b", "g")]
    assert ["".join(part.arguments for part in calls if part.index == index) for index in (0, 1)] == ['{"x":12345}', "{bro"]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "word", "a b c d"])
async def test_the_pieces_of_a_stream_are_the_text(text: str) -> None:
    *deltas, _last = [part async for part in ScriptedModel([text]).chat_stream(_request())]
    assert "".join(part.text for part in deltas if isinstance(part, TextDelta)) == text


async def test_a_script_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(LLMConfigurationError, match="list of answers"):
        ScriptedModel("hello")
    with pytest.raises(LLMConfigurationError, match="gave a int"):
        await ScriptedModel([3]).chat(_request())  # type: ignore[list-item]
