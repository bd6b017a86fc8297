"""Strategies for the arguments of tools: those that a tool takes, and those that it refuses, each broken in a way that has a name."""

from afk_es.testing.arguments.breaking import Breakage
from afk_es.testing.arguments.invalid import BREAKAGES, BrokenArguments, invalid_arguments
from afk_es.testing.arguments.json_schema import from_json_schema
from afk_es.testing.arguments.traits import ALL_TRAITS, ORDINARY, Trait
from afk_es.testing.arguments.valid import arguments

__all__ = [
    "ALL_TRAITS",
    "BREAKAGES",
    "ORDINARY",
    "Breakage",
    "BrokenArguments",
    "Trait",
    "arguments",
    "from_json_schema",
    "invalid_arguments",
]
