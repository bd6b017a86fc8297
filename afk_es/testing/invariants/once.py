"""At most once, or an explicit unknown outcome: what the world was asked for, against what the log knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.effects import CallModel, ExecuteTool
from afk_es.testing.invariants.course import CalledTool, course_of
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.observing import ObservedRun


@dataclass(slots=True)
class _Seen:
    """What the world saw of a call: the starts that reached it, and the key they came with."""

    starts: list[int] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


class AtMostOnce(Invariant):
    """A call whose result is in the log never reaches the world again. One that reached it and whose result nobody knows is not repeated
    by itself, unless its tool says that it may be, the configuration wants it, or a person does; and the log says that it was in doubt.

    Each start reaches the world at most once. All starts of a call have one idempotency key, and no other call has it.
    """

    name = "at most once, or an explicit unknown outcome"

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int], _Seen] = {}
        self._requests: set[tuple[str, int]] = set()
        self._keys: dict[str, tuple[str, int]] = {}

    def asked(self, ask: Ask) -> None:
        """Judge what reaches the world."""
        effect = ask.effect
        if isinstance(effect, CallModel):
            self._judge_request(ask, effect)
        elif isinstance(effect, ExecuteTool):
            self._judge_execution(ask, effect)

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Judge whether what is in doubt is called so."""
        match event.type:
            case "tool_completed" | "tool_failed":
                call = course_of(run).about
                if call is not None and call.starts:
                    self._judge_ending(run, call, event)
            case "tool_started":
                self._judge_repetition(run, event, after)
            case _:
                pass

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _judge_request(self, ask: Ask, effect: CallModel) -> None:
        run = self.simulation.runs[ask.run_id]
        if (ask.run_id, effect.seq) in self._requests:
            raise self.violated(f"{ask.key}: the request of seq {effect.seq} is sent twice", run)
        self._requests.add((ask.run_id, effect.seq))
        answers = course_of(run).answers
        if answers and answers[-1].seq > effect.seq:
            raise self.violated(f"{ask.key}: the request of seq {effect.seq} was answered at seq {answers[-1].seq}", run)

    def _judge_execution(self, ask: Ask, effect: ExecuteTool) -> None:
        run = self.simulation.runs[ask.run_id]
        seen = self._calls.setdefault((ask.run_id, effect.ordinal), _Seen())
        if effect.seq in seen.starts:
            raise self.violated(f"{ask.key}: the start of seq {effect.seq} reaches the tool twice", run)
        seen.starts.append(effect.seq)
        call = course_of(run).started.get(effect.seq)
        if call is not None and call.ending is not None:
            raise self.violated(f"{ask.key}: it runs, and its result is in the log at seq {call.ending.seq}", run)
        key = ask.context.idempotency_key if ask.context is not None else effect.idempotency_key
        if self._keys.setdefault(key, (ask.run_id, effect.ordinal)) != (ask.run_id, effect.ordinal):
            raise self.violated(f"{ask.key}: its idempotency key is another call's", run)
        seen.keys.add(key)
        if len(seen.keys) > 1:
            raise self.violated(f"{ask.key}: its idempotency key is not that of its first start", run)

    def _judge_repetition(self, run: ObservedRun, event: AgentRunEvent, after: RunState) -> None:
        call = course_of(run).about
        if call is None or len(call.starts) < 2:
            return
        earlier = call.starts[-2]
        tool = after.spec.tool(call.tool_name)
        may_repeat = tool is not None and (tool.read_only or tool.idempotent)
        if earlier.ending is not None and earlier.ending.type == "tool_failed":
            if not may_repeat or earlier.ending.data["classification"] != "retryable":
                raise self.violated(f"{call.tool_name} ({call.id}) failed, may not be repeated, and starts again", run)
        elif earlier.doubt is not None:
            asked = any(
                each.purpose == "in_doubt" and each.outcome == "granted" and each.asked.seq > earlier.doubt.seq for each in call.questions
            )
            if not may_repeat and after.spec.in_doubt != "retry" and not asked:
                raise self.violated(f"{call.tool_name} ({call.id}) is in doubt, may not be repeated, and starts again", run)
        else:
            raise self.violated(f"{call.tool_name} ({call.id}) starts again, and neither failed nor is in doubt", run)

    def _judge_ending(self, run: ObservedRun, call: CalledTool, event: AgentRunEvent) -> None:
        course = course_of(run)
        start = call.starts[-1]
        if start.event.type != "tool_started":
            return
        if start.doubt is None and start.stretch != course.stretch and start.ending is event:
            raise self.violated(f"{call.tool_name} ({call.id}) was cut off at seq {start.event.seq}, and the log does not say so", run)
        if start.doubt is not None and event.data.get("success"):
            raise self.violated(f"{call.tool_name} ({call.id}) is in doubt, and the log has a result", run)
        if event.type == "tool_completed" and start.doubt is not None and event.data["outcome"] not in ("unknown", "failed"):
            raise self.violated(f"{call.tool_name} ({call.id}) is in doubt, and ends as {event.data['outcome']!r}", run)
