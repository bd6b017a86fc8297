"""Mistakes about results: of tools, of background work, and in what the model is shown."""

from afk_es.core import RunnerConfig
from afk_es.core.retention import RetentionPolicy
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import NoLostTicket, NoSecretInTheLog, NothingBreaks, ResultsBelong, WellFormedRequests, WellNested
from tests.bugs.agents import look_up, refund, reserve, shop
from tests.bugs.planting import Bug, Slip

PARALLEL = WorldOptions(always=frozenset({"parallel_calls"}))
DEFERRING = WorldOptions(always=frozenset({"parallel_calls", "deferrals"}))
SHORT_MEMORY = RunnerConfig(interaction_mode="interactive", thread_retention=RetentionPolicy(max_messages=4))

BUGS = (
    Bug(
        name="results in the order of their coming",
        mistake="the results of a batch are paired with its calls in the order in which they came",
        slips=(
            Slip(
                "afk_es.machine.tool_facts:_settled",
                'Message("tool", other.content, (), other.call.id) for other in turns',
                'Message("tool", came.content, (), other.call.id) '
                "for other, came in zip(turns, sorted(turns, key=lambda each: (each.call.id == turn.call.id, each.ordinal)))",
            ),
        ),
        agent=shop(tools=(look_up, reserve), policy=None),
        world=PARALLEL,
        found_by=(WellFormedRequests,),
    ),
    Bug(
        name="step before the batch is over",
        mistake="a batch is over when its last call is",
        slips=(
            Slip(
                "afk_es.machine.tool_facts:_settled",
                'if [True for other in turns if other.status != "done"]:',
                'if turns[-1].status != "done":',
            ),
        ),
        agent=shop(tools=(look_up, reserve), policy=None),
        world=PARALLEL,
        found_by=(WellNested,),
    ),
    Bug(
        name="calls with one id",
        mistake="calls are known by the ids that the model gave, which it gives twice",
        slips=(Slip("afk_es.handlers.models:_distinct", "while call_id in seen:", "while call_id in seen and call.id == '':"),),
        agent=shop(tools=(look_up, reserve), policy=None),
        world=WorldOptions(always=frozenset({"parallel_calls", "duplicate_ids"})),
        found_by=(NothingBreaks, WellNested, WellFormedRequests),
    ),
    Bug(
        name="output of the last call",
        mistake="what a tool returned is kept under its name until the log has it",
        slips=(
            Slip(
                "afk_es.handlers.tools:ToolHandler.__call__",
                "    if isinstance(output, ToolDeferredHandle):",
                "    output = self.__dict__.setdefault('outputs', {}).setdefault(effect.call.tool_name, output)\n"
                "    if isinstance(output, ToolDeferredHandle):",
            ),
        ),
        agent=shop(tools=(look_up, reserve), policy=None),
        world=WorldOptions(tools={"look_up": lambda arguments: arguments["order"], "reserve": lambda arguments: arguments["order"]}),
        found_by=(ResultsBelong,),
    ),
    Bug(
        name="lost ticket",
        mistake="of two results that come before the next step, the later one is told",
        slips=(Slip("afk_es.machine.tool_facts:background_ended", "notices=(*state.notices, notice)", "notices=(notice,)"),),
        agent=shop(tools=(refund, reserve), policy=None),
        world=DEFERRING,
        first_seed=30,
        found_by=(NoLostTicket,),
    ),
    Bug(
        name="tickets lost in a crash",
        mistake="a new owner keeps the tickets whose term is over",
        slips=(
            Slip(
                "afk_es.machine.run_facts:run_started",
                'changes["tickets"] = expired_by(state.tickets, event.at)',
                'changes["tickets"] = tuple(each for each in state.tickets if each.expires_at <= event.at)',
            ),
        ),
        agent=shop(tools=(refund, reserve), policy=None),
        world=WorldOptions(always=frozenset({"deferrals", "crashes"})),
        found_by=(NoLostTicket,),
    ),
    Bug(
        name="compaction drops the batch",
        mistake="what the model has not seen yet is only protected where the user said it",
        slips=(
            Slip(
                "afk_es.machine.retention:_must_stay",
                "start = _exchange(items, start - 1)",
                "pass",
            ),
        ),
        agent=shop(tools=(look_up, reserve), policy=None),
        config=SHORT_MEMORY,
        world=PARALLEL,
        found_by=(WellFormedRequests,),
    ),
    Bug(
        name="compaction parts a result from its call",
        mistake="the cut is made at any message, and nobody looks whether it may be",
        slips=(
            Slip(
                "afk_es.machine.retention:_exchange",
                'while index and items[index].role == "tool":\n        index -= 1\n    return index',
                "return index",
            ),
            Slip("afk_es.machine.retention:compacted", '(tail and tail[0].role == "tool") or ', ""),
        ),
        agent=shop(tools=(look_up, reserve), policy=None),
        config=SHORT_MEMORY,
        world=PARALLEL,
        found_by=(WellFormedRequests,),
    ),
    Bug(
        name="compaction drops the request",
        mistake="the run's own request is dropped with the turns before it",
        slips=(Slip("afk_es.machine.retention:plan", "kept = (own,) if -1 < own < cut else ()", "kept = ()"),),
        agent=shop(tools=(look_up, reserve), policy=None),
        config=SHORT_MEMORY,
        found_by=(WellFormedRequests, NothingBreaks),
    ),
    Bug(
        name="thread with calls that have no results",
        mistake="the next run begins with the last one's messages as they stand",
        slips=(
            Slip(
                "afk_es.machine.memory:remembered",
                'closing = [Message("tool", _NOT_RUN, (), call.id) for call in state.requested]',
                "closing = []",
            ),
            Slip("afk_es.machine.memory:remembered", 'closing.append(Message("tool", _content(turn), (), turn.call.id))', "pass"),
        ),
        agent=shop(),
        world=WorldOptions(always=frozenset({"turns", "controls"}), turns=4),
        found_by=(WellFormedRequests,),
    ),
    Bug(
        name="letter taken in twice",
        mistake="what was delivered before is delivered again",
        slips=(Slip("afk_es.core.loop:Loop.deliver", "if letter.position > self.last_letter:", "if letter.position > 0:"),),
        agent=shop(tools=(refund, reserve)),
        world=WorldOptions(always=frozenset({"people_outside", "deferrals"})),
        found_by=(NothingBreaks, NoLostTicket),
    ),
    Bug(
        name="secret in an error",
        mistake="the error of a failed call tells what the tool was given, so that one can see what went wrong",
        slips=(
            Slip(
                "afk_es.handlers.tools:ToolHandler.__call__",
                "        return self._failed(effect, error, began)\n    if",
                '        return self._failed(effect, ToolError(f"{error}; it had {self._binding.secrets_for(None)}"), began)\n    if',
            ),
        ),
        agent=shop(policy=None),
        config=RunnerConfig(interaction_mode="interactive", secret_scope_provider=lambda context: {"API_KEY": "sk-live-0123456789"}),
        world=WorldOptions(always=frozenset({"tool_failures"})),
        found_by=(NoSecretInTheLog,),
    ),
)
