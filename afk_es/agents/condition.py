"""Conditions of policy rules as data: what an event must be for a rule to match.

In doubt a condition raises rather than answering no, because for a rule that denies "no" means that the call goes ahead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from afk_es.agents.policy_event import PolicyEvent
from afk_es.errors import ConfigurationError
from afk_es.machine.values import clean_text

_MISSING: Any = object()
_ORDERINGS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


class Comparison(BaseModel):
    """What a value must be; all that is given must hold.

    A value that is not there satisfies `exists: false` and nothing else. null satisfies no ordering, `contains` or `matches`.

    Attributes:
        eq, ne: equal or not, as JSON: `true` is not `1`.
        gt, ge, lt, le: ordered, number with number or text with text.
        in_ (alias "in"), not_in: equal to one of a list, or to none.
        contains: a text within the text, an item of the list, or a key of the object.
        matches: a regular expression found in the text. Rust's syntax, which takes linear time and has no look-around.
        exists: whether the value is there at all.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False, defer_build=True
    )

    eq: Any = None
    ne: Any = None
    gt: int | float | str | None = None
    ge: int | float | str | None = None
    lt: int | float | str | None = None
    le: int | float | str | None = None
    in_: tuple[Any, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Any, ...] | None = None
    contains: Any = None
    matches: str | None = None
    exists: bool | None = None

    _pattern: SchemaValidator | None = PrivateAttr(default=None)

    @field_validator("gt", "ge", "lt", "le", mode="before")
    @classmethod
    def _orderable(cls, bound: Any) -> Any:
        if isinstance(bound, bool) or not isinstance(bound, (int, float, str)):
            raise ValueError("must be a number or a text")
        return bound

    @field_validator("in_", "not_in", "matches", "exists", mode="before")
    @classmethod
    def _said(cls, bound: Any) -> Any:
        if bound is None:
            raise ValueError("must not be null; leave it out")
        return bound

    def model_post_init(self, context: Any, /) -> None:
        if not self.model_fields_set:
            raise ConfigurationError("an empty comparison says nothing; give at least one of eq, ne, gt, ge, lt, le, in, exists, ...")
        if self.matches is not None:
            try:
                self._pattern = SchemaValidator(core_schema.str_schema(pattern=self.matches, regex_engine="rust-regex", strict=True))
            except SchemaError as error:
                raise ConfigurationError(f"matches={self.matches!r} is not a regular expression Rust takes: {error}") from error

    def holds(self, value: Any, path: str) -> bool:
        """Whether the value, found at `path`, is what it must be; `_MISSING` stands for none.

        Raises:
            TypeError: it cannot be compared, such as a text with a number.
        """
        given = self.model_fields_set
        if value is _MISSING:
            return given == {"exists"} and self.exists is False
        return all(self._one(name, value, path) for name in sorted(given))

    def _one(self, name: str, value: Any, path: str) -> bool:
        bound = getattr(self, name)
        match name:
            case "exists":
                return bool(bound)
            case "eq":
                return _same(value, bound)
            case "ne":
                return not _same(value, bound)
            case "in_":
                return any(_same(value, each) for each in bound)
            case "not_in":
                return not any(_same(value, each) for each in bound)
            case _ if value is None:
                return False
            case "contains":
                return _contains(value, bound, path)
            case "matches":
                return self._found(value, path)
            case _:
                return _ordered(_ORDERINGS[name], value, bound, path)

    def _found(self, value: Any, path: str) -> bool:
        if not isinstance(value, str):
            raise TypeError(f"{path} is {_kind(value)} and cannot be matched with a regular expression")
        return self._pattern is not None and self._pattern.isinstance_python(clean_text(value))


def _same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _kind(value: Any) -> str:
    return f"{value!r:.40} ({type(value).__name__})"


def _ordered(ordering: Callable[[Any, Any], Any], value: Any, bound: Any, path: str) -> bool:
    if isinstance(value, bool) or isinstance(value, str) != isinstance(bound, str) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{path} is {_kind(value)} and cannot be compared with {_kind(bound)}")
    return bool(ordering(value, bound))


def _contains(value: Any, item: Any, path: str) -> bool:
    if isinstance(value, str):
        if not isinstance(item, str):
            raise TypeError(f"{path} is a text and cannot contain {_kind(item)}")
        return item in value
    if isinstance(value, Mapping):
        return item in value
    if isinstance(value, (list, tuple)):
        return any(_same(each, item) for each in value)
    raise TypeError(f"{path} is {_kind(value)} and cannot contain anything")


def _at(root: Any, path: str) -> Any:
    value = root
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, (list, tuple)) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            # A key may contain dots; it must not hide what the path leads to.
            return root.get(path, _MISSING) if isinstance(root, Mapping) else _MISSING
    return value


class PolicyRuleCondition(BaseModel):
    """A condition as data. All that is given must hold; an empty condition matches every event.

    Attributes:
        event_type: this event type.
        tool_name: a glob such as "delete_*"; case matters.
        tool_names: any of these globs.
        tool_name_prefix: the name begins with it.
        read_only: the tool declares itself read-only, or does not.
        subagent_name: a glob.
        args: comparisons of the tool's arguments by dotted path: `{"amount": {"gt": 100}, "items.0.sku": "A1"}`. A plain value means
            equal; to compare with an object, write `{"eq": {...}}`.
        context: the same of the run's context.
        all, any: conditions that must all, or not all fail to, match.
        not_ (alias "not"): a condition that must not.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, defer_build=True
    )

    event_type: str | None = None
    tool_name: str | None = None
    tool_names: tuple[str, ...] | None = None
    tool_name_prefix: str | None = None
    read_only: bool | None = None
    subagent_name: str | None = None
    args: dict[str, Comparison] = {}
    context: dict[str, Comparison] = {}
    all: tuple[PolicyRuleCondition, ...] | None = None
    any: tuple[PolicyRuleCondition, ...] | None = None
    not_: PolicyRuleCondition | None = Field(default=None, alias="not")

    @field_validator("args", "context", mode="before")
    @classmethod
    def _plain_values_mean_equal(cls, comparisons: Any) -> Any:
        if not isinstance(comparisons, Mapping):
            return comparisons
        return {path: each if isinstance(each, (Mapping, Comparison)) else {"eq": each} for path, each in comparisons.items()}

    def matches(self, event: PolicyEvent) -> bool:
        """Whether the event is what this describes.

        Raises:
            TypeError: a value cannot be compared with what it is compared with.
        """
        return (
            (self.event_type is None or event.event_type == self.event_type)
            and self._names_match(event)
            and (self.read_only is None or event.tool_read_only is self.read_only)
            and _all_hold(self.args, event.tool_args, "args")
            and _all_hold(self.context, event.context, "context")
            and (self.all is None or all_of(self.all, event))
            and (self.any is None or any_of(self.any, event))
            and (self.not_ is None or not self.not_.matches(event))
        )

    def _names_match(self, event: PolicyEvent) -> bool:
        name = event.tool_name
        if self.subagent_name is not None and not (event.subagent_name and fnmatchcase(event.subagent_name, self.subagent_name)):
            return False
        if self.tool_name is None and self.tool_names is None and self.tool_name_prefix is None:
            return True
        return (
            name is not None
            and (self.tool_name is None or fnmatchcase(name, self.tool_name))
            and (self.tool_names is None or any_glob(self.tool_names, name))
            and (self.tool_name_prefix is None or name.startswith(self.tool_name_prefix))
        )


def all_of(conditions: tuple[PolicyRuleCondition, ...], event: PolicyEvent) -> bool:
    """Whether every condition matches."""
    return all(condition.matches(event) for condition in conditions)


def any_of(conditions: tuple[PolicyRuleCondition, ...], event: PolicyEvent) -> bool:
    """Whether one of the conditions matches."""
    return any(condition.matches(event) for condition in conditions)


def any_glob(globs: tuple[str, ...], name: str) -> bool:
    """Whether one of the globs matches the name."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _all_hold(comparisons: Mapping[str, Comparison], root: Any, where: str) -> bool:
    return all(comparison.holds(_at(root, path), f"{where}.{path}") for path, comparison in comparisons.items())
