"""What counts in which mode: strict flags what another version of afk_es records, contract does not, and trajectory looks at calls only."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest

from afk_es.evals import Golden, MatchMode, check_golden, compare_with_golden
from afk_es.evals.goldens.finding import Finding
from afk_es.evals.goldens.modes import Ignored, counts
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import EVENT_TYPES
from tests.evals.desk import ANSWER, LOOK, NOTIFY, REFUND, agent, asks, edited, events_in, ran, recorded, rules, says

Patch = Callable[[list[AgentRunEvent]], list[AgentRunEvent]]


async def patched(patch: Patch) -> tuple[MemoryEventLog, str]:
    """A run of the agent as another version of afk_es would have recorded it."""
    log, result = await ran()
    events = patch(await log.read(result.run_id))
    other = MemoryEventLog()
    await other.open()
    await other.append([msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events, start=1)], epoch=1)
    return other, result.run_id


def with_new_type(events: list[AgentRunEvent]) -> list[AgentRunEvent]:
    at = next(index for index, event in enumerate(events) if event.type == "llm_completed")
    new = msgspec.structs.replace(events[at], type="model_weighed", data={"weight": 3})
    return [*events[:at], new, *events[at:]]


def with_new_key(events: list[AgentRunEvent]) -> list[AgentRunEvent]:
    return [
        msgspec.structs.replace(event, data={**event.data, "weight": 3}) if event.type in ("tool_completed", "policy_decision") else event
        for event in events
    ]


def with_new_key_of_the_agent(events: list[AgentRunEvent]) -> list[AgentRunEvent]:
    first = copy.deepcopy(events[0].data)
    first["agent"]["weight"] = 3
    first["agent"]["tools"][0]["weight"] = 3
    return [msgspec.structs.replace(events[0], data=first), *events[1:]]


NEWER = [(with_new_type, "type"), (with_new_key, "data.weight"), (with_new_key_of_the_agent, "data.agent.tools[0].weight")]


@pytest.mark.parametrize(("patch", "field"), NEWER)
async def test_what_a_newer_version_records_is_its_own_class_in_strict_mode(patch: Patch, field: str) -> None:
    log, run_id = await patched(patch)
    report = await compare_with_golden(await recorded(), log, run_id)
    assert report.first is not None
    assert {found.kind for found in report.divergences} == {"engine_version"}
    assert report.first.field == field


@pytest.mark.parametrize("mode", ["contract", "trajectory"])
@pytest.mark.parametrize(("patch", "field"), NEWER)
async def test_what_a_newer_version_records_breaks_no_golden_in_the_other_modes(mode: MatchMode, patch: Patch, field: str) -> None:
    log, run_id = await patched(patch)
    report = await compare_with_golden(await recorded(), log, run_id, mode=mode)
    assert report.outcome == "passed"
    assert any(field in note and "engine_version" in note for note in report.notes)


def new_type_in_the_file(lines: list[dict[str, Any]]) -> None:
    at = lines.index(events_in(lines, "llm_completed")[0])
    lines.insert(at, {**lines[at], "type": "model_weighed", "data": {"weight": 3}})
    for seq, line in enumerate([line for line in lines if line.get("fact") == "event"], start=1):
        line["seq"] = seq


def new_key_in_the_file(lines: list[dict[str, Any]]) -> None:
    """Of a decision of the policy, since today's agent is asked for those and not served them."""
    events_in(lines, "policy_decision")[0]["data"]["weight"] = 3


@pytest.mark.parametrize("edit", [new_type_in_the_file, new_key_in_the_file])
async def test_a_golden_of_a_newer_version_is_checked_too(edit: Callable[[list[dict[str, Any]]], None], tmp_path: Path) -> None:
    golden = edited(await recorded(), tmp_path, edit)
    assert (await check_golden(golden, agent(), mode="contract", policy_engine=rules())).ok
    report = await check_golden(golden, agent(), policy_engine=rules())
    assert [found.kind for found in report.divergences] == ["engine_version"]


class Weighed(TypedDict):
    weight: int


def of_version(golden: Golden, version: str) -> Golden:
    """The golden as a version of afk_es would have recorded it."""
    origin = msgspec.structs.replace(golden.header.recorded, afk_es=version)
    return msgspec.structs.replace(golden, header=msgspec.structs.replace(golden.header, recorded=origin))


async def test_a_type_of_this_version_is_news_to_a_golden_of_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    row = msgspec.structs.replace(EVENT_TYPES["warning"], name="model_weighed", shape=Weighed, since="9.1.0")
    monkeypatch.setitem(EVENT_TYPES, "model_weighed", row)
    golden = await recorded()
    log, run_id = await patched(with_new_type)
    older = await compare_with_golden(of_version(golden, "9.0.4"), log, run_id)
    assert [found.kind for found in older.divergences] == ["engine_version"]
    same = await compare_with_golden(of_version(golden, "9.1.0"), log, run_id)
    assert [found.kind for found in same.divergences] == ["extra"]


async def test_a_key_of_this_version_is_news_to_a_golden_of_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = await recorded()
    monkeypatch.setitem(EVENT_TYPES, "llm_completed", msgspec.structs.replace(EVENT_TYPES["llm_completed"], keys_since={"text": "9.1.0"}))
    log, result = await ran(agent(asks(LOOK), asks(REFUND, NOTIFY), says("No.")))
    report = await compare_with_golden(of_version(golden, "9.0.5"), log, result.run_id)
    assert [(found.kind, found.field) for found in report.divergences] == [("engine_version", "data.text")]


async def test_contract_ignores_words_and_prompts_and_says_what_it_ignored() -> None:
    golden = await recorded()
    script = (asks(LOOK, text="Let me see."), asks(REFUND, NOTIFY), says("It is done."))
    log, result = await ran(agent(*script, instructions="Be rude."))
    report = await compare_with_golden(golden, log, result.run_id, mode="contract")
    assert report.outcome == "passed"
    assert report.notes == (
        "contract mode ignores 1 difference of class prompt (instructions)",
        "contract mode ignores 2 differences of class result (text, ...)",
    )


@pytest.mark.parametrize(
    ("script", "kind", "field"),
    [
        ((asks(LOOK), asks(("refund", {"order": 8, "amount": 20}), NOTIFY), says(ANSWER)), "params", "arguments.order"),
        ((asks(LOOK), asks(NOTIFY, REFUND), says(ANSWER)), "order", "tool_name"),
        ((asks(LOOK), asks(REFUND, NOTIFY), asks(NOTIFY), says(ANSWER)), "extra", "tool_name"),
        ((asks(LOOK), says(ANSWER)), "missing", "tool_name"),
    ],
)
@pytest.mark.parametrize("mode", ["contract", "trajectory"])
async def test_calls_count_in_every_mode(mode: MatchMode, script: tuple[Any, ...], kind: str, field: str) -> None:
    log, result = await ran(agent(*script))
    report = await compare_with_golden(await recorded(), log, result.run_id, mode=mode)
    assert report.first is not None
    assert (report.first.kind, report.first.field) == (kind, field)


async def test_contract_looks_at_the_policy_and_the_end_and_trajectory_does_not() -> None:
    golden = await recorded()
    contract = await check_golden(golden, agent(), mode="contract", policy_engine=rules(largest=10))
    assert contract.first is not None
    assert (contract.first.kind, contract.first.field, contract.first.actual) == ("policy", "action", "deny")
    ended = await check_golden(golden, agent(limits={"max_steps": 2}), mode="contract", policy_engine=rules())
    assert [(found.kind, found.field) for found in ended.divergences] == [
        ("limit", "limits.max_steps"),
        ("missing", "type"),  # The recorded answer that nobody asks for any more.
        ("result", "state"),
    ]
    log, result = await ran(policy=rules(largest=10))
    assert (await compare_with_golden(golden, log, result.run_id, mode="trajectory")).ok


def test_each_subject_counts_where_the_table_says_so() -> None:
    subjects: dict[str, set[str]] = {"strict": set(), "contract": set(), "trajectory": set()}
    for subject in ("call", "policy", "end", "limit", "answer", "request", "agent", "engine", "event"):
        for mode, counted in subjects.items():
            if counts(Finding(subject, "extra", "f", 1, 2), mode):  # type: ignore[arg-type]
                counted.add(subject)
    assert subjects["contract"] == {"call", "policy", "end", "limit"}
    assert subjects["trajectory"] == {"call"}
    assert len(subjects["strict"]) == 9


def test_what_is_ignored_is_told_by_class() -> None:
    ignored = Ignored("contract")
    for field in ("instructions", "messages[1].content"):
        ignored.add(Finding("request", "prompt", field, "a", "b"))
    assert ignored.notes() == ["contract mode ignores 2 differences of class prompt (instructions, ...)"]
