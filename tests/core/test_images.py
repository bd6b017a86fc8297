"""A user's message with images, from `Runner.run` to the model, through the log, a resume and the thread's memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner
from afk_es.core.history import ThreadMemory
from afk_es.errors import ConfigurationError
from afk_es.llms import Image, LLMRequest, Message, MultipartMessage, Text
from afk_es.testing import ScriptedModel
from afk_es.views import message_text, overview, render_line, request_at, timeline, without_bytes
from tests.core.scenario import agent, log_of, model_of, never

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12_000)
SHOWN: list[str | Text | Image] = ["What is on these?", Image(data=PNG), Image(url="https://example.org/b.jpg")]
MESSAGE = MultipartMessage(
    "user",
    "What is on these?",
    parts=(Text("What is on these?"), Image(data=PNG, media_type="image/png"), Image(url="https://example.org/b.jpg")),
)


async def test_the_model_gets_the_parts_in_order_and_the_log_proves_it(runner: Runner) -> None:
    described = agent(["A cat."])
    result = await runner.run(described, user_message=SHOWN)
    (request,) = model_of(described).requests
    assert list(request.messages) == [MESSAGE]
    events = await log_of(runner, result.run_id)
    assert events[0].data["user_message"] == "What is on these?"
    seq = next(event.seq for event in events if event.type == "llm_called")
    rebuilt = request_at(events, seq)
    assert rebuilt.proved
    assert list(rebuilt.request.messages) == [MESSAGE]


async def test_an_image_is_stored_once_however_many_runs_carry_it(tmp_path: Path) -> None:
    described = agent(ScriptedModel(lambda request: "A cat."))
    async with Runner(log=tmp_path / "runs.db") as runner:
        for _ in range(20):
            await runner.run(described, user_message=SHOWN)
    assert (tmp_path / "runs.db").stat().st_size < 20 * len(PNG)


async def test_it_survives_a_resume_in_another_process_and_the_threads_memory(tmp_path: Path) -> None:
    log = tmp_path / "runs.db"
    async with Runner(log=log) as runner:
        handle = await runner.run_handle(agent([never], name="a"), user_message=SHOWN, thread_id="thread_1")
        async for event in handle.events:
            if event.type == "llm_called":
                break
        await handle.interrupt()
        await handle.await_result()
    again = agent(["A cat."], name="a")
    async with Runner(log=log) as runner:
        result = await runner.resume(again, run_id=handle.run_id)
        assert result.final_text == "A cat."
        assert list(model_of(again).requests[0].messages) == [MESSAGE]
    later = agent(["Yes."], name="a")
    async with Runner(log=log) as runner:
        result = await runner.run(later, user_message="Are you sure?", thread_id="thread_1")
        assert list(model_of(later).requests[0].messages) == [MESSAGE, Message("assistant", "A cat."), Message("user", "Are you sure?")]
        events = await log_of(runner, result.run_id)
        history = await ThreadMemory().read(runner.log, events[0].data["history"])
        assert request_at(events, next(event.seq for event in events if event.type == "llm_called"), history).proved


async def test_people_are_shown_what_it_is_and_not_its_bytes(runner: Runner) -> None:
    result = await runner.run(agent(["A cat."]), user_message=SHOWN)
    events = await log_of(runner, result.run_id)
    line = render_line(next(timeline(events)))
    assert line.endswith("What is on these? [image image/png, 12 kB] [image https://example.org/b.jpg]")
    (said, _answer) = overview(events).conversation
    assert message_text(said) == "What is on these?\n[image image/png, 12 kB]\n[image https://example.org/b.jpg]"
    assert "AAAA" not in json.dumps(without_bytes(events[0].data))
    assert "(12008 bytes, base64)" in json.dumps(without_bytes(events[0].data))
    assert message_text(MultipartMessage("user", "", parts=(Image(data=b"GIF8", media_type="image/gif"),))) == "[image image/gif, 4 bytes]"
    assert without_bytes({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("wrong", [7, [], [Image(data=b"no image")], [object()]])
async def test_what_cannot_be_sent_is_refused_before_anything_is_written(runner: Runner, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="user_message"):
        await runner.run(agent(["never asked"]), user_message=wrong)
    assert await runner.log.runs() == []


async def test_images_alone_are_a_message(runner: Runner) -> None:
    described = agent([lambda request: _count_of_images(request)])
    result = await runner.run(described, user_message=[Image(data=PNG)])
    assert result.final_text == "1 image, and the text ''"


def _count_of_images(request: LLMRequest) -> str:
    (message,) = request.messages
    assert isinstance(message, MultipartMessage)
    return f"{len(message.parts)} image, and the text {message.content!r}"
