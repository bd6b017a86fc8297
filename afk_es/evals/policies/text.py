"""What another policy means for recorded runs, as lines of text: a pure function of its width, in which nothing that a model wrote can act."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from afk_es.debugger.figures import count, dollars
from afk_es.evals.policies.changes import ChangedDecision, PolicyWhatIf, RunWhatIf, ToolWhatIf
from afk_es.evals.policies.tried_policy import Decision
from afk_es.views import arguments_text, clipped, table
from afk_es.views.timeline import Tone

Line = tuple[str, Tone]

SHOWN_RUNS = 10
SHOWN_EXECUTED = 10
SHOWN_TOOLS = 20

_COLUMNS = ("decisions", "denied", "allowed", "asked", "put off", "other", "exact")
_NEVER_EMPTY = frozenset({"decisions", "exact"})


def policy_lines(seen: PolicyWhatIf, width: int = 80, runs: int = SHOWN_RUNS) -> tuple[Line, ...]:
    """The whole of it in lines of at most `width` columns, with at most so many runs in detail."""
    sections = (_head(seen), _notes(seen), _tools(seen, width), _executed(seen), _runs(seen, runs), _legend(seen))
    return tuple((clipped(text, width), tone) for text, tone in chain.from_iterable(sections))


def _head(seen: PolicyWhatIf) -> Iterator[Line]:
    asked = f"{_many(seen.decisions, 'decision')} in {_many(seen.runs, 'run')} asked again"
    yield f"{asked}: {count(seen.exact)} exact, {count(seen.bounded)} bounded", "plain"
    yield f"no model, tool or person was asked: {dollars(seen.cost_usd)}", "quiet"
    if seen.same:
        yield "nothing would be decided otherwise", "good"
        return
    told = [f"{_many(seen.changed, 'run')} would go elsewhere"]
    if seen.carried:
        told.append(f"{count(seen.carried)} would be carried along")
    told.append(f"{count(seen.unchanged)} would stay")
    yield ", ".join(told), "mark"
    others = seen.changed_exact + seen.changed_bounded
    yield f"{_many(others, 'decision')} would be {'another' if others == 1 else 'others'}: {_split(seen)}", "mark"


def _split(seen: PolicyWhatIf) -> str:
    return f"{count(seen.changed_exact)} exact, {count(seen.changed_bounded)} bounded"


def _notes(seen: PolicyWhatIf) -> Iterator[Line]:
    """What else has to be known to read the numbers."""
    if seen.raised and seen.raised_first is not None:
        first = seen.raised_first
        yield f"{_many(seen.raised, 'decision')} could not be made, and deny for it; the first at {first.run_id} seq {first.seq}:", "bad"
        yield f"  {first.after.reason}", "bad"
    if seen.raised_before:
        yield f"{_many(seen.raised_before, 'recorded denial')} came from a rule that could not be evaluated then", "quiet"
    if seen.others:
        yield f"{_many(seen.others, 'run')} of other agents left out", "quiet"
    if seen.edited:
        yield f"{_many(seen.edited, 'decision')} that people edited for a fork left alone", "quiet"
    if seen.copied:
        yield f"{_many(seen.copied, 'decision')} that forks took over from the record asked again where they stand", "quiet"


def _tools(seen: PolicyWhatIf, width: int) -> Iterator[Line]:
    changed = [tool for tool in seen.tools if tool.changed]
    if not changed:
        return
    rows = [_row(tool) for tool in changed[:SHOWN_TOOLS]]
    # A column of nothing is no news, and 80 columns are not many.
    kept = [place for place, name in enumerate(_COLUMNS) if name in _NEVER_EMPTY or any(row[place] for row in rows)]
    header = ("", *(_COLUMNS[place] for place in kept), "tool")
    cells = [
        (
            _kind(tool.read_only, tool.tool_name),
            *(count(row[place]) if row[place] else "-" for place in kept),
            tool.tool_name or "(the model)",
        )
        for tool, row in zip(changed, rows, strict=False)
    ]
    yield "", "plain"
    lines = table(header, cells, right=range(1, len(kept) + 1), total=width)
    yield lines[0], "quiet"
    for line in lines[1:]:
        yield line, "plain"
    if len(changed) > SHOWN_TOOLS:
        yield f"and {_many(len(changed) - SHOWN_TOOLS, 'tool')} more", "quiet"


def _row(tool: ToolWhatIf) -> tuple[int, ...]:
    return (tool.decisions, tool.denied, tool.allowed, tool.asked, tool.put_off, tool.otherwise, tool.exact)


def _kind(read_only: bool | None, tool_name: str | None) -> str:
    if tool_name is None:
        return "model"
    return "reads" if read_only else "writes"


def _executed(seen: PolicyWhatIf) -> Iterator[Line]:
    if not seen.undone:
        return
    yield "", "plain"
    writes = f"{count(seen.undone_writes)} of them by tools that write" if seen.undone_writes else "all by tools that only read"
    yield f"done, and would have been denied: {_many(seen.undone, 'call')}, {writes}", "bad"
    for change in seen.executed[:SHOWN_EXECUTED]:
        certain = "" if change.exact else "  (bounded)"
        yield f"  {_kind(change.read_only, change.tool_name):<6}  {change.run_id} seq {change.seq}{certain}", "quiet"
        yield f"          {_call(change)}", "bad" if change.read_only is not True else "plain"
    if seen.undone > SHOWN_EXECUTED:
        yield f"  and {count(seen.undone - min(SHOWN_EXECUTED, len(seen.executed)))} more", "quiet"


def _runs(seen: PolicyWhatIf, limit: int) -> Iterator[Line]:
    for row in seen.changed_runs[:limit]:
        yield "", "plain"
        yield from _run(row)
    left = seen.changed + seen.carried - min(limit, len(seen.changed_runs))
    if left > 0:
        yield "", "plain"
        yield f"and {_many(left, 'changed run')} more; --format jsonl has them all", "quiet"


def _run(row: RunWhatIf) -> Iterator[Line]:
    kin = " (subagent)" if row.parent_run_id is not None else " (fork)" if row.forked_from is not None else ""
    yield f"{row.run_id}  {row.agent_name}{kin}: {_many(row.decisions, 'decision')}, {count(row.exact)} exact", "plain"
    if row.parted is not None:
        yield f"  bounded after {row.parted}, where its family goes elsewhere", "quiet"
    if row.first is not None:
        yield from _change(row.first)
        rest = row.changed - 1
        if rest:
            yield f"  {count(rest)} of the {_many(row.bounded, 'decision')} after it change too, if they come up (bounded)", "quiet"
        return
    for change in row.changes[:1]:
        yield from _change(change)
    if row.changed > 1:
        yield f"  and {count(row.changed - 1)} more like it (bounded)", "quiet"


def _change(change: ChangedDecision) -> Iterator[Line]:
    certain = "exact" if change.exact else "bounded"
    yield f"  seq {change.seq}  step {change.step}  {_call(change)}", "plain"
    yield f"    {_turned(change)}  ({certain})", _TONES.get(change.turn, "mark")
    if change.after.reason is not None:
        yield f"    {change.after.reason}", "quiet"
    followed = [*(["it was executed"] if change.executed else []), *([change.person] if change.person is not None else [])]
    if followed:
        yield f"    then: {', '.join(followed)}", "quiet"


_TONES: dict[str, Tone] = {"denied": "bad", "allowed": "good"}


def _call(change: ChangedDecision) -> str:
    if change.tool_name is None:
        return "a call of the model"
    return f"{change.tool_name}({arguments_text(change.arguments)})"


def _turned(change: ChangedDecision) -> str:
    if change.differs[0] == "action":
        return f"{_said(change.before)} → {_said(change.after)}"
    return f"{_said(change.after)}, with another {' and another '.join(_PARTS.get(part, part) for part in change.differs)}"


_PARTS = {"arguments": "set of arguments", "payload": "question"}


def _said(decision: Decision) -> str:
    return decision.action if decision.policy_id is None else f"{decision.action} by {decision.policy_id}"


def _legend(seen: PolicyWhatIf) -> Iterator[Line]:
    if seen.same:
        return
    yield "", "plain"
    yield "exact: just this would have been asked. bounded: only if the run, which has", "quiet"
    yield "gone elsewhere by then, came to this call all the same", "quiet"


def _many(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
