"""The metrics of a run, written for people or for programs."""

from __future__ import annotations

import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation
from afk_es.debugger.figures import span
from afk_es.views import RunMetrics, clipped


def write_metrics(invocation: Invocation, metrics: RunMetrics) -> None:
    """Write them to stdout, in the format that was asked for."""
    if invocation.format == "text":
        _write_text(metrics)
        return
    data = {"schema": "afk_es.metrics/1", **msgspec.to_builtins(metrics)}
    (output.write_json if invocation.format == "json" else output.write_json_line)(data)


def _write_text(metrics: RunMetrics) -> None:
    columns = output.width()
    output.echo(output.toned(clipped(f"{metrics.run_id}  {metrics.agent_name}  {metrics.status}", columns), "strong"))
    for name, text in _lines(metrics):
        output.echo(output.toned(f"  {name:<10}", "quiet") + clipped(text, columns - 12))
    if metrics.models:
        _write_table(("model", "provider", "asked", "answers", "failed", "in", "out", "cost", "took"), _of_models(metrics), columns)
    if metrics.tools:
        _write_table(("tool", "calls", "started", "took", "longest", "outcomes"), _of_tools(metrics), columns)


def _of_models(metrics: RunMetrics) -> list[tuple[str, ...]]:
    return [
        (
            each.model,
            each.provider,
            *map(str, (each.requests, each.answers, each.failures, each.input_tokens, each.output_tokens)),
            output.dollars(each.cost_usd),
            span(each.seconds),
        )
        for each in metrics.models
    ]


def _of_tools(metrics: RunMetrics) -> list[tuple[str, ...]]:
    return [
        (
            each.tool_name,
            str(each.calls),
            str(each.started),
            span(each.seconds),
            span(each.longest_s),
            _counts(each.outcomes) or "-",
        )
        for each in metrics.tools
    ]


def _lines(metrics: RunMetrics) -> list[tuple[str, str]]:
    waited = [("people", metrics.people_s), ("retries", metrics.backoff_s)]
    first = f"; first answer after {span(metrics.first_answer_s)}" if metrics.first_answer_s is not None else ""
    failures = f", failed {_counts(metrics.llm_failures)}" if metrics.llm_failures else ""
    return [
        ("time", f"ran {span(metrics.elapsed_s)} of {span(metrics.wall_s)} in {metrics.stretches} stretch(es){first}"),
        ("busy", f"models {span(metrics.model_s)}, tools {span(metrics.tools_s)}"),
        ("waited", ", ".join(f"{name} {span(took)}" for name, took in waited)),
        ("steps", f"{metrics.steps}; {metrics.events} events, {metrics.warnings} warnings"),
        ("models", f"{metrics.llm_calls} requests, {metrics.llm_retries} retries, {metrics.llm_fallbacks} to fallbacks{failures}"),
        ("tools", _counts(metrics.tool_calls) or "none called"),
        ("tokens", f"{metrics.input_tokens} in, {metrics.output_tokens} out; cost {output.dollars(metrics.cost_usd)}"),
    ]


def _write_table(header: tuple[str, ...], rows: list[tuple[str, ...]], columns: int) -> None:
    output.echo()
    first, *lines = output.table(header, rows, right=range(1, len(header)), total=columns)
    output.echo(output.toned(first, "quiet"))
    for line in lines:
        output.echo(line)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
