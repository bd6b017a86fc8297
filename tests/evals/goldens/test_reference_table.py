"""The reference table of assurance.md: eight edits of a recorded run, each flagged in its class and field, read both ways.

In the first reading somebody edits the golden's file and the agent is the same; in the second the file is the same and the agent, its
model or its config is another one. The field that is first is the one that was edited.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from afk_es.agents import Agent
from afk_es.evals import MatchMode, check_golden, compare_with_golden
from afk_es.tools import tool
from tests.evals.desk import (
    ANSWER,
    INSTRUCTIONS,
    LOOK,
    NOTIFY,
    REFUND,
    Edit,
    agent,
    asks,
    edited,
    events_in,
    facts_in,
    look,
    notify,
    ran,
    recorded,
    rules,
    says,
)

Lines = list[dict[str, Any]]


class Flagged(NamedTuple):
    """What the first divergence has to say."""

    kind: str
    field: str
    expected: Any
    actual: Any


def asked(lines: Lines, answer: int = 1) -> list[dict[str, Any]]:
    """The calls of an answer of the model."""
    calls: list[dict[str, Any]] = events_in(lines, "llm_completed")[answer]["data"]["tool_calls"]
    return calls


def of_call(lines: Lines, call_id: str) -> Lines:
    """The events of a call."""
    return [line for line in lines if line.get("fact") == "event" and line["data"].get("tool_call_id") == call_id]


# ------------------------------------------------------------------------------------------------------------- edits of the file


def argument_of_the_answer(lines: Lines) -> None:
    asked(lines)[0]["arguments"]["amount"] = 50


def argument_of_the_outcome(lines: Lines) -> None:
    facts_in(lines, "outcome")[0]["calls"][1]["arguments"]["amount"] = 50


def name_in_the_answer(lines: Lines) -> None:
    asked(lines)[1]["tool_name"] = "look"


def name_in_all_its_events(lines: Lines) -> None:
    call = asked(lines)[1]
    call["tool_name"] = "look"
    events_in(lines, "tool_batch_started")[1]["data"]["tool_names"][1] = "look"
    for line in of_call(lines, call["id"]):
        line["data"]["tool_name"] = "look"


def name_in_its_result_alone(lines: Lines) -> None:
    for line in of_call(lines, asked(lines)[1]["id"]):
        if line["type"] in ("tool_started", "tool_completed"):
            line["data"]["tool_name"] = "look"


def timeout(lines: Lines) -> None:
    next(line for line in facts_in(lines, "tool") if line["id"] == "refund")["value"]["timeout_s"] = 99.0


def parameter(lines: Lines) -> None:
    facts_in(lines, "agent")[0]["value"]["parameters"]["reasoning_effort"] = "high"


def hint(lines: Lines) -> None:
    next(line for line in facts_in(lines, "tool") if line["id"] == "refund")["value"]["idempotent"] = True


def instructions(lines: Lines) -> None:
    facts_in(lines, "instructions")[0]["value"] = "Be rude."


def final_answer(lines: Lines) -> None:
    events_in(lines, "llm_completed")[2]["data"]["text"] = "Nothing was lost."


def final_outcome(lines: Lines) -> None:
    facts_in(lines, "outcome")[0]["final_text"] = "Nothing was lost."


def final_state(lines: Lines) -> None:
    facts_in(lines, "outcome")[0]["state"] = "degraded"


def extra_in_the_answer(lines: Lines) -> None:
    asked(lines).append({"id": "call_9", "tool_name": "look", "arguments": {"order": 1}})


def extra_in_the_outcome(lines: Lines) -> None:
    facts_in(lines, "outcome")[0]["calls"].append({"tool_name": "look", "arguments": {"order": 1}})


def extra_with_its_events(lines: Lines) -> None:
    """As somebody would write it who knows the format: the call, its batch, its policy decision, its start and its result."""
    call = asked(lines)[1]
    asked(lines).append({**call, "id": "call_9"})
    batch = events_in(lines, "tool_batch_started")[1]["data"]
    batch["tool_call_count"] = 3
    batch["tool_names"].append(call["tool_name"])
    batch["tool_call_ids"].append("call_9")
    added = copy.deepcopy(of_call(lines, call["id"]))
    at = lines.index(of_call(lines, call["id"])[-1])
    for line in added:
        line["data"]["tool_call_id"] = "call_9"
        line["data"].pop("ordinal", None)
        if line["type"] == "tool_started":
            line["data"]["ordinal"] = 4
    lines[at + 1 : at + 1] = added
    renumbered(lines)


def missing_in_the_answer(lines: Lines) -> None:
    asked(lines).pop()


def missing_with_its_events(lines: Lines) -> None:
    gone = asked(lines).pop()
    batch = events_in(lines, "tool_batch_started")[1]["data"]
    batch["tool_call_count"] = 1
    batch["tool_names"].pop()
    batch["tool_call_ids"].pop()
    for line in of_call(lines, gone["id"]):
        lines.remove(line)
    renumbered(lines)


def swapped_in_the_answer(lines: Lines) -> None:
    asked(lines).reverse()


def swapped_in_the_outcome(lines: Lines) -> None:
    calls = facts_in(lines, "outcome")[0]["calls"]
    calls[0], calls[1] = calls[1], calls[0]


def renumbered(lines: Lines) -> None:
    for seq, line in enumerate([line for line in lines if line.get("fact") == "event"], start=1):
        line["seq"] = seq


@pytest.mark.parametrize(
    ("edit", "flagged"),
    [
        (argument_of_the_answer, Flagged("params", "arguments.amount", 20, 50)),
        (argument_of_the_outcome, Flagged("params", "arguments.amount", 50, 20)),
        (name_in_the_answer, Flagged("missing", "tool_name", "notify", "look")),
        (name_in_all_its_events, Flagged("missing", "tool_name", "notify", "look")),
        (name_in_its_result_alone, Flagged("missing", "tool_name", "look", "notify")),
        (timeout, Flagged("params", "tools.refund.timeout_s", 99.0, 10.0)),
        (hint, Flagged("params", "tools.refund.idempotent", True, False)),
        (parameter, Flagged("params", "parameters.reasoning_effort", "high", "low")),
        (instructions, Flagged("prompt", "instructions", "Be rude.", INSTRUCTIONS)),
        (final_answer, Flagged("result", "final_text", ANSWER, "Nothing was lost.")),
        (final_outcome, Flagged("result", "final_text", "Nothing was lost.", ANSWER)),
        (final_state, Flagged("result", "state", "degraded", "completed")),
        (extra_in_the_answer, Flagged("extra", "tool_name", None, "look")),
        (extra_in_the_outcome, Flagged("missing", "tool_name", "look", None)),
        (extra_with_its_events, Flagged("extra", "tool_name", None, "notify")),
        (missing_in_the_answer, Flagged("missing", "tool_name", "notify", None)),
        (missing_with_its_events, Flagged("missing", "tool_name", "notify", None)),
        (swapped_in_the_answer, Flagged("order", "tool_name", "refund", "notify")),
        (swapped_in_the_outcome, Flagged("order", "tool_name", "refund", "look")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_edit_of_the_file_is_flagged(edit: Edit, flagged: Flagged, tmp_path: Path) -> None:
    """Also where the edit is such that the recorded events could not have happened, and nothing can be replayed."""
    golden = edited(await recorded(), tmp_path, edit)
    assert golden.edited
    report = await check_golden(golden, agent(), policy_engine=rules())
    assert (report.outcome, report.first is not None) == ("diverged", True)
    assert report.first is not None
    assert Flagged(report.first.kind, report.first.field, report.first.expected, report.first.actual) == flagged
    assert any("edited by hand" in note for note in report.notes)


# --------------------------------------------------------------------------------------------------------------- another agent


@pytest.mark.parametrize(
    ("described", "flagged"),
    [
        pytest.param(
            lambda: agent(asks(LOOK), asks(("refund", {"order": 7, "amount": 50}), NOTIFY), says(ANSWER)),
            Flagged("params", "arguments.amount", 20, 50),
            id="a tool's argument value",
        ),
        pytest.param(
            lambda: agent(asks(LOOK), asks(REFUND, ("look", {"order": 7})), says(ANSWER)),
            Flagged("missing", "tool_name", "notify", "look"),
            id="a tool's name",
        ),
        pytest.param(
            lambda: agent(reasoning_effort="high"), Flagged("params", "parameters.reasoning_effort", "low", "high"), id="a parameter"
        ),
        pytest.param(
            lambda: agent(instructions="Be rude."), Flagged("prompt", "instructions", INSTRUCTIONS, "Be rude."), id="the instructions"
        ),
        pytest.param(
            lambda: agent(asks(LOOK), asks(REFUND, NOTIFY), says("No.")), Flagged("result", "final_text", ANSWER, "No."), id="the result"
        ),
        pytest.param(
            lambda: agent(asks(LOOK), asks(REFUND, NOTIFY, LOOK), says(ANSWER)),
            Flagged("extra", "tool_name", None, "look"),
            id="an extra call in an answer",
        ),
        pytest.param(
            lambda: agent(asks(LOOK), asks(REFUND, NOTIFY), asks(NOTIFY), says(ANSWER)),
            Flagged("extra", "tool_name", None, "notify"),
            id="an extra call in a step of its own",
        ),
        pytest.param(
            lambda: agent(asks(LOOK), asks(REFUND), says(ANSWER)),
            Flagged("missing", "tool_name", "notify", None),
            id="a missing call",
        ),
        pytest.param(lambda: agent(asks(REFUND, NOTIFY), says(ANSWER)), Flagged("missing", "tool_name", "look", None), id="a missing step"),
        pytest.param(
            lambda: agent(asks(LOOK), asks(NOTIFY, REFUND), says(ANSWER)),
            Flagged("order", "tool_name", "refund", "notify"),
            id="two calls of an answer swapped",
        ),
        pytest.param(
            lambda: agent(asks(REFUND, NOTIFY), asks(LOOK), says(ANSWER)),
            Flagged("order", "tool_name", "look", "refund"),
            id="two steps swapped",
        ),
    ],
)
async def test_a_run_of_another_agent_is_flagged(described: Callable[[], Agent], flagged: Flagged) -> None:
    golden = await recorded()
    log, result = await ran(described())
    report = await compare_with_golden(golden, log, result.run_id)
    assert report.first is not None
    assert Flagged(report.first.kind, report.first.field, report.first.expected, report.first.actual) == flagged
    assert report.outcome == "diverged"


@tool(name="refund", timeout=99.0)
async def slow_refund(order: int, amount: int) -> str:
    """Pay money back for an order."""
    return f"refunded {amount} for {order}"


@pytest.mark.parametrize(
    ("changed", "flagged"),
    [
        ({"instructions": "Be rude."}, Flagged("prompt", "instructions", INSTRUCTIONS, "Be rude.")),
        ({"reasoning_effort": "high"}, Flagged("params", "parameters.reasoning_effort", "low", "high")),
        ({"tools": (look, slow_refund, notify)}, Flagged("params", "tools.refund.timeout_s", 10.0, 99.0)),
    ],
)
async def test_an_agent_that_is_changed_is_flagged_offline(changed: dict[str, Any], flagged: Flagged) -> None:
    report = await check_golden(await recorded(), agent(**changed), policy_engine=rules())
    assert [Flagged(each.kind, each.field, each.expected, each.actual) for each in report.divergences] == [flagged]


@pytest.mark.parametrize("mode", get_args(MatchMode))
async def test_the_unchanged_agent_passes_in_every_mode(mode: MatchMode) -> None:
    golden = await recorded()
    report = await check_golden(golden, agent(), mode=mode, policy_engine=rules())
    assert (report.outcome, report.divergences, report.notes, report.leftovers) == ("passed", (), (), ())
    assert report.served == 6
    log, result = await ran()
    assert (await compare_with_golden(golden, log, result.run_id, mode=mode)).ok
