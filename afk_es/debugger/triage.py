"""The first look at a run: eight points, each with the place that proves it. It says what is recorded, and calls suspects suspects.

One pass over the run's events, in bounded memory, and the state at its end; `triage_text` lays it out for a screen of 24 lines.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from afk_es.debugger.context import NewMessage, new_messages
from afk_es.debugger.failing import FailingCall, Failures, Trouble
from afk_es.debugger.figures import count, dollars, span
from afk_es.debugger.loops import Gap, Gaps, Loop, Loops
from afk_es.debugger.origins import ends_by
from afk_es.debugger.recording import Progress, Recording
from afk_es.debugger.world import Rerun, World, Written, known_of, rerun
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.state import ENDED, RunState
from afk_es.views import LimitUse, Meter, RunMetrics, arguments_text, compact_json, limits_used
from afk_es.views.timeline import Timeline, Tone

CHILDREN_READ = 32
"""Subagents' runs that are looked at for what they have written."""

TEXT_KEPT = 600
"""Characters of a value that a line holds at most; the place that proves it has it whole."""

NONE = "none recorded"


class TriageLine(msgspec.Struct, frozen=True):
    """One line of the triage.

    Attributes:
        point: which of the eight it belongs to.
        label: what it is about, in at most 12 characters.
        text: may hold anything that a tool or model wrote; a renderer has to make it harmless.
        positions: where the proof is, to be pasted after `--at`: `12`, `llm:7`. Of another run: `RUN@12`.
        key: what opens the proof.
        suspect: it may have nothing to do with the end of the run.
        share: for a bar, how much is used up.
    """

    point: int
    label: str
    text: str
    positions: tuple[str, ...] = ()
    tone: Tone = "plain"
    key: str = ""
    suspect: bool = False
    share: float | None = None


class Triage(msgspec.Struct, frozen=True):
    """What there is to see of a run at first.

    Attributes:
        status: of the run; "crashed" for one that has no terminal event and that nobody drives.
        seq: how far it was read.
        failing: the call that went wrong.
        shown: what was new to the model before it asked for that call, or before its last answer.
        written: what may have been changed, subagents' runs included.
    """

    run_id: str
    thread_id: str
    agent_name: str
    status: str
    seq: int
    step: int
    errors: int
    lines: tuple[TriageLine, ...]
    first_error: Trouble | None
    failing: FailingCall | None
    shown: tuple[NewMessage, ...]
    limits: tuple[LimitUse, ...]
    loops: tuple[Loop, ...]
    gap: Gap | None
    written: tuple[Written, ...]
    rerun: Rerun


class Facts:
    """What triage needs of a run's events, in one pass over them and in bounded memory."""

    def __init__(self) -> None:
        self.failures: Failures = Failures()
        self.loops: Loops = Loops()
        self.gaps: Gaps = Gaps()
        self.world: World = World()
        self.meter: Meter | None = None
        """Of a fork, what it spent itself."""
        self.first: AgentRunEvent | None = None
        self.last: AgentRunEvent | None = None

    def note(self, event: AgentRunEvent) -> None:
        """Take the next event in."""
        if self.first is None:
            self.first = event
        self.last = event
        self.failures.note(event)
        self.loops.note(event)
        self.gaps.note(event)
        self.world.note(event)
        if self.meter is not None:
            self.meter.note(event)


async def triage(rec: Recording, progress: Progress | None = None) -> Triage:
    """The triage of a run as far as it has come.

    Args:
        progress: told of the events read.

    Raises:
        RunNotFoundError: the run has no events.
        InvariantError: its events do not fold; `afk-es verify` says where.
    """
    facts = Facts()
    head = await rec.log.head(rec.run_id)
    if head is not None and head.forked_from is not None:
        facts.meter = Meter()
    async for page in rec.pages(progress=progress):
        for event in page:
            facts.note(event)
    assert facts.last is not None
    state = await rec.state(facts.last.seq)
    alive = state.status in ENDED or await rec.log.alive(state.owner, rec.run_id)
    written, unread = await _written(rec, facts.world)
    failing = facts.failures.failing()
    called = failing.asked_seq if failing is not None else None
    if called is None and facts.failures.called is not None:
        called = facts.failures.called.seq
    shown = await new_messages(rec, called) if called is not None else ()
    return assembled(facts, state, alive=alive, written=written, unread=unread, shown=shown, called=called)


async def _written(rec: Recording, world: World) -> tuple[list[Written], int]:
    """What the run and the runs below it may have changed, and how many of these were not looked at."""
    from afk_es.errors import RunNotFoundError

    written = list(world.written())
    queue, unread, read = list(world.children), world.children_left_out, 0
    while queue:
        if read >= CHILDREN_READ:
            return written, unread + len(queue)
        read += 1
        try:
            child = await type(rec).open(rec.log, queue.pop(0))
        except RunNotFoundError:
            continue  # Announced, and the process died before it began: it has done nothing.
        below = World()
        async for page in child.pages():
            for event in page:
                below.note(event)
        written += below.written()
        queue += below.children
        unread += below.children_left_out
    return written, unread


def assembled(
    facts: Facts,
    state: RunState,
    *,
    alive: bool,
    written: Iterable[Written],
    unread: int = 0,
    shown: tuple[NewMessage, ...] = (),
    called: int | None = None,
) -> Triage:
    """The triage of what was found; pure.

    Args:
        state: at the end of what was read.
        alive: whether the run has ended or somebody drives it.
        called: the seq of the `llm_called` that `shown` is of.
    """
    failures, first, last = facts.failures, facts.first, facts.last
    assert first is not None
    assert last is not None
    status: str = state.status if alive else "crashed"
    all_written = tuple(written)
    verdict = rerun(all_written, tools_ran=facts.world.tools_ran, unread=unread, alive=status in ("running", "paused"))
    # Which limits an imported run had, nobody recorded.
    limits = () if "imported" in first.data else limits_used(state)
    loops = facts.loops.found()
    failing = failures.failing()
    lines = (
        _ended(state, status, last),
        *_errors(failures, failing, status),
        *_call(failing),
        *_saw(shown, called),
        *_stopped(failures, limits, state),
        _looping(loops),
        _silence(facts.gaps),
        *_world(all_written, verdict, status),
        _cost(state, first, last, facts.meter),
    )
    return Triage(
        run_id=state.run_id,
        thread_id=state.thread_id,
        agent_name=state.spec.agent_name,
        status=status,
        seq=state.seq,
        step=state.step,
        errors=failures.errors,
        lines=lines,
        first_error=failures.first,
        failing=failing,
        shown=shown,
        limits=limits,
        loops=loops,
        gap=facts.gaps.longest,
        written=all_written,
        rerun=verdict,
    )


# ------------------------------------------------------------------------------------------------------------------------- the eight points


_TONES: dict[str, Tone] = {"completed": "good", "failed": "bad", "crashed": "bad", "running": "plain"}


def _ended(state: RunState, status: str, last: AgentRunEvent) -> TriageLine:
    where = f"in step {last.step}" if last.step else "before its first step"
    match status:
        case "completed":
            text = f"completed {where}"
        case "degraded":
            text = f"ended with part of the work {where}: {state.reason}"
        case "failed":
            text = f"failed {where}: {state.reason}"
        case "cancelled":
            text = f"cancelled {where}: {state.reason}"
        case "interrupted":
            text = f"laid down {where}, and can be resumed: {state.reason}"
        case "crashed":
            text = f"no terminal event: its process died after {last.type} {where}; it can be resumed"
        case "paused":
            text = f"no terminal event: it is paused {where}"
        case _:
            text = f"no terminal event: it is still running, {where}, after {last.type}"
    return TriageLine(1, "ended", _kept(text), (str(last.seq),), _TONES.get(status, "mark"), "1")


def _errors(failures: Failures, failing: FailingCall | None, status: str) -> Iterable[TriageLine]:
    first = failures.first
    if first is None:
        yield TriageLine(2, "first error", NONE, (), "quiet")
    else:
        more = f"{first.text}" + (f"  ({count(failures.errors)} error events)" if failures.errors > 1 else "")
        yield TriageLine(2, "first error", _kept(more), (str(first.seq),), "bad", "2", suspect=not _led_to_the_end(first, failing))
    end = failures.end
    if end is not None and status in ("failed", "degraded", "interrupted", "cancelled"):
        said = end.message or end.type
        yield TriageLine(2, "fatal", _kept(f"{end.type}: {said}"), (str(end.seq),), "bad" if status == "failed" else "mark", "3")
    else:
        yield TriageLine(2, "fatal", NONE, (), "quiet")


def _led_to_the_end(first: Trouble, failing: FailingCall | None) -> bool:
    """Whether the first error is the end, or an attempt of the call that the run ended by."""
    if first.type == "run_failed":
        return True
    if failing is None or failing.suspect:
        return False
    begin = failing.intent_seq if failing.intent_seq is not None else failing.result_seq
    return begin <= first.seq <= failing.result_seq and (first.call_id == failing.call_id or first.seq == failing.result_seq)


def _call(failing: FailingCall | None) -> Iterable[TriageLine]:
    if failing is None:
        yield TriageLine(3, "failing call", NONE, (), "quiet")
        return
    started = failing.intent_seq if failing.intent_seq is not None else failing.result_seq
    if failing.kind == "tool":
        got = f"{failing.name}({_arguments(failing)})" + ("" if failing.intent_seq is not None else ", never started")
    else:
        got = f"model {failing.name}, with what is below"
    yield TriageLine(3, "it got", _kept(got), (str(started),), "plain", "4", suspect=failing.suspect)
    returned = failing.error if failing.output is None else f"{failing.error} {compact_json(failing.output)}"
    yield TriageLine(3, "it returned", _kept(returned), (str(failing.result_seq),), "bad", "5", suspect=failing.suspect)


def _saw(shown: tuple[NewMessage, ...], called: int | None) -> Iterable[TriageLine]:
    if called is None:
        yield TriageLine(4, "model saw", "none recorded: the model was not asked", (), "quiet")
        return
    if not shown:
        yield TriageLine(4, "model saw", "the same as in the call before", (str(called),), "quiet", "6")
    # The last ones are what it answered to.
    for index, message in enumerate(shown[-3:]):
        yield TriageLine(4, "model saw" if not index else "", f"{message.role}: {message.text}", (str(called),), "plain", "6")


def _failure_policy(failing: FailingCall | None, state: RunState) -> TriageLine | None:
    """The policy by which the failure of a call failed the run, where nothing else stopped it."""
    if failing is None or failing.suspect:
        return None
    policies, spec = state.spec.policies, state.spec.tool(failing.name)
    if failing.kind == "model":
        text = f"llm_failure_policy {policies.llm_failure!r}"
    elif spec is not None and spec.raise_on_error:
        text = f"raise_on_error of tool {failing.name}"
    elif spec is not None and spec.kind == "subagent":
        text = f"subagent_failure_policy {policies.subagent_failure!r}"
    else:
        text = f"tool_failure_policy {policies.tool_failure!r}"
    return TriageLine(5, "stopped by", _kept(text), (str(failing.result_seq),), "mark", "7")


def _stopped(failures: Failures, limits: tuple[LimitUse, ...], state: RunState) -> Iterable[TriageLine]:
    deciding = failures.deciding
    if deciding is None and state.status in ("completed", "degraded"):
        yield TriageLine(5, "stopped by", "nothing: it came to its end", (), "quiet")
    elif deciding is None and state.status == "failed" and (ruled := _failure_policy(failures.failing(), state)) is not None:
        yield ruled
    elif deciding is None:
        yield TriageLine(5, "stopped by", "no limit, rule, person or timeout: none recorded", (), "quiet")
    else:
        line = Timeline().line(deciding)
        end = failures.end
        suspect = end is None or ends_by(deciding, end.message) is None
        yield TriageLine(5, "stopped by", _kept(f"{deciding.type} {line.text}"), (str(deciding.seq),), "mark", "7", suspect=suspect)
    for use in limits:
        share = use.used / use.maximum if use.maximum else 1.0
        text = f"{use.limit.removeprefix('max_').removeprefix('total_')} {count(use.used)}/{count(use.maximum)}"
        yield TriageLine(
            5, "budget", text, (str(state.seq),), "bad" if share >= 1 else "mark" if share >= 0.8 else "plain", "v", share=share
        )


def _looping(loops: tuple[Loop, ...]) -> TriageLine:
    if not loops:
        return TriageLine(6, "loops", "no call was asked for twice: none recorded", (), "quiet")
    top = loops[0]
    least = "" if top.exact else "at least "
    row = f", {top.in_a_row} in a row" if top.in_a_row > 1 else ""
    same = ", always the same result" if top.same_result else ""
    more = f"; {len(loops) - 1} more" if len(loops) > 1 else ""
    arguments = arguments_text(top.arguments)
    text = f"{least}{count(top.count)}x{row}{same}{more}: {top.tool_name}({arguments})"
    tone: Tone = "mark" if top.count > 2 else "plain"
    return TriageLine(6, "loops", _kept(text), tuple(map(str, top.seqs)), tone, "8", suspect=True)


def _silence(gaps: Gaps) -> TriageLine:
    gap = gaps.longest
    if gap is None:
        return TriageLine(6, "longest gap", NONE, (), "quiet")
    down = gaps.longest_unowned
    unowned = f"; nobody ran it for {span(down.seconds)} before {down.after}" if down is not None else ""
    text = f"{span(gap.seconds)} waiting for {gap.waited_for}{unowned}"
    return TriageLine(6, "longest gap", text, (str(gap.before), str(gap.after)), "plain", "9")


_RERUNS: dict[str, tuple[str, Tone]] = {
    "safe": ("safe", "good"),
    "declared": ("safe as declared", "good"),
    "unsafe": ("NOT safe", "bad"),
    "unread": ("not known", "mark"),
}


def _world(written: tuple[Written, ...], verdict: Rerun, status: str) -> Iterable[TriageLine]:
    if written:
        alive = status in ("running", "paused")
        text = "; ".join(f"{each.tool_name}: {', '.join(known_of(each, alive=alive))}" for each in written)
        doubtful = any(each.unknown or each.cancelled or (each.under_way and not alive) for each in written)
        yield TriageLine(7, "written", _kept(text), tuple(str(each.last_seq) for each in written), "mark" if doubtful else "plain", "0")
    else:
        yield TriageLine(7, "written", "nothing: none recorded", (), "quiet")
    word, tone = _RERUNS[verdict.verdict]
    resumable = "; resume repeats nothing that has returned" if status in ("crashed", "interrupted") else ""
    proof = tuple(str(each.seqs[0]) for each in written if each.seqs)
    yield TriageLine(7, "re-run", _kept(f"{word}: {verdict.why}{resumable}"), proof, tone, "0" if proof else "")


def _cost(state: RunState, first: AgentRunEvent, last: AgentRunEvent, meter: Meter | None) -> TriageLine:
    usage = state.usage
    tokens = f"{count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out" if usage.total_tokens else "tokens unknown"
    wall = span((last.at - first.at).total_seconds())
    ran = span(state.elapsed.total_seconds())
    cost = dollars(float(state.cost_usd) if state.cost_known else None)
    own = f" (the fork itself {_own(meter.metrics())})" if meter is not None else ""
    text = f"{cost}{own}, {tokens}; ran {ran} of {wall}, {count(state.llm_calls)} model call{'' if state.llm_calls == 1 else 's'}"
    return TriageLine(8, "cost, time", text, (str(last.seq),), "plain", "$")


def _own(metrics: RunMetrics) -> str:
    return dollars(metrics.cost_usd) if metrics.llm_calls else "$0.00"


def _arguments(failing: FailingCall) -> str:
    return arguments_text(failing.arguments)


def _kept(text: str) -> str:
    return text if len(text) <= TEXT_KEPT else f"{text[:TEXT_KEPT]}… ({len(text)} characters)"
