"""Strategies for the arguments of tools: those that a tool takes, and those that it refuses, each broken in a way that has a name."""

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
