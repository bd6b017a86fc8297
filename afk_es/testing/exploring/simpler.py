"""Simpler variations of an action, the simplest first. It refuses to know whether any of them still shows anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeAlias, assert_never

from msgspec.structs import replace

from afk_es.testing.simulation.facts import (
    Action,
    Answer,
    Call,
    Control,
    Crash,
    Fact,
    ModelAnswers,
    ModelFails,
    PersonSays,
    StalledProcess,
    Summarises,
    TicketEnds,
    TimePasses,
    Together,
    ToolDefers,
    ToolFails,
    ToolReturns,
    ToolRuns,
    UserSays,
)

Valid: TypeAlias = Callable[[Call], bool]
"""Whether a tool takes the call's arguments."""


def simpler_actions(action: Action, valid: Valid) -> Iterator[Action]:
    """Variations of the action that are simpler.

    Args:
        valid: arguments that a tool takes are only replaced by others that it takes.
    """
    match action:
        case Answer():
            yield from (Answer(action.to, fact) for fact in simpler_facts(action.fact, valid))
        case TimePasses(seconds):
            if seconds is not None:
                yield TimePasses()
                yield from (TimePasses(each) for each in smaller_numbers(seconds))
        case Crash():
            yield from _simpler_crashes(action)
        case TicketEnds():
            yield from (replace(action, ticket=each) for each in smaller_numbers(action.ticket))
            yield from (replace(action, error=each) for each in _optional(action.error))
            yield from (replace(action, output=each) for each in simpler_values(action.output))
        case UserSays(text):
            yield from (UserSays(each) for each in shorter_texts(text))
        case Together(actions):
            yield from actions
            yield from (Together(_without(actions, number)) for number in range(len(actions) if len(actions) > 2 else 0))
            for number, each in enumerate(actions):
                for simpler in simpler_actions(each, valid):
                    if isinstance(simpler, Answer | Control | TicketEnds):
                        yield Together((*actions[:number], simpler, *actions[number + 1 :]))
        case Control() | StalledProcess():
            # Nothing that befalls a run is told in fewer words than that its process dies.
            yield Crash()
        case _:
            assert_never(action)


def _simpler_crashes(crash: Crash) -> Iterator[Crash]:
    # A default is left out of the JSON only where it is the very object.
    yield Crash()
    yield replace(crash, downtime_s=Crash().downtime_s)
    yield from (replace(crash, appends=each) for each in smaller_numbers(crash.appends))
    if crash.when != "after":
        yield replace(crash, when="after")
    if crash.version is not None:
        yield replace(crash, version=None)
    yield from (replace(crash, downtime_s=each) for each in smaller_numbers(crash.downtime_s))


def simpler_facts(fact: Fact, valid: Valid) -> Iterator[Fact]:
    """Answers to the same ask that are simpler: all goes well, and then less of what is said."""
    match fact:
        case ModelAnswers():
            yield from _simpler_answers(fact, valid)
        case ModelFails():
            yield ModelAnswers()
            if fact != ModelFails():
                yield ModelFails()
            yield from (replace(fact, retry_after_s=each) for each in _optional(fact.retry_after_s))
        case ToolReturns():
            yield from (ToolReturns(each) for each in simpler_values(fact.output))
        case ToolFails():
            yield ToolReturns()
            if fact != ToolFails():
                yield ToolFails()
            yield from (replace(fact, message=each) for each in shorter_texts(fact.message))
        case ToolDefers():
            yield ToolReturns()
            yield from (replace(fact, ticket_id=each) for each in _optional(fact.ticket_id))
            yield from (replace(fact, expires_in_s=each) for each in _optional(fact.expires_in_s))
        case ToolRuns():
            yield ToolReturns()
        case PersonSays():
            yield from _simpler_words(fact)
        case Summarises():
            yield from (Summarises(each) for each in ("They spoke.", "", None) if each != fact.text)
        case _:
            assert_never(fact)


def _simpler_words(said: PersonSays) -> Iterator[PersonSays]:
    if said != PersonSays():
        yield PersonSays()
    if said.outside:
        yield replace(said, outside=False)
    if said.by != "ann":
        yield replace(said, by="ann")
    if said.words != "yes":
        # What is said by default is left out of the JSON, so it is the shortest.
        yield replace(said, words="yes")
        yield from (replace(said, words=each) for each in shorter_texts(said.words))


def _simpler_answers(answer: ModelAnswers, valid: Valid) -> Iterator[ModelAnswers]:
    if answer != ModelAnswers():
        yield ModelAnswers()
    for number in range(len(answer.calls)):
        yield replace(answer, calls=_without(answer.calls, number))
    yield from (replace(answer, text=each) for each in shorter_texts(answer.text))
    if answer.finish_reason != "stop":
        yield replace(answer, finish_reason="stop")
    if answer.cost_usd is not None:
        yield replace(answer, cost_usd=None)
        yield from (replace(answer, cost_usd=each) for each in smaller_numbers(answer.cost_usd))
    if answer.tokens is not None:
        yield replace(answer, tokens=None)
        for number, tokens in enumerate(answer.tokens):
            for each in smaller_numbers(tokens):
                yield replace(answer, tokens=(each, answer.tokens[1]) if number == 0 else (answer.tokens[0], each))
    for number, call in enumerate(answer.calls):
        for simpler in _simpler_calls(call, number, valid):
            yield replace(answer, calls=(*answer.calls[:number], simpler, *answer.calls[number + 1 :]))


def _simpler_calls(call: Call, number: int, valid: Valid) -> Iterator[Call]:
    if call.id != str(number):
        yield replace(call, id=str(number))
    wanted = valid(call)
    for arguments in simpler_values(call.arguments):
        # Broken JSON stays broken, and JSON stays JSON.
        if isinstance(arguments, (dict, str)) and isinstance(arguments, str) == isinstance(call.arguments, str):
            simpler = replace(call, arguments=arguments)
            if not wanted or valid(simpler):
                yield simpler


# ----------------------------------------------------------------------------------------------------------------------------- values


def simpler_values(value: Any) -> Iterator[Any]:
    """JSON values that are simpler than this one, of the same kind but for null, which is the simplest."""
    if value is None:
        return
    yield None
    if isinstance(value, float) and value.is_integer():
        yield int(value)
    match value:
        case bool():
            if value:
                yield False
        case int() | float():
            yield from smaller_numbers(value)
        case str():
            yield from shorter_texts(value)
        case list() | tuple():
            yield from _shorter_lists(list(value))
        case dict():
            yield from _smaller_objects(value)
        case _:
            # No JSON, as an object in a context may be.
            return


def _smaller_objects(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if len(value) > 1:
        yield {}
    for name in value:
        yield {other: value[other] for other in value if other != name}
    for name, member in value.items():
        for simpler in simpler_values(member):
            yield {**value, name: simpler}


def _shorter_lists(value: list[Any]) -> Iterator[list[Any]]:
    if len(value) > 1:
        yield []
    if len(value) > 3:
        yield value[: len(value) // 2]
        yield value[len(value) // 2 :]
    for number in range(len(value)):
        yield [*value[:number], *value[number + 1 :]]
    for number, member in enumerate(value):
        for simpler in simpler_values(member):
            yield [*value[:number], simpler, *value[number + 1 :]]


_MOST_HALVINGS = 64
"""Steps that are tried of a number, which may have thousands of digits."""


def smaller_numbers(number: Any) -> Iterator[Any]:
    """Numbers of the same type that are closer to 0, or shorter to write: 0 first, then by halves, and then by ever smaller steps, so
    that the edge of a condition is found as fast wherever it lies."""
    if isinstance(number, float):
        if not math.isfinite(number):
            yield 0.0
            return
        whole = float(math.trunc(number))
        found = [0.0, 1.0, whole, whole // 2, round(number, 1), number / 2]
        yield from dict.fromkeys(
            each for each in (*found, abs(number)) if repr(each) != repr(number) and len(repr(each)) <= len(repr(number))
        )
        return
    toward = -1 if number > 0 else 1
    half = math.trunc(number / 2) if abs(number) < 2**53 else number // 2
    steps = [abs(number) >> halvings for halvings in range(2, min(abs(number).bit_length(), _MOST_HALVINGS))]
    found = [0, 1, half, *(number + toward * step for step in steps), number + toward, abs(number)]
    yield from dict.fromkeys(each for each in found if each != number and abs(each) <= abs(number))


def shorter_texts(text: str) -> Iterator[str]:
    """Shorter texts, the empty one first, and then the same length in plain letters."""
    if not text:
        return
    yield ""
    if len(text) > 1:
        half = len(text) // 2
        yield from dict.fromkeys([text[:half], text[half:], text[:-1], text[1:]])
    if text != (plain := "a" * len(text)):
        yield plain


def _optional(value: Any) -> Iterator[Any]:
    return iter(()) if value is None else chain([None], simpler_values(value))


def _without(values: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    return (*values[:number], *values[number + 1 :])
