"""What people and programs want to see of a run, as pure functions of its events. No I/O, no clock, no terminal."""

from afk_es.views.ledger import CallRecord, ToolTally, call_records, tallied
from afk_es.views.overview import Overview, overview
from afk_es.views.printable import clipped, compact_json, visible
from afk_es.views.requests import RebuiltRequest, request_at
from afk_es.views.timeline import Line, render_line, timeline
from afk_es.views.verification import Problem, problems

__all__ = [
    "CallRecord",
    "Line",
    "Overview",
    "Problem",
    "RebuiltRequest",
    "ToolTally",
    "call_records",
    "clipped",
    "compact_json",
    "overview",
    "problems",
    "render_line",
    "request_at",
    "tallied",
    "timeline",
    "visible",
]
