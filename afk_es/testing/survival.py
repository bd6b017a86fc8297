"""What is promised of a run that survives its processes, checked against its log and against what the world saw. It kills nobody.

It reads the logs as they were at each death and at the end, the account of what was started, and the two results; so it judges a run whose
processes were threads of this one in the same way as a run of real processes, which left no more behind than files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from afk_es.core import AgentResult, AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.machine.spec import RunSpec
from afk_es.testing.mortal_runner import Dispatch

Family = Mapping[str, list[AgentRunEvent]]
"""The logs of a run and of its subagents' runs, by run id."""

Promise = Literal["prefix", "repeat", "doubt", "resume", "result", "log", "point", "own"]
"""What was broken: the log at a crash stays as it is; no effect runs again whose result was in it; no tool in doubt is repeated that must not
be, or silently; the run can be resumed; it comes to what it comes to unkilled; its log is sound, within its limits and ended once; it came
to the point at which it was to die; a promise of the caller's own."""


class Breach(NamedTuple):
    """A broken promise, in a sentence."""

    promise: Promise
    sentence: str


@dataclass(frozen=True, slots=True)
class Survival:
    """What is known of a run when all of its processes are gone.

    Attributes:
        expected: the result of the run nobody killed.
        result: what this one came to; None where it could not be resumed.
        prefixes: per death, the number of the process, from 1, and the logs as they were then.
        family: the logs as they are now.
        dispatches: the account of what was started, in order, over all processes.
    """

    run_id: str
    expected: AgentResult
    result: AgentResult | None
    family: Family
    prefixes: list[tuple[int, Family]] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Ids of tool calls whose outcome nobody knows, and of which the model was told so."""
        return tuple(call_id for events in self.family.values() for call_id in _unknown(events))

    @property
    def spent(self) -> bool:
        """Whether the result differs because a limit on calls was used up: what was in doubt and begun again counts twice."""
        if self.result is None or not any(_differences(self.expected, self.result)):
            return False
        return any(_used_up(events) for events in self.family.values())

    def breaches(self) -> list[Breach]:
        """Every broken promise."""
        found: list[Breach] = []
        for process, prefix in self.prefixes:
            for run_id, before in prefix.items():
                found += [Breach("repeat", each) for each in _repeated(process, before, self._of(run_id))]
                found += [Breach("prefix", each) for each in _kept(before, self.family.get(run_id, []))]
        if self.result is None:
            return found
        for run_id, events in self.family.items():
            found += [Breach("doubt", each) for each in (*_doubts(events), *_dispatched_twice(events, self._of(run_id)))]
            found += [Breach("log", each) for each in (*_limits(events), *_endings(events), *_questions(events))]
        if not self.unknown and not self.spent:
            found += [Breach("result", each) for each in _differences(self.expected, self.result)]
        return found

    def _of(self, run_id: str) -> list[Dispatch]:
        return [dispatch for dispatch in self.dispatches if dispatch.run_id == run_id]


def comparable(result: AgentResult) -> dict[str, Any]:
    """What two results of the same work have in common: not their times, and not the order in which parallel tools came to their end."""
    records = [record.model_dump(mode="json", exclude={"latency_ms"}) for record in result.tool_executions]
    return {
        "state": result.state,
        "final_text": result.final_text,
        "final_structured": result.final_structured,
        "error": result.error,
        "tool_executions": sorted(records, key=lambda record: (str(record["tool_call_id"]), str(record))),
    }


def _differences(unkilled: AgentResult, result: AgentResult) -> Iterator[str]:
    expected, found = comparable(unkilled), comparable(result)
    for name, value in expected.items():
        if found[name] != value:
            yield f"{name} is {found[name]!r}, and {value!r} in the run nobody killed"


def _kept(before: list[AgentRunEvent], after: list[AgentRunEvent]) -> Iterator[str]:
    """The log only grows, and that of a run that had ended does not, unless it failed and was reopened."""
    if after[: len(before)] != before:
        yield "what was in the log at the crash was changed"
    ended = before[-1].type in TERMINAL - {"run_interrupted"} and len(after) > len(before)
    if ended and not after[len(before)].data.get("reopened"):
        yield f"run {before[-1].run_id} had ended, and went on"


_RESULTS = frozenset({"tool_completed", "tool_failed", "tool_deferred"})


def _repeated(process: int, prefix: list[AgentRunEvent], dispatches: list[Dispatch]) -> Iterator[str]:
    """Effects that a later process started although the log, at the crash of this one, had their result."""
    keys: dict[str, str] = {}
    done: set[str] = set()
    attempts: set[tuple[str, int]] = set()
    answered: set[int] = set()
    asked = 0
    refused: set[str] = set()
    for event in prefix:
        call_id = event.data.get("tool_call_id", "")
        if event.type == "tool_started":
            keys[call_id] = event.data["idempotency_key"]
        elif event.type == "tool_failed" and call_id in keys:
            attempts.add((keys[call_id], event.data["attempt"]))
        elif event.type in _RESULTS and call_id in keys:
            done.add(keys.pop(call_id))
        elif event.type == "llm_called":
            asked = event.seq
        elif event.type == "llm_failed":
            refused.add(f"llm:{asked}")
        elif event.type == "llm_completed":
            answered.add(event.step)
    summed_up = {f"compaction:{event.data['up_to'][0]['seq']}" for event in prefix if event.type == "thread_compacted"}
    done |= {dispatch.key for dispatch in dispatches if dispatch.kind == "summary" and dispatch.id in summed_up}
    for dispatch in dispatches:
        if dispatch.process <= process:
            continue
        again = dispatch.key in done or (dispatch.key, dispatch.attempt) in attempts
        if (dispatch.step in answered or dispatch.id in refused) if dispatch.kind == "model" else again:
            yield f"{dispatch.kind} {dispatch.name} ({dispatch.id}) ran again in process {dispatch.process}, and its result was in the log"


def _spec(events: list[AgentRunEvent]) -> RunSpec:
    return msgspec.convert(events[0].data["agent"], RunSpec)


def _unknown(events: list[AgentRunEvent]) -> tuple[str, ...]:
    return tuple(event.data["tool_call_id"] for event in events if event.type == "tool_completed" and event.data["outcome"] == "unknown")


def log_problems(events: list[AgentRunEvent]) -> list[str]:
    """What the log of a finished run alone shows of broken promises, a sentence each."""
    return [*_doubts(events), *_limits(events), *_endings(events), *_questions(events)]


def _doubts(events: list[AgentRunEvent]) -> Iterator[str]:
    """Every effect that was announced and has no result at a takeover is said to be in doubt, and treated as its class demands."""
    spec = _spec(events)
    doubted = {event.data["intent_seq"]: event.data["resolution"] for event in events if event.type == "effect_in_doubt"}
    for intent in _cut_off(events):
        if intent.seq not in doubted:
            yield f"{intent.type} at seq {intent.seq} was in doubt, and no event says so"
    for seq, resolution in doubted.items():
        intent = events[seq - 1]
        tool = spec.tool(intent.data.get("tool_name", ""))
        if resolution == "run_again" and spec.in_doubt != "retry" and tool is not None and not tool.repeatable:
            yield f"tool {tool.name} was in doubt and is not repeatable, and was run again"
        if resolution == "report" and intent.type == "tool_started" and intent.data["tool_call_id"] not in _unknown(events):
            yield f"tool call {intent.data['tool_call_id']} was in doubt, and the model was not told"


def _cut_off(events: list[AgentRunEvent]) -> Iterator[AgentRunEvent]:
    """Intents without a result at the moment when another process took the run over."""
    under_way: dict[str, AgentRunEvent] = {}
    for event in events:
        identity = event.data.get("tool_call_id", "compaction" if "compact" in event.type else "llm")
        if event.type in ("tool_started", "llm_called", "compaction_started"):
            under_way[identity] = event
        elif event.type in _RESULTS or event.type in ("llm_completed", "llm_failed", "thread_compacted", "compaction_failed"):
            under_way.pop(identity, None)
        elif event.type == "run_started" and "forked_from" not in event.data:
            # Nothing is in doubt at a fork, nor what a fork would be answered from the record.
            untouched = event.data.get("untouched", ())
            yield from (intent for intent in under_way.values() if intent.seq not in untouched)
            under_way = {identity: intent for identity, intent in under_way.items() if intent.seq in untouched}


def _dispatched_twice(events: list[AgentRunEvent], dispatches: list[Dispatch]) -> Iterator[str]:
    """Tools that really ran more often than their class allows, or under another key than before. One that has failed may be tried again."""
    spec = _spec(events)
    calls = [dispatch for dispatch in dispatches if dispatch.kind == "tool"]
    times = Counter(call.key for call in calls)
    failed = Counter(_failed_keys(events))
    for call in {call.key: call for call in calls}.values():
        tool = spec.tool(call.name)
        if spec.in_doubt == "report" and times[call.key] > 1 + failed[call.key] and (tool is None or not tool.repeatable):
            yield f"tool {call.name} ({call.tool_call_id}) ran {times[call.key]} times, and must not be repeated"
    if len({(call.tool_call_id, call.step) for call in calls}) != len({(call.tool_call_id, call.step, call.key) for call in calls}):
        yield "a tool call was repeated under another idempotency key"


def _failed_keys(events: list[AgentRunEvent]) -> Iterator[str]:
    """The idempotency key of each attempt that failed, and may be followed by another."""
    keys: dict[str, str] = {}
    for event in events:
        if event.type == "tool_started":
            keys[event.data["tool_call_id"]] = event.data["idempotency_key"]
        elif event.type == "tool_failed" and event.data["tool_call_id"] in keys:
            yield keys[event.data["tool_call_id"]]


def _used_up(events: list[AgentRunEvent]) -> bool:
    """Whether a limit on calls was used up with the help of one that was in doubt and begun again: both times count, so that it holds."""
    limits = _spec(events).limits
    counts = Counter(event.type for event in events)
    again = {event.data["effect"] for event in events if event.type == "effect_in_doubt" and event.data["resolution"] != "report"}
    return ("tool" in again and counts["tool_started"] >= limits.max_tool_calls) or (
        "llm" in again and counts["llm_called"] >= limits.max_llm_calls
    )


def _limits(events: list[AgentRunEvent]) -> Iterator[str]:
    limits = _spec(events).limits
    counts = Counter(event.type for event in events)
    for kind, maximum in (
        ("llm_called", limits.max_llm_calls),
        ("tool_started", limits.max_tool_calls),
        ("step_started", limits.max_steps),
    ):
        if counts[kind] > maximum:
            yield f"{counts[kind]} x {kind}, and {maximum} are allowed"
    if counts["tool_started"] + counts["subagent_started"] > limits.max_tool_calls:
        yield f"{counts['tool_started'] + counts['subagent_started']} tool calls, and {limits.max_tool_calls} are allowed"


def _questions(events: list[AgentRunEvent]) -> Iterator[str]:
    """A person is asked once, and one answer is taken; to put a question off is none. A fork asks anew."""
    forks = [index for index, event in enumerate(events) if event.type == "run_started" and "forked_from" in event.data]
    events = events[forks[-1] :] if forks else events
    for kind in ("approval", "input"):
        asked = Counter(event.data["request_id"] for event in events if event.type == f"{kind}_requested")
        answers = [event.data for event in events if event.type == f"{kind}_resolved" and event.data["outcome"] != "deferred"]
        answered = Counter(answer["request_id"] for answer in answers)
        for request_id in asked:
            if asked[request_id] > 1 or answered[request_id] > 1:
                yield f"{request_id} was asked {asked[request_id]} times and answered {answered[request_id]} times"


def _endings(events: list[AgentRunEvent]) -> Iterator[str]:
    ends = 0
    for event in events:
        if event.type == "run_started":
            ends = 0
        elif ends:
            yield f"{event.type} at seq {event.seq} comes after the stretch had ended"
        ends += event.type in TERMINAL
    if ends != 1:
        yield f"the last stretch has {ends} terminal events"
