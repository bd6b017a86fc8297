"""The pure half of afk_es: events, state, `evolve`, `decide`.

Three words carry the whole engine. `initial_state` is where every run begins. `evolve(state, event)` takes in one fact. `decide(state)`
answers what to append and what to do next. None of them reads a clock, draws an id or touches the world, so whatever drives them, a live
process, a resumed one, a test, a debugger, gets the same answers from the same log.
"""

from afk_es.machine.decision import Decision, decide
from afk_es.machine.effects import ENDINGS, Effect, endings
from afk_es.machine.events import EVENT_TYPES, AgentRunEvent, Draft, EventType
from afk_es.machine.evolution import evolve, fold
from afk_es.machine.legality import LEGAL
from afk_es.machine.memory import remembered
from afk_es.machine.spec import RunSpec
from afk_es.machine.stamping import stamp
from afk_es.machine.state import RunState, initial_state

__all__ = [
    "AgentRunEvent",
    "Decision",
    "Draft",
    "EVENT_TYPES",
    "Effect",
    "ENDINGS",
    "EventType",
    "LEGAL",
    "RunSpec",
    "RunState",
    "decide",
    "endings",
    "evolve",
    "fold",
    "initial_state",
    "remembered",
    "stamp",
]
