"""Makes tools of what a server lists. Names, descriptions and schemas are somebody else's: bounded, cleaned and checked before they are used.

A description still is a text that the model reads. That it is clean does not make it true, or well meant.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import mcp_types
from pydantic import BaseModel, create_model, model_validator
from pydantic_core import PydanticCustomError

from afk_es.errors import ConfigurationError
from afk_es.machine.spec import ToolSpec
from afk_es.machine.values import digest, digest_json, plain
from afk_es.mcp.results import IDEMPOTENCY_KEY
from afk_es.mcp.schemas import Checker, SchemaRefusedError, taken
from afk_es.mcp.wording import shown_schema, shown_words
from afk_es.tools import Tool, ToolContext, tool

MAX_NAME = 64
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
_ANY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

Call = Callable[["RemoteTool", dict[str, Any], ToolContext], Awaitable[Any]]
"""Has the server run a tool."""


@dataclass(frozen=True)
class RemoteTool:
    """A tool as a run was told of it.

    Attributes:
        name: what the server calls it; None where only a log is known.
        local: what the model calls it.
        listed: what the server said of it, as plain JSON, or what a log has of that.
        output: what results are held against; None where the tool has no output schema.
        timeout_s: seconds that a call has.
    """

    name: str | None
    local: str
    listed: dict[str, Any] = field(repr=False)
    output: Checker | None = field(repr=False)
    timeout_s: float

    def differences(self, listed: dict[str, Any]) -> list[str]:
        """What the server says now that it did not say then, of all that a call depends on."""
        found = _apart(_whole(self.listed["inputSchema"]), _whole(listed.get("inputSchema", {})))
        # No log has the schema of results.
        if self.name is not None and self.listed.get("outputSchema") != listed.get("outputSchema"):
            found.append("the schema of its results is another")
        return found


def keeps_keys(listed: dict[str, Any]) -> bool:
    """Whether the server says of a tool that a call is done once under its key."""
    return listed.get("_meta", {}).get(IDEMPOTENCY_KEY) is True


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as a log has it."""
    with suppress(SchemaRefusedError):
        schema = shown_schema(schema)
    return {**_ANY_SCHEMA, **schema}


def _apart(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    was, has = before["properties"], now["properties"]
    found = [f"argument {name!r} is gone" for name in was if name not in has]
    found += [f"argument {name!r} is new" for name in has if name not in was]
    found += [f"argument {name!r} is another" for name in was if name in has and was[name] != has[name]]
    others = sorted(key for key in before.keys() | now.keys() if key != "properties" and before.get(key) != now.get(key))
    return [*found, *(f"{key!r} of its arguments is another" for key in others)]


@dataclass(frozen=True)
class Listing:
    """What a server lists at one moment.

    Attributes:
        tools: those that can be used.
        left_out: those that cannot, by the server's name for them, and why.
        listed: all of them, as plain JSON, by that name.
        names: that name of those that can be used, by what the model calls them.
    """

    tools: tuple[Tool[..., Any], ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    listed: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    names: dict[str, str] = field(default_factory=dict, repr=False)

    def named(self, remote: RemoteTool) -> tuple[str, dict[str, Any] | None]:
        """The server's name for a tool, and what it says of it now; None where it has none of that name."""
        name = remote.name if remote.name is not None else self.names.get(remote.local, remote.local)
        return name, self.listed.get(name)


def local_name(name: str, prefix: str) -> str:
    """What the model calls a tool: legal for every chat API. One that is too long ends in a digest of the whole."""
    legal = _ILLEGAL.sub("_", f"{prefix}{name}")
    if len(legal) <= MAX_NAME:
        return legal
    return f"{legal[: MAX_NAME - 9]}_{digest(f'{prefix}{name}'.encode(errors='replace'))[:8]}"


class Catalogue:
    """Makes the listings of one server, and the same tool again of what has not changed.

    Args:
        server: its name.
        prefix: before each of its tools' names.
        wanted: the names, the server's, of those to offer; None for all.
        trusted: whether what it says of its tools' behaviour is believed.
        timeout_s: of a call.
        call: has the server run a tool.
    """

    def __init__(self, server: str, prefix: str, wanted: frozenset[str] | None, trusted: bool, timeout_s: float, call: Call) -> None:
        self._server = server
        self._prefix = prefix
        self._wanted = wanted
        self._trusted = trusted
        self._timeout_s = timeout_s
        self._call = call
        self._made: dict[str, tuple[str, Tool[..., Any]]] = {}
        self._last = Listing()

    def listing(self, tools: Iterable[mcp_types.Tool]) -> Listing:
        """What there is now; the same object as long as nothing has changed."""
        found = list(tools)
        listed = {each.name: plain(each.model_dump(mode="json", by_alias=True, exclude_none=True)) for each in found}
        times = Counter(each.name for each in found)
        left_out = {name: "the server lists it more than once" for name, number in times.items() if number > 1}
        if listed == self._last.listed and listed and not left_out:
            return self._last
        by_local: dict[str, list[str]] = defaultdict(list)
        for name in listed:
            if name not in left_out and (self._wanted is None or name in self._wanted):
                by_local[local_name(name, self._prefix)].append(name)
        offered: dict[str, Tool[..., Any]] = {}
        for local, names in by_local.items():
            if len(names) > 1:
                left_out |= dict.fromkeys(names, f"{', '.join(sorted(map(repr, names)))} would all be called {local!r}")
                continue
            try:
                offered[names[0]] = self._tool(names[0], local, listed[names[0]])
            except SchemaRefusedError as error:
                left_out[names[0]] = str(error)
        # A server may list others every time, and what is kept of it is bounded by one list.
        self._made = {name: made for name, made in self._made.items() if name in offered}
        for name in (self._wanted or frozenset()) - listed.keys():
            left_out[name] = "the server has no such tool"
        self._last = Listing(tuple(offered.values()), left_out, listed, {tool.name: name for name, tool in offered.items()})
        return self._last

    def _tool(self, name: str, local: str, listed: dict[str, Any]) -> Tool[..., Any]:
        key = digest_json(listed)
        known = self._made.get(name)
        if known is None or known[0] != key:
            known = self._made[name] = (key, self._made_of(name, local, listed))
        return known[1]

    def _made_of(self, name: str, local: str, listed: dict[str, Any]) -> Tool[..., Any]:
        parameters = _schema(listed.get("inputSchema"), "the schema of its arguments", of_object=True)
        results = listed.get("outputSchema")
        output = None if results is None else Checker(_schema(results, "the schema of its results", of_object=False))
        hints = self._hints(listed) if self._trusted else {}
        remote = RemoteTool(name, local, listed, output, self._timeout_s)
        return self._calling(remote, shown_schema(parameters), _description(listed), self._timeout_s, hints)

    def recorded(self, spec: ToolSpec) -> Tool[..., Any]:
        """A tool as a log has it.

        Raises:
            ConfigurationError: the log has a schema that cannot be used.
        """
        hints = {
            "read_only": spec.read_only,
            "idempotent": spec.idempotent,
            "destructive": spec.destructive,
            "open_world": spec.open_world,
            "raise_on_error": spec.raise_on_error,
        }
        remote = RemoteTool(None, spec.name, {"inputSchema": spec.parameters}, None, spec.timeout_s or self._timeout_s)
        try:
            parameters = taken(spec.parameters, of_object=True)
            return self._calling(remote, parameters, spec.description, spec.timeout_s, hints)
        except SchemaRefusedError as error:
            raise ConfigurationError(f"tool {spec.name!r} of server {self._server!r}, as the log has it, cannot be used: {error}") from None

    def _calling(
        self, remote: RemoteTool, parameters: dict[str, Any], description: str, timeout_s: float | None, hints: dict[str, Any]
    ) -> Tool[..., Any]:
        call = self._call

        async def called(args: dict[str, Any], ctx: ToolContext) -> Any:
            return await call(remote, args, ctx)

        # Not by the model that Pydantic would make of the schema: one that branches often enough would keep it busy for years.
        made = tool(name=remote.local, description=description, timeout=timeout_s, args_schema=_ANY_SCHEMA, **hints)(called)
        checked = _checked(made.args_model, Checker(parameters))
        return replace(made, signature=replace(made.signature, args_model=checked, parameters=_whole(parameters)), server=self._server)

    def _hints(self, listed: dict[str, Any]) -> dict[str, Any]:
        said = listed.get("annotations", {})
        read_only = said.get("readOnlyHint") is True
        # A server that keeps to the key does nothing twice under one, which is all that recovery asks of a tool.
        return {
            "read_only": read_only,
            "idempotent": said.get("idempotentHint") is True or keeps_keys(listed),
            "destructive": None if read_only else said.get("destructiveHint"),
            "open_world": said.get("openWorldHint"),
        }


def _schema(schema: Any, what: str, *, of_object: bool) -> dict[str, Any]:
    try:
        return taken(schema, of_object=of_object)
    except SchemaRefusedError as error:
        raise SchemaRefusedError(f"{what} is refused: {error}") from None


def _description(listed: dict[str, Any]) -> str:
    title = listed.get("title") or listed.get("annotations", {}).get("title") or ""
    return shown_words(listed.get("description") or title)


def _checked(model: type[BaseModel], checker: Checker) -> type[BaseModel]:
    """The arguments' model, which checks all that their schema says, so that a policy and a person only see calls that can be made."""

    def check(arguments: Any) -> Any:
        problems = checker.problems(arguments.root)
        if problems:
            # Of this type the arguments are not shown behind it: each problem has its place.
            raise PydanticCustomError("missing", "{problems}", {"problems": "\n- ".join(problems)})
        return arguments

    checks: dict[str, Any] = {"whole": model_validator(mode="after")(check)}
    return create_model(model.__name__, __base__=model, __validators__=checks)
