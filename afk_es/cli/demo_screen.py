"""The one screen of the demo: what happened, the proof that nothing ran twice, and what to try next. Fits 80 columns and 24 rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from afk_es.cli.demo_story import Story
from afk_es.cli.output import program, toned
from afk_es.machine import AgentRunEvent
from afk_es.views import CallRecord, ToolTally, clipped, compact_json, padded

_CALLED = 30
"""Columns for what was called."""


def screen(story: Story, width: int) -> str:
    """The screen, with colour; at most 23 rows, so that the prompt below it is still on it."""
    rows = [
        toned(f"{_agent(story)} works on a refund, is killed, and is resumed from its log", "strong"),
        *_happened(story, width),
        "",
        *_proof(story),
        "",
        *(f"  {line}" for line in commands(story)),
    ]
    return "\n".join(rows)


def commands(story: Story) -> list[str]:
    """Commands to try next, to be pasted as they are."""
    log = _short_path(story.log)
    told = _told_of_the_doubt(story)
    name = program()
    return [
        f"{name} runs --db {log}",
        f"{name} log {log}",
        f"{name} show {log} --at {told}",
        f"{name} verify {log}",
        f"{name} resume {log} afk_es.cli.demo_agent:agent",
    ]


def _agent(story: Story) -> str:
    return str(story.events[0].data["agent_name"])


def _told_of_the_doubt(story: Story) -> int:
    """The first model call after the resume: its request holds the sentence that the outcome is unknown."""
    return next((event.seq for event in story.events if event.seq > story.killed_at and event.type == "llm_called"), 1)


# ------------------------------------------------------------------------------------------------------------------------- what happened


def _happened(story: Story, width: int) -> Iterator[str]:
    calls = story.calls
    steps = sorted({call.step for call in calls})
    for step in steps:
        of_step = [call for call in calls if call.step == step]
        yield _step(step, of_step, story, width)
        if any(call.in_doubt for call in of_step):
            yield from _kill(story, width)
    answered = story.events[-1]
    yield _row(answered.step, "answers", f'"{story.answer}"', "good", width)


def _step(step: int, calls: list[CallRecord], story: Story, width: int) -> str:
    if len(calls) > 1:
        called = ", ".join(call.tool_name for call in calls)
        outcome = " and ".join(sorted({call.outcome for call in calls}))
        return _row(step, called, outcome, "good", width)
    call = calls[0]
    amount = call.arguments.get("amount") if isinstance(call.arguments, dict) else None
    called = call.tool_name + (f" {amount:.2f} USD" if isinstance(amount, float) else "")
    text, tone = _outcome(call, story)
    return _row(step, called, text, tone, width)


def _outcome(call: CallRecord, story: Story) -> tuple[str, str]:
    if call.in_doubt:
        return f"its row is committed in {Path(story.shop).name}, and then:", "plain"
    if call.outcome == "denied":
        decision = next(event for event in story.events if event.type == "policy_decision" and _about(event, call))
        return f"denied by {decision.data['policy_id']}", "mark"
    if call.retried:
        failure = next(event for event in story.events if event.type == "tool_failed" and _about(event, call))
        waited = next(event for event in story.events if event.seq > failure.seq and event.type == "tool_started").at - failure.at
        return f"{failure.data['error_type']}, tried again after {waited.total_seconds():.1f} s", "mark"
    if call.tool_name == "list_refunds" and isinstance(call.output, list):
        return f"finds {len(call.output)}: " + ", ".join(f"{each['amount']:.2f} USD" for each in call.output), "good"
    return (compact_json(call.output) if isinstance(call.output, str) else call.outcome), "good"


def _about(event: AgentRunEvent, call: CallRecord) -> bool:
    return bool(event.data.get("tool_call_id") == call.tool_call_id)


def _kill(story: Story, width: int) -> Iterator[str]:
    signal = "SIGKILL" if os.name == "posix" else "TerminateProcess"
    line = f"━━ {signal} ━━ process {story.killed_pid} is dead (code {story.returncode}), the tool never returned "
    yield toned(clipped(line + "━" * width, width - 1).rstrip("…"), "bad")
    yield "   " + toned(clipped(f"resumed by process {story.resumed_by}: in doubt, so not run again; the model is told", width - 3), "mark")


def _row(step: int, called: str, text: str, tone: str, width: int) -> str:
    return f"{step:>2} {padded(called, _CALLED)} " + toned(clipped(text, width - _CALLED - 4), tone)


# ------------------------------------------------------------------------------------------------------------------------------ proof


def _proof(story: Story) -> Iterator[str]:
    yield toned("Did anything run twice?", "strong") + " calls started / returned / repeated, counted from the log"
    tallies = story.tallies
    half = (len(tallies) + 1) // 2
    for index in range(half):
        pair = [tallies[index], *([tallies[index + half]] if index + half < len(tallies) else [])]
        yield "  " + "    ".join(_tally(tally) for tally in pair).rstrip()
    repeated = sum(tally.repeated for tally in tallies)
    rows = f"{story.refunds} refund, {story.notifications} notification"
    answer = "No." if not repeated and story.refunds == 1 else "YES."
    yield f"  {toned(answer, 'good' if answer == 'No.' else 'bad')} {Path(story.shop).name} has {rows}, after {story.state} work"
    verified = story.verified
    sound = f"{verified.events} events, hash chain whole, {verified.requests} model requests rebuilt and proved by hash"
    yield "  " + (toned("verified", "good") + f": {sound}" if not verified.problems else toned("not sound", "bad"))


def _tally(tally: ToolTally) -> str:
    notes = [
        f"{number} {what}" for number, what in ((tally.retried, "retry"), (tally.refused, "denied"), (tally.unknown, "unknown")) if number
    ]
    numbers = f"{tally.started} / {tally.returned} / {tally.repeated}"
    return padded(f"{padded(tally.tool_name, 15)} {numbers}", 26) + padded(", ".join(notes), 10 if len(notes) < 2 else 20)


def _short_path(path: str) -> str:
    """With ~ for the home directory where a shell gives it back, and quoted where it needs be."""
    import shlex

    home = os.path.expanduser("~")
    if os.name == "posix" and len(home) > 1 and path.startswith(home + os.sep) and shlex.quote(path) == path:
        return "~" + path[len(home) :]
    return shlex.quote(path)
