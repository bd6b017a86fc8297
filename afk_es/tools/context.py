"""What a tool is told about the call it serves; it knows nothing of runners or logs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, SupportsFloat

import msgspec

Progress = Callable[[float, float | None, str], None]
"""Is told how far a tool is: the progress, the total where it is known, and a sentence or ""."""


class Secrets(Mapping[str, str]):
    """Secrets by name. Neither `repr` nor an encoder ever shows a value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"no secret {name!r} in this tool's scope; there are: {', '.join(self._values) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"


_NO_SECRETS = Secrets()


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """The call a tool serves.

    Every field has a default, so that a tool can be called in a test with `ToolContext()`.

    Attributes:
        run_id: the run.
        thread_id: the thread the run belongs to.
        tool_call_id: the model's id of this call.
        idempotency_key: the same across retries and resumes of this call; hand it on to services that take one.
        user_id: the `user_id` of the run's context, where it has one.
        metadata: the run's context.
        secrets: what the runner's secret scope gives this tool. A plain mapping is wrapped so that its values are not shown.
        agent_name: the agent that made the call.
        step: the step of the run; 0 outside of one.
        progress: who is told of `report_progress`; None where nobody watches.
    """

    run_id: str = ""
    thread_id: str = ""
    tool_call_id: str = ""
    idempotency_key: str = ""
    user_id: str | None = None
    metadata: Mapping[str, Any] = {}
    secrets: Mapping[str, str] = _NO_SECRETS
    agent_name: str = ""
    step: int = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.secrets, Secrets):
            msgspec.structs.force_setattr(self, "secrets", Secrets(self.secrets))

    def report_progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        """Say how far the call is, to whoever watches the run: it is a `tool_progress` event, which is not stored. It may be called from
        the tool's thread, and never waits or fails: a report without a finite number is let go.

        Args:
            progress: how much is done, in a unit of the tool's own; it should only grow.
            total: how much there is to do, in the same unit; default None, not known, as is what is no finite number.
            message: a sentence for people; what is no text is left out.
        """
        if self.progress is not None and (done := _finite(progress)) is not None:
            self.progress(done, _finite(total), _text(message))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _finite(value: object) -> float | None:
    """The number as a float; None for what is none, or has no place on a line."""
    if not isinstance(value, SupportsFloat):
        return None
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None
