"""The pure half of afk_es: events, state, `evolve`, `decide`.

Three words carry the whole engine. `initial_state` is where every run begins. `evolve(state, event)` takes in one fact. `decide(state)`
answers what to append and what to do next. None of them reads a clock, draws an id or touches the world, so whatever drives them, a live
process, a resumed one, a test, a debugger, gets the same answers from the same log.
"""
