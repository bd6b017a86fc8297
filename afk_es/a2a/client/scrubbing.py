"""Takes our own secrets out of what a remote agent says, before anybody is told of it: an agent that complains of a token may well repeat it.

It knows no agent and no protocol, only the secrets that were sent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_IN_PLACE = "***"


class Scrubber:
    """Of one remote agent.

    Args:
        secrets: those that were sent, which may become more.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = secrets

    def text(self, text: str) -> str:
        """The text without any of them."""
        for secret in self._secrets:
            text = text.replace(secret, _IN_PLACE)
        return text

    def value(self, value: T) -> T:
        """A record or JSON value without any of them, in whatever field, key or file they stand."""
        return cast(T, self._without(value)) if self._secrets else value

    def stream(self) -> ScrubbedStream:
        """For a text that comes in pieces."""
        return ScrubbedStream(self)

    def begun(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of one of them."""
        return max((size for secret in self._secrets for size in range(1, len(secret)) if text.endswith(secret[:size])), default=0)

    def _without(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case bytes():
                for secret in self._secrets:
                    value = value.replace(secret.encode(), _IN_PLACE.encode())
                return value
            case dict():
                return {self._without(key): self._without(each) for key, each in value.items()}
            case list() | tuple():
                return type(value)(self._without(each) for each in value)
            case msgspec.Struct():
                fields = {name: self._without(getattr(value, name)) for name in value.__struct_fields__ if name not in _OURS}
                return msgspec.structs.replace(value, **fields)
            case _:
                return value


_OURS = frozenset({"state"})
"""Fields that hold words of ours, whatever the agent says."""


class ScrubbedStream:
    """Pieces of a text without any secret, also where one is torn in two: what may be the beginning of one is kept until more is known."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._kept = ""

    def take(self, piece: str, *, last: bool = False) -> str:
        """What can be told by now; of the last piece, all the rest."""
        text = self._scrubber.text(self._kept + piece)
        told = len(text) - (0 if last else self._scrubber.begun(text))
        self._kept = text[told:]
        return text[:told]
