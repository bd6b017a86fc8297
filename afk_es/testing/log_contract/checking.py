"""The contract without a test framework: `check_event_log` tries every promise and tells what became of each."""

from __future__ import annotations

import asyncio
import difflib
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afk_es.errors import ConfigurationError, UsageError, text_of
from afk_es.log import EventLog
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension, Promise
from afk_es.testing.log_contract.expecting import BrokenPromiseError
from afk_es.testing.log_contract.subject import FactorySubject, Meddle, NewLog, StoreSubject, has_hook
from afk_es.testing.log_contract.table import DIMENSIONS

PATIENCE_S = 60.0
"""Real seconds after which a promise counts as broken because the store hangs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one promise.

    Attributes:
        verdict: "declared" where the store's author said that it does not have this dimension.
        detail: what was expected and what came, or why the dimension was declared; empty where the promise is kept.
    """

    promise: Promise
    verdict: Literal["kept", "broken", "declared"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.promise}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class ContractReport:
    """What became of every promise.

    Printed, it has a line per dimension, and one more for each promise that is broken.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken. What was declared is not held against the store, and is in `declared`."""
        return not self.broken

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The promises that the store does not keep."""
        return tuple(finding for finding in self.findings if finding.verdict == "broken")

    @property
    def declared(self) -> dict[str, str]:
        """The dimensions that were declared as lacking, with the reason."""
        return {finding.promise.dimension: finding.detail for finding in self.findings if finding.verdict == "declared"}

    @property
    def broken_dimensions(self) -> tuple[str, ...]:
        """The dimensions in which something is broken, in the order of the contract."""
        return tuple(dict.fromkeys(finding.promise.dimension for finding in self.broken))

    def raise_for_broken(self) -> None:
        """Raise `BrokenPromiseError` with the whole report unless all is well."""
        if not self.ok:
            raise BrokenPromiseError(f"{len(self.broken)} promises of the EventLog contract are broken\n{self}")

    def __str__(self) -> str:
        lines = []
        for name in dict.fromkeys(finding.promise.dimension for finding in self.findings):
            mine = [finding for finding in self.findings if finding.promise.dimension == name]
            kept = sum(finding.verdict == "kept" for finding in mine)
            declared = self.declared.get(name)
            lines.append(f"{name:<12} " + (f"not had: {declared}" if declared is not None else f"{kept} of {len(mine)} kept"))
            lines += [f"  broken: {finding.promise.name}: {finding.detail}" for finding in mine if finding.verdict == "broken"]
        return "\n".join(lines)


def check_event_log(
    new_log: NewLog | StoreSubject,
    *,
    lacks: Mapping[str, str] | None = None,
    tamper: Meddle | None = None,
    overwrite: Meddle | None = None,
    dimensions: Collection[str] | None = None,
    stop_at_first: bool = False,
) -> ContractReport:
    """Hold a store against every promise of `EventLog`.

    Args:
        new_log: makes a store, not opened, on the log of the directory that it is given; or a `StoreSubject`. For the dimensions "sharing"
            and "killing" another process imports it, so it is a function at the top of a module.
        lacks: dimensions that the store does not have, each with the reason; only optional ones. A `StoreSubject` has its own.
        tamper: changes the stored data of an event by force, see `StoreSubject.tamper`; for the dimension "tampering".
        overwrite: tries to change an event by ordinary means, see `StoreSubject.overwrite`; for the dimension "guards".
        dimensions: only these; None: all.
        stop_at_first: end with the first promise that is broken; default False, every promise is tried.

    Raises:
        ConfigurationError: `lacks` or `dimensions` name what there is not, or may not be lacked; or what is made is no store at all.
        UsageError: called where an event loop is running; each promise has one of its own.
    """
    if _in_event_loop():
        raise UsageError("each promise is tried in an event loop of its own; call `check_event_log` where none is running")
    if isinstance(new_log, StoreSubject):
        subject, lacking = new_log, dict(new_log.lacks)
        if lacks or tamper or overwrite:
            raise ConfigurationError("a StoreSubject has `lacks`, `tamper` and `overwrite` of its own; give them there")
    else:
        subject, lacking = FactorySubject(new_log, tamper, overwrite), dict(lacks or {})
    check_declared(subject, lacking)
    _check_is_store(subject)
    wanted = {dimension.name for dimension in DIMENSIONS} if dimensions is None else set(dimensions)
    _check_names(wanted)
    findings: list[Finding] = []
    for dimension in DIMENSIONS:
        for promise in dimension.promises if dimension.name in wanted else ():
            reason = lacking.get(dimension.name)
            findings.append(_tried(subject, dimension, promise) if reason is None else Finding(promise, "declared", reason))
            if stop_at_first and findings[-1].verdict == "broken":
                return ContractReport(tuple(findings))
    return ContractReport(tuple(findings))


def _check_is_store(subject: StoreSubject) -> None:
    """Refuse what lacks methods altogether: every promise would say so again, and none would say which."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            store: object = subject.new_log(Path(directory))
        except Exception:  # noqa: BLE001 - the author's code; each promise tells what it raises
            return
        missing = [name for name in vars(EventLog) if not name.startswith("_") and not hasattr(store, name)]
    if missing:
        raise ConfigurationError(f"{type(store).__name__} is no EventLog: it has no {', '.join(missing)}; see `afk_es.log.EventLog`")


def check_declared(subject: StoreSubject, lacking: Mapping[str, str]) -> None:
    """Refuse a declaration that makes no sense.

    Raises:
        ConfigurationError: it names what there is not, what may not be lacked, or what the subject has a hook for; or it gives no reason.
    """
    _check_names(lacking)
    for dimension in DIMENSIONS:
        reason = lacking.get(dimension.name)
        if reason is None:
            continue
        if not dimension.optional:
            raise ConfigurationError(f"the dimension {dimension.name!r} may not be lacked: without it a store is no EventLog")
        if not reason.strip():
            raise ConfigurationError(f"`lacks` gives no reason why the store has not the dimension {dimension.name!r}")
        if dimension.hook is not None and has_hook(subject, dimension.hook):
            raise ConfigurationError(
                f"the store declares that it lacks {dimension.name!r} and has `{dimension.hook}`; take one of them away"
            )


def perform(subject: StoreSubject, dimension: Dimension, promise: Promise, directory: Path) -> None:
    """Try one promise in an empty directory, in an event loop of its own.

    Raises:
        BrokenPromiseError: it is broken, or the store hangs, or the hook is missing that shows it.
        Exception: whatever the store raises.
    """
    if dimension.hook is not None and not has_hook(subject, dimension.hook):
        raise BrokenPromiseError(
            f"nobody can see whether this holds: give `{dimension.hook}` (see `StoreSubject.{dimension.hook}`), or declare "
            f"lacks = {{{dimension.name!r}: <why>}}"
        )

    async def tried() -> None:
        bench = Bench(subject, directory)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await promise.check(bench)
        except TimeoutError as error:
            raise BrokenPromiseError(f"the store hangs: it did not come to an end within {PATIENCE_S:g} s") from error
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await bench.clear()

    asyncio.run(tried())


def _tried(subject: StoreSubject, dimension: Dimension, promise: Promise) -> Finding:
    with tempfile.TemporaryDirectory(prefix="afk_es-contract-", ignore_cleanup_errors=True) as place:
        try:
            perform(subject, dimension, promise, Path(place))
        except BrokenPromiseError as error:
            return Finding(promise, "broken", str(error))
        except Exception as error:  # noqa: BLE001 - the author's store may raise anything, and the report tells of it
            return Finding(promise, "broken", f"raised {type(error).__name__}: {text_of(error)}")
    return Finding(promise, "kept")


def _check_names(names: Collection[str]) -> None:
    known = [dimension.name for dimension in DIMENSIONS]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise ConfigurationError(f"there is no dimension {name!r} of the EventLog contract; {hint}")


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
