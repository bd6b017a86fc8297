"""`simulations`: whole simulated runs as a Hypothesis strategy, for tests that judge a run by themselves.

@given(simulations(agent))
def test_whoever_is_refunded_is_told(simulation):
    ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import note
from hypothesis import strategies as st

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import RunnerConfig
from afk_es.llms import UserMessage
from afk_es.testing.exploring.acquaintance import Acquaintance
from afk_es.testing.exploring.adversary import Adversary
from afk_es.testing.exploring.bounds import PlayedAs
from afk_es.testing.exploring.drawn import DrawnChoices
from afk_es.testing.exploring.driving import drive
from afk_es.testing.exploring.pools import Overrides
from afk_es.testing.exploring.telling import told
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import InvariantLike, checked
from afk_es.testing.simulation.world import Simulation


def simulations(
    agent: Agent | Sequence[Agent],
    *,
    invariants: Iterable[InvariantLike] = (),
    user_message: UserMessage | None = "Hello",
    context: Mapping[str, Any] | None = None,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    arguments: Overrides | None = None,
    world: WorldOptions | None = None,
) -> st.SearchStrategy[Simulation]:
    """Simulations of an agent that an adversary played, over and closed: their `runs`, `results` and `script` are there to be judged.

    `explore` looks at more that is different in the same time, makes what it finds smaller and keeps it as a log; this is Hypothesis as it
    always is, with its settings, its database, `target()` and `assume()`. The script of a failing example is noted.
    Hypothesis may take a minute to make a failing one smaller; `@settings(phases=set(Phase) - {Phase.shrink, Phase.explain})` has it told
    as it was found.

    Args:
        invariants: checked meanwhile; default none.
        user_message, context, config, policy_engine, arguments, world: as for `explore`.
    """
    agents = (agent,) if isinstance(agent, Agent) else tuple(agent)
    promises = tuple(invariants)
    world = world if world is not None else WorldOptions()
    known = Acquaintance(agents, policy_engine, context, promises)

    @st.composite
    def played(draw: st.DrawFn) -> Simulation:
        bounds = PlayedAs(world)
        simulation = Simulation(
            agents,
            bounds=bounds,
            user_message=user_message,
            context=context,
            config=config,
            policy_engine=policy_engine,
            observers=checked(promises),
        )
        violation = drive(simulation, Adversary(DrawnChoices(draw, arguments), world, known=known, bounds=bounds))
        for line in told(simulation.script):
            note(line)
        if violation is not None:
            raise violation
        return simulation

    return played()
