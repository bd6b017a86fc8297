"""Where runs are told of while they go on, and afterwards: projections of the log, delivered so that no run ever feels them."""

from afk_es.redaction import Redaction
from afk_es.telemetry.console import ConsoleSink
from afk_es.telemetry.delivery import Delivery
from afk_es.telemetry.export import Exported, export_run
from afk_es.telemetry.jsonl import JsonSink
from afk_es.telemetry.named import SINKS, sink_of
from afk_es.telemetry.port import TelemetrySink

__all__ = [
    "ConsoleSink",
    "Delivery",
    "export_run",
    "Exported",
    "JsonSink",
    "Redaction",
    "sink_of",
    "SINKS",
    "TelemetrySink",
]
