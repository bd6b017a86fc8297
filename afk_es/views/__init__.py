"""What people and programs want to see of a run, as pure functions of its events. No I/O, no clock, no terminal."""

from afk_es.views.failures import FAILURE_EVENTS, FOR_GOOD, RunFailure, failure_of
from afk_es.views.ledger import CallRecord, ToolTally, call_records, tallied
from afk_es.views.metrics import Meter, ModelMetrics, RunMetrics, ToolMetrics, run_metrics
from afk_es.views.overview import LimitUse, Overview, limits_used, overview
from afk_es.views.printable import (
    arguments_text,
    clipped,
    columns,
    compact_json,
    message_text,
    padded,
    table,
    visible,
    visible_json,
    without_bytes,
)
from afk_es.views.redaction import redacted_at, redacted_event, redacted_facts, redacted_under
from afk_es.views.requests import RebuiltRequest, request_at
from afk_es.views.spans import Span, SpanEvent, SpanLink, SpanReader, spans
from afk_es.views.spending import ModelUse, usage_by_model
from afk_es.views.tickets import TICKET_EVENTS, TicketBook, TicketRecord
from afk_es.views.timeline import Line, Timeline, heading, minutes_up, render_line, since, timeline
from afk_es.views.verification import Problem, Verification, problems

__all__ = [
    "arguments_text",
    "call_records",
    "CallRecord",
    "clipped",
    "columns",
    "compact_json",
    "FAILURE_EVENTS",
    "failure_of",
    "FOR_GOOD",
    "heading",
    "LimitUse",
    "limits_used",
    "Line",
    "Meter",
    "ModelMetrics",
    "Overview",
    "overview",
    "padded",
    "Problem",
    "problems",
    "RebuiltRequest",
    "redacted_at",
    "redacted_event",
    "redacted_facts",
    "redacted_under",
    "render_line",
    "request_at",
    "message_text",
    "ModelUse",
    "minutes_up",
    "RunFailure",
    "run_metrics",
    "RunMetrics",
    "since",
    "Span",
    "SpanEvent",
    "SpanLink",
    "SpanReader",
    "spans",
    "table",
    "tallied",
    "TICKET_EVENTS",
    "TicketBook",
    "TicketRecord",
    "Timeline",
    "timeline",
    "ToolMetrics",
    "ToolTally",
    "usage_by_model",
    "Verification",
    "visible",
    "visible_json",
    "without_bytes",
]
