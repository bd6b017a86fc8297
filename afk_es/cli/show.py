"""`afk-es show`: a run at a glance, or one event in full with the request behind it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.family import descendants, parent_of
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.metrics import write_metrics
from afk_es.cli.reading import events_of, history_of, parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger import Recording
from afk_es.debugger.figures import span
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.naming import named_run
from afk_es.debugger.positions import resolve
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, evolve
from afk_es.machine.content import MultipartMessage, Text
from afk_es.machine.rendering import PREAMBLE
from afk_es.machine.requests import model_request
from afk_es.machine.state import ENDED
from afk_es.machine.values import Message, Messages, ToolCall
from afk_es.redaction import Redaction
from afk_es.views import (
    CallRecord,
    Overview,
    RebuiltRequest,
    TicketRecord,
    arguments_text,
    clipped,
    compact_json,
    message_text,
    overview,
    padded,
    run_metrics,
    visible,
    without_bytes,
)

_MESSAGE_LINES = 12
"""Lines of a message that the overview shows; `--at` and `--format json` show it whole."""


@click.command("show", short_help="Show a run at a glance, or one event and the request behind it.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--at", metavar="POSITION", help="One event in full; for an llm_called the exact request, proved.")
@click.option("--metrics", is_flag=True, help="Where time, tokens and money went: by model, by tool, waiting for people and retries.")
@common_options
@click.pass_obj
@redaction_options
def show(invocation: Invocation, run: str, at: str | None, metrics: bool, redaction: Redaction | None) -> None:
    """Show RUN at a glance: how it ended, what was said and called, what it used up. Default: the last run.

    With --at, one event in full. The request of an `llm_called` is rebuilt from the log, and proved by the hash that was recorded before
    it was sent; where the two differ, the exit code is 4. The hash is of the request as it was sent, which --show-secrets shows whole.
    """
    if metrics and at is not None:
        raise UsageError("--metrics is about the whole run, and --at about one event; leave one of them out")
    code = asyncio.run(_show(invocation, run, at, metrics, redaction))
    if code:
        raise click.exceptions.Exit(code)


async def _show(invocation: Invocation, run: str, at: str | None, metrics: bool, redaction: Redaction | None) -> int:
    name = parse_name(run, invocation)
    async with reading(name.location) as log:
        run_id = await named_run(log, name.run)
        if await log.head(run_id) is None:
            raise RunNotFoundError(f"{log.location} names a run {run_id!r}, and has no event of it")
        if at is not None:
            return await _show_event(invocation, await Recording.open(log, run_id, keyframes=KeyframeFile()), at, redaction)
        if metrics:
            write_metrics(invocation, run_metrics([event async for event in events_of(log, run_id)]))
            return 0
        history = await history_of(log, run_id)
        seen = overview([event async for event in events_of(log, run_id)], history)
        status = await _status(log, seen)
        if redaction is not None:
            said = tuple(_redacted(message, redaction) for message in seen.conversation)
            kept = msgspec.convert(redaction.value(msgspec.to_builtins(seen)), Overview)
            seen = msgspec.structs.replace(kept, conversation=said)  # With its images, of which a plain message knows nothing.
        if invocation.format == "text":
            _write_overview(seen, status)
            await _write_family(log, run_id)
            return 0
        data = {"schema": "afk_es.show/1", **msgspec.to_builtins(seen), "status": status}
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)
    return 0


async def _status(log: EventLog, seen: Overview) -> str:
    driven = seen.status in ENDED or await log.alive(seen.owner, seen.run_id)
    return seen.status if driven else "crashed"


# ------------------------------------------------------------------------------------------------------------------------- the whole run


def _write_overview(seen: Overview, status: str) -> None:
    columns = output.width()
    head = visible(f"{seen.run_id}  {seen.agent_name}  ")
    output.echo(output.toned(head, "strong") + output.toned(status, output.STATUS_TONES.get(status, "plain")))
    output.echo(clipped(seen.ending, columns) if status != "crashed" else f"its process died after seq {seen.seq}; `afk-es resume` goes on")
    took = f"{span(seen.elapsed_s)} in {seen.stretches} stretch{'es' if seen.stretches > 1 else ''}"
    _quiet(f"started {output.local(seen.started_at)}, ran {took}, {seen.seq} events", columns)
    _quiet(f"thread {seen.thread_id}", columns)
    usage = seen.usage
    tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if usage.total_tokens else "tokens unknown"
    _quiet(f"models {', '.join(seen.models)}; {tokens}; cost {output.dollars(seen.cost_usd)}", columns)
    if len(seen.spending) > 1:
        for name, use in seen.spending.items():
            asked = f"{use.requests} request{'s' if use.requests > 1 else ''}, {use.answers} answered"
            _quiet(f"  {name}: {asked}; {use.usage.total_tokens} tokens; cost {output.dollars(use.cost_usd)}", columns)
    _quiet("used " + ", ".join(f"{each.limit.removeprefix('max_')} {each.used:g} of {each.maximum:g}" for each in seen.limits), columns)
    _title("conversation")
    for message in seen.conversation:
        _write_message(message, columns)
    _title(f"tool calls ({len(seen.calls)})")
    for call in seen.calls:
        _write_call(call, columns)
    if not seen.calls:
        _quiet("  none recorded", columns)
    if seen.tickets:
        _title(f"in the background ({len(seen.tickets)})")
    for ticket in seen.tickets:
        _write_ticket(ticket, columns)
    for sentence in seen.missing:
        output.echo(output.toned(clipped(f"missing: {sentence}", columns), "mark"))


def _write_message(message: Message, columns: int) -> None:
    lead = f"  {message.role:<10}"
    # The line that marks it as untrusted is for the model, and the same before each; `show --at` has what was sent, whole.
    lines = visible(message_text(message).removeprefix(PREAMBLE), multiline=True).splitlines()
    lines += [f"calls {call.tool_name}({arguments_text(call.arguments)})" for call in message.tool_calls]
    for index, line in enumerate(lines[:_MESSAGE_LINES] or [""]):
        output.echo((output.toned(lead, "quiet") if not index else " " * len(lead)) + clipped(line, columns - len(lead)))
    if len(lines) > _MESSAGE_LINES:
        _quiet(f"{' ' * len(lead)}... {len(lines) - _MESSAGE_LINES} more lines", columns)


_OUTCOME_TONES = {"returned": "good", "deferred": "plain", "unknown": "mark", "open": "mark"}


def _write_call(call: CallRecord, columns: int) -> None:
    starts = len(call.started)
    times = "not started" if not starts else "started once" if starts == 1 else f"started {starts} times"
    result = compact_json(call.output) if call.outcome == "returned" else call.error or ""
    lead = f"  {call.started[0] if starts else '-':>5}  "
    output.echo(lead + clipped(f"{call.tool_name}({arguments_text(call.arguments)})", columns - len(lead)))
    detail = padded(f"{call.outcome}, {times}", 26)
    rest = clipped(result, max(8, columns - len(lead) - len(detail) - 3))
    output.echo(" " * (len(lead) + 2) + output.toned(detail, _OUTCOME_TONES.get(call.outcome, "bad")) + " " + rest)


def _write_ticket(ticket: TicketRecord, columns: int) -> None:
    lead = f"  {padded(ticket.status, 10)} "
    rest = clipped(f"{ticket.tool_name} ({ticket.ticket_id}): {output.ticket_story(ticket)}", max(8, columns - len(lead)))
    output.echo(output.toned(lead, output.TICKET_TONES[ticket.status]) + rest)


async def _write_family(log: EventLog, run_id: str) -> None:
    """Whose subagent the run is, and the tree of its own."""
    columns = output.width()
    parent = await parent_of(log, run_id)
    if parent is not None:
        _title("subagent of")
        output.echo(clipped(f"  {parent}", columns))
    below = await descendants(log, run_id)
    if below:
        _title(f"subagents ({len(below)})")
    for each in below:
        head = clipped(f"  {'  ' * each.depth}{each.name}  {each.run_id}  ", columns - len(each.status))
        output.echo(head + output.toned(each.status, output.STATUS_TONES.get(each.status, "plain")))


def _title(text: str) -> None:
    output.echo()
    output.echo(output.toned(text, "strong"))


def _quiet(text: str, columns: int) -> None:
    output.echo(output.toned(clipped(text, columns), "quiet"))


# ------------------------------------------------------------------------------------------------------------------------- one event


async def _show_event(invocation: Invocation, recording: Recording, at: str, redaction: Redaction | None) -> int:
    event = await recording.event(await resolve(recording, at))
    data: dict[str, Any] = {"schema": "afk_es.event/1", **output.event_json(event)}
    rebuilt = None
    if event.type == "llm_called":
        rebuilt = await _rebuilt(recording, event)
        data["request"] = _request_json(rebuilt)
    if redaction is not None:
        data = redaction.value(data)
    match invocation.format:
        case "text":
            _write_event(data, rebuilt, redaction)
        case "json":
            output.write_json(data)
        case "jsonl":
            output.write_json_line(data)
    return 0 if rebuilt is None or rebuilt.proved else 4


async def _rebuilt(recording: Recording, event: AgentRunEvent) -> RebuiltRequest:
    before = await recording.state(event.seq - 1)
    evolve(before, event)  # An event that does not fit has no request.
    whole = msgspec.structs.replace(before, messages=Messages(await recording.messages(before)))
    return RebuiltRequest(event.seq, model_request(whole, event.data["model_index"]), event.data["request_hash"])


def _request_json(rebuilt: RebuiltRequest) -> dict[str, Any]:
    request = rebuilt.request
    return {
        "model": request.model,
        "instructions": request.instructions,
        "messages": [msgspec.to_builtins(message) for message in request.messages],
        "tools": [{"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in request.tools],
        "parameters": request.parameters,
        "output_schema": request.output_schema,
        "hash": request.hash,
        "recorded_hash": rebuilt.recorded_hash,
        "proved": rebuilt.proved,
    }


def _write_event(data: dict[str, Any], rebuilt: RebuiltRequest | None, redaction: Redaction | None) -> None:
    event = {key: value for key, value in data.items() if key not in ("schema", "request")} | {"data": without_bytes(data["data"])}
    # JSON escapes C0 controls by itself, and nothing else that a terminal may obey.
    text = msgspec.json.format(msgspec.json.encode(event), indent=2).decode()
    output.echo(visible(text, multiline=True))
    if rebuilt is None:
        return
    request = rebuilt.request
    output.echo()
    if rebuilt.proved:
        output.echo(output.toned(f"the request, rebuilt; its hash is the recorded one: {request.hash}", "good"))
    else:
        output.echo(output.toned(f"the rebuilt request has hash {request.hash}, recorded is {visible(rebuilt.recorded_hash)}", "bad"))
    output.echo(f"model {visible(request.model)}, {len(request.messages)} messages, {len(request.tools)} tools")
    for message in (*([Message("system", request.instructions)] if request.instructions else []), *request.messages):
        _write_whole_message(message if redaction is None else _redacted(message, redaction))
    for tool in request.tools:
        output.echo(output.toned("tool       ", "quiet") + visible(f"{tool.name}({', '.join(tool.parameters.get('properties', {}))})"))


def _redacted(message: Message, redaction: Redaction) -> Message:
    calls = tuple(ToolCall(call.id, call.tool_name, redaction.value(call.arguments)) for call in message.tool_calls)
    message = dataclasses.replace(message, content=redaction.text(message.content), tool_calls=calls)
    if not isinstance(message, MultipartMessage):
        return message
    parts = tuple(Text(redaction.text(part.text)) if isinstance(part, Text) else part for part in message.parts)
    return dataclasses.replace(message, parts=parts)


def _write_whole_message(message: Message) -> None:
    lead = f"{message.role:<10} "
    lines = visible(message_text(message), multiline=True).splitlines()
    lines += [visible(f"calls {call.tool_name}({arguments_text(call.arguments)})") for call in message.tool_calls]
    for index, line in enumerate(lines or [""]):
        output.echo((output.toned(lead, "quiet") if not index else " " * len(lead)) + line)
