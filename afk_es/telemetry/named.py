"""From what a user writes for `telemetry` to the sink that is meant. The only module that names the sinks; a vendor is imported when asked for."""

from __future__ import annotations

from collections.abc import Callable

from afk_es.errors import ConfigurationError
from afk_es.telemetry.port import TelemetrySink


def _console(measured: bool) -> TelemetrySink:
    from afk_es.telemetry.console import ConsoleSink

    return ConsoleSink()


def _json(measured: bool) -> TelemetrySink:
    from afk_es.telemetry.jsonl import JsonSink

    return JsonSink()


def _otel(measured: bool) -> TelemetrySink:
    try:
        from afk_es.telemetry.otel import OTelSink

        return OTelSink() if measured else OTelSink(metrics=None)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'telemetry "otel" needs OpenTelemetry, and {error.name} is not installed: pip install "afk-es[otel]"'
        ) from error


SINKS: dict[str, Callable[[bool], TelemetrySink]] = {"console": _console, "json": _json, "otel": _otel}
"""The sinks that have a name, and what makes them."""


def sink_of(telemetry: str | TelemetrySink, *, measured: bool = True) -> TelemetrySink:
    """The sink that is meant.

    Args:
        measured: whether a sink made by name measures too; not where it is told of the past.

    Raises:
        ConfigurationError: an unknown name, an object that is no sink, or "otel" without the extra that it needs.
    """
    if isinstance(telemetry, str):
        if telemetry not in SINKS:
            raise ConfigurationError(
                f"telemetry {telemetry!r} is unknown; it is {', '.join(map(repr, SINKS))}, a sink of your own, or None"
            )
        return SINKS[telemetry](measured)
    if isinstance(telemetry, type) or not isinstance(telemetry, TelemetrySink):
        raise ConfigurationError(
            f"telemetry is {', '.join(map(repr, SINKS))}, an object with export(event), flush() and close(), or None; not {telemetry!r:.80}"
        )
    return telemetry
