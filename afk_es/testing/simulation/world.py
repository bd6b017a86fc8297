"""A whole simulation: one thread's runs in a world that is driven action by action, and that remembers every action.

    simulation = Simulation(agent, user_message="Refund order A-17")
    simulation.begin()
    while not simulation.over:
        ask = next(iter(simulation.pending.values()))
        simulation.perform(Answer(ask.key, plain_fact(ask)))
    simulation.close()

Everything that is not the outside world is real: the Runner, its loop, the handlers, policies, hooks, validation, subagents and the log. An
action that does not fit where the run stands, as when a script was edited, is let go, and `perform` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds
from afk_es.core import AgentResult, AgentRunEvent, RunnerConfig
from afk_es.core.history import ThreadMemory
from afk_es.core.servers import servers_of
from afk_es.errors import UsageError
from afk_es.llms import UserMessage
from afk_es.log.memory import MemoryEventLog
from afk_es.testing.simulation.asks import FITTING, Ask, AskKind, Bounds
from afk_es.testing.simulation.facts import (
    Action,
    Answer,
    Control,
    Crash,
    Fact,
    ModelAnswers,
    PersonSays,
    Script,
    StalledProcess,
    Summarises,
    TicketEnds,
    TimePasses,
    Together,
    ToolReturns,
    UserSays,
)
from afk_es.testing.simulation.observing import ObservedRun, Observer, at_once, observed
from afk_es.testing.simulation.process import Process, Work
from afk_es.testing.simulation.virtual_loop import check_no_loop_runs

SETTLING = 400
"""Plain actions after which a run that nobody disturbs any more should have ended long ago."""

_SELDOM_S = 86_400.0
"""How often a simulated process looks into its log for letters: it is told of its own at once, and nobody else posts any."""


class StuckError(AssertionError):
    """A run that nobody disturbs does not come to its end."""


class Simulation:
    """Runs of one agent on one thread, in a simulated world.

    Args:
        agent: the agent; or several versions of it, of which the first begins.
        user_message, context: as for `Runner.run`.
        config: of the Runners; default interactive mode, so that people can be asked.
        policy_engine: of the Runners.
        observers: are told what happens.
        bounds: what may be answered; default everything that fits.

    Attributes:
        log: has all runs.
        runs: every run, of subagents too, by its id, in the order of beginning.
        script: what was performed so far.
        results: of the runs that a caller started, in order, with one for each time a run was laid down.
        process: the one that drives the run now.
        processes: how many there were.
        writes: what was appended to the log, write by write, over all runs.
        agents, context, policy_engine: what it was made with.
        writer: the number of the process that wrote to the log last.
    """

    def __init__(
        self,
        agent: Agent | Sequence[Agent],
        *,
        user_message: UserMessage | None = "Hello",
        context: Mapping[str, Any] | None = None,
        config: RunnerConfig | None = None,
        policy_engine: PolicyEngine | None = None,
        observers: Sequence[Observer] = (),
        bounds: Bounds | None = None,
    ) -> None:
        check_no_loop_runs()
        self.agents: tuple[Agent, ...] = (agent,) if isinstance(agent, Agent) else tuple(agent)
        if not self.agents:
            raise UsageError("a simulation needs an agent")
        for each in self.agents:
            if next(servers_of(each), None) is not None:
                raise UsageError(
                    f"agent {each.name!r} has servers, and a simulation connects to nobody: give it "
                    "asyncio.run(afk_es.testing.without_servers(agent))"
                )
        config = config if config is not None else RunnerConfig(interaction_mode="interactive")
        self.config: RunnerConfig = config.model_copy(update={"background_tool_poll_interval_s": _SELDOM_S})
        self.log: MemoryEventLog = MemoryEventLog(ids=SeededIds())
        self.runs: dict[str, ObservedRun] = {}
        self.results: list[AgentResult] = []
        self.processes: int = 0
        self.writes: list[Sequence[AgentRunEvent]] = []
        self.process: Process
        self.writer: int = 0
        self._performed: list[Action] = []
        self._said: list[UserMessage | None] = [user_message]
        self.context: dict[str, Any] | None = dict(context) if context is not None else None
        self.policy_engine: PolicyEngine | None = policy_engine
        self._observers = tuple(observers)
        self._told_of: dict[str, list[Any]] = {}
        self._bounds = bounds
        self._ids = SeededIds(1)
        self._keys: Counter[str] = Counter()
        self._stalled: list[Process] = []
        self._memory = ThreadMemory()
        self._roots: list[str] = []
        self._version = 0
        self._told: tuple[str, int] | None = None
        self._fate: Crash = Crash()
        self._violation: Exception | None = None
        self._ended_tickets: set[tuple[str, int]] = set()

    def __repr__(self) -> str:
        events = sum(len(run.events) for run in self.runs.values())
        return f"<Simulation of {self.agents[0].name}: {len(self._performed)} actions, {len(self.runs)} runs, {events} events>"

    # -------------------------------------------------------------------------------------------------------------------- where it stands

    @property
    def script(self) -> Script:
        """What was performed so far, so that it can be performed again."""
        return tuple(self._performed)

    @property
    def user_message(self) -> UserMessage | None:
        """What the user said first."""
        return self._said[0]

    @property
    def root(self) -> ObservedRun | None:
        """The run that a caller started last; None until its first event is durable."""
        return self.runs[self._roots[-1]] if self._roots else None

    @property
    def pending(self) -> dict[str, Ask]:
        """What the run waits for of the world, by key; of a run that lies interrupted, the questions that it waits with."""
        return self.process.pending

    @property
    def waits_for_time(self) -> bool:
        """Whether something comes by itself when time passes."""
        return self.process.at_work and self._next_timer() is not None

    @property
    def over(self) -> bool:
        """Whether the run has ended, for good unless it is reopened, or was laid down at a limit, which no resumption gets past."""
        root = self.root
        if root is None or not self.at_rest or not root.state.ended:
            return False
        return root.state.status != "interrupted" or root.events[-2].type == "limit_reached"

    @property
    def at_rest(self) -> bool:
        """Whether no process drives the run: it has ended, or was laid down."""
        return not self.process.at_work and not self.process.dead

    @property
    def tickets(self) -> list[tuple[str, str]]:
        """The open tickets, each with its run, the oldest first; without those that were ended, and whose run has not heard of it."""
        found = [(run, ticket) for run in self.runs.values() for ticket in run.state.tickets if not ticket.expired]
        return [(run.run_id, ticket.ticket_id) for run, ticket in found if (run.run_id, ticket.seq) not in self._ended_tickets]

    @property
    def errors(self) -> list[BaseException]:
        """What processes raised to their callers, or where nobody caught it."""
        everyone = [*self._stalled, self.process]
        return [error for each in everyone for error in ([each.error] if each.error is not None else []) + each.faults]

    # ------------------------------------------------------------------------------------------------------------------------ driving it

    def begin(self) -> None:
        """Begin the first run, up to where it first waits for the world.

        Raises:
            UsageError: the agent cannot be run; whatever `Runner.run_handle` raises.
        """
        self._tell("begins", self)
        self._new_process(self._beginning())
        self._settle()
        if self.process.error is not None and self.root is None:
            raise self.process.error
        self._raise_violation()

    def perform(self, action: Action) -> bool:
        """Let this happen, up to where everything waits again. False: it does not fit here, and nothing happened.

        Raises:
            Exception: whatever an observer raised meanwhile.
        """
        if not self._do(action):
            return False
        self._performed.append(action)
        self._settle()
        self._raise_violation()
        return True

    def play(self, script: Script) -> None:
        """Perform what fits of a script."""
        for action in script:
            self.perform(action)

    def finish(self) -> None:
        """Let nothing go wrong any more: everybody answers plainly, and whatever was laid down or paused is resumed, until the run has ended.

        Raises:
            StuckError: it never does.
        """
        for _turn in range(SETTLING):
            action = self._plain_action()
            if action is None:
                return
            if not self.perform(action):
                break
        root = self.root
        where = f"run {root.run_id} at seq {root.state.seq}, {root.state.status}" if root is not None else "the run has not begun"
        raise StuckError(f"nothing goes wrong any more, and the run does not end: {where}")

    def close(self) -> None:
        """Wake stalled processes, so that it shows what they do, and clear everything away.

        Raises:
            Exception: whatever an observer raised meanwhile.
        """
        for process in self._stalled:
            self._wake(process)
        self._tell("over", self)
        self.abandon()
        self._raise_violation()

    def resume_ended(self) -> AgentResult | None:
        """What somebody gets who resumes the run that has ended for good, not knowing that it has; None where it has not. No part of the script."""
        root, process = self.root, self.process
        if root is None or not self.over or process.result is None:
            return None
        before = process.result
        process.do(self._resuming(root.run_id))
        process.settle()
        result, process.result = process.result, before
        return result

    def abandon(self) -> None:
        """Clear everything away where it stands, without a word to the observers; for a simulation that has shown what it was to show."""
        for process in (*self._stalled, self.process):
            if not process.loop.is_closed():
                process.bury()

    # ------------------------------------------------------------------------------------------------------------- as its processes see it

    def key(self, kind: AskKind, name: str) -> str:
        """The key of the next ask of this kind."""
        about = f"{kind}:{name}"
        self._keys[about] += 1
        return f"{about}:{self._keys[about]}"

    def asked(self, ask: Ask) -> None:
        """A process waits for this."""
        self._tell("asked", ask)

    def appended(self, process: Process, events: Sequence[AgentRunEvent]) -> None:
        """These events are durable."""
        self.writes.append(events)
        first = events[0]
        run = self.runs.get(first.run_id)
        if run is None:
            history = at_once(self._memory.read(self.log, first.data.get("history", [])))
            run = self.runs[first.run_id] = observed(first.run_id, first, history)
            if run.parent is None:
                self._roots.append(run.run_id)
        self.writer = process.number
        for event in events:
            before = run.take_in(event)
            self._tell("appended", run, event, before, run.state)

    def living(self, owner: str, run_id: str) -> bool:
        """Whether the process with this owner's name drives the run, as far as anybody can tell: a stalled one does not look alive."""
        process = self.process
        return process.log.owner == owner and not process.dead and run_id in process.log.held

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _tell(self, what: str, *about: Any) -> None:
        """Tell every observer. What one of them raises waits until the run waits: raised here it would be a tool's or the log's failure."""
        methods = self._told_of.get(what)
        if methods is None:
            # Most observers care for a few things, and most of what happens is told.
            caring = [each for each in self._observers if getattr(type(each), what, None) is not getattr(Observer, what)]
            methods = self._told_of[what] = [getattr(each, what) for each in caring]
        for method in methods:
            try:
                method(*about)
            except Exception as error:  # noqa: BLE001 - it is raised to whoever drives the simulation
                if self._violation is None:
                    self._violation = error

    def _raise_violation(self) -> None:
        if self._violation is not None:
            violation, self._violation = self._violation, None
            raise violation

    def _do(self, action: Action) -> bool:
        match action:
            case Answer():
                return self._answer(action)
            case TimePasses():
                return self._pass_time(action.seconds)
            case Crash():
                return self._crash(action)
            case Control():
                return self._control(action)
            case TicketEnds():
                return self._end_ticket(action)
            case StalledProcess():
                return self._stall()
            case UserSays():
                if not self.over or self.process.error is not None:
                    return False
                self._said.append(action.text)
                self.process.do(self._beginning())
                return True
            case Together():
                # Each of them, whatever became of the one before.
                done = [self._do(each) for each in action.actions]
                return any(done)

    def _answer(self, action: Answer) -> bool:
        ask = self.pending.get(action.to)
        if ask is None or not isinstance(action.fact, FITTING[ask.kind]):
            return False
        if self._bounds is not None and not self._bounds.allows(ask, action.fact):
            return False
        self._tell("answered", ask, action.fact)
        self.process.give(ask, action.fact)
        if ask.effect is None:
            del self.pending[ask.key]
        return True

    def _pass_time(self, seconds: float | None) -> bool:
        process = self.process
        if not process.at_work:
            return False
        if seconds is None:
            due = self._next_timer()
            if due is None:
                return False
            process.settle(due)
            return True
        process.settle(process.loop.time() + max(seconds, 0.0))
        return True

    def _next_timer(self) -> float | None:
        """The moment of the next timer that a run waits for."""
        due = self.process.loop.next_timer()
        return due if due is not None and due < self.process.loop.time() + _SELDOM_S else None

    def _crash(self, action: Crash) -> bool:
        if not self.process.at_work:
            return False
        self._fate = action
        self.process.die_at(action.appends, action.when)
        return True

    def _recover(self) -> None:
        """Another process goes on, where the one before died."""
        dead, fate = self.process, self._fate
        self._tell("died", dead.number)
        moment = dead.loop.time() + max(fate.downtime_s, 0.0)
        dead.bury()
        self._take_over(fate.version, moment)

    def _take_over(self, version: int | None, moment: float) -> None:
        if version is not None:
            self._version = version % len(self.agents)
        # Of a run whose first event did not become durable nobody was told; its user says it again.
        begun = len(self._roots) == len(self._said)
        self._new_process(self._resuming(self._roots[-1]) if begun else self._beginning(), moment)
        self._tell("took_over", self.process.number)
        self._settle()

    def _stall(self) -> bool:
        if not self.process.at_work or self.root is None:
            return False
        self._stalled.append(self.process)
        self._take_over(None, self.process.loop.time())
        return True

    def _wake(self, process: Process) -> None:
        """A stalled process goes on, and hears at last what it waited for."""
        moment = max(self.process.loop.time(), process.loop.time())
        for ask in list(process.pending.values()):
            process.give(ask, self._plain_fact(ask))
        process.settle(moment)

    def _control(self, action: Control) -> bool:
        process, root = self.process, self.root
        if root is None:
            return False
        if process.at_work:
            if process.handle is None or action.action == "reopen" or (action.action == "resume" and root.state.status != "paused"):
                return False
            process.spawn(getattr(process.handle, action.action)())
            return True
        if _GOES_ON_BY.get(root.state.status) != action.action:
            return False
        process.do(self._resuming(root.run_id, reopen=action.action == "reopen"))
        return True

    def _end_ticket(self, action: TicketEnds) -> bool:
        tickets = self.tickets
        if not tickets:
            return False
        run_id, ticket_id = tickets[action.ticket % len(tickets)]
        self._ended_tickets |= {(run_id, each.seq) for each in self.runs[run_id].state.tickets if each.ticket_id == ticket_id}
        about: dict[str, Any] = {"thread_id": self.runs[run_id].thread_id, "run_id": run_id, "ticket_id": ticket_id}
        runner = self.process.runner
        if action.error is not None:
            self.process.spawn(runner.fail_background_tool(**about, error=action.error))
        else:
            self.process.spawn(runner.resolve_background_tool(**about, output=action.output))
        return True

    def _beginning(self) -> Work:
        agent, user_message = self.agents[self._version], self._said[-1]
        thread_id = self.root.thread_id if self.root is not None else None

        async def work(process: Process) -> AgentResult:
            process.handle = await process.runner.run_handle(agent, user_message=user_message, context=self.context, thread_id=thread_id)
            return await process.handle.await_result()

        return work

    def _resuming(self, run_id: str, *, reopen: bool = False) -> Work:
        agent = self.agents[self._version]

        async def work(process: Process) -> AgentResult:
            changes = len(self.agents) > 1
            process.handle = await process.runner.resume_handle(agent, run_id=run_id, allow_agent_change=changes, reopen=reopen)
            return await process.handle.await_result()

        return work

    def _new_process(self, work: Work, moment: float = 0.0) -> None:
        self.processes += 1
        self.process = Process(
            self.processes,
            self,
            self.log,
            work,
            moment=moment,
            config=self.config,
            policy_engine=self.policy_engine,
            ids=self._ids,
        )

    def _settle(self) -> None:
        """Up to where everything waits."""
        self.process.settle()
        if self.process.dead:
            self._recover()
            return
        result, root = self.process.result, self.root
        if result is None or root is None or (result.run_id, root.state.seq) == self._told:
            return
        self._told = (result.run_id, root.state.seq)
        self.results.append(result)
        self._tell("ended", root, result)
        self._find_open_questions()

    def _find_open_questions(self) -> None:
        """Put what an interrupted run waits for among the asks: it is answered from outside."""
        process = self.process
        process.pending.clear()
        if process.result is None or process.result.state != "interrupted":
            return
        for request in process.result.pending:
            kind: AskKind = request.kind
            state = self.runs[request.run_id].state
            ask = Ask(
                self.key(kind, request.tool_name),
                kind,
                request.tool_name,
                process.number,
                request.run_id,
                state.step,
                None,
                request,
                process.loop.create_future(),
            )
            process.pending[ask.key] = ask
            self.asked(ask)

    def _plain_fact(self, ask: Ask) -> Fact:
        return plain_fact(ask) if self._bounds is None else self._bounds.plain(ask)

    def _plain_action(self) -> Action | None:
        root = self.root
        for key, ask in self.pending.items():
            return Answer(key, self._plain_fact(ask))
        if self.process.at_work and root is not None and root.state.status == "paused":
            return Control("resume")
        if not self.over and self.tickets:
            return TicketEnds()
        if self.process.at_work:
            return TimePasses()
        return None if root is None or self.over or self.process.error is not None else Control("resume")


_GOES_ON_BY = {"interrupted": "resume", "failed": "reopen"}
"""What goes on with a run that nobody drives, by its status."""


def plain_fact(ask: Ask) -> Fact:
    """The plain answer: the model has said all, the tool has nothing to say, the person agrees."""
    match ask.kind:
        case "model":
            return ModelAnswers("Done.", tokens=(1, 1), cost_usd=0.0)
        case "tool":
            return ToolReturns()
        case "approval" | "input":
            return PersonSays()
        case "summary":
            return Summarises()


def playing(script: Script, agent: Agent | Sequence[Agent], **arguments: Any) -> Simulation:
    """A simulation in which a script was performed, and then everything else went plainly; to be closed by the caller."""
    simulation = Simulation(agent, **arguments)
    try:
        simulation.begin()
        simulation.play(script)
        simulation.finish()
    except BaseException:
        simulation.abandon()
        raise
    return simulation
