"""A failing simulation as files: its log, as any other log that `afk-es` opens, and the script that makes it again. It judges nothing.

    path = write_counterexample(simulation, violation, ".afk_es/counterexamples", "refunds are approved")
    # afk-es debug refunds-are-approved.db --at 7
    # afk-es golden record refunds-are-approved.db --name refund --agent shop:agent

The files of one name are replaced as a whole. Hypothesis and the shrinkers perform smaller and smaller failures, so what is left is the
smallest.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from afk_es.agents import Agent
from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine.values import digest
from afk_es.testing.exploring.trial import Stage, Trial, violated
from afk_es.testing.simulation.facts import Script
from afk_es.testing.simulation.observing import Observer
from afk_es.testing.simulation.virtual_loop import HungError
from afk_es.testing.simulation.world import Simulation, StuckError

DIRECTORY = Path(".afk_es") / "counterexamples"
"""Where logs of violations are written by default, below the working directory."""

SCHEMA = "afk_es.counterexample/1"
SUFFIX = ".db"
SCRIPT_SUFFIX = ".script.json"
LONGEST_NAME = 80
"""Characters of a file's name, without its suffix."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Violated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which invariant, what it said, and where; `run_id` and `seq` are None where it is about no run or no event."""

    name: str
    message: str
    run_id: str | None = None
    seq: int | None = None


class Counterexample(msgspec.Struct, frozen=True, kw_only=True):
    """What `NAME.script.json` holds.

    Attributes:
        agent: the name of the agent, for people.
        said: user_message and context of the simulation, as far as they are JSON.
    """

    schema: str
    agent: str
    violation: Violated
    said: dict[str, Any]
    script: Script


def write_counterexample(
    simulation: Simulation,
    violation: BaseException,
    directory: str | os.PathLike[str],
    name: str,
    *,
    script: Script | None = None,
) -> Path:
    """Write the log of every run of a simulation, finished or not, and its script beside it.

    The events, ids and times are the simulation's own, and so are the letters. Files of the same name are replaced.

    Args:
        violation: what an invariant raised.
        directory: made if missing.
        name: of the files; what is not safe in a file's name is replaced.
        script: what is kept as the script; default all that the simulation performed.

    Returns:
        The log's path, `NAME.db`; the script is in `NAME.script.json`.

    Raises:
        LogError: the log cannot be written.
        OSError: the directory cannot be.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    stem = safe_name(name)
    kept = Counterexample(
        schema=SCHEMA,
        agent=simulation.agents[0].name,
        violation=where(violation),
        said=_as_far_as_json({"user_message": simulation.user_message, "context": simulation.context}),
        script=simulation.script if script is None else script,
    )
    path = folder / f"{stem}{SUFFIX}"
    # In a directory of its own: SQLite puts further files beside the one that it writes.
    with tempfile.TemporaryDirectory(prefix=f".{stem}-", dir=folder) as draft:
        log, text = Path(draft) / path.name, Path(draft) / "script.json"
        apart(lambda: _copy(simulation, SqliteEventLog(log, durability="normal")))
        text.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        # What a reader of the old log left beside it belongs to no other log.
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        log.replace(path)
        text.replace(folder / f"{stem}{SCRIPT_SUFFIX}")
    return path


def where(violation: BaseException) -> Violated:
    """What a violation says of itself."""
    run_id, seq = getattr(violation, "run_id", None), getattr(violation, "seq", None)
    message = getattr(violation, "message", None)
    return Violated(
        name=violated(violation),
        message=message if isinstance(message, str) else _of_foreign(violation),
        run_id=run_id if isinstance(run_id, str) and run_id else None,
        seq=seq if isinstance(seq, int) and seq > 0 else None,
    )


def _of_foreign(error: BaseException) -> str:
    """What was raised by somebody's code that does not say which invariant it is: that it did, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, (StuckError, HungError)) or violated(error) != type(error).__name__ or not frames:
        return str(error)
    last = frames[-1]
    return f"{str(error) or 'it does not hold'} (raised in {last.name}, {Path(last.filename).name}:{last.lineno}: {last.line})"


def debug_command(path: Path, violation: BaseException) -> str:
    """The command that opens the log where the invariant was violated."""
    at = where(violation)
    name = str(path) if at.run_id is None else f"{path}:{at.run_id}"
    return f"afk-es debug {shlex.quote(name)}" + ("" if at.seq is None else f" --at {at.seq}")


def golden_command(path: Path, agent: str = "MODULE:AGENT") -> str:
    """The command that makes a golden of the log. Of a run that breaks a promise it is one to be updated with the repair."""
    return f"afk-es golden record {shlex.quote(str(path))} --name {safe_name(path.stem)} --agent {shlex.quote(agent)}"


def read_counterexample(path: str | os.PathLike[str]) -> Counterexample:
    """What was kept beside a log.

    Args:
        path: of the log or of the script.

    Raises:
        UsageError: there is none, or it is none.
    """
    file = Path(path)
    if file.suffix == SUFFIX:
        file = file.with_name(f"{file.stem}{SCRIPT_SUFFIX}")
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Counterexample)
    except FileNotFoundError:
        raise UsageError(f"there is no script at {file}; give the log that a failure named, or the {SCRIPT_SUFFIX} beside it") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no script of a failing simulation: {error}") from error
    if kept.schema != SCHEMA:
        raise UsageError(f"{file} is a {kept.schema!r}, and this afk_es reads {SCHEMA!r}")
    return kept


def replay_script(
    path: str | os.PathLike[str],
    agent: Agent | Sequence[Agent],
    *,
    observers: Callable[[], Sequence[Observer]] = tuple,
    **arguments: Any,
) -> Trial:
    """Perform a kept script again, with today's agent.

    Args:
        path: of the log or of the script.
        observers: makes those who watch, as `lambda: checked(invariants)`.
        arguments: of `Simulation`: config and policy_engine as they were; user_message and context are kept with the script, unless they
            are given here.

    Returns:
        What came of it; `violation` is None where all is well by now.

    Raises:
        UsageError: there is no script, or it is none.
    """
    kept = read_counterexample(path)
    return Stage(agent, observers, {**kept.said, **arguments}).perform(kept.script)


def safe_name(name: str) -> str:
    """A name that is safe for a file anywhere; one that had to be changed ends with a digest of itself, unless only spaces were."""
    plain = re.sub(r"\s+", "-", name.strip())
    safe = _UNSAFE.sub("-", plain).strip("-.")[:LONGEST_NAME].rstrip("-.")
    if safe and safe == plain and safe.partition(".")[0].casefold() not in _RESERVED:
        return safe
    return f"{safe or 'failure'}-{digest(name.encode('utf-8', 'surrogatepass'))[:8]}"


_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(1, 10))])
"""File names that Windows keeps for devices."""


def apart(work: Callable[[], Any]) -> None:
    """Run a coroutine to its end in a thread of its own: whoever calls may be in an event loop.

    Raises:
        BaseException: whatever the coroutine raises.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it was called
            raised.append(error)

    thread = threading.Thread(target=run, name="afk_es counterexample")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


async def _copy(simulation: Simulation, target: EventLog) -> None:
    """Every write again, in its order."""
    await simulation.log.open()
    letters = await simulation.log.letters()
    await target.open()
    try:
        epochs: dict[str, int] = {}
        appends = []
        for events in simulation.writes:
            run_id = events[0].run_id
            if events[0].type == "run_started":
                epochs[run_id] = events[0].data["epoch"]
            appends.append(target.append(events, epoch=epochs[run_id]))
        # Queued at once, in this order: they share a transaction.
        await asyncio.gather(*appends)
        for letter in letters:
            await target.post(letter.run_id, letter.draft, at=letter.at)
    finally:
        await target.close()


def _as_far_as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        with suppress(TypeError, ValueError):
            kept[name] = msgspec.json.decode(msgspec.json.encode(value))
    return kept
