"""Whose a run is, and which run stands for a request."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.errors import ConfigurationError
from afk_es.log.memory import MemoryEventLog
from afk_es.serving import Principal, owned, run_id_of, served_context
from afk_es.testing import ScriptedModel

ALICE, BOB = Principal("alice"), Principal("bob")
KEYS = st.text(st.characters(), max_size=20)


def test_a_request_has_the_same_id_at_all_times() -> None:
    """Also after a restart, and in the next release: the id is in logs."""
    assert run_id_of("mcp", "alice", "key 1") == run_id_of("mcp", "alice", "key 1") == "mcp-06761736aac11e260ace38a055f097e2"


@given(st.tuples(st.sampled_from(("mcp", "a2a")), KEYS, KEYS), st.tuples(st.sampled_from(("mcp", "a2a")), KEYS, KEYS))
def test_two_requests_never_share_one(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (run_id_of(*one) == run_id_of(*other)) == (one == other)


@given(KEYS, KEYS)
def test_it_is_the_id_of_a_run_and_tells_nothing_of_the_request(principal: str, key: str) -> None:
    assert re.fullmatch(r"mcp-[0-9a-f]{32}", run_id_of("mcp", principal, key))


def test_parts_are_kept_apart() -> None:
    assert run_id_of("mcp", "al", "ice") != run_id_of("mcp", "alice", "")


@pytest.mark.parametrize("door", ["", "MCP", "m cp", "a" * 17, "2a", "mcp\n"])
def test_a_door_has_a_plain_name(door: str) -> None:
    with pytest.raises(ConfigurationError, match="a door is named"):
        run_id_of(door, "alice", "1")


def test_the_caller_cannot_say_that_it_is_somebody_else() -> None:
    spoofed = {"user_id": "bob", "door": "a2a", "language": "en"}
    assert served_context("mcp", ALICE, spoofed) == {"user_id": "alice", "door": "mcp", "language": "en"}
    assert served_context("mcp", ALICE) == {"user_id": "alice", "door": "mcp"}
    assert spoofed["user_id"] == "bob"


async def first_event(context: dict[str, Any]) -> Any:
    agent = Agent(model=ScriptedModel(["done"]), context_defaults={"user_id": "bob", "door": "a2a"})
    log = MemoryEventLog()
    async with Runner(log=log) as runner:
        result = await runner.run(agent, user_message="x", context=context)
        return (await log.read(result.run_id, limit=1))[0]


async def test_a_run_is_its_callers_at_that_door_and_nobody_elses() -> None:
    event = await first_event(served_context("mcp", ALICE, {"user_id": "bob", "door": "a2a"}))
    assert owned(event, "mcp", ALICE)
    assert owned(event, "mcp", Principal("alice", frozenset({"more"})))
    assert not owned(event, "mcp", BOB)
    assert not owned(event, "a2a", ALICE)
    assert not owned(event, "a2a", BOB)


async def test_a_run_that_no_door_started_is_nobodys() -> None:
    assert not owned(None, "mcp", ALICE)
    assert not owned(await first_event({"user_id": "alice", "door": None}), "mcp", ALICE)
