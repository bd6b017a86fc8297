"""Strategies for the arguments of tools: those that a tool takes, and those that it refuses, each broken in a way that has a name.

    from afk_es.testing import invalid_arguments, valid_arguments

    @given(valid_arguments(book_flight))
    def test_a_booking_can_be_made_of_whatever_the_model_may_send(arguments):
        assert isinstance(book_flight.validate(arguments), BaseModel)

    @given(invalid_arguments(book_flight, breakages=["wrong pattern", "missing"]))
    def test_the_model_is_told_what_to_put_right(broken):
        assert broken.path in broken.refusal

Values are made from the JSON Schema that the model sees (`from_json_schema`), with what the validator knows beyond it (`hints`), and let out
only after the tool's own validator has judged them. What no schema can say, a caller says by `overrides`.
"""

from afk_es.testing.arguments.breaking import Breakage
from afk_es.testing.arguments.invalid import BREAKAGES, BrokenArguments, NothingToBreakError, invalid_arguments
from afk_es.testing.arguments.json_schema import from_json_schema
from afk_es.testing.arguments.targets import Target
from afk_es.testing.arguments.traits import ALL_TRAITS, ORDINARY, Trait
from afk_es.testing.arguments.valid import HardlyAnyArgumentsError, valid_arguments

__all__ = [
    "ALL_TRAITS",
    "BREAKAGES",
    "NothingToBreakError",
    "ORDINARY",
    "Breakage",
    "BrokenArguments",
    "HardlyAnyArgumentsError",
    "Target",
    "Trait",
    "from_json_schema",
    "invalid_arguments",
    "valid_arguments",
]
