"""A dimension of the contract: one thing that a store must be good at, and the promises that show it. Knows no store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from afk_es.testing.log_contract.bench import Bench

Check = Callable[[Bench], Awaitable[None]]
"""Holds one promise against the stores of a bench; raises if it is broken."""

Hook = Literal["tamper", "overwrite"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One sentence that holds of every store.

    Attributes:
        name: the sentence.
        dimension: the name of the dimension that it belongs to.
        check: raises if the store breaks it.
    """

    name: str
    dimension: str
    check: Check

    def __str__(self) -> str:
        return f"{self.dimension}: {self.name}"


@dataclass(slots=True)
class Dimension:
    """A room of the contract.

    Attributes:
        name: by which reports and `lacks` call it.
        about: what it asks of a store, in a sentence.
        optional: whether a store may declare that it does not have it; without it an `EventLog` is none.
        hook: the method of the subject without which it cannot be seen.
        promises: in the order in which they are defined.
    """

    name: str
    about: str
    optional: bool = False
    hook: Hook | None = None
    promises: list[Promise] = field(default_factory=list)

    def promise(self, check: Check) -> Check:
        """Take a function in; its name is the promise's."""
        name = getattr(check, "__name__", "").replace("_", " ")
        self.promises.append(Promise(name, self.name, check))
        return check
