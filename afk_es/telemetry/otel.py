"""Spans and metrics for OpenTelemetry, by its GenAI conventions. What a span is, `afk_es.views.spans` decides; this only hands it on.

Spans are made with the ids and times that the log gives them, so they go to the exporter directly and not through a tracer, which would
draw ids of its own. Metrics are measured as spans end, and so only where a run is watched while it goes on: a measurement of yesterday
cannot be put into today's counters.

Needs the extra: `pip install "afk-es[otel]"`.
"""

from __future__ import annotations

import datetime as dt
import math
import os

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from afk_es.errors import TelemetryError
from afk_es.machine.events import TERMINAL, AgentRunEvent
from afk_es.views import Span, SpanReader, genai

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own variable for whether messages, arguments and outputs go into spans."""

_SCOPE = "afk_es"
_BATCH = 256
_RUNS_KEPT = 100_000
"""Runs that are open at once. Beyond it the oldest is told as unfinished: a run whose log broke never says that it ended."""
_SPANS_EVERY = dt.timedelta(seconds=5)
_METRICS_EVERY = dt.timedelta(seconds=60)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}


class OTelSink:
    """Tells an OpenTelemetry collector, or whatever exporter it is given.

    Args:
        exporter: takes the spans; default OTLP over HTTP, which goes by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, ...).
        metrics: takes the measurements: an exporter, or a reader of your own; None for no metrics; default OTLP over HTTP.
        service_name: default what OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say, else "afk_es".
        content: put messages, arguments and outputs into spans; default as OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says, which
            is False where it is not set. Secrets are redacted either way.
    """

    def __init__(
        self,
        *,
        exporter: SpanExporter | None = None,
        metrics: MetricExporter | MetricReader | str | None = "otlp",
        service_name: str | None = None,
        content: bool | None = None,
    ) -> None:
        self._resource = _resource(service_name)
        self._exporter = exporter if exporter is not None else _otlp_spans()
        self._content = content if content is not None else os.environ.get(CONTENT_VARIABLE, "").strip().lower() == "true"
        self._readers: dict[str, SpanReader] = {}
        self._spans: list[ReadableSpan] = []
        self._scope = InstrumentationScope(_SCOPE)
        self._meters = _Meters(metrics, self._resource) if metrics is not None else None
        self._spans_at = self._metrics_at = _EPOCH

    def export(self, event: AgentRunEvent) -> None:
        """Take an event; send the spans that have ended, once there are enough or it has been long enough."""
        reader = self._readers.get(event.run_id)
        if reader is None:
            reader = self._readers[event.run_id] = SpanReader(content=self._content)
            if len(self._readers) > _RUNS_KEPT:
                self._cut(next(iter(self._readers)))
        for span in reader.read(event):
            self._ended(span)
        if event.type in TERMINAL:
            del self._readers[event.run_id]
        # By the events' own time: nothing here reads a clock, and a run that is told of afterwards is sent as it was.
        if len(self._spans) >= _BATCH or event.at - self._spans_at >= _SPANS_EVERY:
            self._spans_at = event.at
            self._send_spans()
        if self._meters is not None and event.at - self._metrics_at >= _METRICS_EVERY:
            self._metrics_at = event.at
            self._meters.send()

    def flush(self) -> None:
        """Send what is there.

        Raises:
            TelemetryError: it was not taken.
        """
        if self._meters is not None:
            self._meters.send()
        self._send_spans()

    def close(self) -> None:
        """Send what is there, spans without an end too, and shut the exporters down, also those that were handed in."""
        for run_id in list(self._readers):
            self._cut(run_id)
        try:
            self.flush()
        finally:
            self._exporter.shutdown()
            if self._meters is not None:
                self._meters.close()

    def _cut(self, run_id: str) -> None:
        for span in self._readers.pop(run_id).cut():
            self._ended(span)

    def _ended(self, span: Span) -> None:
        self._spans.append(_readable(span, self._resource, self._scope))
        if self._meters is not None:
            self._meters.measure(span)

    def _send_spans(self) -> None:
        spans, self._spans = self._spans, []
        if spans and self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise TelemetryError(f"{type(self._exporter).__name__} did not take {len(spans)} spans; is the collector there?")


class _Meters:
    """The measurements, made of spans as they end."""

    def __init__(self, metrics: MetricExporter | MetricReader | str, resource: Resource) -> None:
        exporter = _otlp_metrics() if isinstance(metrics, str) else metrics
        # Sent when the sink says so: a reader with a beat of its own would need a thread, and telling of it at the end of the program.
        reader = (
            exporter if isinstance(exporter, MetricReader) else PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        )
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(_SCOPE)
        seconds = genai.DURATION_BOUNDS
        self._operation = meter.create_histogram(
            genai.OPERATION_DURATION, "s", "How long a model call took, retries included.", explicit_bucket_boundaries_advisory=seconds
        )
        self._tokens = meter.create_histogram(
            genai.TOKEN_USAGE, "{token}", "Tokens of a model call.", explicit_bucket_boundaries_advisory=genai.TOKEN_BOUNDS
        )
        self._runs = meter.create_histogram(
            genai.RUN_DURATION, "s", "How long a stretch of a run took.", explicit_bucket_boundaries_advisory=seconds
        )
        self._tools = meter.create_histogram(
            genai.TOOL_DURATION, "s", "How long a tool call took, retries included.", explicit_bucket_boundaries_advisory=seconds
        )
        self._cost = meter.create_counter(genai.RUN_COST, "USD", "What the model calls of runs cost, as far as it is known.")

    def measure(self, span: Span) -> None:
        """Measure a span that has ended; one that was cut by a crash measures nothing."""
        if span.attributes.get(genai.UNFINISHED):
            return
        seconds = (span.end - span.start).total_seconds()
        found = span.attributes
        match found[genai.OPERATION]:
            case genai.CHAT:
                labels = _labels(span, genai.OPERATION, genai.PROVIDER, genai.REQUEST_MODEL, genai.RESPONSE_MODEL)
                self._operation.record(seconds, _labels(span, *labels, genai.ERROR_TYPE))
                for name, kind in ((genai.INPUT_TOKENS, "input"), (genai.OUTPUT_TOKENS, "output")):
                    amount = found.get(name)
                    if isinstance(amount, int):
                        self._tokens.record(amount, {**labels, genai.TOKEN_TYPE: kind})
                cost = found.get(genai.COST)
                if isinstance(cost, (int, float)):
                    self._cost.add(cost, labels)
            case genai.EXECUTE_TOOL:
                self._tools.record(seconds, _labels(span, genai.TOOL_NAME, genai.OUTCOME, genai.ERROR_TYPE))
            case _:
                self._runs.record(seconds, _labels(span, genai.AGENT_NAME, genai.STATE, genai.ERROR_TYPE))

    def send(self) -> None:
        """Send the measurements so far."""
        self._provider.force_flush()

    def close(self) -> None:
        """Shut the reader down."""
        self._provider.shutdown()


def _labels(span: Span, *names: str) -> dict[str, str]:
    return {name: str(span.attributes[name]) for name in names if name in span.attributes}


def _readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id is not None else None,
        resource=resource,
        attributes=span.attributes,
        events=[Event(each.name, each.attributes, _nanoseconds(each.at)) for each in span.events],
        links=[Link(_context(link.trace_id, link.span_id)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error is not None else Status(),
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=scope,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(at: dt.datetime) -> int:
    return (at - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


def _resource(service_name: str | None) -> Resource:
    resource = Resource.create({SERVICE_NAME: service_name} if service_name is not None else {})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return resource.merge(Resource({SERVICE_NAME: _SCOPE}))
    return resource


def _otlp_spans() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _otlp_metrics() -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()
