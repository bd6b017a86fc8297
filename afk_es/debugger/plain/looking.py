"""Commands that show what is at the cursor, and beside it: events, states, values, what is set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from afk_es.debugger.landmarks import ERROR_TYPES, is_error
from afk_es.debugger.plain.console import Command, Console, Display, Reply, needed, nothing
from afk_es.debugger.plain.stopping import breakpoint_lines
from afk_es.debugger.plain.values import condition_of, display_lines, expression_of, leaves, print_line, value_text
from afk_es.debugger.session import Session
from afk_es.debugger.state_diff import tree_at
from afk_es.debugger.state_text import value_at
from afk_es.debugger.watching import samples
from afk_es.errors import UsageError
from afk_es.views import redacted_event, since

_LISTED = 10
_UNSET: tuple[object, ...] = ([], (), {}, "")
_MOST = 250
"""Lines of a list that is not asked to go on."""


async def _where(console: Console, rest: str) -> Reply:
    """The event and everything that encloses it, the innermost first."""
    nothing(rest, "where")
    walker = Session(console.recording, console.session.seq)
    lines = [await console.line(walker.seq)]
    while walker.seq > 1:
        before = walker.seq
        if await walker.start() >= before:
            break
        lines.append(await console.line(walker.seq))
    return console.written([f"#{number} {line}" for number, line in enumerate(lines)])


async def _list(console: Console, rest: str) -> Reply:
    last, here = await console.recording.last_seq(), console.session.seq
    if rest == "-":
        end = (console.listed or here) - _LISTED
        first = max(1, end - _LISTED + 1)
        if end < 1:
            return console.written(["the start of the run"], ok=False)
    elif rest:
        first_text, _comma, last_text = rest.partition(",")
        first = await console.position(first_text.strip())
        end = await console.position(last_text.strip()) if last_text.strip() else first + _LISTED - 1
        if end < first:
            raise UsageError(f"{rest!r} ends before it begins")
        end = min(end, first + _MOST - 1)
    else:
        first = console.listed + 1 if console.listed is not None else max(1, here - _LISTED // 2)
        end = first + _LISTED - 1
        if first > last:
            return console.written(["the end of the run"], ok=False)
    end = min(end, last)
    lines = await console.lines(first, end)
    console.listed = end
    return console.written(lines)


async def _event(console: Console, rest: str) -> Reply:
    """Everything in an event, a fact a line."""
    event = await console.recording.event(await console.position(rest) if rest else console.session.seq)
    facts = msgspec.to_builtins(redacted_event(event, console.redaction))
    return console.written([f"{path} = {value_text(console, path, value)}" for path, value in leaves(facts)])


async def _state(console: Console, rest: str) -> Reply:
    rec, seq = console.recording, console.session.seq
    tree = await value_at(rec, seq, rest, console.redaction) if rest else await tree_at(rec, seq)
    # Without a path, what is not set is left out, as `afk-es state` does.
    facts = [(path, value) for path, value in leaves(tree, rest) if rest or not (value is None or value in _UNSET)]
    return console.written([f"{path} = {value_text(console, path, value)}" for path, value in facts])


async def _print(console: Console, rest: str) -> Reply:
    text, at, where = needed(rest, "print", "an expression; `help expressions` says what there is").rpartition(" @ ")
    if not at:
        return console.written([await print_line(console, expression_of(rest))])
    expression = expression_of(text)
    lines: list[str] = []
    condition = condition_of(console, where.strip())
    found = samples(console.recording, [expression], condition, progress=console.progress, search=console.search)
    more = False
    async for sample in found:
        if len(lines) == _MOST:
            more = True
            break
        lines += [f"{sample.seq} {name} = {value_text(console, name, value)}" for name, value in sample.values.items()]
    if more:
        lines.append(f"and more; the first {_MOST} are shown, and `afk-es trace` has all")
    return console.written(lines or [f"{where.strip()} stops nowhere in this run"], ok=bool(lines))


async def _display(console: Console, rest: str) -> Reply:
    if not rest:
        lines = await display_lines(console)
        return console.written(lines or ["nothing is displayed; `display EXPRESSION` begins it"], ok=bool(lines))
    console.displayed += 1
    display = Display(console.displayed, expression_of(rest))
    console.displays.append(display)
    return console.written([f"{display.number}: {await print_line(console, display.expression)}"])


async def _undisplay(console: Console, rest: str) -> Reply:
    known = {str(display.number): display for display in console.displays}
    for word in rest.split():
        if word not in known:
            raise UsageError(f"there is no display {word!r}; there are: {', '.join(known) or 'none'}")
    gone = [known[word] for word in dict.fromkeys(rest.split())] or list(console.displays)
    console.displays = [display for display in console.displays if display not in gone]
    return console.written([f"display {display.number} is gone" for display in gone])


async def _errors(console: Console, rest: str) -> Reply:
    nothing(rest, "errors")
    lines: list[str] = []
    async for event in console.recording.scan(types=ERROR_TYPES, progress=console.progress):
        if not is_error(event):
            continue
        if len(lines) == _MOST:
            lines.append(f"and more; the first {_MOST} are shown")
            break
        lines.append(await console.line(event.seq))
    return console.written(lines or ["no error in this run"], ok=bool(lines))


# ------------------------------------------------------------------------------------------------------------------------- what is set


async def _info(console: Console, rest: str) -> Reply:
    found = [name for name in _INFO if name.startswith(rest)] if rest else []
    if len(found) != 1:
        raise UsageError(f"`info` tells of one of: {', '.join(_INFO)}")
    return await _INFO[found[0]](console)


async def _breakpoints(console: Console) -> Reply:
    lines = await breakpoint_lines(console)
    return console.written(lines or ["no breakpoint is set"], ok=bool(lines))


async def _marks(console: Console) -> Reply:
    lines = [f"'{name} at {seq}" for name, seq in sorted(console.session.marks.items())]
    return console.written(lines or ["no mark is set; `mark a` sets one here"], ok=bool(lines))


async def _displays(console: Console) -> Reply:
    lines = [f"{display.number}: {display.expression.text}" for display in console.displays]
    return console.written(lines or ["nothing is displayed"], ok=bool(lines))


async def _run(console: Console) -> Reply:
    return console.written(await run_lines(console))


async def run_lines(console: Console) -> list[str]:
    """The run, and where in it the cursor is: what the app's header says."""
    rec, seq = console.recording, console.session.seq
    event, state, last = await rec.event(seq), await rec.state(seq, console.progress), await rec.last_seq()
    spec = state.spec
    return [
        f"run {rec.run_id}",
        f"thread {rec.thread_id}",
        f"agent {spec.agent_name}",
        f"log {rec.log.location}",
        f"seq {seq} of {last}",
        f"time {since(event.at - rec.first.at)}",
        f"step {state.step} of {spec.limits.max_steps}",
        f"status here {state.status}",
        f"model calls {state.llm_calls}",
        f"tool calls {state.tool_calls}",
        f"tokens {state.usage.total_tokens}",
        f"cost {state.cost_usd:f} USD",
    ]


_INFO: dict[str, Callable[[Console], Awaitable[Reply]]] = {
    "breakpoints": _breakpoints,
    "watches": _breakpoints,
    "displays": _displays,
    "marks": _marks,
    "run": _run,
}

COMMANDS: tuple[Command, ...] = (
    Command("where", "", "The event, and what encloses it: its call, its step, the run.", _where, ("bt", "backtrace"), repeats=False),
    Command("list", "[POSITION[,POSITION]|-]", "Ten events, and again the next ten; - the ten before.", _list, ("l",)),
    Command("event", "[POSITION]", "Everything in an event.", _event, ("x",), repeats=False),
    Command("state", "[PATH]", "The state after this event, or a part of it.", _state, repeats=False),
    Command(
        "print",
        "EXPRESSION [@ WHERE]",
        "What an expression comes to here, or at every hit of a breakpoint.\nprint cost_usd; print args.query @ b3; print latency @ tool:search*",
        _print,
        ("p",),
        repeats=False,
    ),
    Command("display", "[EXPRESSION]", "Print an expression wherever the cursor arrives; alone: print them now.", _display, repeats=False),
    Command("undisplay", "[NUMBER ...]", "No longer; all if none is named.", _undisplay, repeats=False),
    Command("errors", "", "Every error of the run.", _errors, repeats=False),
    Command("info", "breakpoints|watches|displays|marks|run", "What is set, or where the run stands.", _info, ("i",), repeats=False),
)
