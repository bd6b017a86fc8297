"""The event-level shrinker: the smallest script that violates the same invariant, found by editing scripts and performing them.

Hypothesis shrinks the choices that a script was drawn from; this shrinks the script and what came of it, whoever wrote it. Each candidate is
performed in a simulation of its own, and kept only when it violates the same invariant and is smaller: by the events of all runs first, then
by actions, then by its JSON. That order has no endless descent, so the search ends at a script that no pass makes smaller, or at its bounds.

Asks are numbered by kind and name ("tool:refund:2"). Where an answer is taken out, what was the second ask may become the first: the answers
behind it are renumbered, and one that is still for nobody goes to the oldest ask of its kind and name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.agents import Agent
from afk_es.clock import Clock, SystemClock
from afk_es.errors import UsageError
from afk_es.testing.exploring.acquaintance import family
from afk_es.testing.exploring.choices import accepted
from afk_es.testing.exploring.simpler import shorter_texts, simpler_actions, simpler_values
from afk_es.testing.exploring.trial import Stage, Trial, violated
from afk_es.testing.simulation.facts import Action, Answer, Call, Crash, ModelAnswers, Script, Together
from afk_es.tools import Tool

MOST_EVALUATIONS = 2_000
"""Scripts that are performed, by default."""

MOST_SECONDS = 30.0
"""Real seconds that are spent, by default."""


_SHORT = 14
"""Actions up to which every stretch and every pair is tried: some 200 scripts."""


class Size(msgspec.Struct, frozen=True, order=True):
    """How large a failing run is; compared field by field.

    Attributes:
        events: of all runs, up to the violation.
        actions: of the script, each member of a `Together` counted.
        length: bytes of the script and of what the user says, as JSON.
        json: that JSON, which orders scripts that are alike otherwise.
    """

    events: int
    actions: int
    length: int
    json: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Shrunk:
    """What the shrinker came to.

    Attributes:
        stage: where the script violates the invariant; its user message and context may have become smaller too.
        trial: of the smallest script. Its simulation has the runs, which went on plainly to their end behind the violation.
        before, after: the sizes of the script that was given and of the smallest.
        evaluations: scripts that were performed.
        seconds: real time that it took.
        complete: whether no pass makes it any smaller; False where the bounds ended the search.
    """

    stage: Stage
    trial: Trial
    before: Size
    after: Size
    evaluations: int
    seconds: float
    complete: bool

    @property
    def script(self) -> Script:
        """The smallest script."""
        return self.trial.script

    @property
    def violation(self) -> Exception:
        """What it violates."""
        assert self.trial.violation is not None
        return self.trial.violation


class _SpentError(Exception):
    """The bounds are reached."""


def shrink(
    script: Script,
    stage: Stage,
    *,
    violation: BaseException | str | None = None,
    most_evaluations: int = MOST_EVALUATIONS,
    most_seconds: float = MOST_SECONDS,
    clock: Clock | None = None,
) -> Shrunk:
    """Make a script that violates an invariant smaller.

    The same script and bounds give the same result, unless the seconds run out.

    Args:
        stage: where it is performed.
        violation: what has to be violated, or its name; None: what the script violates now.
        most_evaluations: scripts that are performed at most.
        most_seconds: real seconds after which no other is.
        clock: the seconds' clock; default the system's.

    Raises:
        UsageError: the script does not violate that.
    """
    search = _Search(script, stage, violation, most_evaluations, most_seconds, clock or SystemClock())
    complete = True
    try:
        search.to_the_end()
    except _SpentError:
        complete = False
    # Once more, so that the log is that of a whole run, and can become a golden.
    smallest = search.stage.perform(search.best.script, onward=True)
    return Shrunk(search.stage, smallest, search.before, search.size, search.evaluations, search.seconds, complete)


class _Search:
    """The smallest trial so far, and how it is made smaller."""

    def __init__(
        self,
        script: Script,
        stage: Stage,
        violation: BaseException | str | None,
        most_evaluations: int,
        most_seconds: float,
        clock: Clock,
    ) -> None:
        self.stage = stage
        self.evaluations = 1
        self._clock = clock
        self._began = clock.monotonic()
        self._most_evaluations, self._most_seconds = most_evaluations, most_seconds
        self.best: Trial = stage.perform(script)
        self._name = violation if isinstance(violation, str) else violated(violation) if violation is not None else None
        found = self.best.violation
        if found is None or self._name not in (None, violated(found)):
            raise UsageError(
                f"the script violates {'nothing' if found is None else violated(found)}, and not {self._name or 'any invariant'}: perform it "
                "on the stage on which it was found, with the same agent, arguments and invariants"
            )
        self._name = violated(found)
        self.size: Size = size_of(self.best, stage)
        self.before: Size = self.size
        self._seen: set[bytes] = {written(script, stage)}
        self._tools = tools_of(stage.agent)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self._clock.monotonic() - self._began

    def to_the_end(self) -> None:
        """Until no pass finds anything smaller."""
        while True:
            before = self.size
            self._drop_actions()
            self._simplify_actions()
            self._simplify_arguments()
            # What follows costs more, and mostly finds nothing.
            if self.size == before and not (self._drop_stretches() or self._join_answers() or self._postpone_crashes()):
                return

    def _try(self, script: Script, stage: Stage | None = None) -> bool:
        """Perform a candidate, and keep it where it is smaller and violates the same."""
        stage = stage if stage is not None else self.stage
        key = written(script, stage)
        if key in self._seen:
            return False
        if self.evaluations >= self._most_evaluations or self.seconds >= self._most_seconds:
            raise _SpentError
        self._seen.add(key)
        self.evaluations += 1
        trial = stage.perform(script, realign=True)
        if trial.violation is None or violated(trial.violation) != self._name:
            return False
        size = size_of(trial, stage)
        if size >= self.size:
            return False
        self.best, self.stage, self.size = trial, stage, size
        return True

    # -------------------------------------------------------------------------------------------------------------------------- passes

    def _drop_actions(self) -> None:
        """By halves, then by quarters, and so on down to single ones; the last first, since fewer others depend on them."""
        if self.best.script:
            self._try(())
        size = len(self.best.script)
        while size > 1:
            size = (size + 1) // 2
            end = len(self.best.script)
            while end > 0:
                start = max(end - size, 0)
                script = self.best.script
                if any(self._try(candidate) for candidate in without(script, start, end)):
                    end = min(start, len(self.best.script))
                else:
                    end -= size

    def _drop_stretches(self) -> bool:
        """Any stretch of a short script, the longest first, and then any two actions: some are only of use to each other."""
        script = self.best.script
        count = len(script)
        if count > _SHORT:
            return False
        stretches = [(start, start + size) for size in range(count - 1, 1, -1) for start in range(count - size, -1, -1)]
        if any(self._try(candidate) for start, end in stretches for candidate in without(script, start, end)):
            return True
        pairs = [(first, second) for second in range(count - 1, 1, -1) for first in range(second - 2, -1, -1)]
        return any(
            self._try(candidate)
            for first, second in pairs
            for rest in without(script, second, second + 1)
            for candidate in without(rest, first, first + 1)
        )

    def _join_answers(self) -> bool:
        """The tool calls of two answers of a model as one answer's, which saves a step."""
        script = self.best.script
        for second in range(len(script) - 1, 0, -1):
            for first in range(second):
                joined = _joined(script[first], script[second])
                if joined is None:
                    continue
                for rest in without(script, second, second + 1):
                    if self._try((*rest[:first], joined, *rest[first + 1 :])):
                        return True
        return False

    def _postpone_crashes(self) -> bool:
        """A crash at some later write, as one that comes at once where that is."""
        script = self.best.script
        for place, action in enumerate(script):
            if isinstance(action, Crash) and action.appends:
                rest = (*script[:place], *script[place + 1 :])
                at_once = replace(action, appends=0, when="after")
                if any(self._try((*rest[:later], at_once, *rest[later:])) for later in range(len(rest), place, -1)):
                    return True
        return False

    def _simplify_actions(self) -> None:
        number = len(self.best.script)
        while number > 0:
            number = min(number, len(self.best.script)) - 1
            if number < 0:
                return
            while number < len(self.best.script) and self._simplify(number):
                pass

    def _simplify(self, number: int) -> bool:
        script = self.best.script
        for simpler in simpler_actions(script[number], self._takes):
            for candidate in self._with(script, number, simpler):
                if self._try(candidate):
                    return True
        return False

    def _with(self, script: Script, number: int, simpler: Action) -> Iterator[Script]:
        """The script with a simpler action, and with fewer tool calls also without the answers to what those led to."""
        before, after = script[:number], script[number + 1 :]
        yield (*before, simpler, *after)
        action = script[number]
        if isinstance(action, Together) and not isinstance(simpler, Together):
            yield (*before, *action.actions, *after)
        if dropped := _dropped_call(action, simpler):
            led_to = self._led_to(action, dropped)
            kept = tuple(each for each in after if not (isinstance(each, Answer) and each.to in led_to))
            yield (*before, simpler, *renumbered(kept, led_to))

    def _led_to(self, action: Action, call: Call) -> set[str]:
        """The keys of the asks that came of a tool call, as far as its id tells."""
        assert isinstance(action, Answer)
        step = next((ask.step for ask in self.best.asks if ask.key == action.to), None)
        found = set()
        for ask in self.best.asks:
            about = getattr(ask.effect, "call", None)
            if ask.step == step and ask.kind != "model" and about is not None and about.id == call.id:
                found.add(ask.key)
        return found

    def _takes(self, call: Call) -> bool:
        """Whether a tool of that name takes the arguments."""
        return any(accepted(tool, call.arguments) for tool in self._tools.get(call.tool_name, ()))

    def _simplify_arguments(self) -> None:
        """What the user says and what the context holds."""
        while any(self._try(self.best.script, stage) for stage in self._simpler_stages()):
            pass

    def _simpler_stages(self) -> Iterator[Stage]:
        arguments = self.stage.arguments
        message, context = arguments.get("user_message"), arguments.get("context")
        if isinstance(message, str):
            yield from (self.stage.with_argument("user_message", each) for each in shorter_texts(message))
        if context is not None:
            yield from (self.stage.with_argument("context", each) for each in simpler_values(dict(context)))


# ------------------------------------------------------------------------------------------------------------------------------ parts


def size_of(trial: Trial, stage: Stage) -> Size:
    """How large it is."""
    json = written(trial.script, stage)
    actions = sum(len(action.actions) if isinstance(action, Together) else 1 for action in trial.script)
    return Size(trial.events, actions, len(json), json)


def written(script: Script, stage: Stage) -> bytes:
    """The script and what the user says, as JSON. What is no JSON, as an object in the context may be, is told by its `repr`."""
    said = {name: stage.arguments[name] for name in ("user_message", "context") if name in stage.arguments}
    return msgspec.json.encode([script, said], enc_hook=repr)


def without(script: Script, start: int, end: int) -> Iterator[Script]:
    """The script without these actions: the answers behind them renumbered, and as they were."""
    dropped = {each.to for action in script[start:end] for each in _answers(action)}
    kept = renumbered(script[end:], dropped)
    yield (*script[:start], *kept)
    if kept != script[end:]:
        yield (*script[:start], *script[end:])


def renumbered(script: Script, dropped: set[str]) -> Script:
    """The script as it would be if these asks had never come: those behind them have lower numbers."""
    if not dropped:
        return script

    def moved(action: Any) -> Any:
        match action:
            case Answer(key, fact):
                about, number = key.rpartition(":")[0], _number(key)
                below = sum(1 for each in dropped if each.rpartition(":")[0] == about and _number(each) < number)
                return Answer(f"{about}:{number - below}", fact) if below else action
            case Together(actions):
                return Together(tuple(moved(each) for each in actions))
            case _:
                return action

    return tuple(moved(action) for action in script)


def _number(key: str) -> int:
    """Of a key that somebody wrote by hand, 0 where it has none."""
    number = key.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _answers(action: Action) -> list[Answer]:
    members = action.actions if isinstance(action, Together) else (action,)
    return [each for each in members if isinstance(each, Answer)]


def _dropped_call(action: Action, simpler: Action) -> Call | None:
    """The tool call that the simpler answer of a model no longer has."""
    if not isinstance(action, Answer) or not isinstance(simpler, Answer):
        return None
    was, now = action.fact, simpler.fact
    if not isinstance(was, ModelAnswers) or not isinstance(now, ModelAnswers) or len(now.calls) != len(was.calls) - 1:
        return None
    return next((call for call, other in zip(was.calls, now.calls, strict=False) if call != other), was.calls[-1])


def _joined(first: Action, second: Action) -> Action | None:
    """The first answer with the calls of the second as well, where both are a model's."""
    if not isinstance(first, Answer) or not isinstance(second, Answer) or first.to.rpartition(":")[0] != second.to.rpartition(":")[0]:
        return None
    one, other = first.fact, second.fact
    if not isinstance(one, ModelAnswers) or not isinstance(other, ModelAnswers) or not other.calls:
        return None
    calls = tuple(replace(call, id=str(number)) for number, call in enumerate((*one.calls, *other.calls)))
    return Answer(first.to, replace(one, calls=calls))


def tools_of(agent: Agent | Sequence[Agent]) -> dict[str, list[Tool[..., Any]]]:
    """Every tool of the agents and of their subagents, by its name."""
    found: dict[str, list[Tool[..., Any]]] = {}
    for each in family((agent,) if isinstance(agent, Agent) else agent):
        for tool in each.offered_tools():
            found.setdefault(tool.name, []).append(tool)
    return found
