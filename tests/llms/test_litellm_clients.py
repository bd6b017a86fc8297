"""LiteLLM's HTTP clients end with their event loop, whoever used them, and nobody can take them from anybody else."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

from afk_es.llms import LLMRequest, litellm_clients
from afk_es.llms.litellm import LiteLLMModel
from tests.support.openai_server import OpenAIServer

_REQUEST = LLMRequest(model="openai/x", messages=[{"role": "user", "content": "hi"}])


def _client_of(loop: asyncio.AbstractEventLoop) -> Any:
    clients = litellm_clients.load().in_memory_llm_clients_cache.cache_dict
    (client,) = [client for key, client in clients.items() if key.endswith(f"-{id(loop)}")]
    return client


async def _asked(url: str) -> Any:
    """The client of this loop, after a call through it."""
    assert (await LiteLLMModel(api_base=url, api_key="k").chat(_REQUEST)).text == "hello"
    return _client_of(asyncio.get_running_loop())


def test_models_of_a_loop_share_a_client_which_is_closed_when_the_loop_ends() -> None:
    async def twice(url: str) -> Any:
        client = await _asked(url)
        assert await _asked(url) is client
        assert not client.is_closed()
        return client

    with OpenAIServer(lambda _body: {"content": "hello"}) as server:
        first = asyncio.run(twice(server.url))
        assert first.is_closed()
        second = asyncio.run(twice(server.url))
    assert second.is_closed()
    assert second is not first


def test_the_end_of_one_loop_leaves_the_clients_of_another_alone() -> None:
    async def outlive(url: str) -> None:
        client = await _asked(url)
        other = await asyncio.to_thread(lambda: asyncio.run(_asked(url)))
        assert other.is_closed()
        assert await _asked(url) is client

    with OpenAIServer(lambda _body: {"content": "hello"}) as server:
        asyncio.run(outlive(server.url))


def test_a_loop_that_ends_in_the_middle_of_a_stream_leaves_nothing_open() -> None:
    async def leave(url: str) -> Any:
        stream = LiteLLMModel(api_base=url, api_key="k").chat_stream(_REQUEST)
        await anext(stream)
        return _client_of(asyncio.get_running_loop())

    with OpenAIServer(lambda _body: {"content": "hello and goodbye"}) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(leave(server.url)).is_closed()
        gc.collect()
