"""What a tool call has to look like: the tool's name or a glob, and its arguments by values, types, patterns and functions.

A pattern always speaks of the call that is compared with it, never of itself: `match="superset"` means that the *call* has all the arguments
of the pattern and may have more, in whatever mode whole trajectories are compared.

| `match` | the call has |
|---|---|
| exact | the arguments of the pattern, and no others |
| superset | these, and perhaps others |
| subset | none but these, and perhaps not all of them |
| ignore | whatever it has |

It is about the arguments' own names: a value is compared whole, as `expectations` says.

Arguments that came as a text, since the model's JSON was broken, fit an equal text, a function that pattern has instead of arguments, and a
pattern that ignores arguments; nothing else, and nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from afk_es.errors import UsageError
from afk_es.evals.assertions.calls import Counted, RecordedCall, check_counted
from afk_es.evals.assertions.expectations import (
    MATCHES,
    ArgumentMatch,
    Mismatch,
    brief,
    describe,
    differences,
    matchers_in,
    shown,
    unequal,
    unlike,
)


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
            found.append(unequal("tool_name", self.tool, call.tool_name))
        if self.agent is not None and not _named(call.agent, self.agent):
            found.append(unequal("agent", self.agent, call.agent))
        return [*found, *self._unfit(call.arguments_as(counted or self.counted))]

    def _unfit(self, actual: dict[str, Any] | str) -> list[Mismatch]:
        expected = self.arguments
        if expected is None or self.match == "ignore":
            return []
        if isinstance(expected, str) or callable(expected):
            return differences("arguments", expected, actual)
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
                inside = ", ".join([*(f"{name}={brief(value)}" for name, value in self.arguments.items()), *(["..."] if loose else [])])
            case _:
                inside = "..." if self.match == "ignore" else brief(self.arguments)
        return f"{self.tool}({inside})"


def call(tool: str, /, *, counted: Counted = "permitted", agent: str | None = None, **arguments: Any) -> CallPattern:
    """A pattern for `never`, `always` and their kin: calls of that tool whose arguments have these values, and perhaps others.

    Args:
        tool: its name, or a glob.
        counted: which calls count; see `afk_es.evals.assertions.calls.Counted`.
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


def _named(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)


_KEYS = {"tool", "arguments", "match", "agent"}


def _of_data(data: Mapping[str, Any]) -> CallPattern:
    if "tool" not in data or (unknown := set(data) - _KEYS):
        unknown = set(data) - _KEYS
        what = f"has no key {', '.join(sorted(map(repr, unknown)))}" if unknown else 'needs a "tool"'
        raise UsageError(f"a call of a reference {what}; its keys are: {', '.join(sorted(_KEYS))}")
    arguments = data.get("arguments")
    return CallPattern(data["tool"], matchers_in(arguments), data.get("match"), data.get("agent"))


def patterns_of(calls: Iterable[RecordedCall], *, counted: Counted = "permitted", agents: bool = False) -> tuple[CallPattern, ...]:
    """The patterns that exactly these calls fit.

    Args:
        agents: name the agent that makes each, for references that speak of subagents' calls too.
    """
    return tuple(CallPattern(each.tool_name, each.arguments_as(counted), None, each.agent if agents else None) for each in calls)
