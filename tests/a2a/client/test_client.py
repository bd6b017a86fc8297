"""A2AClient against the SDK's server and against single answers: what is sent, what comes of it, and what is told when it fails."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import httpx
import pytest
from a2a.helpers import new_data_part
from a2a.server.agent_execution import RequestContext
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb

from afk_es.a2a import A2AClient, RemoteFile, RemoteTaskError, RemoteUpdate
from afk_es.clock import SimulatedClock
from afk_es.errors import (
    ConfigurationError,
    LLMConfigurationError,
    LLMError,
    LLMInvalidResponseError,
    LLMRetryableError,
    LLMTimeoutError,
)
from afk_es.llms import Message
from tests.a2a.client import wire
from tests.a2a.client.servers import URL, Plain, Remote, app_of, card, collected, in_memory, over_http, said
from tests.a2a.client.test_agent import asked
from tests.a2a.client.wire import Wire, event, events, piece, refusal, status, task

BINDINGS = ["JSONRPC", "HTTP+JSON"]


def quick() -> SimulatedClock:
    """A clock on which waiting costs nothing."""
    return SimulatedClock(autojump_threshold_s=0.0)


# ------------------------------------------------------------------------------------------------------------------ the SDK's server


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_message_is_sent_and_its_task_waited_for(streaming: bool) -> None:
    remote = Remote()
    client = in_memory(remote, streaming=streaming)
    done = await client.send("hello", message_id="m-1", context_id="c-1")
    assert (done.state, done.text, done.ended, done.context_id) == ("completed", "you said: hello", True, "c-1")
    assert remote.messages == ["m-1"]
    again = await client.get(done.id or "")
    assert again == done


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_that_answers_without_a_task_has_completed_one(streaming: bool) -> None:
    done = await in_memory(Plain(), streaming=streaming).send("hello")
    assert (done.id, done.state, done.text) == (None, "completed", "at once: hello")


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_news_of_a_task_come_as_they_are_made_over_http(binding: str) -> None:
    """Each piece is written only when the one before has been read, so nothing is kept back until the end."""
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def pieces(context: RequestContext, updater: TaskUpdater) -> None:
        await updater.start_work(said(updater, "thinking"))
        await updater.add_artifact([pb.Part(text="one ")], artifact_id="a")
        waiting = asyncio.run_coroutine_threadsafe(let_go.wait(), loop)
        await asyncio.wrap_future(waiting)
        await updater.add_artifact([pb.Part(text="two")], artifact_id="a", append=True)
        await updater.complete()

    with over_http(Remote(pieces), binding=binding) as url:
        client = A2AClient(url)
        assert (await client.card()).protocol == binding
        texts: list[str] = []
        updates: list[RemoteUpdate] = []
        async for update in client.stream("count"):
            updates.append(update)
            if update.text:
                texts.append(update.text)
                let_go.set()
        assert texts == ["one ", "two"]
        assert "thinking" in {update.message for update in updates}
        assert updates[-1].task is not None
        assert updates[-1].task.text == "one two"


async def test_data_goes_out_and_comes_back_as_json_values() -> None:
    heard: list[object] = []

    async def figures(context: RequestContext, updater: TaskUpdater) -> None:
        assert context.message is not None
        heard.extend(part.WhichOneof("content") for part in context.message.parts)
        await updater.add_artifact([new_data_part({"n": 3, "share": 0.5, "list": [1, None, True]})])
        await updater.complete()

    done = await in_memory(Remote(figures)).send("the figures", data={"year": 2026})
    assert heard == ["text", "data"]
    assert done.data == {"n": 3, "share": 0.5, "list": [1, None, True]}
    assert type(done.data["n"]) is int


async def test_files_come_with_their_bytes_or_their_address() -> None:
    async def files(context: RequestContext, updater: TaskUpdater) -> None:
        await updater.add_artifact([pb.Part(raw=b"%PDF", filename="r.pdf", media_type="application/pdf")])
        await updater.add_artifact([pb.Part(url="https://elsewhere.test/x.png", media_type="image/png")])
        await updater.complete()

    done = await in_memory(Remote(files)).send("both")
    assert done.files == (
        RemoteFile(name="r.pdf", media_type="application/pdf", content=b"%PDF"),
        RemoteFile(media_type="image/png", url="https://elsewhere.test/x.png"),
    )


async def test_a_task_that_asks_is_answered_by_a_message_to_it() -> None:
    async def ask_once(context: RequestContext, updater: TaskUpdater) -> None:
        if context.current_task is None:
            await updater.requires_input(said(updater, "Which account?"))
            return
        await updater.add_artifact([pb.Part(text=f"paid from {context.get_user_input()}")])
        await updater.complete()

    client = in_memory(Remote(ask_once))
    asked = await client.send("pay")
    assert (asked.state, asked.message, asked.settled, asked.ended) == ("input-required", "Which account?", True, False)
    done = await client.send("savings", task_id=asked.id)
    assert (done.id, done.state, done.text) == (asked.id, "completed", "paid from savings")


async def test_how_a_task_stood_before_an_answer_is_not_taken_for_what_came_of_it() -> None:
    """The protocol has a stream begin with the task, which may still wait for the very message that was sent."""
    waiting, asks_again = event(task=task("INPUT_REQUIRED", message="Which?")), event(task=task("INPUT_REQUIRED", message="Sure?"))
    for news, said_last in (
        ([waiting, status("WORKING"), piece("paid", append=False), status("COMPLETED")], "paid"),
        ([waiting, status("WORKING"), asks_again], "Sure?"),
        ([waiting], "Which?"),
    ):
        agent = Wire(streaming=True, SendStreamingMessage=events(*news))
        done = await agent.client().send("savings", task_id="t1")
        assert (done.text or done.message) == said_last
    polled = Wire(SendMessage={"task": task(text="paid")})
    await polled.client().send("savings", task_id="t1")
    assert "returnImmediately" not in polled.asked[0][1].get("configuration", {})


async def test_a_task_is_cancelled_and_one_that_is_over_is_not() -> None:
    async def never(context: RequestContext, updater: TaskUpdater) -> None:
        await updater.start_work()
        await asyncio.Event().wait()

    remote = Remote(never)
    with over_http(remote) as url:
        client = A2AClient(url)
        updates = client.stream("work")
        task_id = (await anext(updates)).task_id or ""
        assert (await client.cancel(task_id)).state == "canceled"
        assert [update.state async for update in updates][-1] == "canceled"
        assert remote.cancelled == [task_id]
        with pytest.raises(LLMConfigurationError):
            await client.cancel(task_id)
        with pytest.raises(RemoteTaskError):
            await client.cancel("another")


async def test_leaving_the_news_early_leaves_the_task_alone_and_it_can_be_followed() -> None:
    let_go = asyncio.Event()

    async def slow(context: RequestContext, updater: TaskUpdater) -> None:
        await updater.start_work()
        await let_go.wait()
        await updater.complete(said(updater, "late"))

    remote = Remote(slow)
    client = in_memory(remote, clock=quick())
    updates = client.stream("work")
    task_id = (await anext(updates)).task_id or ""
    await updates.aclose()
    let_go.set()
    followed = await collected(client.follow(task_id))
    assert (followed[-1].task.state, followed[-1].task.text) == ("completed", "late")
    assert len(remote.messages) == 1


# ---------------------------------------------------------------------------------------------------------- connections that break off


async def test_a_stream_that_breaks_off_is_gone_on_with_and_the_message_not_sent_again() -> None:
    agent = Wire(
        streaming=True,
        SendStreamingMessage=events(event(task=task("WORKING")), piece("half", append=False), httpx.ReadError("gone")),
        GetTask=[{**task("WORKING", "half")}],
        SubscribeToTask=events(event(task=task("WORKING", "half")), piece(" and half"), status("COMPLETED")),
    )
    updates = await collected(agent.client(clock=quick()).stream("go"))
    assert "".join(update.text for update in updates) == "half and half"
    assert updates[-1].task.text == "half and half"
    assert agent.methods == ["SendStreamingMessage", "GetTask", "SubscribeToTask"]


async def test_a_stream_that_ends_without_an_end_is_asked_about() -> None:
    agent = Wire(
        streaming=True,
        SendStreamingMessage=events(event(task=task("WORKING"))),
        GetTask=[task("WORKING"), task("COMPLETED", "done")],
        SubscribeToTask=refusal(wire.UNSUPPORTED, "it is over"),
    )
    assert (await agent.client(clock=quick()).send("go")).text == "done"
    assert agent.methods == ["SendStreamingMessage", "GetTask", "SubscribeToTask", "GetTask"]


async def test_a_stream_that_breaks_off_before_anything_came_fails_and_may_be_asked_again() -> None:
    agent = Wire(streaming=True, SendStreamingMessage=events(httpx.ReadError("gone")))
    with pytest.raises(LLMRetryableError, match="broke off"):
        await agent.client(clock=quick()).send("go")
    assert agent.methods == ["SendStreamingMessage"]


async def test_a_known_task_is_asked_for_through_some_failures_and_not_for_ever() -> None:
    agent = Wire(SendMessage={"task": task("WORKING")}, GetTask=[httpx.Response(503), httpx.ConnectError("no"), task(text="done")])
    assert (await agent.client(clock=quick()).send("go")).text == "done"
    down = Wire(SendMessage={"task": task("WORKING")}, GetTask=httpx.Response(503))
    with pytest.raises(LLMRetryableError) as failed:
        await down.client(clock=quick()).send("go")
    assert failed.value.status_code == 503
    assert down.methods.count("GetTask") == 5


async def test_an_agent_that_cannot_be_watched_is_asked_ever_more_rarely() -> None:
    asked_at: list[float] = []
    clock = quick()

    def standing(params: dict[str, object]) -> dict[str, object]:
        asked_at.append(clock.monotonic())
        return task("WORKING") if len(asked_at) < 12 else task(text="done")

    agent = Wire(SendMessage={"task": task("WORKING")}, GetTask=standing)
    assert (await agent.client(clock=clock).send("go")).text == "done"
    pauses = [after - before for before, after in itertools.pairwise(asked_at)]
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == 10.0
    assert pauses == sorted(pauses)
    assert agent.asked[0][1]["configuration"]["returnImmediately"] is True


async def test_a_task_is_waited_for_so_long_and_no_longer() -> None:
    agent = Wire(SendMessage={"task": task("WORKING")}, GetTask=task("WORKING"))
    with pytest.raises(LLMTimeoutError, match="has not ended in time"):
        await agent.client().send("go", timeout_s=0.05)


# ------------------------------------------------------------------------------------------------------------------------ what failed


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (httpx.Response(401), LLMConfigurationError, "does not let us in"),
        (httpx.Response(403), LLMConfigurationError, "does not let us in"),
        (httpx.Response(400), LLMConfigurationError, "HTTP 400"),
        (httpx.Response(404), LLMConfigurationError, "HTTP 404"),
        (httpx.Response(429, headers={"retry-after": "7"}), LLMRetryableError, "HTTP 429"),
        (httpx.Response(502), LLMRetryableError, "HTTP 502"),
        (httpx.ConnectError("no"), LLMRetryableError, "cannot be reached"),
        (httpx.ReadTimeout("slow"), LLMTimeoutError, "in time"),
        (refusal(wire.INVALID, "no context of yours"), LLMConfigurationError, "refuses the request: no context of yours"),
        (refusal(wire.NO_METHOD, "?"), LLMConfigurationError, "does not support"),
        (refusal(wire.INTERNAL, "oops"), LLMRetryableError, "failed: oops"),
        (refusal(wire.NOT_FOUND, "which?"), RemoteTaskError, "knows no such task"),
        (refusal(-1, "x" * 5000), LLMInvalidResponseError, "characters cut"),
    ],
)
async def test_a_failure_says_whether_asking_again_can_help(answer: httpx.Response | Exception, kind: type[LLMError], message: str) -> None:
    with pytest.raises(kind, match=message) as failed:
        await Wire(SendMessage=answer).client().send("go")
    assert URL in str(failed.value)
    if isinstance(answer, httpx.Response) and "retry-after" in answer.headers:
        assert failed.value.retry_after_s == 7.0


# ---------------------------------------------------------------------------------------------------------------------------- the card


async def test_the_card_is_fetched_once_and_again_when_it_is_old_or_was_refused() -> None:
    clock = SimulatedClock()
    agent = Wire(
        SendMessage=[{"task": task(text="1")}, {"task": task(text="2")}, {"task": task(text="3")}, refusal(wire.NO_METHOD, "moved")]
    )
    client = agent.client(clock=clock, card_ttl_s=60.0)
    await client.send("one")
    await client.send("two")
    assert agent.cards == 1
    clock.advance(61.0)
    await client.send("three")
    assert agent.cards == 2
    with pytest.raises(LLMConfigurationError):
        await client.send("four")
    await client.card()
    assert agent.cards == 3
    await client.card(refresh=True)
    assert agent.cards == 4


async def test_a_card_says_what_the_agent_says_of_itself() -> None:
    shown = await in_memory(Remote(), streaming=True).card()
    assert (shown.name, shown.url, shown.protocol, shown.streaming) == ("Remote one", URL, "JSONRPC", True)
    assert [skill.id for skill in shown.skills] == ["all"]


@pytest.mark.parametrize(
    "shown",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"skills": 7}),
        httpx.Response(200, text=""),
    ],
)
async def test_what_is_no_card_is_a_failure(shown: httpx.Response) -> None:
    with pytest.raises(LLMError):
        await Wire(shown=shown).client().send("go")


async def test_a_card_without_an_interface_that_is_spoken_here_is_refused() -> None:
    with pytest.raises(LLMConfigurationError, match="GRPC"):
        await (
            Wire(shown=httpx.Response(200, json={"name": "x", "supportedInterfaces": [{"url": URL, "protocolBinding": "GRPC"}]}))
            .client()
            .card()
        )


# ---------------------------------------------------------------------------------------------------------------------- wrong arguments

Wrong = Callable[[], object]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: A2AClient("agents.example.com"), "like 'https://"),
        (lambda: A2AClient("ftp://agents.example.com"), "like 'https://"),
        (lambda: A2AClient("https://ann:hunter2@agents.example.com"), "holds credentials"),
        (lambda: A2AClient("https://agents.example.com?key=hunter2"), "holds credentials"),
        (lambda: A2AClient("https://a.example", token="x", api_key="y"), "keep one"),
        (lambda: A2AClient("https://a.example", token="two\nlines"), "header"),
        (lambda: A2AClient("https://a.example", token=""), "empty"),
        (lambda: A2AClient("http://a.example", token="hunter2"), "encryption"),
        (lambda: A2AClient("https://a.example", timeout_s=0), "timeout_s"),
        (lambda: A2AClient("https://a.example", task_timeout_s=-1), "task_timeout_s"),
        (lambda: A2AClient("https://a.example", max_bytes=0), "max_bytes"),
        (lambda: A2AClient("https://a.example", trusted_hosts="b.example"), "trusted_hosts"),
        (lambda: A2AClient("https://a.example").agent(name="x", asked_again="maybe"), "asked_again"),  # type: ignore[arg-type]
        (lambda: A2AClient("https://a.example").agent(name="two words"), "name"),
    ],
)
def test_a_wrong_argument_is_told_at_once_and_without_its_secret(make: Wrong, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as told:
        make()
    assert "hunter2" not in str(told.value)


async def test_there_is_something_to_send() -> None:
    with pytest.raises(ConfigurationError, match="nothing to send"):
        await Wire().client().send()
    with pytest.raises(ConfigurationError, match="JSON"):
        await Wire().client().send(data={1, 2}.__iter__())


async def test_rest_and_json_rpc_are_chosen_by_what_the_card_has_first() -> None:
    both = card(URL)
    both.supported_interfaces.insert(0, pb.AgentInterface(url=f"{URL}/rest", protocol_binding="HTTP+JSON", protocol_version="1.0"))
    client = A2AClient(URL, transport=httpx.ASGITransport(app_of(Remote(), both)))
    assert (await client.card()).protocol == "HTTP+JSON"
    assert (await client.send("hello")).text == "you said: hello"


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_of_the_protocol_before_is_asked_in_its_words(streaming: bool) -> None:
    old = card(f"{URL}/old", streaming=streaming)
    old.supported_interfaces[0].protocol_version = "0.3"
    remote = Remote()
    client = A2AClient(URL, transport=httpx.ASGITransport(app_of(remote, old)), clock=quick())
    assert (await client.card()).protocol_version == "0.3"
    done = await client.send("hello", message_id="m-1")
    assert (done.state, done.text, remote.messages) == ("completed", "you said: hello", ["m-1"])
    assert await client.get(done.id or "") == done
    # It knows no listing, so a message that may have been sent before is sent again.
    again = await asked(client.agent(name="old").model, Message("user", "x"), attempt=2)
    assert again.text == "you said: x"
