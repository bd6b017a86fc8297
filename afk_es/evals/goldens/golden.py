"""`Golden`: recorded runs in a file that people review, and that is a log to whatever reads logs.

The format is told in `afk_es.debugger.exchange.golden_facts`, which also says how to open one in the debugger.
"""

from __future__ import annotations

import os
import shlex
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from afk_es.core import RunnerConfig
from afk_es.debugger.exchange.golden_facts import (
    GOLDEN_SCHEMA,
    SUFFIX,
    Fact,
    GoldenError,
    GoldenHeader,
    GoldenOutcome,
    Provenance,
    facts_digest,
    golden_text,
    read_golden,
)
from afk_es.debugger.exchange.golden_runs import GoldenRuns, Places
from afk_es.debugger.exchange.writing import replacing
from afk_es.errors import UsageError
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.recording import Recorder, chosen_runs, secrets_in, with_outcomes
from afk_es.log import EventLog
from afk_es.log.location import name_of
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import RunSpec, RunState, fold, initial_state
from afk_es.redaction import Redaction

_REDACTED = "secrets by name, by shape and by value, before ids and hashes were made anew"


class Golden(msgspec.Struct, frozen=True, dict=True):
    """Recorded runs, and what they are expected to come to.

    Attributes:
        header: the first line of the file.
        facts: the other lines.
        path: the file it was read from, as it was named; None where it has not been read from one.
        edited: whether the file was changed since it was written, by its digest. It is a golden all the same.
    """

    header: GoldenHeader
    facts: tuple[Fact, ...]
    path: str | None = None
    edited: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.header.name

    @property
    def mode(self) -> MatchMode:
        """How much of it has to be the same, where nobody asks for another mode."""
        return self.header.mode

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs that are checked, in order."""
        return self.header.runs

    @classmethod
    async def of(
        cls,
        log: EventLog,
        run_id: str,
        *,
        name: str,
        mode: MatchMode = "strict",
        thread: bool = False,
        redaction: Redaction | None = Redaction(),  # noqa: B008 - immutable
        agent_ref: str | None = None,
    ) -> Golden:
        """A golden of a run, with its subagents' runs and what its thread remembered.

        Args:
            log: open.
            mode: "strict" for everything; "contract" for decisions, arguments, policy and terminal state; "trajectory" for tool calls.
            thread: check the earlier runs of its thread as well, in one conversation. Otherwise they are there, and not checked.
            redaction: what is kept back; default: secrets by name and by shape. A secret that stands under its name somewhere is found
                elsewhere too. None: nothing.
            agent_ref: `MODULE:AGENT` of the code, for the header.

        Raises:
            RunNotFoundError: there is no such run.
            UsageError: the run cannot be replayed; the message says why, and what to do.
        """
        runs = await chosen_runs(log, run_id, thread=thread)
        asked = redaction
        if redaction is not None:
            redaction = redaction.with_values(secrets_in(runs, redaction))
        recorder = Recorder(runs, redaction)
        checked = [run for run in runs if run.role == "checked"]
        header = GoldenHeader(
            schema=GOLDEN_SCHEMA,
            name=name,
            mode=mode,
            runs=tuple(run.name for run in checked),
            recorded=Provenance(
                afk_es=_version(),
                at=checked[0].events[0].at.isoformat(),
                run=checked[-1].run_id,
                log=name_of(log.location),
            ),
            agent=agent_ref,
            redacted=_REDACTED if asked is not None else None,
            secret_names=asked.keys if asked is not None else (),
            secret_values=asked is not None and asked.has_values,
            # Without its code's name the verb does not know whom to run; the test does.
            update="pytest --golden-update=behaviour"
            if agent_ref is None
            else f"afk-es golden update --accept behaviour {shlex.quote(name)}",
        )
        facts = recorder.facts()
        try:
            states = await cls(header, tuple(facts)).states()
        except GoldenError as error:
            # What it holds was possible where it happened, and is not under other names or in one sequence: of a fork, or of a log by hand.
            raise UsageError(
                f"no golden can be made of run {run_id}: {error.__cause__ or error}; run today's agent, and take that run"
            ) from error
        facts = list(with_outcomes(facts, states))
        header = msgspec.structs.replace(header, models=tuple(recorder.models), digest=facts_digest(facts))
        return cls(header, tuple(facts))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Golden:
        """The golden in a file. Its lines are checked one by one; whether its runs make sense is found when they are loaded.

        Raises:
            GoldenError: the file is missing, none, broken or of a newer afk_es: "PATH:LINE: what is wrong; the way out".
            OSError: it cannot be read.
        """
        name = os.fspath(path)
        header, facts = read_golden(name)
        GoldenRuns(name, header, facts)
        return cls(header, tuple(facts), name, facts_digest(facts) != header.digest)

    def text(self) -> str:
        """The file's content."""
        return golden_text(self.header, self.facts)

    def write(self, path: str | os.PathLike[str]) -> Golden:
        """Write it, in one move: whoever reads the file meanwhile has the old one or the new one whole.

        A file that says the same already, but for where it comes from, is left as it is.

        Returns:
            The golden as it stands in the file.

        Raises:
            UsageError: the name does not end with `.golden.jsonl`.
            OSError: it cannot be written.
        """
        target = Path(path).expanduser()
        if not target.name.endswith(SUFFIX) or target.name == SUFFIX:
            raise UsageError(f"{os.fspath(path)}: the name of a golden file ends with {SUFFIX}")
        content = self.text().encode()
        if not self._stands_in(target):
            with replacing(target, force=True) as beside, beside.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
                # As any source file: it is reviewed and committed, and its secrets were kept back.
                beside.chmod(0o644)
        return Golden.read(path)

    def _stands_in(self, target: Path) -> bool:
        try:
            there = Golden.read(target)
            if there.edited or there.text().encode() != target.read_bytes():
                return False
        except (OSError, UsageError):
            return False
        same = msgspec.structs.replace(there.header, recorded=self.header.recorded, digest=self.header.digest)
        return same == self.header and facts_digest(there.facts) == facts_digest(self.facts)

    async def rewritten(self) -> Golden:
        """The same golden as today's afk_es writes it: events of an older schema in today's, and outcomes that are what its events come to.

        Raises:
            GoldenError: see `open_log`.
        """
        log = await self.open_log()
        try:
            thread = len(self.runs) > 1
            anew = await Golden.of(
                log, self.runs[-1], name=self.name, mode=self.mode, thread=thread, redaction=None, agent_ref=self.header.agent
            )
        finally:
            await log.close()
        recorded = msgspec.structs.replace(
            anew.header.recorded, at=self.header.recorded.at, run=self.header.recorded.run, log=self.header.recorded.log
        )
        was = self.header
        header = msgspec.structs.replace(
            anew.header,
            recorded=recorded,
            redacted=was.redacted,
            secret_names=was.secret_names,
            secret_values=was.secret_values,
            update=was.update,
        )
        return msgspec.structs.replace(anew, header=header)

    def redaction(self, own: Redaction | None = None) -> Redaction | None:
        """What keeps back of a run of today what was kept back of this; None for an exact copy.

        Args:
            own: that with which it was recorded, where that was given values: no file tells them. Default: none.
        """
        if self.header.redacted is None:
            return None
        return (own or Redaction()).with_keys(self.header.secret_names)

    async def open_log(self) -> MemoryEventLog:
        """An open log in memory with all its runs, under the ids of the file. It is the caller's to close.

        Raises:
            GoldenError: a fact cannot be; the message names the line.
        """
        return await self._loaded.open_log()

    async def states(self) -> dict[str, RunState]:
        """The state in which each of its runs ended, by its id.

        Raises:
            GoldenError: see `open_log`.
        """
        from afk_es.core.history import ThreadMemory

        log = await self.open_log()
        memory = ThreadMemory()
        found: dict[str, RunState] = {}
        for run_id in self._loaded.runs:
            events = await log.read(run_id)
            history = await memory.read(log, events[0].data.get("history", []))
            found[run_id] = fold(initial_state(run_id, events[0].thread_id, history), events)
        await log.close()
        return found

    @property
    def places(self) -> Places:
        """Where in the file its events stand."""
        return self._loaded.places

    @property
    def outcomes(self) -> dict[str, GoldenOutcome]:
        """What each run is expected to come to, by its id."""
        return {run_id: run.outcome for run_id, run in self._loaded.runs.items() if run.outcome is not None}

    def spec(self, run_id: str | None = None) -> RunSpec:
        """The agent of a run as it was recorded; default: of the first that is checked.

        Raises:
            GoldenError: the file tells of none.
        """
        return self._loaded.spec(run_id if run_id is not None else self.runs[0])

    def config(self) -> RunnerConfig:
        """How the first checked run was run, as far as its record says: people, background tools, rendering, effects in doubt.

        A summariser of the conversation is code, and is not in the record: a `thread_retention` is the caller's to add.
        """
        return config_of(self.spec())

    @cached_property
    def _loaded(self) -> GoldenRuns:
        return GoldenRuns(self.path or f"{self.name}{SUFFIX}", self.header, list(self.facts))


def config_of(spec: RunSpec) -> RunnerConfig:
    """The settings of a Runner that has recorded a run of this agent, as far as the record says.

    Raises:
        UsageError: no Runner can have had them, as in a file that was edited.
    """
    asked, shown = spec.interaction, spec.rendering
    settings: dict[str, Any] = {
        "interaction_mode": asked.mode,
        "approval_timeout_s": asked.approval_timeout_s,
        "input_timeout_s": asked.input_timeout_s,
        "approval_fallback": asked.approval_fallback,
        "input_fallback": asked.input_fallback,
        "sanitize_tool_output": shown.sanitize,
        "untrusted_tool_preamble": shown.preamble,
        "tool_output_max_chars": shown.max_chars,
        "in_doubt": spec.in_doubt,
    }
    if (background := spec.background) is not None:
        settings |= {
            "background_tools_enabled": background.enabled,
            "background_tool_default_grace_s": background.grace_s,
            "background_tool_max_pending": background.max_pending,
            "background_tool_result_ttl_s": background.result_ttl_s,
            "background_tool_interrupt_on_resolve": background.interrupt_on_resolve,
            "background_tool_at_end": background.at_end,
        }
    try:
        return RunnerConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the recorded {where} cannot be ({first['msg']}); restore the file, or give the check today's config") from error


def _version() -> str:
    try:
        return version("afk-es")
    except PackageNotFoundError:
        return "unknown"
