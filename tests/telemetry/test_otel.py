"""OpenTelemetry: against its own exporter in memory, and against a receiver on loopback that decodes what really was sent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.errors import LLMConfigurationError, TelemetryError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from afk_es.redaction import MARK
from afk_es.telemetry import export_run, otel
from afk_es.telemetry.otel import OTelSink
from afk_es.testing import ScriptedModel
from afk_es.views import genai, spans
from afk_es.views.spans import delegation_span_id, trace_id
from tests.telemetry.collector import Collector
from tests.views.runs import add, agent, calls, eventful, events_of

ROOT = Path(__file__).parents[2]


def told(events: list[AgentRunEvent], **options: Any) -> list[ReadableSpan]:
    """What an exporter is given of these events, in the order of their beginnings."""
    exporter = InMemorySpanExporter()
    sink = OTelSink(exporter=exporter, metrics=None, **options)
    for event in events:
        sink.export(event)
    sink.close()
    return sorted(exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.context.span_id if span.context else 0))


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The points of every metric, by name."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


# -------------------------------------------------------------------------------------------------------------------------------- spans


async def test_every_span_of_the_view_is_handed_on_as_it_is() -> None:
    events = await eventful()
    expected = {span.span_id: span for span in spans(events)}
    found = told(events)
    assert len(found) == len(expected)
    for readable in found:
        assert readable.context is not None
        span = expected[f"{readable.context.span_id:016x}"]
        assert f"{readable.context.trace_id:032x}" == span.trace_id
        assert (readable.parent and f"{readable.parent.span_id:016x}") == span.parent_id
        assert readable.name == span.name
        assert dict(readable.attributes or {}) == span.attributes
        assert [event.name for event in readable.events] == [event.name for event in span.events]
        assert readable.start_time == round(span.start.timestamp() * 1_000_000) * 1_000
        assert readable.end_time == round(span.end.timestamp() * 1_000_000) * 1_000
        assert readable.kind is (SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL)
        assert readable.status.status_code is StatusCode.UNSET


async def test_telling_twice_is_telling_the_same() -> None:
    events = await eventful()
    assert [span.to_json() for span in told(events)] == [span.to_json() for span in told(events)]


async def test_a_failure_is_an_error_status_with_its_text() -> None:
    found = told(await events_of(agent(LLMConfigurationError("no such model"))))
    assert {span.status.status_code for span in found} == {StatusCode.ERROR}
    assert any("no such model" in str(span.status.description) for span in found)


async def test_live_and_afterwards_are_the_same_also_over_two_stretches(tmp_path: Path) -> None:
    live, afterwards = InMemorySpanExporter(), InMemorySpanExporter()
    path = tmp_path / "runs.db"
    first = Runner(log=path, telemetry=OTelSink(exporter=live, metrics=None))
    described = agent(calls(("add", {"a": 1, "b": 2})), "3", tools=(add,))
    async with first:
        handle = await first.run_handle(described)
        async for event in handle.events:
            if event.type == "tool_started":
                await handle.interrupt()
        interrupted = await handle.await_result()
    assert interrupted.state == "interrupted"
    # Another process goes on: another Runner, another sink, which has not seen the first stretch.
    async with Runner(log=path, telemetry=OTelSink(exporter=live, metrics=None)) as second:
        resumed = await second.resume(agent("3", tools=(add,)), run_id=handle.run_id)
    assert resumed.state == "completed"
    log = SqliteEventLog(path, read_only=True)
    await log.open()
    try:
        sink = OTelSink(exporter=afterwards, metrics=None)
        await export_run(log, handle.run_id, sink)
        sink.close()
    finally:
        await log.close()
    one, other = ([span.to_json() for span in exporter.get_finished_spans()] for exporter in (live, afterwards))
    assert sorted(one) == sorted(other)
    roots = [span for span in afterwards.get_finished_spans() if span.name.startswith("invoke_agent")]
    assert len(roots) == 2
    assert roots[0].context is not None
    assert roots[1].links[0].context.span_id == roots[0].context.span_id


async def test_a_subagents_run_that_is_resumed_alone_stays_in_its_familys_trace() -> None:
    """The log of a subagent's run, made here by hand, is laid down and gone on with by a Runner that has seen nothing of its parent."""
    events = await events_of(agent("hello"))
    parent = {"run_id": "run_parent", "tool_call_id": "c1", "root": "run_root"}
    log = MemoryEventLog()
    await log.open()
    await log.append([replace(events[0], data={**events[0].data, "parent": parent}), *events[1:3]], epoch=1)
    exporter = InMemorySpanExporter()
    sink = OTelSink(exporter=exporter, metrics=None)
    async with Runner(log=log, telemetry=sink) as runner:
        await runner.resume(agent("hello"), run_id=events[0].run_id, allow_agent_change=True)
    root = exporter.get_finished_spans()[-1]
    assert root.name == "invoke_agent agent"
    assert root.context is not None
    assert root.parent is not None
    assert f"{root.context.trace_id:032x}" == trace_id("run_root")
    assert f"{root.parent.span_id:016x}" == delegation_span_id(events[0].run_id)


async def test_a_crashed_runs_spans_come_with_the_close_and_say_so() -> None:
    events = (await eventful())[:5]
    found = told(events)
    assert [bool((span.attributes or {}).get(genai.UNFINISHED)) for span in found] == [True, False][: len(found)]


async def test_runs_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "_RUNS_KEPT", 2)
    first = (await eventful())[0]
    exporter = InMemorySpanExporter()
    sink = OTelSink(exporter=exporter, metrics=None)
    for number in range(5):
        sink.export(replace(first, run_id=f"run_{number}"))
    sink.flush()
    told_of = [(span.attributes or {})[genai.RUN_ID] for span in exporter.get_finished_spans()]
    assert told_of == ["run_0", "run_1", "run_2"], "the oldest first"


async def test_content_is_opt_in_by_argument_or_by_opentelemetrys_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    events = await eventful()

    def has_content(**options: Any) -> bool:
        return any(genai.OUTPUT_MESSAGES in (span.attributes or {}) for span in told(events, **options))

    assert not has_content()
    assert has_content(content=True)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    assert has_content()
    assert not has_content(content=False)


async def test_secrets_do_not_reach_the_exporter_with_the_content() -> None:
    exporter = InMemorySpanExporter()
    async with Runner(log=":memory:", telemetry=OTelSink(exporter=exporter, metrics=None, content=True)) as runner:
        await runner.run(Agent(model=ScriptedModel(["your password=hunter22"])), user_message="mine is sk-proj-abc123DEF456")
    sent = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert MARK in sent
    assert "hunter22" not in sent
    assert "abc123DEF456" not in sent


async def test_the_service_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    events = await eventful()
    assert told(events)[0].resource.attributes["service.name"] == "afk_es"
    assert told(events, service_name="desk")[0].resource.attributes["service.name"] == "desk"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert told(events)[0].resource.attributes["service.name"] == "shop"


class _Counting(SpanExporter):
    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.batches: list[int] = []
        self.result = result

    def export(self, spans: Any) -> SpanExportResult:
        self.batches.append(len(spans))
        return self.result


async def test_spans_are_sent_in_batches_and_not_one_by_one() -> None:
    events = await eventful()
    exporter = _Counting()
    sink = OTelSink(exporter=exporter, metrics=None)
    for _ in range(100):
        for event in events:
            sink.export(event)
    sink.flush()
    assert sum(exporter.batches) == 600
    assert len(exporter.batches) <= 6


async def test_an_exporter_that_does_not_take_them_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sink = OTelSink(exporter=_Counting(SpanExportResult.FAILURE), metrics=None)
    async with Runner(log=":memory:", telemetry=sink) as runner:
        result = await runner.run(Agent(model=ScriptedModel(["hello"])))
        assert result.state == "completed"
        with pytest.raises(TelemetryError, match="did not take 2 spans"):
            await export_run(runner.log, result.run_id, OTelSink(exporter=_Counting(SpanExportResult.FAILURE), metrics=None))
    assert "did not take 2 spans" in caplog.text


# ------------------------------------------------------------------------------------------------------------------------------ metrics


async def test_operations_tokens_tools_runs_and_money_are_measured() -> None:
    events = await eventful()
    reader = InMemoryMetricReader()
    sink = OTelSink(exporter=InMemorySpanExporter(), metrics=reader)
    for event in events:
        sink.export(event)
    found = points(reader)
    sink.close()
    (operation,) = found[genai.OPERATION_DURATION]
    assert operation.count == 3
    assert operation.attributes == {genai.OPERATION: "chat", genai.PROVIDER: "scripted", genai.REQUEST_MODEL: "scripted-1"}
    assert tuple(operation.explicit_bounds) == genai.DURATION_BOUNDS
    tokens = {point.attributes[genai.TOKEN_TYPE]: point.sum for point in found[genai.TOKEN_USAGE]}
    assert tokens == {"input": 30, "output": 6}
    assert tuple(found[genai.TOKEN_USAGE][0].explicit_bounds) == genai.TOKEN_BOUNDS
    assert {point.attributes[genai.TOOL_NAME]: point.count for point in found[genai.TOOL_DURATION]} == {"add": 1, "flaky": 1}
    (run,) = found[genai.RUN_DURATION]
    assert run.attributes == {genai.AGENT_NAME: "agent", genai.STATE: "completed"}
    assert run.sum == pytest.approx((events[-1].at - events[0].at).total_seconds())
    assert found[genai.RUN_COST][0].value == pytest.approx(0.75)


async def test_what_is_unknown_or_was_cut_is_not_measured() -> None:
    events = await events_of(agent("hello"))
    reader = InMemoryMetricReader()
    sink = OTelSink(exporter=InMemorySpanExporter(), metrics=reader)
    for event in events[:-1]:
        sink.export(event)
    sink._cut(events[0].run_id)
    found = points(reader)
    assert set(found) == {genai.OPERATION_DURATION}, "no tokens, no price, and a run that did not end"
    sink.close()


# --------------------------------------------------------------------------------------------------------------------- a real receiver


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Collector() as listening:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listening.url)
        yield listening


async def test_a_collector_receives_spans_and_metrics_by_name_alone(collector: Collector) -> None:
    async with Runner(log=":memory:", telemetry="otel") as runner:
        result = await runner.run(agent(calls(("add", {"a": 1, "b": 2})), "3"))
        log = await runner.log.read(result.run_id)
    expected = {span.span_id: span for span in spans(log)}
    assert {span.span_id.hex() for span in collector.spans} == set(expected)
    for span in collector.spans:
        known = expected[span.span_id.hex()]
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (known.trace_id, known.parent_id or "", known.name)
        assert collector.attributes(span) == known.attributes
    assert collector.resources[0]["service.name"] == "afk_es"
    assert {metric.name for metric in collector.metrics} == {
        genai.OPERATION_DURATION,
        genai.TOKEN_USAGE,
        genai.RUN_DURATION,
        genai.TOOL_DURATION,
        genai.RUN_COST,
    }


async def test_a_run_told_afterwards_has_the_ids_it_had_live_and_no_measurements(collector: Collector, tmp_path: Path) -> None:
    async with Runner(log=tmp_path / "runs.db", telemetry="otel") as runner:
        result = await runner.run(agent("hello"))
    live = sorted(span.SerializeToString() for span in collector.spans)
    measured = len(collector.metrics)
    assert (len(live), measured > 0) == (2, True)
    async with Runner(log=tmp_path / "runs.db") as runner:
        for _ in range(2):
            collector.spans.clear()
            await export_run(runner.log, result.run_id, "otel")
            assert sorted(span.SerializeToString() for span in collector.spans) == live
    assert len(collector.metrics) == measured


PROGRAM = """
from afk_es import Agent, Runner
from afk_es.testing import ScriptedModel
print(Runner(log=":memory:", telemetry="otel").run_sync(Agent(model=ScriptedModel(["done"]))).state)
"""


@pytest.mark.parametrize("trouble", ["nobody", "hangs", "refuses"])
def test_a_collector_in_trouble_keeps_no_program_from_ending(trouble: str, tmp_path: Path) -> None:
    began = time.perf_counter()
    with Collector(status=503 if trouble == "refuses" else 200, hangs=trouble == "hangs") as listening:
        url = "http://127.0.0.1:9" if trouble == "nobody" else listening.url
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_ENDPOINT": url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "completed\n"), done.stderr
    assert "telemetry sink OTelSink" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - began < 15
