"""A run at a glance, as lines of a width. Pure; nothing that a tool or model wrote can act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from afk_es.debugger.family import Descendant
from afk_es.debugger.figures import count, dollars, local, span
from afk_es.debugger.styled import STATUS_TONES, TICKET_TONES, Style, Styled
from afk_es.machine.rendering import PREAMBLE
from afk_es.machine.values import Message
from afk_es.views import CallRecord, Overview, TicketRecord, arguments_text, clipped, compact_json, message_text, padded, visible

MESSAGE_LINES = 12
"""Lines of a message that the overview shows; the event that brought it has it whole."""

_OUTCOME_TONES: dict[str, Style] = {"returned": "good", "deferred": "plain", "unknown": "mark", "open": "mark"}


_DOORS = {"mcp": ("MCP", "the same call goes on with it"), "a2a": ("A2A", "the next server on this log goes on with it")}
"""Per protocol by which a run came in, its name, and who goes on where the process died."""


def overview_lines(seen: Overview, status: str, width: int) -> Iterator[Styled]:
    """The overview, each line of at most `width` columns.

    Args:
        status: for people: "crashed" for a run that has no end and that nobody drives.
    """
    head = visible(f"{seen.run_id}  {seen.agent_name}  ")
    yield (head, "strong"), (status, STATUS_TONES.get(status, "plain"))
    door = _door(seen)
    crashed = f"its process died after seq {seen.seq}; {door[1] if door is not None else '`afk-es resume` goes on'}"
    yield ((crashed if status == "crashed" else clipped(seen.ending, width), "plain"),)
    for text in _figures(seen):
        yield _quiet(text, width)
    yield from _title("conversation")
    for message in seen.conversation:
        yield from _message(message, width)
    yield from _title(f"tool calls ({len(seen.calls)})")
    for call in seen.calls:
        yield from _call(call, width)
    if not seen.calls:
        yield _quiet("  none recorded", width)
    if seen.tickets:
        yield from _title(f"in the background ({len(seen.tickets)})")
    for ticket in seen.tickets:
        yield _ticket(ticket, width)
    for sentence in seen.missing:
        yield ((clipped(f"missing: {sentence}", width), "mark"),)


def family_lines(parent: str | None, below: Sequence[Descendant], width: int) -> Iterator[Styled]:
    """Whose subagent the run is, and the tree of its own."""
    if parent is not None:
        yield from _title("subagent of")
        yield ((clipped(f"  {parent}", width), "plain"),)
    if below:
        yield from _title(f"subagents ({len(below)})")
    for each in below:
        head = clipped(f"  {'  ' * each.depth}{each.name}  {each.run_id}  ", width - len(each.status))
        yield (head, "plain"), (each.status, STATUS_TONES.get(each.status, "plain"))


def _door(seen: Overview) -> tuple[str, str] | None:
    door = seen.context.get("door")
    return _DOORS.get(door) if isinstance(door, str) else None


def _figures(seen: Overview) -> Iterator[str]:
    took = f"{span(seen.elapsed_s)} in {seen.stretches} stretch{'es' if seen.stretches > 1 else ''}"
    yield f"started {local(seen.started_at)}, ran {took}, {seen.seq} events"
    yield f"thread {seen.thread_id}"
    if (door := _door(seen)) is not None:
        yield f"asked for by {seen.context.get('user_id')}, over {door[0]}"
    usage = seen.usage
    tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if usage.total_tokens else "tokens unknown"
    yield f"models {', '.join(seen.models)}; {tokens}; cost {_cost(seen.cost_usd)}"
    if len(seen.spending) > 1:
        for name, use in seen.spending.items():
            asked = f"{use.requests} request{'s' if use.requests > 1 else ''}, {use.answers} answered"
            yield f"  {name}: {asked}; {use.usage.total_tokens} tokens; cost {_cost(use.cost_usd)}"
    yield "used " + ", ".join(f"{each.limit.removeprefix('max_')} {count(each.used)} of {count(each.maximum)}" for each in seen.limits)


def _cost(cost: float | None) -> str:
    return dollars(cost) if cost is not None else "-"


def _message(message: Message, width: int) -> Iterator[Styled]:
    lead = f"  {message.role:<10}"
    # The line that marks it as untrusted is for the model, and the same before each; `show --at` has what was sent, whole.
    lines = visible(message_text(message).removeprefix(PREAMBLE), multiline=True).splitlines()
    lines += [f"calls {call.tool_name}({arguments_text(call.arguments)})" for call in message.tool_calls]
    for index, line in enumerate(lines[:MESSAGE_LINES] or [""]):
        first: tuple[str, Style] = (lead, "quiet") if not index else (" " * len(lead), "plain")
        yield first, (clipped(line, width - len(lead)), "plain")
    if len(lines) > MESSAGE_LINES:
        yield _quiet(f"{' ' * len(lead)}... {len(lines) - MESSAGE_LINES} more lines", width)


def _call(call: CallRecord, width: int) -> Iterator[Styled]:
    starts = len(call.started)
    times = "not started" if not starts else "started once" if starts == 1 else f"started {starts} times"
    result = compact_json(call.output) if call.outcome == "returned" else call.error or ""
    lead = f"  {call.started[0] if starts else '-':>5}  "
    yield ((lead + clipped(f"{call.tool_name}({arguments_text(call.arguments)})", width - len(lead)), "plain"),)
    detail = padded(f"{call.outcome}, {times}", 26)
    rest = clipped(result, max(8, width - len(lead) - len(detail) - 3))
    yield (" " * (len(lead) + 2), "plain"), (detail, _OUTCOME_TONES.get(call.outcome, "bad")), (" " + rest, "plain")


def _ticket(ticket: TicketRecord, width: int) -> Styled:
    lead = f"  {padded(ticket.status, 10)} "
    rest = clipped(f"{ticket.tool_name} ({ticket.ticket_id}): {ticket.story}", max(8, width - len(lead)))
    return (lead, TICKET_TONES[ticket.status]), (rest, "plain")


def _title(text: str) -> Iterator[Styled]:
    yield ()
    yield ((text, "strong"),)


def _quiet(text: str, width: int) -> Styled:
    return ((clipped(text, width), "quiet"),)
