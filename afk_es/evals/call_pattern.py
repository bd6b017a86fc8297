"""What a tool call has to look like: the tool's name or a glob, and its arguments by values, types, patterns and functions.

A pattern always speaks of the call that is compared with it, never of itself: `match="superset"` means that the *call* has all the arguments
of the pattern and may have more, in whatever mode whole trajectories are compared.

| `match` | the call has |
|---|---|
| exact | the arguments of the pattern, and no others |
| superset | these, and perhaps others |
| subset | none but these, and perhaps not all of them |
| ignore | whatever it has |

It is about the arguments' own names: a value is compared whole. An expected value is one of these, at any depth of lists and objects:

| expected | fits |
|---|---|
| a type: `str`, `int`, `float`, `bool`, `list`, `dict`, `type(None)` | a value of that JSON type; 3.0 is an int and 3 a float, and a bool is neither |
| `re.compile(...)` | a text in which it is found |
| a function of the value | what it answers yes to; one that raises fits nothing, and the reason says so |
| anything else | an equal value; numbers are compared as numbers (1 is 1.0, and neither "1" nor true) |

Arguments that came as a text, since the model's JSON was broken, fit an equal text, a function that pattern has instead of arguments, and a
pattern that ignores arguments; nothing else, and nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

import msgspec

from afk_es.errors import UsageError
from afk_es.evals.calls import Counted, RecordedCall, check_counted
from afk_es.machine.values import canonical_json

ArgumentMatch: TypeAlias = Literal["exact", "superset", "subset", "ignore"]
MATCHES: tuple[ArgumentMatch, ...] = ("exact", "superset", "subset", "ignore")

SHOWN = 120
"""Characters of a value that a reason shows."""

_TYPES: dict[type, tuple[str, Callable[[Any], bool]]] = {
    str: ("a string", lambda value: isinstance(value, str)),
    bool: ("a boolean", lambda value: isinstance(value, bool)),
    int: ("an integer", lambda value: _is_number(value) and value == int(value)),
    float: ("a number", lambda value: _is_number(value)),
    list: ("an array", lambda value: isinstance(value, list)),
    dict: ("an object", lambda value: isinstance(value, dict)),
    type(None): ("null", lambda value: value is None),
}
_NAMED_TYPES: dict[str, type] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": float,
    "array": list,
    "object": dict,
    "null": type(None),
}


class Mismatch(msgspec.Struct, frozen=True):
    """Where a call is not as expected.

    Attributes:
        field: "tool_name", "agent", "arguments", or a path into them such as "arguments.items[0].id".
        expected: JSON data, or in words where it is no value, such as "a number".
        actual: what the call has; None where it has nothing there.
        why: in a few words.
    """

    field: str
    expected: Any
    actual: Any
    why: str

    def __str__(self) -> str:
        return f"{self.field}: {self.why}"


@dataclass(frozen=True, slots=True)
class CallPattern:
    """What a tool call has to look like.

    Attributes:
        tool: the tool's name, or a glob such as "search_*"; a call that goes to a subagent has the name of the tool that does it.
        arguments: what they have to be, by name; or a text, for arguments that are no JSON; or a function of all of them. None: any.
        match: how the names of the arguments are compared; None: as the trajectory says that this stands in, else "exact".
        agent: the name, or a glob, of the agent that makes the call; None: any.
        counted: for checks of single calls (`never(call(...))`), which calls count; a trajectory has one answer to that for all.
    """

    tool: str
    arguments: Mapping[str, Any] | str | Callable[[Any], object] | None = None
    match: ArgumentMatch | None = None
    agent: str | None = None
    counted: Counted = "permitted"

    def __post_init__(self) -> None:
        tool: object = self.tool
        if not isinstance(tool, str) or not tool:
            raise UsageError(f"a call pattern begins with the name of a tool or a glob, not {tool!r:.80}")
        if self.match is not None and self.match not in MATCHES:
            raise UsageError(f"match={self.match!r} is none of: {', '.join(MATCHES)}")
        if self.arguments is not None and not isinstance(self.arguments, (Mapping, str)) and not callable(self.arguments):
            raise UsageError(f"arguments of a call pattern are an object, a text or a function, not {self.arguments!r:.80}")
        check_counted(self.counted)

    def names(self, call: RecordedCall) -> bool:
        """Whether the call is to this tool, by this agent."""
        return _named(call.tool_name, self.tool) and (self.agent is None or _named(call.agent, self.agent))

    def fits(self, call: RecordedCall, counted: Counted | None = None) -> bool:
        """Whether the call is so."""
        return self.names(call) and not self.mismatches(call, counted)

    def mismatches(self, call: RecordedCall, counted: Counted | None = None) -> list[Mismatch]:
        """All places where the call is not so; none where it fits.

        Args:
            counted: which calls count, which says whose arguments are meant; default, the pattern's own.
        """
        found = []
        if not _named(call.tool_name, self.tool):
            found.append(_unequal("tool_name", self.tool, call.tool_name))
        if self.agent is not None and not _named(call.agent, self.agent):
            found.append(_unequal("agent", self.agent, call.agent))
        return [*found, *self._unfit(call.arguments_as(counted or self.counted))]

    def _unfit(self, actual: dict[str, Any] | str) -> list[Mismatch]:
        expected = self.arguments
        if expected is None or self.match == "ignore":
            return []
        if isinstance(expected, str) or callable(expected):
            return _value("arguments", expected, actual)
        if isinstance(actual, str):
            return [Mismatch("arguments", describe(expected), actual, f"the call's arguments are no JSON object: {shown(actual)}")]
        return unlike("arguments", expected, actual, self.match or "exact")

    def of_trajectory(self, match: ArgumentMatch) -> CallPattern:
        """The same, with how arguments are compared where it does not say itself."""
        return self if self.match is not None else replace(self, match=match)

    @classmethod
    def of(cls, written: CallPattern | str | Mapping[str, Any] | Sequence[Any]) -> CallPattern:
        """A pattern from how it may be written in a reference.

        Args:
            written: a pattern; a tool's name or a glob, for any arguments; `("refund", {"order": 7})`; or data, as datasets have it:
                `{"tool": "refund", "arguments": {"order": 7, "note": {"$regex": "late"}, "amount": {"$type": "number"}}, "match": "exact"}`,
                where `{"$any": true}` is anything.

        Raises:
            UsageError: it is none of these.
        """
        match written:
            case CallPattern():
                return written
            case str():
                return cls(written)
            case Mapping():
                return _of_data(written)
            case (str() as tool, (Mapping() | None) as arguments):
                return cls(tool, arguments)
            case _:
                raise UsageError(
                    f'a call of a reference is a CallPattern, a tool\'s name, ("tool", {{arguments}}) or {{"tool": ...}}, not {written!r:.80}'
                )

    def __str__(self) -> str:
        match self.arguments:
            case None:
                inside = "..."
            case str():
                inside = shown(self.arguments)
            case Mapping() if self.match != "ignore":
                loose = self.match in ("superset", "subset")
                inside = ", ".join([*(f"{name}={_brief(value)}" for name, value in self.arguments.items()), *(["..."] if loose else [])])
            case _:
                inside = "..." if self.match == "ignore" else _brief(self.arguments)
        return f"{self.tool}({inside})"


def call(tool: str, /, *, counted: Counted = "permitted", agent: str | None = None, **arguments: Any) -> CallPattern:
    """A pattern for `never`, `always` and their kin: calls of that tool whose arguments have these values, and perhaps others.

    Args:
        tool: its name, or a glob.
        counted: which calls count; see `afk_es.evals.calls.Counted`.
        agent: the name or a glob of the agent that makes it.
        arguments: values, types, `re.compile(...)` or functions of the value. An argument whose name is `counted` or `agent` needs a
            `CallPattern` with `match="superset"`.
    """
    return CallPattern(tool, arguments or None, "superset", agent, counted)


def call_text(call: RecordedCall, counted: Counted = "permitted") -> str:
    """A call as a person would write it, its values cut at `SHOWN` characters."""
    arguments = call.arguments_as(counted)
    inside = shown(arguments) if isinstance(arguments, str) else ", ".join(f"{name}={shown(value)}" for name, value in arguments.items())
    return f"{call.tool_name}({inside})"


def describe(expected: Any) -> Any:
    """What is expected as JSON data: values as they are, what is no value in words."""
    match expected:
        case type() if expected in _TYPES:
            return _TYPES[expected][0]
        case re.Pattern():
            return f"/{expected.pattern}/"
        case Mapping():
            return {str(name): describe(value) for name, value in expected.items()}
        case list() | tuple():
            return [describe(value) for value in expected]
        case None | bool() | int() | float() | str():
            return expected
        case _ if callable(expected):
            return f"what {getattr(expected, '__name__', type(expected).__name__)} answers yes to"
        case _:
            return repr(expected)


def shown(value: Any) -> str:
    """A JSON value for a sentence."""
    text = canonical_json(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _brief(expected: Any) -> str:
    """What is expected, where it stands in a call: a function by its name alone."""
    if not isinstance(expected, type) and callable(expected):
        return getattr(expected, "__name__", type(expected).__name__)
    return _written(expected)


def _written(expected: Any) -> str:
    described = describe(expected)
    return described if isinstance(described, str) and not isinstance(expected, str) else shown(described)


def _named(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)


def _unequal(field: str, expected: Any, actual: Any) -> Mismatch:
    wanted = describe(expected)
    return Mismatch(field, wanted, actual, f"expected {_written(expected)}, got {shown(actual)}")


def _is_number(value: Any) -> bool:
    # No int is above infinity, and int() of it raises.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def unlike(path: str, expected: Any, actual: Any, match: ArgumentMatch) -> list[Mismatch]:
    """Where JSON data is not as expected; see this module for what may be expected.

    Args:
        path: what the data is called.
        match: how the names of an object are compared; those of objects in it have to be the same.
    """
    if match == "ignore":
        return []
    if isinstance(expected, Mapping) and isinstance(actual, dict):
        return _object(path, expected, actual, match)
    return _value(path, expected, actual)


def _value(path: str, expected: Any, actual: Any) -> list[Mismatch]:
    """Where a value is not as expected, at any depth."""
    match expected:
        case type() if expected in _TYPES:
            fits = _TYPES[expected][1](actual)
        case re.Pattern():
            fits = isinstance(actual, str) and expected.search(actual) is not None
        case Mapping():
            return _object(path, expected, actual, "exact") if isinstance(actual, dict) else [_unequal(path, expected, actual)]
        case list() | tuple():
            return _array(path, expected, actual) if isinstance(actual, list) else [_unequal(path, expected, actual)]
        case bool() | None:
            fits = actual is expected
        case int() | float():
            fits = isinstance(actual, (int, float)) and not isinstance(actual, bool) and actual == expected
        case str():
            fits = isinstance(actual, str) and actual == expected
        case _ if callable(expected):
            try:
                fits = bool(expected(actual))
            except Exception as error:  # noqa: BLE001 -- the caller's function: that it raises is a reason like any other
                return [Mismatch(path, describe(expected), actual, f"the check of {shown(actual)} raised {type(error).__name__}: {error}")]
        case _:
            fits = bool(actual == expected)
    return [] if fits else [_unequal(path, expected, actual)]


def _object(path: str, expected: Mapping[str, Any], actual: dict[str, Any], match: ArgumentMatch) -> list[Mismatch]:
    found = []
    for name in dict.fromkeys([*expected, *actual]):
        field = f"{path}.{name}"
        if name in expected and name in actual:
            found += _value(field, expected[name], actual[name])
        elif name in expected and match != "subset":
            found.append(Mismatch(field, describe(expected[name]), None, f"expected {_written(expected[name])}, and it is not there"))
        elif name in actual and match != "superset":
            found.append(Mismatch(field, None, actual[name], f"not expected, and there is {shown(actual[name])}"))
    return found


def _array(path: str, expected: Sequence[Any], actual: list[Any]) -> list[Mismatch]:
    if len(expected) != len(actual):
        return [_unequal(path, expected, actual)]
    return [
        each for place, (wanted, got) in enumerate(zip(expected, actual, strict=True)) for each in _value(f"{path}[{place}]", wanted, got)
    ]


_KEYS = {"tool", "arguments", "match", "agent"}


def _of_data(data: Mapping[str, Any]) -> CallPattern:
    if "tool" not in data or (unknown := set(data) - _KEYS):
        unknown = set(data) - _KEYS
        what = f"has no key {', '.join(sorted(map(repr, unknown)))}" if unknown else 'needs a "tool"'
        raise UsageError(f"a call of a reference {what}; its keys are: {', '.join(sorted(_KEYS))}")
    arguments = data.get("arguments")
    return CallPattern(data["tool"], matchers_in(arguments), data.get("match"), data.get("agent"))


def _anything(value: Any) -> bool:
    return True


def matchers_in(value: Any) -> Any:
    """Data with `{"$type": ...}`, `{"$regex": ...}` and `{"$any": true}` made into what they mean."""
    match value:
        case {"$type": name, **rest} if not rest:
            if name not in _NAMED_TYPES:
                raise UsageError(f"$type {name!r} is none of: {', '.join(_NAMED_TYPES)}")
            return _NAMED_TYPES[name]
        case {"$regex": str() as pattern, **rest} if not rest:
            try:
                return re.compile(pattern)
            except re.error as error:
                raise UsageError(f"$regex {pattern!r} is no regular expression: {error}") from error
        case {"$any": True, **rest} if not rest:
            return _anything
        case Mapping():
            return {name: matchers_in(inner) for name, inner in value.items()}
        case list():
            return [matchers_in(inner) for inner in value]
        case _:
            return value


def patterns_of(calls: Iterable[RecordedCall], *, counted: Counted = "permitted", agents: bool = False) -> tuple[CallPattern, ...]:
    """The patterns that exactly these calls fit.

    Args:
        agents: name the agent that makes each, for references that speak of subagents' calls too.
    """
    return tuple(CallPattern(each.tool_name, each.arguments_as(counted), None, each.agent if agents else None) for each in calls)
