"""`Runner`: starts, resumes and watches runs. What a run does is the loop's affair; what it means is the machine's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import Clock, Ids
from afk_es.core.bindings import Bindings
from afk_es.core.compaction import ThreadCompactor
from afk_es.core.config import RunnerConfig
from afk_es.core.delegation import Children
from afk_es.core.driving import Driver, Terms
from afk_es.core.fork_plans import ForkPlan, plan_of
from afk_es.core.forking import Forks
from afk_es.core.guard import Guard
from afk_es.core.handle import AgentRunHandle, AgentStreamHandle, EventFeed, Feed, StreamFeed, Stretch, begun
from afk_es.core.history import ThreadMemory
from afk_es.core.inbox import Inbox
from afk_es.core.lease import Lease
from afk_es.core.loop import Handlers
from afk_es.core.news import News, Watcher
from afk_es.core.outside import AttachedRun, Receipt, not_found
from afk_es.core.pending import pending_requests
from afk_es.core.places import Places
from afk_es.core.recorded_agents import RecordedAgent, recorded_binding
from afk_es.core.replays import Replayed, Replays
from afk_es.core.result import AgentResult
from afk_es.core.retention import CompactionResult, RetentionPolicy
from afk_es.core.servers import Offered, Servers
from afk_es.core.session import Session
from afk_es.core.starting import check_id, check_same_request, checked_run_id
from afk_es.core.stretches import Stretches
from afk_es.core.tickets import TicketDesk
from afk_es.core.wiring import bind, checked_clock, checked_ids, checked_provider, default_model, delivery_to, event_log
from afk_es.errors import ConfigurationError, RunExistsError, RunOwnedError, UsageError
from afk_es.handlers import Binding, live_handlers
from afk_es.handlers.binding import Emit, Report
from afk_es.handlers.edits import Edit, ModelMode, ToolMode, choices
from afk_es.interaction import ApprovalRequest, InputRequest, InteractionProvider
from afk_es.llms import ChatModel, UserMessage
from afk_es.log import EventLog, Statement
from afk_es.machine.values import clean_text
from afk_es.redaction import Redaction

if TYPE_CHECKING:
    from afk_es.telemetry import TelemetrySink


class Runner:
    """Runs agents on an event log.

    Args:
        log: a path, a `sqlite:///` or `postgresql://` URL, ":memory:", or an EventLog. Default: the file named by the environment variable AFK_ES_LOG, else
            a SQLite file in the user's state directory.
        policy_engine: decides on every model and tool call, together with the agent's own engine; rules of both are ordered as one set.
        interaction_provider: asks people; needed where `config.interaction_mode` is "interactive", and refused where it is not, since it
            would never be called. `afk_es.interaction` has one for terminals and one for programs.
        telemetry: who is told of runs while they go on: "console" (lines on stderr), "json" (an object a line on stderr), "otel"
            (OpenTelemetry; needs the extra), a `TelemetrySink` of your own, or None. It never blocks, fails or outlives a run; when no run
            is left it is given two seconds to finish.
        config: settings; default `RunnerConfig()`.
        clock: where time comes from; a `SimulatedClock` makes waiting free.
        ids: where run and thread ids come from; `SeededIds` make them repeatable.

    A Runner opens its log when a run starts and closes it when no run is left, so a program ends when its runs have. A server that starts
    many runs keeps it open with `async with runner:`. One Runner belongs to one event loop at a time.
    """

    def __init__(
        self,
        *,
        log: str | os.PathLike[str] | EventLog | None = None,
        interaction_provider: InteractionProvider | None = None,
        policy_engine: PolicyEngine | None = None,
        telemetry: str | TelemetrySink | None = None,
        config: RunnerConfig | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        for name, value, kind in (("config", config, RunnerConfig), ("policy_engine", policy_engine, PolicyEngine)):
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(f"{name} is a {kind.__name__} or None, not {type(value).__name__}; write {kind.__name__}(...)")
        self.config: RunnerConfig = config if config is not None else RunnerConfig()
        self._people = checked_provider(interaction_provider, self.config)
        self._clock: Clock = checked_clock(clock)
        self._ids: Ids = checked_ids(ids)
        self._policy = policy_engine
        self._delivery = delivery_to(telemetry, self.config.redaction) if telemetry is not None else None
        self._settings = self.config
        provider = self.config.secret_scope_provider
        if self._delivery is not None and provider is not None:
            # What tools are given in confidence is known only when they are given it, to subagents' tools too.
            self._settings = self.config.model_copy(update={"secret_scope_provider": self._delivery.registering(provider)})
        opened = event_log(log, self.config)
        self._session = Session(opened, owned=opened is not log, idle=self._idle)
        self._servers = Servers(lambda: self._session.used)
        self._model_of_strings: ChatModel | None = None
        self._bindings = Bindings(self._new_binding, self._servers, opened)
        self._memory = ThreadMemory()
        self._news = News()
        limits = self.config
        places = Places(
            limits.max_parallel_subagents_global, limits.max_parallel_subagents_per_target_agent, limits.subagent_queue_backpressure_limit
        )
        # Subagents' runs begin as all do, by the `Stretches` that is made of this.
        self._children = Children(lambda child: self._stretches.begin_child(child), places)
        self._inbox = Inbox(opened, self.config.background_tool_poll_interval_s)
        self._tickets = TicketDesk(opened, self._clock)
        self._driver = Driver(
            self._session,
            self._clock,
            self._inbox,
            self._news,
            self._memory,
            self._children,
            handlers=self._handlers,
            delivery=self._delivery,
            always_replay=self.config.debug or os.environ.get("AFK_ES_ALWAYS_REPLAY") == "1",
        )
        self._forks = Forks(opened, self._clock, self._memory, self._bindings.bound, self._children.placed)
        self._stretches = Stretches(
            self._session, self._driver, self._bindings, self._forks, self._memory, self._children, self._clock, self._ids
        )

    @property
    def log(self) -> EventLog:
        """The event log. It is open inside `async with runner:` and while a run goes on."""
        return self._session.log

    async def __aenter__(self) -> Runner:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.leave()

    async def _idle(self) -> None:
        """No run is left."""
        await self._servers.leave()
        if self._delivery is not None:
            await self._delivery.flush()

    # ------------------------------------------------------------------------------------------------------------------ starting a run

    def run_sync(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
    ) -> AgentResult:
        """Run the agent and wait for the result. A log that was handed in is closed afterwards, as its event loop ends; it opens again.

        Raises:
            UsageError: called where an event loop is running already; use `await runner.run(...)` there.
        """
        return _blocking(self._run_to_the_end_of_the_loop(agent, user_message, context, thread_id, run_id), "run")

    async def run(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
    ) -> AgentResult:
        """Run the agent to its end.

        Args:
            user_message: what the user says: a text, or a sequence of texts and images (`afk_es.llms.Image`).
            context: JSON data for instructions, policies and tools; laid over the agent's `context_defaults`.
            thread_id: the thread to go on with; the model sees its earlier turns. Default: a new thread.
            run_id: the run's id, of 1 to 128 letters, digits, '_', '-' and '.', that no run of the log has; default: a new one. Who starts a run
                under an id of its own can start it again after a crash without doing it twice: see `run_once`.

        Returns:
            The result, whatever state the run ended in. Cancelling the awaiting task cancels the run.

        Raises:
            UsageError: wrong arguments; nothing was written.
            RunExistsError: the log has a run of that id.
            ToolError: a server of the agent's cannot be reached; nothing was written.
            LogError: the log cannot be used; what was appended is safe, and the run can be resumed.
        """
        starting = self._stretches.start(agent, user_message, context, thread_id, run_id, Terms())
        return await (await self._begun(starting)).result_or_cancel()

    async def run_handle(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
        guard: Guard | None = None,
    ) -> AgentRunHandle:
        """Start a run in the background of this event loop. Its `run_started` is durable when this returns.

        Args:
            guard: watches the run and its subagents, and may lay it down before its next call; it holds until the run ends or is laid
                down, and is nothing to a later `resume`.
        """
        feed = EventFeed()
        starting = self._stretches.start(agent, user_message, context, thread_id, run_id, Terms(feed, guard=guard))
        return AgentRunHandle(await self._begun(starting), feed)

    async def run_stream(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
    ) -> AgentStreamHandle:
        """Start a run that streams: text as the model writes it, where the model can. Iterating the handle drives it."""
        feed = StreamFeed()
        starting = self._stretches.start(agent, user_message, context, thread_id, run_id, Terms(feed, streamed=True))
        return AgentStreamHandle(await self._begun(starting), feed)

    async def run_once(
        self,
        agent: Agent,
        *,
        run_id: str,
        by: str,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        streamed: bool = False,
        allow_agent_change: bool = False,
        reopen: bool = False,
        take_over: bool = False,
        lease: Lease | None = None,
        feed: Feed | None = None,
    ) -> AttachedRun:
        """See to it that this run happens, and happens once: start it, go on with it, or find what it came to.

        Whoever asks for work and may have to ask again, after a crash or a connection that was cut, derives the id from the request. A run
        that was laid down, or whose process is gone, goes on here, in the background of this event loop; one that a live process drives
        is left to it.

        Args:
            run_id: the run's id, as for `run`.
            by: the name under which what is said to the run is recorded, as for `attach`.
            user_message, context, thread_id: as for `run`; what another run of that id was started with is refused.
            allow_agent_change, reopen: as for `resume`.
            streamed: let `AttachedRun.live` have the model's text as it comes, where the run goes on here and the model can.
            take_over: take the run even from a live owner, with its subagents' runs: one that is stopped, or has lost its lease. It starts
                nothing more once it has learnt of it, which it does with its next append; what it has under way may still come to its end.
                Who lends runs to processes for a time gives each a `lease` besides, and then it starts nothing even before that.
            lease: asked before the run is claimed and before every effect; where it is over the run stops here, and `AttachedRun.stretch`
                raises LeaseLostError.
            feed: told of every event, durable and transient, as far as the run goes on here; it must not block.

        Returns:
            The run, to watch, to answer and to control.

        Raises:
            RunExistsError: the log has a run of that id with another agent, message or thread.
            UsageError, ToolError, LogError: as for `run`.
            AgentMismatchError: the agent is not the one that the run was started with.
            LeaseLostError: the lease was over before the run was claimed; nothing was written.
        """
        check_id("by", by)
        # From before it begins, so that nothing is missed of what is not stored.
        watcher = self._news.watch(checked_run_id(run_id))
        terms = Terms(feed, streamed, lease=lease, take_over=take_over)
        async with self._session as log:
            while True:
                first = await log.read(run_id, limit=1)
                try:
                    if not first:
                        starting = self._stretches.start(agent, user_message, context, thread_id, run_id, terms)
                    else:
                        check_same_request(first[0], agent, user_message, thread_id)
                        starting = self._stretches.go_on(agent, run_id, terms, allow_agent_change=allow_agent_change, reopen=reopen)
                    stretch = await self._begun(starting)
                except RunExistsError:
                    if first:
                        raise
                    # Somebody else has begun it since.
                    continue
                except RunOwnedError:
                    # It goes on, and that is what was asked for.
                    stretch = None
                return await self._attached(run_id, by, watcher, stretch)

    async def prepare(
        self,
        agent: Agent,
        *,
        run_id: str,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        reason: str = "queued",
        statements: Sequence[Statement] = (),
    ) -> None:
        """Write a run down for another process, which begins with it by `run_once` under the same id. Durable when it returns.

        It stands in the log as a run that was laid down before it did anything, on a thread of its own.

        Args:
            run_id, user_message, context: as for `run`.
            reason: why it lies there; what a list of runs says of it.
            statements: for the same transaction, where the log is a `DatabaseLog`: all is written, or nothing.

        Raises:
            RunExistsError: the log has a run of that id; nothing was written.
            ClashError: a constraint of a table refused a statement; nothing was written.
            UsageError, ToolError, LogError: as for `run`.
        """
        await self._stretches.prepare(agent, run_id, user_message, context, reason, statements)

    # ---------------------------------------------------------------------------------------------------------------- resuming a run

    async def resume(
        self,
        agent: Agent,
        *,
        run_id: str,
        thread_id: str | None = None,
        allow_agent_change: bool = False,
        take_over: bool = False,
        reopen: bool = False,
    ) -> AgentResult:
        """Go on with a run from its log: after a crash, an interrupt, or a pause whose process is gone.

        A run that has ended returns its result. Effects whose result is in the log are not repeated; an effect in doubt is treated as
        `RunnerConfig.in_doubt` says, and an event says so.

        Args:
            thread_id: if given, must be the run's.
            allow_agent_change: go on even if the agent is not the recorded one; the change is recorded.
            reopen: go on with a run that failed too. What it failed by is forgiven: a model call that failed is asked again, and of tools
                or subagents that failed the model is told. A limit that is used up fails it again at once, unless the agent was given a
                higher one. `afk_es.machine.reopening_facts` has the table. It changes nothing for a run that did not fail.
            take_over: take it even from a live owner; see `run_once`.

        Raises:
            RunNotFoundError: no such run in this log.
            RunOwnedError: a live process drives it.
            AgentMismatchError: the agent differs; the message names what.
            UsageError: a run that cannot be resumed, or a subagent's that is to be reopened: that is its parent's affair.
        """
        resuming = self._stretches.go_on(
            agent, run_id, Terms(take_over=take_over), thread_id=thread_id, allow_agent_change=allow_agent_change, reopen=reopen
        )
        return await (await self._begun(resuming)).result_or_cancel()

    async def resume_handle(
        self,
        agent: Agent,
        *,
        run_id: str,
        thread_id: str | None = None,
        allow_agent_change: bool = False,
        take_over: bool = False,
        reopen: bool = False,
    ) -> AgentRunHandle:
        """As `resume`, in the background of this event loop. The handle of a run that had ended has its result at once."""
        feed = EventFeed()
        resuming = self._stretches.go_on(
            agent, run_id, Terms(feed, take_over=take_over), thread_id=thread_id, allow_agent_change=allow_agent_change, reopen=reopen
        )
        return AgentRunHandle(await self._begun(resuming), feed)

    # ---------------------------------------------------------------------------------------------------------------------- forking

    async def fork(
        self,
        agent: Agent | None,
        *,
        run_id: str,
        at: int | None = None,
        edits: Sequence[Edit] = (),
        tools: Mapping[str, ToolMode] | ToolMode | None = None,
        models: ModelMode = "live",
        thread_id: str | None = None,
    ) -> AgentResult:
        """Try a change: a run that shares the beginning of another, and goes on from there with something changed.

        The other run, which may have ended in any way or still go on, is neither touched nor copied. Its later answers are reused while
        what is asked stays the same, and cost nothing; policies are asked anew, and so are people. A tool that is not read-only never runs
        unless `tools` says so: where its answer is not recorded, the fork is interrupted with the reason. A fork that was killed or laid
        down goes on with `resume`, as any run.

        Args:
            agent: the agent to go on with, which may differ from the recorded one; None for what the log says of it (`recorded_agent`).
            at: the last seq that is shared, from 0 (nothing) to the run's last; default: the one before the first event that is edited.
            edits: other results, messages or decisions in place of recorded ones, another model, other instructions.
            tools: what becomes of tool calls, by the tool's name, "*" for all others, or one mode for all; see `ToolMode`. A subagent that
                is to run needs a mode for each of its own tools that is not read-only.
            models: "recorded" for a fork that asks no model, and is interrupted where one would be asked.
            thread_id: the fork's thread; default: a new one.

        Returns:
            The result of the whole, with the cost and usage of all that led to it; `usage_by_model` has what the fork itself spent.

        Raises:
            RunNotFoundError: no such run in this log.
            UsageError: a position or an edit that does not fit the run; nothing was written.
        """
        forking = self._stretches.fork(agent, run_id, at, choices(edits, tools, models), thread_id, Terms())
        return await (await self._begun(forking)).result_or_cancel()

    async def fork_handle(
        self,
        agent: Agent | None,
        *,
        run_id: str,
        at: int | None = None,
        edits: Sequence[Edit] = (),
        tools: Mapping[str, ToolMode] | ToolMode | None = None,
        models: ModelMode = "live",
        thread_id: str | None = None,
    ) -> AgentRunHandle:
        """As `fork`, in the background of this event loop. The handle has the fork's own events, and not those that it shares."""
        feed = EventFeed()
        forking = self._stretches.fork(agent, run_id, at, choices(edits, tools, models), thread_id, Terms(feed))
        return AgentRunHandle(await self._begun(forking), feed)

    async def plan_fork(
        self,
        agent: Agent | None,
        *,
        run_id: str,
        at: int | None = None,
        edits: Sequence[Edit] = (),
        tools: Mapping[str, ToolMode] | ToolMode | None = None,
        models: ModelMode = "live",
    ) -> ForkPlan:
        """What a fork with these arguments would do; nothing is run or written, save that the agent's policies are asked.

        Raises:
            RunNotFoundError, UsageError: as `fork`.
        """
        check_id("run_id", run_id)
        chosen = choices(edits, tools, models)
        async with self._session as log:
            rehearsed = (f"{run_id}:plan", f"{run_id}:plan")
            prepared = await self._forks.prepared(agent, run_id, at, chosen, rehearsed, rehearsal=True)
            return await plan_of(prepared, log, self._clock)

    # ---------------------------------------------------------------------------------------------------------------------- replaying

    async def replay(self, agent: Agent, *, run_id: str, thread_id: str | None = None, redaction: Redaction | None = None) -> Replayed:
        """Run today's agent on the answers that a recorded run was given: a new run in the same log, offline and free.

        The k-th request to a model is given the k-th recorded answer, whatever is asked today, so that the two runs can be compared to
        their ends. A tool or subagent is given what was recorded for the same call. Policies, output types, routers and instructions
        functions are today's, and asked; models, tools, summarisers and people never are. What the recording has no answer to is held, and
        the replay is interrupted with the reason once nothing else can go on. What people said, tickets came to and callers asked for comes
        when it did; time is the recording's, and nobody waits for it. Usage and costs count as they were recorded, by limits too.

        Subagents whose runs the log has are replayed as well. A run that was interrupted and resumed is interrupted and resumed where it
        was. Where a process died in the middle, or a fork begins, the replay goes on without a break: see `handlers.tape`. A replay itself
        cannot be resumed; replay again.

        Args:
            agent: today's; or what the log says of it (`recorded_agent`), whose policies and functions are then answered from the log too.
            run_id: the recorded run, which has to have ended, or to have been laid down.
            thread_id: the replay's thread; default: a new one. It begins with the history that the recorded run began with.
            redaction: what the recording kept back, so that the log never holds it of today's agent either: its spec and what its code
                answers are redacted before they are written. The code itself is asked with what the recording has. Whether arguments and
                outputs of which something was kept back are valid is as recorded, for a tool and an output type that are the same. None:
                the recording is exact.

        Returns:
            The replay's run and result, with what was not asked for and what was not answered.

        Raises:
            RunNotFoundError: no such run in this log.
            UsageError: a run that cannot be replayed; the message says why, and what to do instead. Nothing was written.
        """
        check_id("run_id", run_id)
        if thread_id is not None:
            check_id("thread_id", thread_id)

        async with self._session as log:
            own = (self._ids.new("run"), thread_id or self._ids.new("thread"))
            replays = Replays(
                log, self._clock, self._memory, self._bindings.bound_as_recorded, self._children.placed, self._driver.drive_whole
            )
            return await replays.replay(agent, run_id, own, redaction)

    # ---------------------------------------------------------------------------------------------------------------------- threads

    async def compact_thread(self, *, thread_id: str, retention: RetentionPolicy) -> CompactionResult:
        """Sum up or drop older turns of a thread, so that the model sees less of it from the next run on. The log keeps everything.

        It is a run of its own on the thread, of an agent named `thread_compaction`. Runs that go on meanwhile are neither waited for
        nor touched; what they say stays (see `ThreadMemory`). One that a crash cut off is finished by the next call, and a summary
        that was in the log by then is not asked for again. It takes as long as the summariser does; cancelling the awaiting task
        cancels it, and drops nothing.

        Args:
            thread_id: the thread.
            retention: how much of it stays, and who sums up the rest.

        Returns:
            What was done. A thread within the maxima is left alone, and nothing is written.

        Raises:
            RunNotFoundError: the log has no run on this thread.
            RunOwnedError: a live process is compacting it.
            CompactionFailedError: the summariser failed, or the run was cut off; its `result` says how.
        """
        check_id("thread_id", thread_id)
        if not isinstance(retention, RetentionPolicy):
            raise ConfigurationError(
                f"retention is a RetentionPolicy, not {type(retention).__name__}; write RetentionPolicy(max_messages=...)"
            )

        async with self._session as log:
            compactor = ThreadCompactor(self._memory, self.config, self._clock, self._ids, self._default_model, self._driver.drive_whole)
            return await compactor.compact(log, thread_id, retention)

    # ------------------------------------------------------------------------------------------------------------- background tools

    async def list_background_tools(self, *, thread_id: str, run_id: str, include_resolved: bool = False) -> list[dict[str, Any]]:
        """The tickets of a run's background tools, in the order in which they were opened; from any process, whoever drives the run.

        Args:
            include_resolved: also those that have ended, and not only the pending ones.

        Returns:
            JSON data, a dict each: ticket_id, tool_name, tool_call_id, run_id, status ("pending", "resolved", "failed", "expired", or
            "abandoned" where the run ended for good before), summary, resume_hint, deferred_at, expires_at, ended_at (ISO 8601, UTC),
            output (of a resolved one), error (of one that failed or expired), letter (the position of the letter that said so, if one
            did), taken_in (False for a
            result that was posted and that the run has not taken in yet). A ticket whose term is over stays pending until the run's owner
            has recorded it.

        Raises:
            RunNotFoundError: no such run in this log.
            UsageError: it belongs to another thread.
        """
        check_id("run_id", run_id)
        check_id("thread_id", thread_id)
        async with self._session:
            records = await self._tickets.listed(thread_id, run_id)
        return [msgspec.to_builtins(record) for record in records if include_resolved or record.status == "pending"]

    async def resolve_background_tool(self, *, thread_id: str, run_id: str, ticket_id: str, output: Any = None) -> None:
        """Say what the work behind a ticket came to; from any process. Durable when it returns.

        A run that is under way takes it in by itself and tells the model at its next step; any other does when it is resumed. The first
        word on a ticket holds. A ticket that is about to be opened, because its tool is still returning, is waited for up to 5 seconds.

        Args:
            output: JSON data, or what Pydantic renders as such.

        Raises:
            RunNotFoundError: no such run in this log.
            UsageError: an unknown ticket, one that has ended, a run that has ended or is on another thread; or an output that is not
                JSON. Nothing was posted, except where another process ended the ticket at this very moment: then its word holds.
        """
        self._check_ticket(thread_id, run_id, ticket_id)
        async with self._session:
            await self._tickets.resolved(thread_id, run_id, ticket_id, output)
            self._inbox.look()

    async def fail_background_tool(self, *, thread_id: str, run_id: str, ticket_id: str, error: str) -> None:
        """Say that the work behind a ticket failed; otherwise as `resolve_background_tool`.

        Args:
            error: what the model is told.

        Raises:
            RunNotFoundError, UsageError: as there.
        """
        self._check_ticket(thread_id, run_id, ticket_id)
        check_id("error", error)
        async with self._session:
            await self._tickets.failed(thread_id, run_id, ticket_id, clean_text(error))
            self._inbox.look()

    def _check_ticket(self, thread_id: str, run_id: str, ticket_id: str) -> None:
        for name, value in (("run_id", run_id), ("thread_id", thread_id), ("ticket_id", ticket_id)):
            check_id(name, value)

    # ------------------------------------------------------------------------------------------------------------- a run from outside

    async def pending_requests(self, *, run_id: str | None = None) -> tuple[ApprovalRequest | InputRequest, ...]:
        """The open questions to people, the oldest first: of a run and the subagents it waits for, or of all runs of the log.

        Raises:
            RunNotFoundError: there is no such run.
        """
        async with self._session as log:
            return await pending_requests(log, run_id)

    async def approve(
        self, *, run_id: str, by: str, request_id: str | None = None, reason: str | None = None, wait_s: float = 0.0
    ) -> Receipt:
        """Say yes to a call that waits for approval, whichever process drives the run, or none: then `resume` goes on with it.

        The grant is bound to this very call with the arguments it has now, and durable when this returns.

        Args:
            by: who says so.
            request_id: which request; None where only one is pending.
            wait_s: seconds to wait at most until the run has taken it in.

        Raises:
            RunNotFoundError: there is no such run.
            UsageError: no such request is pending, it was answered before, or the run has ended; nothing was written.
        """
        return await (await self.attach(run_id=run_id, by=by)).approve(request_id, reason=reason, wait_s=wait_s)

    async def deny(self, *, run_id: str, by: str, request_id: str | None = None, reason: str | None = None, wait_s: float = 0.0) -> Receipt:
        """Say no to a request, for approval or input; the model is told the reason. Arguments and errors as for `approve`."""
        return await (await self.attach(run_id=run_id, by=by)).deny(request_id, reason=reason, wait_s=wait_s)

    async def answer(self, *, run_id: str, value: str, by: str, request_id: str | None = None, wait_s: float = 0.0) -> Receipt:
        """Give the words that a request for input asks for. Arguments and errors as for `approve`."""
        return await (await self.attach(run_id=run_id, by=by)).answer(value, request_id, wait_s=wait_s)

    async def attach(self, *, run_id: str, by: str) -> AttachedRun:
        """The run as seen from outside: its events, its result, answers and control, whichever process drives it. It needs no agent.

        Args:
            by: the name under which what is said to the run is recorded.

        Raises:
            RunNotFoundError: there is no such run.
            ConfigurationError: `run_id` or `by` is empty.
        """
        check_id("run_id", run_id)
        check_id("by", by)
        return await self._attached(run_id, by)

    # --------------------------------------------------------------------------------------------------------------------- the inside

    async def _attached(self, run_id: str, by: str, watcher: Watcher | None = None, stretch: Stretch | None = None) -> AttachedRun:
        if stretch is not None:
            thread_id = stretch.thread_id
        else:
            async with self._session as log:
                first = await log.read(run_id, limit=1)
                if not first:
                    raise not_found(log, run_id)
            thread_id = first[0].thread_id
        interval_s = self.config.background_tool_poll_interval_s
        return AttachedRun(self._session, self._inbox, self._news, self._clock, interval_s, by, run_id, thread_id, watcher, stretch)

    async def _run_to_the_end_of_the_loop(
        self, agent: Agent, user_message: UserMessage | None, context: dict[str, Any] | None, thread_id: str | None, run_id: str | None
    ) -> AgentResult:
        try:
            return await self.run(agent, user_message=user_message, context=context, thread_id=thread_id, run_id=run_id)
        finally:
            # A log that the caller made and left open would keep its thread, and the program, from ending.
            await self._session.end()

    async def _begun(self, starting: Coroutine[Any, Any, Stretch]) -> Stretch:
        return await begun(starting, self._servers.waits)

    # ------------------------------------------------------------------------- seams, for a Runner whose world is another (afk_es.testing)

    def _handlers(self, binding: Binding, emit: Emit | None, report: Report) -> Handlers:
        """What performs the effects of a stretch in the world."""
        return live_handlers(binding, emit, report)

    async def _new_binding(self, agent: Agent, offered: Offered) -> Binding:
        """Join an agent with the objects that run it."""
        if isinstance(agent, RecordedAgent):
            return recorded_binding(agent, self._clock, self._default_model, self._people)
        return await bind(agent, self._settings, self._policy, self._clock, self._default_model, self._people, offered)

    def _default_model(self) -> ChatModel:
        """The model of agents that name theirs by a string."""
        if self._model_of_strings is None:
            self._model_of_strings = default_model()
        return self._model_of_strings


def _blocking(coroutine: Coroutine[Any, Any, AgentResult], name: str) -> AgentResult:
    if _loop_is_running():
        coroutine.close()
        raise UsageError(f"{name}_sync cannot be called where an event loop is running; use `await runner.{name}(...)`")
    return asyncio.run(coroutine)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
