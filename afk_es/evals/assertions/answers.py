"""Assertions on what a run came to: its text, its structured answer, its state and the tools it called. The way there is others' affair."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from pydantic import BaseModel

from afk_es.core import AgentResult
from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.paths import MISSING, path_steps, value_at
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict

_SHOWN = 200


class _OfResult:
    """An assertion that needs nothing but the result."""

    def __init__(self, name: str, judge: Callable[[AgentResult], str | None]) -> None:
        self.name: str = name
        self._judge = judge

    def check(self, evidence: Evidence) -> Verdict:
        """Its verdict."""
        fault = self._judge(evidence.result)
        return Verdict(self.name, fault is None, fault or "")

    def __repr__(self) -> str:
        return f"<assertion {self.name}>"


class Contains(_OfResult):
    """The final text contains this text.

    Args:
        text: what it must contain; letters count as they are unless `ignore_case`.
    """

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        wanted = _text(text, "contains")
        folded = wanted.casefold() if ignore_case else wanted

        def judge(result: AgentResult) -> str | None:
            found = result.final_text.casefold() if ignore_case else result.final_text
            return None if folded in found else f"the final text does not contain {_shown(wanted)}; it is {_shown(result.final_text)}"

        super().__init__(f"contains {_shown(wanted, 40)}", judge)


class NotContains(_OfResult):
    """The final text does not contain this text."""

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        unwanted = _text(text, "not_contains")
        folded = unwanted.casefold() if ignore_case else unwanted

        def judge(result: AgentResult) -> str | None:
            found = result.final_text.casefold() if ignore_case else result.final_text
            return None if folded not in found else f"the final text contains {_shown(unwanted)}; it is {_shown(result.final_text)}"

        super().__init__(f"not_contains {_shown(unwanted, 40)}", judge)


class Equals(_OfResult):
    """The answer is this: of a text the final text, of anything else the structured answer as JSON data."""

    def __init__(self, expected: Any) -> None:
        super().__init__("equals", lambda result: _difference(result, expected))


class EqualsExpected:
    """The answer is the case's `expected_output`, as `Equals` has it; not exercised where the case has none."""

    name: str = "equals_expected"

    def check(self, evidence: Evidence) -> Verdict:
        """Its verdict."""
        expected = evidence.case.expected_output if evidence.case is not None else None
        if expected is None:
            return Verdict(self.name, True, "the case has no expected_output", exercised=False)
        fault = _difference(evidence.result, expected)
        return Verdict(self.name, fault is None, fault or "")


class Matches(_OfResult):
    """The final text has a place that matches this regular expression, as `re.search` finds it."""

    def __init__(self, pattern: str) -> None:
        try:
            compiled = re.compile(_text(pattern, "matches"))
        except re.error as error:
            raise ConfigurationError(f"matches: {pattern!r} is no regular expression: {error}") from error

        def judge(result: AgentResult) -> str | None:
            return None if compiled.search(result.final_text) else f"nothing in {_shown(result.final_text)} matches {_shown(pattern)}"

        super().__init__(f"matches {_shown(pattern, 40)}", judge)


class ToolCalled(_OfResult):
    """A tool was called, by the run or a subagent; denied and failed calls count as well.

    Args:
        times: how often exactly; default None, at least once.
    """

    def __init__(self, tool_name: str, *, times: int | None = None) -> None:
        wanted = _text(tool_name, "tool_called")
        if times is not None:
            _whole(times, "tool_called: times")

        def judge(result: AgentResult) -> str | None:
            count = sum(record.tool_name == wanted for record in result.tool_executions)
            if count == times or (times is None and count):
                return None
            return f"{wanted} was called {_times(count)}" + (f", and was to be {_times(times)}" if times else "") + _called(result)

        super().__init__(f"tool_called {wanted}" + (f" x{times}" if times else ""), judge)


class NoTool(_OfResult):
    """This tool was not called; without a name, none was."""

    def __init__(self, tool_name: str | None = None) -> None:
        unwanted = None if tool_name is None else _text(tool_name, "no_tool")

        def judge(result: AgentResult) -> str | None:
            found = [record.tool_name for record in result.tool_executions if unwanted is None or record.tool_name == unwanted]
            return f"{found[0]} was called" + _called(result) if found else None

        super().__init__("no_tool" if unwanted is None else f"no_tool {unwanted}", judge)


class MaxSteps(_OfResult):
    """The run took at most so many steps, without those of its subagents. To cut a run that takes more, give it a budget."""

    def __init__(self, steps: int) -> None:
        _whole(steps, "max_steps")

        def judge(result: AgentResult) -> str | None:
            took = result.state_snapshot.step
            return None if took <= steps else f"the run took {took} steps of at most {steps}"

        super().__init__(f"max_steps {steps}", judge)


class StateIs(_OfResult):
    """The run ended in one of these states. The case's `expected_state` has to allow it too."""

    def __init__(self, *states: str) -> None:
        known = ("completed", "failed", "degraded", "cancelled", "interrupted")
        if not states or any(state not in known for state in states):
            raise ConfigurationError(f"state is one or more of {', '.join(known)}; this is {', '.join(map(str, states)) or 'none'}")
        wanted = " or ".join(states)
        super().__init__(
            f"state {wanted}", lambda result: None if result.state in states else f"the run is {result.state}, and was to be {wanted}"
        )


class JsonPathEquals(_OfResult):
    """At a path of the answer stands this value. The answer is the structured one, or the final text read as JSON."""

    def __init__(self, path: str, expected: Any) -> None:
        steps = path_steps(path)

        def judge(result: AgentResult) -> str | None:
            data = _as_json(result)
            if data is MISSING:
                return f"the answer is no JSON: {_shown(result.final_text)}"
            found = value_at(data, steps)
            if found is MISSING:
                return f"the answer has nothing at {path}: {_shown(data)}"
            return None if _same(found, expected) else f"at {path} the answer has {_shown(found)}, expected {_shown(expected)}"

        super().__init__(f"json_path {path}", judge)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} takes a non-empty text, not {value!r:.80}")
    return value


def _whole(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number from 1, not {value!r:.80}")


def _difference(result: AgentResult, expected: Any) -> str | None:
    if isinstance(expected, str):
        return None if result.final_text == expected else f"the final text is {_shown(result.final_text)}, expected {_shown(expected)}"
    expected = _plain(expected)
    data = _as_json(result)
    if data is MISSING:
        return f"the answer is no JSON: {_shown(result.final_text)}, expected {_shown(expected)}"
    return None if _same(data, expected) else f"the answer is {_shown(data)}, expected {_shown(expected)}"


def _as_json(result: AgentResult) -> Any:
    if result.final_structured is not None:
        return _plain(result.final_structured)
    try:
        return msgspec.json.decode(result.final_text)
    except msgspec.DecodeError:
        return MISSING


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON data, in which true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _shown(value: Any, limit: int = _SHOWN) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _times(count: int) -> str:
    return "not" if count == 0 else "once" if count == 1 else f"{count} times"


def _called(result: AgentResult) -> str:
    names = list(dict.fromkeys(record.tool_name for record in result.tool_executions))
    return f" (called: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''})" if names else " (no tool was called)"
