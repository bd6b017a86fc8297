"""A script in words: a numbered line for each thing that happens. It refuses to know what came of it.

Whatever models, tools and people say is shown in one line, cut off, with control characters made visible: a failing script is printed to
terminals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

import msgspec

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
    Script,
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
from afk_es.views import clipped

WIDTH = 120
"""Columns of a line, its number included."""

MOST_LINES = 60
"""Lines of a script; of a longer one the middle is left out."""

_VALUE = 60
"""Columns of one value."""

_FAULTS = {
    "timeout": "times out",
    "overloaded": "is overloaded",
    "invalid_response": "answers something that is no answer",
    "refused_request": "refuses the request",
    "connection": "is cut off",
}
_CONTROLS = {
    "pause": "somebody pauses the run",
    "resume": "somebody resumes the run",
    "interrupt": "somebody lays the run down",
    "cancel": "somebody cancels the run",
    "reopen": "somebody reopens the run",
}
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


def told(script: Script, *, width: int = WIDTH, most: int = MOST_LINES) -> list[str]:
    """The script as numbered lines, each of at most `width` columns.

    Args:
        most: lines at most; of a longer script the first and the last are shown.
    """
    if not script:
        return ["Nothing has to happen: everybody answers plainly."]
    numbers = list(range(1, len(script) + 1))
    digits = len(str(len(script)))
    lines = [f"{number:>{digits}}. {clipped(told_action(script[number - 1]), max(width - digits - 2, 1))}" for number in numbers]
    if len(lines) <= most:
        return lines
    head = most // 2
    tail = max(most - head - 1, 1)
    return [*lines[:head], f"{'':>{digits}}  ({len(lines) - head - tail} more)", *lines[-tail:]]


def told_action(action: Action) -> str:
    """What happens, in a few words."""
    match action:
        case Answer(to, fact):
            return _answer(to, fact)
        case TimePasses(seconds):
            return "time passes, up to the next thing that waits for it" if seconds is None else f"{_number(seconds)} s pass"
        case Crash():
            return _crash(action)
        case Control():
            return _CONTROLS[action.action]
        case TicketEnds():
            which = "" if action.ticket == 0 else f" {action.ticket + 1}"
            if action.error is not None:
                return f"background work{which} fails: {_value(action.error)}"
            return f"background work{which} ends" + ("" if action.output is None else f": {_value(action.output)}")
        case StalledProcess():
            return "the process stalls, and another one takes over"
        case UserSays(text):
            return f"the user goes on: {_value(text)}"
        case Together(actions):
            return "at one moment: " + "; ".join(told_action(each) for each in actions)
        case _:
            assert_never(action)


def _answer(to: str, fact: Fact) -> str:
    kind, _colon, rest = to.partition(":")
    name = rest.rpartition(":")[0] or rest
    match fact:
        case ModelAnswers():
            return f"{_model(name)} {'; '.join(_said(fact))}"
        case ModelFails():
            again = "" if fact.retry_after_s is None else f", and says to come back in {_number(fact.retry_after_s)} s"
            return f"{_model(name)} {_FAULTS[fact.fault]}{again}"
        case ToolReturns(output):
            return f"{name} returns {_value(output)}"
        case ToolFails():
            how = {"error": "says that it failed", "crash": "breaks", "timeout": "times out"}[fact.fault]
            return f"{name} {how}: {_value(fact.message)}"
        case ToolDefers():
            term = "" if fact.expires_in_s is None else f", for {_number(fact.expires_in_s)} s at most"
            return f"{name} goes on in the background{term}"
        case ToolRuns():
            return f"{name} runs"
        case PersonSays():
            return _person(kind, name, fact)
        case Summarises(text):
            return "nobody finds words to sum up" if text is None else f"what was said is summed up: {_value(text)}"
        case _:
            assert_never(fact)


def _model(agent: str) -> str:
    return f"the model of {agent}"


def _said(answer: ModelAnswers) -> Iterator[str]:
    """What the model does; what is usual, such as that it stops by itself, is not told."""
    if answer.text or not answer.calls:
        yield f"says {_value(answer.text)}"
    if answer.calls:
        yield "asks for " + ", ".join(_call(call) for call in answer.calls)
    if answer.finish_reason != "stop":
        yield f"finishes by {_value(answer.finish_reason)}"
    if answer.cost_usd is not None:
        yield f"costs ${_number(answer.cost_usd)}"
    if answer.tokens is not None:
        yield f"takes {answer.tokens[0]} + {answer.tokens[1]} tokens"


def _call(call: Call) -> str:
    if isinstance(call.arguments, str):
        return f"{_plain(call.tool_name)}({_value(call.arguments)}, which is no JSON)"
    return f"{_plain(call.tool_name)}({', '.join(f'{_plain(name)}={_value(value)}' for name, value in call.arguments.items())})"


def _person(kind: str, name: str, said: PersonSays) -> str:
    about = f"to {name}" if kind == "approval" else f"when {name} asks"
    outside = ", from another process" if said.outside else ""
    who = _plain(said.by)
    match said.outcome:
        case "yes":
            words = "yes" if kind == "approval" else _value(said.words)
            return f"{who} says {words} {about}{outside}"
        case "no":
            return f"{who} says no {about}{outside}"
        case "put_off":
            return f"{who} puts off the answer {about}"
        case "absent":
            return f"nobody is there to answer {about}"


def _crash(crash: Crash) -> str:
    write = _ORDINALS.get(crash.appends, f"{crash.appends}th")
    moment = f"{crash.when} the {write} write from here" if crash.appends else "now"
    down = f" after {_number(crash.downtime_s)} s" if crash.downtime_s else ""
    version = "" if crash.version is None else f", with version {crash.version + 1} of the agent"
    return f"the process dies {moment}, and another one goes on{down}{version}"


def _number(number: float) -> str:
    return f"{number:g}"


def _value(value: Any) -> str:
    """A value as JSON, cut off."""
    try:
        text = value if isinstance(value, str) and len(value) > 4 * _VALUE else msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, UnicodeError):
        text = ascii(value)
    return clipped(text, _VALUE)


def _plain(name: str) -> str:
    return clipped(name, _VALUE)
