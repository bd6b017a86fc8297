"""A golden is a run of a log in a file: written, read and opened again it tells the same story, under names that stay."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import msgspec
import pytest

from afk_es.core.history import ThreadMemory
from afk_es.core.result import text_of_run
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.evals import Golden
from afk_es.log import EventLog, open_log
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent, fold, initial_state
from tests.evals.recorded import check_whole, desk, ran, small
from tests.support.stories import Stories

ENDED = ("failing", "trial_1", "trial_2", "looping", "cost_limit", "denied", "team", "earlier", "complete")


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("name", ENDED)
async def test_a_recorded_run_is_read_back_as_a_log_that_verifies(stories: Stories, tmp_path: Path, name: str, thread: bool) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    golden = await Golden.of(log, stories.run_ids[name], name=name, thread=thread)
    read = golden.write(tmp_path / f"{name}.golden.jsonl")
    assert (read.header, read.text(), read.edited) == (golden.header, golden.text(), False)
    assert await check_whole(read) > 0
    assert len(read.runs) == (2 if thread and name == "complete" else 1)
    await log.close()


@pytest.mark.parametrize("name", ENDED)
async def test_what_a_run_came_to_is_in_its_golden(stories: Stories, name: str) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    run_id = stories.run_ids[name]
    golden = await Golden.of(log, run_id, name=name, redaction=None)
    events = await log.read(run_id)
    history = await ThreadMemory().read(log, events[0].data.get("history", []))
    state = fold(initial_state(run_id, events[0].thread_id, history), events)
    outcome = golden.outcomes[golden.runs[-1]]
    assert outcome.state == state.status
    # The error of a failed run names the call by the id that the model gave it.
    assert re.sub(r"\bcall_\w+", "call", outcome.final_text) == re.sub(r"\bcall_\w+", "call", text_of_run(state))
    assert outcome.llm_calls == state.llm_calls
    assert outcome.tokens[2] == state.usage.total_tokens
    assert outcome.cost_usd == (float(state.cost_usd) if state.cost_known else None)
    await log.close()


async def test_the_same_run_gives_the_same_bytes_twice(stories: Stories) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    texts = [(await Golden.of(log, stories.run_ids["complete"], name="twice", thread=True)).text() for _time in range(2)]
    await log.close()
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ENDED)
async def test_a_golden_of_the_runs_of_a_golden_says_the_same(stories: Stories, name: str) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    golden = await Golden.of(log, stories.run_ids[name], name=name, thread=True)
    await log.close()
    assert (await golden.rewritten()).text() == golden.text()


async def test_the_same_agent_on_the_same_answers_gives_the_same_facts_whatever_its_ids_and_whenever_it_ran() -> None:
    texts = []
    for seed, start in ((1, dt.datetime(2026, 3, 1, tzinfo=dt.UTC)), (2, dt.datetime(2031, 7, 9, 13, 37, tzinfo=dt.UTC))):
        log = MemoryEventLog()
        await log.open()
        texts.append((await Golden.of(log, await ran(log, desk(), seed=seed, start=start), name="desk")).text())
    header, *facts = zip(*(text.splitlines() for text in texts), strict=True)
    assert all(one == other for one, other in facts)
    one, other = map(json.loads, header)
    assert one.pop("recorded") != other.pop("recorded"), "it says from which run it is"
    assert one == other


async def test_recording_again_what_has_not_changed_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "small.golden.jsonl"
    (await small()).write(path)
    before = path.read_bytes()
    log = MemoryEventLog()
    await log.open()
    again = await Golden.of(log, await ran(log, desk(), seed=9), name="small")
    assert again.text().encode() != before, "it is of another run"
    again.write(path)
    assert path.read_bytes() == before


async def test_the_header_says_what_a_reviewer_wants_to_know() -> None:
    golden = await small(mode="contract", agent_ref="shop.agents:desk")
    header = golden.header
    assert (header.schema, header.mode, header.agent, header.models) == ("afk_es.golden/1", "contract", "shop.agents:desk", ("scripted-1",))
    assert header.runs == golden.runs == ("run_1",)
    assert header.redacted is not None
    assert header.update == "afk-es golden update --accept behaviour small"
    assert (await small()).header.update == "pytest --golden-update=behaviour", "the test knows whom to run"
    assert header.recorded.event_schema == 1
    assert header.recorded.at is not None
    assert header.recorded.log == ":memory:"


async def test_no_directory_of_a_machine_is_in_a_golden(stories: Stories) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    golden = await Golden.of(log, stories.run_ids["trial_1"], name="trial")
    await log.close()
    assert golden.header.recorded.log == "stories.db"
    assert str(stories.log.parent) not in golden.text()


async def test_earlier_runs_are_context_or_checked_as_one_conversation() -> None:
    log = MemoryEventLog()
    await log.open()
    await ran(log, desk(), thread_id="t")
    second = await ran(log, desk(), seed=1, thread_id="t")
    alone = await Golden.of(log, second, name="alone")
    assert alone.runs == ("run_2",)
    assert {record.run_id for record in await (await alone.open_log()).runs()} == {"run_1", "run_2"}
    together = await Golden.of(log, second, name="together", thread=True)
    assert together.runs == ("run_1", "run_2")
    assert await check_whole(alone) == await check_whole(together) == 6


async def test_its_log_is_one_thread_from_a_fixed_time_on_and_nobody_owns_it() -> None:
    log = await (await small()).open_log()
    (record,) = await log.runs()
    assert (record.run_id, record.thread_id, record.owner) == ("run_1", "thread_1", "golden")
    assert record.started_at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert not await log.alive("golden", "run_1")


async def test_a_type_and_keys_that_this_version_does_not_know_survive() -> None:
    source = MemoryEventLog()
    await source.open()
    run_id = await ran(source, desk())
    log = MemoryEventLog()
    await log.open()
    await log.append(_with_news(await source.read(run_id)), epoch=1)
    golden = await Golden.of(log, run_id, name="newer")
    await check_whole(golden)
    events = await (await golden.open_log()).read("run_1")
    assert (events[1].type, events[1].data) == ("mood_noticed", {"mood": "fine", "of": {"b": 1, "a": [2]}})
    assert events[2].data["weather"] == "rain"


def _with_news(events: list[AgentRunEvent]) -> list[AgentRunEvent]:
    first, second, *rest = events
    new = msgspec.structs.replace(second, type="mood_noticed", data={"mood": "fine", "of": {"b": 1, "a": [2]}})
    later = [msgspec.structs.replace(event, seq=event.seq + 1) for event in (second, *rest)]
    later[0] = msgspec.structs.replace(later[0], data={**later[0].data, "weather": "rain"})
    return [first, new, *later]


async def test_how_it_was_run_is_there_as_settings() -> None:
    config = (await small()).config()
    assert (config.interaction_mode, config.in_doubt, config.tool_output_max_chars) == ("headless", "report", 12_000)


async def test_a_run_that_cannot_be_replayed_is_refused_with_the_way_out(stories: Stories) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    with pytest.raises(
        UsageError, match=r"no golden can be made of run run_crashed: run run_crashed has not ended .*`afk-es resume run_crashed`"
    ):
        await Golden.of(log, stories.run_ids["crashed"], name="crashed")
    children = [event.data["run_id"] for event in await log.read(stories.run_ids["team"]) if event.type == "subagent_started"]
    with pytest.raises(UsageError, match="is a subagent's: record the run that it belongs to, run_team"):
        await Golden.of(log, children[0], name="child")
    with pytest.raises(RunNotFoundError, match="run_nowhere"):
        await Golden.of(log, "run_nowhere", name="x")
    await log.close()


async def test_a_subagents_run_has_the_id_that_the_machine_would_give_it(stories: Stories) -> None:
    log: EventLog = open_log(str(stories.log), read_only=True)
    await log.open()
    golden = await Golden.of(log, stories.run_ids["team"], name="team")
    await log.close()
    opened = await golden.open_log()
    started = [event for event in await opened.read("run_1") if event.type == "subagent_started"]
    assert started
    for event in started:
        (first, *_rest) = await opened.read(event.data["run_id"])
        assert first.data["parent"]["run_id"] == "run_1"
        assert first.data["parent"]["tool_call_id"] == event.data["tool_call_id"]
        assert first.data["parent"]["seq"] == event.seq
