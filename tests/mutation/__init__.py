"""Mutation testing of the pure packages: how much of their behaviour the tests near them would miss if it were otherwise.

    pip install 'mutmut>=3.8,<4'
    python -m tests.mutation machine.limits machine.decision     # some modules
    python -m tests.mutation --dir /tmp/mutants                  # all of them: some 11,600 mutants, over an hour with two processes
    python -m tests.mutation --dir /tmp/mutants                  # once more: goes on where it stopped, and with modules that changed
    python -m tests.mutation --dir /tmp/mutants --again          # only those that survived: after tests were written
    python -m tests.mutation --dir /tmp/mutants --report         # only say what is known

It works on a copy in the given directory and leaves the tree alone. mutmut changes the bodies of functions: operators, numbers, texts,
arguments, branches of `match` and of conditional expressions. It leaves alone module-level tables (`legality`, the handlers of
`evolution`), properties and defaults, which have tests that go through them row by row. `SURVIVORS.md` explains the mutants that no test
can or should find; the report counts them apart and prints the others in the form in which they would be explained there.
"""
