"""`Runner`: starts, resumes and watches runs. What a run does is the loop's affair; what it means is the machine's."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import Clock, Ids
from afk_es.core.compaction import ThreadCompactor
from afk_es.core.config import RunnerConfig
from afk_es.core.delegation import Children, ChildRun, SubagentHandler, root_of
from afk_es.core.fork_answers import begun_as_fork, choices_of, had_no_code
from afk_es.core.fork_plans import ForkPlan, plan_of
from afk_es.core.forking import Forks
from afk_es.core.guard import Guard
from afk_es.core.handle import AgentRunHandle, AgentStreamHandle, EventFeed, Feed, StreamFeed, Stretch, begun
from afk_es.core.history import ThreadMemory
from afk_es.core.inbox import Inbox
from afk_es.core.lease import Lease
from afk_es.core.loop import Handlers, Loop
from afk_es.core.news import News, Watcher
from afk_es.core.outside import AttachedRun, Receipt, not_found
from afk_es.core.pending import pending_requests
from afk_es.core.places import Places
from afk_es.core.preparation import prepared, write_down
from afk_es.core.recorded_agents import RecordedAgent, recorded_binding
from afk_es.core.recorded_servers import recorded_offers, recorded_teams, still_offered
from afk_es.core.replays import Replayed, Replaying, Replays
from afk_es.core.result import RESULT_EVENTS, AgentResult, result_of, whole_result
from afk_es.core.retention import CompactionResult, RetentionPolicy
from afk_es.core.servers import Offered, Servers, servers_of
from afk_es.core.session import Session
from afk_es.core.tickets import TicketDesk
from afk_es.core.wiring import bind, check_same_agent, checked_clock, checked_ids, checked_provider, default_model, delivery_to, event_log
from afk_es.errors import ConfigurationError, HeadConflictError, InvalidEventError, RunExistsError, RunOwnedError, UsageError
from afk_es.handlers import Binding, live_handlers
from afk_es.handlers.binding import Emit, Report
from afk_es.handlers.edits import Edit, ModelMode, ToolMode, choices
from afk_es.handlers.outputs import validated
from afk_es.handlers.reusing import Reuse
from afk_es.handlers.withdrawing import WithdrawingHandler
from afk_es.interaction import ApprovalRequest, InputRequest, InteractionProvider
from afk_es.llms import ChatModel, UserMessage
from afk_es.llms.content import content_of
from afk_es.log import EventLog, Statement
from afk_es.machine import AgentRunEvent, Draft, RunSpec, RunState, fold, initial_state
from afk_es.machine.effects import CallModel
from afk_es.machine.values import Messages, clean_text, digest, plain
from afk_es.redaction import Redaction

if TYPE_CHECKING:
    from afk_es.telemetry import TelemetrySink

_AGENTS_KEPT = 64
_CLAIMS = 100
"""How often a run is claimed whose owner goes on appending. Each time it has to append between a look at the run and the next statement."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


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
        self._bindings: dict[int, Binding] = {}
        self._memory = ThreadMemory()
        self._news = News()
        limits = self.config
        places = Places(
            limits.max_parallel_subagents_global, limits.max_parallel_subagents_per_target_agent, limits.subagent_queue_backpressure_limit
        )
        self._children = Children(self._begin_child, places)
        self._inbox = Inbox(opened, self.config.background_tool_poll_interval_s)
        self._tickets = TicketDesk(opened, self._clock)
        self._always_replay = self.config.debug or os.environ.get("AFK_ES_ALWAYS_REPLAY") == "1"

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
        return await (await self._begun(self._start(agent, user_message, context, thread_id, None, run_id=run_id))).result_or_cancel()

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
        return AgentRunHandle(
            await self._begun(self._start(agent, user_message, context, thread_id, feed, run_id=run_id, guard=guard)), feed
        )

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
        return AgentStreamHandle(
            await self._begun(self._start(agent, user_message, context, thread_id, feed, run_id=run_id, streamed=True)), feed
        )

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
        _check_id("by", by)
        # From before it begins, so that nothing is missed of what is not stored.
        watcher = self._news.watch(_checked_run_id(run_id))
        async with self._session as log:
            while True:
                first = await log.read(run_id, limit=1)
                try:
                    if not first:
                        starting = self._start(agent, user_message, context, thread_id, feed, run_id=run_id, streamed=streamed, lease=lease)
                    else:
                        _check_same_request(first[0], agent, user_message, thread_id)
                        starting = self._gone_on(
                            agent,
                            run_id,
                            None,
                            allow_agent_change,
                            feed,
                            streamed=streamed,
                            lease=lease,
                            take_over=take_over,
                            reopen=reopen,
                        )
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
        content_of(user_message)
        _checked_run_id(run_id)
        _check_id("reason", reason)
        binding = None if _is_served(agent) else await self._runnable(agent)
        merged = _json_context(agent, context)
        async with self._session as log:
            if binding is None:
                binding = await self._runnable(agent)
            state = initial_state(run_id, self._ids.new("thread"))
            started = _started(binding, log.owner, user_message, merged)
            try:
                await write_down(log, prepared(state, started, clean_text(reason), self._clock.now()), statements)
            except (HeadConflictError, InvalidEventError) as error:
                if await log.head(run_id) is not None:
                    raise _taken(run_id, log) from error
                raise

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
        resuming = self._gone_on(agent, run_id, thread_id, allow_agent_change, None, take_over=take_over, reopen=reopen)
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
        resuming = self._gone_on(agent, run_id, thread_id, allow_agent_change, feed, take_over=take_over, reopen=reopen)
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
        return await (await self._begun(self._fork(agent, run_id, at, edits, tools, models, thread_id, None))).result_or_cancel()

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
        return AgentRunHandle(await self._begun(self._fork(agent, run_id, at, edits, tools, models, thread_id, feed)), feed)

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
        _check_id("run_id", run_id)
        chosen = choices(edits, tools, models)
        async with self._session as log:
            rehearsed = (f"{run_id}:plan", f"{run_id}:plan")
            prepared = await self._forks(log).prepared(agent, run_id, at, chosen, rehearsed, rehearsal=True)
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
        _check_id("run_id", run_id)
        if thread_id is not None:
            _check_id("thread_id", thread_id)

        async def drive(
            binding: Binding, state: RunState, history: Messages, started: Draft, notable: list[AgentRunEvent], replaying: Replaying
        ) -> Stretch:
            child = replaying.child
            root = child.root if child is not None else None
            return await begun(self._drive(binding, state, history, started, notable, None, child=child, root=root, replaying=replaying))

        async with self._session as log:
            own = (self._ids.new("run"), thread_id or self._ids.new("thread"))
            replays = Replays(log, self._clock, self._memory, self._bound_as_recorded, self._children.placed, drive)
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
        _check_id("thread_id", thread_id)
        if not isinstance(retention, RetentionPolicy):
            raise ConfigurationError(
                f"retention is a RetentionPolicy, not {type(retention).__name__}; write RetentionPolicy(max_messages=...)"
            )

        async def drive(binding: Binding, state: RunState, history: Messages, started: Draft) -> Stretch:
            return await begun(self._drive(binding, state, history, started, [], None))

        async with self._session as log:
            compactor = ThreadCompactor(self._memory, self.config, self._clock, self._ids, self._default_model, drive)
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
        _check_id("run_id", run_id)
        _check_id("thread_id", thread_id)
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
        _check_id("error", error)
        async with self._session:
            await self._tickets.failed(thread_id, run_id, ticket_id, clean_text(error))
            self._inbox.look()

    def _check_ticket(self, thread_id: str, run_id: str, ticket_id: str) -> None:
        for name, value in (("run_id", run_id), ("thread_id", thread_id), ("ticket_id", ticket_id)):
            _check_id(name, value)

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
        _check_id("run_id", run_id)
        _check_id("by", by)
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

    async def _start(
        self,
        agent: Agent,
        user_message: UserMessage | None,
        context: dict[str, Any] | None,
        thread_id: str | None,
        feed: Feed | None,
        *,
        run_id: str | None = None,
        streamed: bool = False,
        guard: Guard | None = None,
        lease: Lease | None = None,
    ) -> Stretch:
        content_of(user_message)
        if thread_id is not None:
            _check_id("thread_id", thread_id)
        if run_id is not None:
            _checked_run_id(run_id)
        # Servers are asked while the Runner is in use, and left when it no longer is. All else is told before the log is touched.
        binding = None if _is_served(agent) else await self._runnable(agent)
        merged = _json_context(agent, context)
        async with self._session as log:
            if binding is None:
                binding = await self._runnable(agent)
            if run_id is not None and await log.head(run_id) is not None:
                raise _taken(run_id, log)
            refs = await self._memory.latest(log, thread_id) if thread_id is not None else []
            history = await self._memory.read(log, refs)
            state = initial_state(run_id or self._ids.new("run"), thread_id or self._ids.new("thread"), history)
            started = _started(binding, log.owner, user_message, merged)
            if refs:
                started.data["history"] = refs
            return await self._drive(binding, state, history, started, [], feed, streamed=streamed, guard=guard, lease=lease)

    async def _fork(
        self,
        agent: Agent | None,
        run_id: str,
        at: int | None,
        edits: Sequence[Edit],
        tools: Mapping[str, ToolMode] | ToolMode | None,
        models: ModelMode,
        thread_id: str | None,
        feed: Feed | None,
    ) -> Stretch:
        _check_id("run_id", run_id)
        if thread_id is not None:
            _check_id("thread_id", thread_id)
        chosen = choices(edits, tools, models)
        async with self._session as log:
            own = (self._ids.new("run"), thread_id or self._ids.new("thread"))
            fork = await self._forks(log).prepared(agent, run_id, at, chosen, own)
            return await self._drive(fork.binding, fork.state, fork.history, fork.started, fork.notable, feed, reuse=fork.reuse)

    def _forks(self, log: EventLog) -> Forks:
        return Forks(log, self._clock, self._memory, self._bound, self._children.placed)

    async def _begin_child(self, child: ChildRun) -> Stretch:
        """The run of a subagent: from its start, or from where its log ends."""
        async with self._session as log:
            if await log.head(child.run_id) is not None:
                return await self._gone_on(
                    child.binding.agent, child.run_id, None, True, None, child=child, lease=child.lease, take_over=child.take_over
                )
            state = initial_state(child.run_id, f"thread_{digest(child.run_id.encode())}")
            data: dict[str, Any] = {
                "agent_name": child.binding.spec.agent_name,
                "resumed": False,
                "epoch": 1,
                "owner": log.owner,
                "agent": child.binding.data,
                "user_message": child.task,
                "context": child.context,
                "parent": child.parent,
            }
            return await self._drive(
                child.binding, state, Messages(), Draft("run_started", data), [], None, child=child, root=child.root, lease=child.lease
            )

    async def _gone_on(self, *arguments: Any, take_over: bool, **options: Any) -> Stretch:
        """As `_resume`. An owner that is to be taken over may append between the look at its run and the claim: then it is looked again."""
        for _ in range(_CLAIMS):
            try:
                return await self._resume(*arguments, take_over=take_over, **options)
            except RunOwnedError:
                if not take_over:
                    raise
        return await self._resume(*arguments, take_over=take_over, **options)

    async def _resume(
        self,
        agent: Agent,
        run_id: str,
        thread_id: str | None,
        allow_agent_change: bool,
        feed: Feed | None,
        *,
        child: ChildRun | None = None,
        reopen: bool = False,
        streamed: bool = False,
        lease: Lease | None = None,
        take_over: bool = False,
    ) -> Stretch:
        _check_id("run_id", run_id)
        async with self._session as log:
            events = await log.read(run_id)
            if not events:
                raise not_found(log, run_id)
            first = events[0]
            forked = begun_as_fork(events)
            binding = await self._binding_to_resume(agent, forked, child, events)
            if thread_id is not None and thread_id != first.thread_id:
                raise UsageError(f"run {run_id} belongs to thread {first.thread_id!r}, not to {thread_id!r}")
            history = await self._memory.read(log, first.data.get("history", []))
            state = fold(initial_state(run_id, first.thread_id, history), events)
            notable = [event for event in events if event.type in RESULT_EVENTS]
            reopens = reopen and state.status == "failed"
            if state.ended and state.status != "interrupted" and not reopens:
                if feed is not None:
                    feed.close()
                return Stretch.over(state, await _result(log, binding, state, notable, whole=child is None))
            if state.spec.retention is not None and state.spec.retention.alone:
                raise UsageError(f"run {run_id} compacts thread {state.thread_id!r}; call compact_thread again, and it goes on with it")
            if "replay_of" in first.data:
                raise UsageError(
                    f"run {run_id} replays run {first.data['replay_of']['run_id']}, and a replay is not resumed: it asks nobody, so replay "
                    "that run again (Runner.replay)"
                )
            if reopens and "parent" in (forked or first).data:
                raise UsageError(
                    f"run {run_id} is a subagent's, and its parent was told that it failed: reopen the run that a caller started, "
                    f"{root_of(first.data, run_id)}"
                )
            if state.spec.agent_path:
                # A subagent's run keeps its place in the family, and the limits that its parent left it.
                binding = self._children.placed(binding, state)
            if not allow_agent_change:
                check_same_agent(state.spec, binding.spec)
            if not state.ended and not take_over and await log.alive(state.owner, run_id):
                raise RunOwnedError(
                    f"run {run_id} is being driven by {state.owner}, which is alive; wait until it ends, or stop that process"
                )
            data: dict[str, Any] = {
                "agent_name": binding.spec.agent_name,
                "resumed": True,
                "epoch": state.epoch + 1,
                "owner": log.owner,
            }
            reuse = None
            if forked is not None:
                first = forked
                if isinstance(binding.agent, RecordedAgent):
                    data["recorded_agent"] = True
                reuse = await self._forks(log).reuse_of(forked, events, binding)
                if untouched := reuse.untouched(state, no_code=had_no_code(forked, events)):
                    data["untouched"] = untouched
            if reopens:
                data["reopened"] = True
            if "parent" in first.data:
                # Whoever is told of this stretch alone must be able to place it.
                data["parent"] = first.data["parent"]
            if binding.spec != state.spec:
                data["agent"] = binding.data
            root = root_of(first.data, run_id)
            return await self._drive(
                binding,
                state,
                history,
                Draft("run_started", data),
                notable,
                feed,
                streamed=streamed,
                child=child,
                root=root,
                reuse=reuse,
                lease=lease,
                take_over=take_over,
            )

    async def _binding_to_resume(
        self, agent: Agent, forked: AgentRunEvent | None, child: ChildRun | None, events: Sequence[AgentRunEvent]
    ) -> Binding:
        if child is not None:
            return child.binding
        if forked is not None:
            return await self._forks(self._session.log).bound(agent, choices_of(forked))
        return await self._runnable(agent, events)

    async def _drive(
        self,
        binding: Binding,
        state: RunState,
        history: Messages,
        started: Draft,
        notable: list[AgentRunEvent],
        feed: Feed | None,
        *,
        streamed: bool = False,
        child: ChildRun | None = None,
        root: str | None = None,
        reuse: Reuse | None = None,
        replaying: Replaying | None = None,
        guard: Guard | None = None,
        lease: Lease | None = None,
        take_over: bool = False,
    ) -> Stretch:
        """Claim the run, and let its loop go on in a task of its own; that of a fork, or of a replay, answers from the record first."""

        def publish(event: AgentRunEvent) -> None:
            if event.type in RESULT_EVENTS:
                notable.append(event)
            if feed is not None:
                feed.publish(event)
            if delivery is not None:
                delivery.publish(event)
            if reuse is not None:
                reuse.note(event)
            if playback is not None:
                playback.note(event)
            news.publish(event)

        delivery, news = self._delivery, self._news

        async def emit(text: str) -> None:
            await loop.emit(text)

        def report(seq: int, message: str, data: dict[str, Any]) -> None:
            loop.report(seq, message, data)

        async def look() -> None:
            await self._inbox.look_for(loop)

        place = child.place if child is not None else None
        log = self._session.log
        playback = replaying.playback if replaying is not None else None
        children = replaying.children if replaying is not None else self._children
        clock = playback.clock if playback is not None else self._clock
        subagents = SubagentHandler(children, binding, log, clock, root or state.run_id, place, lambda: loop, take_over)
        handlers: Handlers = {**self._handlers(binding, emit if streamed else None, report), **subagents.handlers()}
        withdrawing = None
        # By the name alone: to check for the whole protocol takes 0.1 ms, for every run. A replay has asked nobody.
        if playback is None and any(hasattr(model, "withdraw") for model in binding.models):
            withdrawing = WithdrawingHandler(handlers[CallModel], binding, lambda: loop.state, own=reuse is None)
            handlers = {**handlers, CallModel: withdrawing}
        if reuse is not None:
            handlers = reuse.over(handlers, binding, lambda: loop.state, lambda draft: loop.post(draft))
        if playback is not None:
            handlers = playback.over(handlers, lambda: loop.state, lambda draft: loop.post(draft), lambda: loop.busy)
        loop = Loop(
            state,
            log=log,
            handlers=handlers,
            clock=clock,
            publish=publish,
            room=feed.room if streamed and feed is not None else None,
            # Nobody has posted anything to a replay, and its questions are answered when they were.
            before_term=look if playback is None else None,
            guard=child.guard if child is not None else guard,
            lease=lease,
            history=history,
            always_replay=self._always_replay,
            pacing=playback,
        )
        try:
            await loop.open(started)
        except (HeadConflictError, InvalidEventError) as error:
            # One that begins finds another of its id, by its head or by its thread.
            if not state.seq and await log.head(state.run_id) is not None:
                raise _taken(state.run_id, log) from error
            if isinstance(error, InvalidEventError):
                raise
            raise RunOwnedError(f"run {state.run_id} was taken over by another process at this moment: {error}") from error
        if started.data["resumed"]:
            try:
                await self._inbox.catch_up(loop)
            except BaseException:
                self._session.log.release(state.run_id)
                raise
        else:
            self._inbox.join(loop)
        if child is not None and child.end is not None:
            loop.post(Draft("control_requested", {"action": "cancel", "reason": child.end, "origin": "parent"}, child.end))
        task = asyncio.create_task(
            self._driven(loop, binding, notable, feed, withdrawing, whole=child is None), name=f"{state.run_id}:loop"
        )
        # Our caller is about to leave the session; by then the task has its own share in it.
        await asyncio.sleep(0)
        return Stretch(state.run_id, state.thread_id, task, loop)

    def _handlers(self, binding: Binding, emit: Emit | None, report: Report) -> Handlers:
        """What performs the effects of a run. Crash injection stands between the loop and these."""
        return live_handlers(binding, emit, report)

    async def _driven(
        self,
        loop: Loop,
        binding: Binding,
        notable: list[AgentRunEvent],
        feed: Feed | None,
        withdrawing: WithdrawingHandler | None,
        *,
        whole: bool = True,
    ) -> AgentResult:
        # Taken here and not before the task is made: a task that is cancelled before its first step would never give it back.
        self._session.share()
        try:
            state = await loop.run()
            if withdrawing is not None:
                await withdrawing.ended(state)
            if whole:
                self._memory.keep(state)
            return await _result(self._session.log, binding, state, notable, whole=whole)
        finally:
            self._inbox.leave(loop)
            if feed is not None:
                feed.close()
            await self._session.leave()

    async def _runnable(self, agent: Agent, recorded: Sequence[AgentRunEvent] = ()) -> Binding:
        """The binding of an agent that is to run, or to go on with a run that is no fork and has these events."""
        if isinstance(agent, RecordedAgent):
            raise UsageError("a recorded agent has no code of its own tools, so it can only fork: call fork, or pass the agent itself")
        return await self._bound(agent, recorded)

    async def _bound(self, agent: Agent, recorded: Sequence[AgentRunEvent] = ()) -> Binding:
        known = self._bindings.get(id(agent))
        if known is not None and not known.offered:
            return known
        if not _is_agent(agent):
            raise ConfigurationError(f"agent is an Agent, not {type(agent).__name__}")
        offered = await self._servers.offered(agent)
        if recorded:
            offered = await still_offered(offered, agent, self._session.log, recorded)
        if known is not None and known.offered == offered:
            return known
        binding = await self._new_binding(agent, offered)
        if len(self._bindings) >= _AGENTS_KEPT:
            self._bindings.pop(next(iter(self._bindings)))
        # The binding holds the agent, so its id stays taken for as long as the entry is here.
        self._bindings[id(agent)] = binding
        return binding

    async def _bound_as_recorded(self, agent: Agent, recorded: RunSpec, others: Mapping[str, RunSpec]) -> Binding:
        """The binding for a replay, which asks no server."""
        if not _is_agent(agent) or next(servers_of(agent), None) is None:
            return await self._bound(agent)
        binding = await self._new_binding(agent, recorded_offers(agent, recorded, others))
        return recorded_teams(binding, recorded, others)

    async def _new_binding(self, agent: Agent, offered: Offered) -> Binding:
        if isinstance(agent, RecordedAgent):
            return recorded_binding(agent, self._clock, self._default_model, self._people)
        return await bind(agent, self._settings, self._policy, self._clock, self._default_model, self._people, offered)

    def _default_model(self) -> ChatModel:
        if self._model_of_strings is None:
            self._model_of_strings = default_model()
        return self._model_of_strings


async def _result(log: EventLog, binding: Binding, state: RunState, notable: list[AgentRunEvent], *, whole: bool) -> AgentResult:
    output_type = binding.agent.output_type
    structured = state.output
    if output_type is not None and structured is not None:
        # A run that has ended has its result, even if today's output type would not take the answer.
        with suppress(Exception):
            structured = validated(output_type, structured)
    # Nobody asks a child for what is below it but its parent's result, which reads that from the logs.
    return await whole_result(log, state, notable, structured) if whole else result_of(state, notable, structured)


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} is a non-empty string; this is {value!r}")


def _is_agent(agent: object) -> bool:
    return isinstance(agent, Agent)


def _is_served(agent: Agent) -> bool:
    return _is_agent(agent) and next(servers_of(agent), None) is not None


def _checked_run_id(run_id: object) -> str:
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise ConfigurationError(
            f"run_id is of 1 to 128 letters, digits, '_', '-' and '.', and begins with a letter or digit; this is {run_id!r:.160}"
        )
    return run_id


def _taken(run_id: str, log: EventLog) -> RunExistsError:
    return RunExistsError(f"{log.location} has a run {run_id!r} already; choose another id, or call run_once to join it")


def _started(binding: Binding, owner: str, user_message: UserMessage | None, context: dict[str, Any]) -> Draft:
    """The event that begins a run that a caller asks for."""
    text, parts = content_of(user_message)
    data: dict[str, Any] = {
        "agent_name": binding.agent.name,
        "resumed": False,
        "epoch": 1,
        "owner": owner,
        "agent": binding.data,
        "user_message": text,
        "context": context,
    }
    if parts:
        data["user_parts"] = parts
    return Draft("run_started", data)


def _check_same_request(first: AgentRunEvent, agent: Agent, user_message: UserMessage | None, thread_id: str | None) -> None:
    text, parts = content_of(user_message)
    data = first.data
    asked = {"agent": agent.name, "message": (text, parts or None), "thread": thread_id or first.thread_id}
    recorded = {"agent": data["agent_name"], "message": (data.get("user_message"), data.get("user_parts")), "thread": first.thread_id}
    differing = [name for name in asked if asked[name] != recorded[name]]
    if differing:
        raise RunExistsError(
            f"run {first.run_id!r} was started with another {' and '.join(differing)}; an id stands for one request, so choose another"
        )


def _json_context(agent: Agent, context: dict[str, Any] | None) -> dict[str, Any]:
    if context is not None and not isinstance(context, dict):
        raise ConfigurationError(f"context is a dict or None, not {type(context).__name__}")
    try:
        merged: dict[str, Any] = plain({**agent.context_defaults, **(context or {})})
    except (TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"context is recorded with the run, so it holds JSON data only: {error}. Hand live objects to tools by closure, and secrets "
            "by RunnerConfig.secret_scope_provider"
        ) from error
    return merged


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
