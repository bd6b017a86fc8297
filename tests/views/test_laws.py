"""What holds for the metrics and spans of every run there can be, crashes and resumptions included: the machine's own histories."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings

from afk_es.log import open_log
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.redaction import Redaction
from afk_es.views import Span, genai, redacted_event, run_metrics, spans
from tests.machine.simulation import Simulation
from tests.machine.test_laws import runs

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"


def of(found: list[Span], operation: str) -> list[Span]:
    return [span for span in found if span.attributes[genai.OPERATION] == operation]


def attempts(found: list[Span]) -> list[object]:
    """The seqs of the events that began an attempt."""
    return [moment.attributes[genai.SEQ] for span in found for moment in span.events if moment.name == "attempt"]


def seqs(events: list[AgentRunEvent], kind: str) -> list[int]:
    return [event.seq for event in events if event.type == kind]


def stretches(events: list[AgentRunEvent]) -> list[list[AgentRunEvent]]:
    begins = [*(index for index, event in enumerate(events) if event.type == "run_started"), len(events)]
    return [events[start:end] for start, end in pairwise(begins)]


def check_spans(events: list[AgentRunEvent]) -> None:
    found = spans(events)
    by_id = {span.span_id: span for span in found}
    assert len(by_id) == len(found), "ids are unique"
    assert len({span.trace_id for span in found}) == 1
    agents = of(found, genai.INVOKE_AGENT)
    assert [span.seq for span in agents] == seqs(events, "run_started")
    assert [len(span.links) for span in agents] == [0] + [1] * (len(agents) - 1)
    for earlier, later in pairwise(agents):
        assert later.links[0].span_id == earlier.span_id
    for span in found:
        assert span.start <= span.end
        if span.parent_id is not None:
            parent = by_id[span.parent_id]
            assert parent.start <= span.start <= span.end <= parent.end
    assert attempts(of(found, genai.CHAT)) == seqs(events, "llm_called"), "every request is one attempt of one span"
    started = [*seqs(events, "tool_started"), *seqs(events, "subagent_started")]
    assert sorted(map(str, attempts(of(found, genai.EXECUTE_TOOL)))) == sorted(map(str, started))
    for stretch, agent in zip(stretches(events), agents, strict=True):
        assert bool(agent.attributes.get(genai.UNFINISHED)) == (stretch[-1].type not in TERMINAL)
    apart = [span for stretch in stretches(events) for span in spans(stretch)]
    assert apart == found, "a stretch is told the same by whoever has seen nothing but it"


def check_metrics(events: list[AgentRunEvent]) -> None:
    seen = run_metrics(events)
    assert seen.llm_calls == len(seqs(events, "llm_called"))
    assert sum(model.answers for model in seen.models) == len(seqs(events, "llm_completed"))
    assert sum(seen.llm_failures.values()) == len(seqs(events, "llm_failed"))
    assert sum(tool.started for tool in seen.tools) == len(seqs(events, "tool_started")) + len(seqs(events, "subagent_started"))
    asked = sum(event.data["tool_call_count"] for event in events if event.type == "llm_completed")
    plans = [event.data["plan"] for event in events if event.type == "subagents_routed"]
    assert sum(seen.tool_calls.values()) == asked + sum(len(plan["nodes"]) for plan in plans if plan is not None)
    assert sum(tool.calls for tool in seen.tools) == sum(seen.tool_calls.values())
    assert seen.elapsed_s <= seen.wall_s + 1e-6
    for part in (seen.model_s, seen.tools_s, seen.people_s, seen.backoff_s):
        assert 0 <= part <= seen.wall_s + 1e-6


@given(runs())
@settings(max_examples=150, deadline=None)
def test_every_run_has_spans(run: Simulation) -> None:
    check_spans(run.events)


@given(runs())
@settings(max_examples=150, deadline=None)
def test_every_run_has_metrics(run: Simulation) -> None:
    check_metrics(run.events)


@given(runs())
@settings(max_examples=50, deadline=None)
def test_redaction_changes_no_span_of_a_run_without_secrets_and_no_id_of_any(run: Simulation) -> None:
    for redaction, same in ((Redaction(), True), (Redaction(values=["an answer", "agent_name", "thread_1"]), False)):
        shown = spans([redacted_event(event, redaction) for event in run.events])
        if same:
            assert shown == spans(run.events)
        assert [(span.span_id, span.parent_id) for span in shown] == [(span.span_id, span.parent_id) for span in spans(run.events)]


async def test_logs_of_every_released_version_have_both(tmp_path: Path) -> None:
    for file in LOGS.glob("*.db"):
        shutil.copy(file, tmp_path / file.name)
        log = open_log(tmp_path / file.name, read_only=True)
        await log.open()
        try:
            for record in await log.runs():
                events = await log.read(record.run_id)
                check_spans(events)
                check_metrics(events)
        finally:
            await log.close()
