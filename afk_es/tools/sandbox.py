"""What tools may touch: a profile, and markers by which a tool says which of its arguments are paths, commands or URLs.

This checks arguments; it is no jail. It keeps a model from asking for what it should not have, in tools that mark their arguments. A tool's
own code can do whatever the process can. Between the check and the use a path may be changed by somebody else.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

_CONTEXT_KEY = "afk_es.sandbox"
_OPERATORS = re.compile(r"[;&|<>`\n\r]|\$\(|\$\{|\(|\)")


class SandboxProfile(BaseModel):
    """What tools may touch. The defaults allow nothing but paths.

    Attributes:
        allow_network: URL arguments may name anything but files; default False. Commands are not kept from the network: that takes a
            namespace or a container, which this library does not make.
        allow_command_execution: commands may be run at all; default False.
        allowed_command_prefixes: beginnings of allowed commands, word by word ("git status" allows `git status -s`, not `git push`);
            default None, any command.
        deny_shell_operators: refuse pipes, redirections, substitutions and further commands; default True. Must be True with
            `allowed_command_prefixes`, which say nothing about what follows an operator.
        allowed_paths: directories, or files, that path arguments must be in; default None, anywhere.
        denied_paths: directories, or files, they must not be in, whatever is allowed; default none.
        command_timeout_s: seconds until a command of `run_command` is killed with its children; default 30.
        max_output_chars: of a command's output; default 20 000.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    allow_network: bool = False
    allow_command_execution: bool = False
    allowed_command_prefixes: tuple[str, ...] | None = None
    deny_shell_operators: bool = True
    allowed_paths: tuple[Path, ...] | None = None
    denied_paths: tuple[Path, ...] = ()
    command_timeout_s: float = Field(default=30.0, gt=0)
    max_output_chars: int = Field(default=20_000, ge=1)

    @model_validator(mode="after")
    def _prefixes_need_single_commands(self) -> SandboxProfile:
        if self.allowed_command_prefixes is not None and not self.deny_shell_operators:
            raise ValueError(
                "allowed_command_prefixes need deny_shell_operators=True: a prefix says nothing about what follows an operator"
            )
        return self

    def validation_context(self) -> dict[str, Any]:
        """What Pydantic hands to the markers."""
        return {_CONTEXT_KEY: self}

    def path_objection(self, path: str | os.PathLike[str]) -> str | None:
        """Why this path may not be touched; None if it may. Symbolic links and `..` are followed first."""
        text = os.fspath(path)
        if "\0" in text:
            return "the path contains a NUL character"
        resolved = _resolved(text)
        for denied in self.denied_paths:
            if resolved.is_relative_to(_resolved(denied)):
                return f"the path {text} is in {denied}, which the sandbox denies"
        if self.allowed_paths is None or any(resolved.is_relative_to(_resolved(allowed)) for allowed in self.allowed_paths):
            return None
        allowed = ", ".join(str(each) for each in self.allowed_paths) or "none"
        return f"the path {text} is outside of what the sandbox allows ({allowed})"

    def command_objection(self, command: str | list[str] | tuple[str, ...]) -> str | None:
        """Why this command may not be run; None if it may. A list is an argv, in which operators mean nothing."""
        if not self.allow_command_execution:
            return "the sandbox does not allow commands"
        if isinstance(command, str):
            if self.deny_shell_operators and (operator := _OPERATORS.search(command)):
                return f"the command contains the shell operator {operator[0]!r}, which the sandbox denies"
            try:
                words = command_words(command)
            except ValueError as error:
                return f"the command cannot be read: {error}"
        else:
            words = list(command)
        if not words:
            return "the command is empty"
        if any("\0" in word for word in words):
            return "the command contains a NUL character"
        if self.allowed_command_prefixes is None or any(_begins(words, command_words(prefix)) for prefix in self.allowed_command_prefixes):
            return None
        return (
            f"the command {words[0]!r} does not begin with what the sandbox allows ({', '.join(self.allowed_command_prefixes) or 'none'})"
        )

    def url_objection(self, url: str) -> str | None:
        """Why this URL may not be fetched; None if it may. A `file:` URL is checked as a path."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            return f"the URL cannot be read: {error}"
        scheme = parts.scheme.lower()
        if scheme == "data":
            return None
        if scheme == "file":
            return (
                "the URL names a file of another host"
                if parts.netloc not in ("", "localhost")
                else self.path_objection(unquote(parts.path))
            )
        return None if self.allow_network else f"the sandbox does not allow the network ({url})"


def _resolved(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(Path(path).expanduser()))


def command_words(command: str) -> list[str]:
    """The words of a command line.

    Raises:
        ValueError: a quotation that does not end.
    """
    return shlex.split(command)


def _begins(words: list[str], prefix: list[str]) -> bool:
    return bool(prefix) and words[: len(prefix)] == prefix


class _Marker:
    """Takes part in Pydantic's validation, so it is found however deep it stands; it objects only where a profile is in the context."""

    def _objection(self, profile: SandboxProfile, value: Any) -> str | None:
        raise NotImplementedError

    def _subjects(self, value: Any) -> list[Any]:
        if value is None:
            return []
        return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.check, handler(source))

    def check(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        """Raise ValueError where the profile in the context objects to the value."""
        profile = (info.context or {}).get(_CONTEXT_KEY)
        if profile is not None:
            for each in self._subjects(value):
                objection = self._objection(profile, each)
                if objection is not None:
                    raise ValueError(objection)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SandboxPath(_Marker):
    """`Annotated[str, SandboxPath()]`: this argument, or each item of this list, is a path."""

    def _objection(self, profile: SandboxProfile, value: Any) -> str | None:
        return profile.path_objection(value)


class SandboxCommand(_Marker):
    """`Annotated[str, SandboxCommand()]`: this argument is a command line; on a list of strings, an argv."""

    def _objection(self, profile: SandboxProfile, value: Any) -> str | None:
        return profile.command_objection(value)

    def _subjects(self, value: Any) -> list[Any]:
        return [] if value is None else [value]


class SandboxUrl(_Marker):
    """`Annotated[str, SandboxUrl()]`: this argument, or each item of this list, is a URL."""

    def _objection(self, profile: SandboxProfile, value: Any) -> str | None:
        return profile.url_objection(str(value))


@functools.lru_cache(maxsize=1024)
def has_markers(model: type[BaseModel]) -> bool:
    """Whether any argument of the model is marked as a path, a command or a URL."""
    return _mentions_marker(model.__pydantic_core_schema__, set())


def _mentions_marker(schema: Any, seen: set[int]) -> bool:
    if id(schema) in seen:
        return False
    seen.add(id(schema))
    if isinstance(schema, dict):
        return any(_mentions_marker(value, seen) for value in schema.values())
    if isinstance(schema, (list, tuple)):
        return any(_mentions_marker(value, seen) for value in schema)
    return isinstance(getattr(schema, "__self__", None), _Marker)
