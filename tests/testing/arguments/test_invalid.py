"""Broken arguments: each is refused by the real validator, and what was broken has a name and a place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from pydantic import create_model

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments import BREAKAGES, Breakage, BrokenArguments, NothingToBreakError, invalid_arguments
from afk_es.testing.arguments.targets import refusal_of
from afk_es.tools import tool
from tests.testing.arguments.shapes import SHAPES, Address, book_flight
from tests.testing.arguments.table import GATE, drawn

OCCASIONS: dict[Breakage, str] = {
    "missing": "plain scalars",
    "null": "plain scalars",
    "wrong type": "plain scalars",
    "wrong choice": "enums",
    "wrong pattern": "pattern, anchored",
    "wrong format": "dates and times",
    "wrong length": "string lengths",
    "out of bounds": "bounded int",
    "not a multiple": "multiple_of int",
    "extra key": "aliases, extra forbidden",
    "not an object": "plain scalars",
    "broken JSON": "plain scalars",
}
"""A shape for each breakage that Pydantic's validators refuse; it takes the same item twice, for a set."""


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step) if isinstance(value, list) else step]
    return value


@pytest.mark.parametrize("shape", SHAPES)
def test_the_validator_refuses_whatever_gets_out(shape: str) -> None:
    target = SHAPES[shape]

    @settings(GATE, max_examples=8)
    @given(invalid_arguments(target))
    def check(broken: BrokenArguments) -> None:
        refusal = refusal_of(target, broken.arguments)
        assert refusal is not None
        assert refusal.text == broken.refusal
        assert isinstance(broken.arguments, str) == (broken.breakage in ("not an object", "broken JSON"))
        assert isinstance(broken.arguments, str) or json.loads(json.dumps(broken.arguments)) == broken.arguments

    check()


@pytest.mark.parametrize("breakage", OCCASIONS)
def test_each_breakage_can_be_asked_for_alone(breakage: Breakage) -> None:
    found = drawn(invalid_arguments(SHAPES[OCCASIONS[breakage]], breakages=[breakage]), 15)
    assert {broken.breakage for broken in found} == {breakage}
    assert len(found) == 15


def test_every_breakage_that_a_tool_gives_occasion_for_comes_up() -> None:
    found = drawn(invalid_arguments(book_flight), 200)
    assert {broken.breakage for broken in found} == set(BREAKAGES) - {"repeated item", "not a multiple"}


def test_what_is_said_to_be_broken_is_what_is_broken() -> None:
    for broken in drawn(invalid_arguments(book_flight), 60):
        where, what = broken.path.rpartition(".")[::2]
        if isinstance(broken.arguments, str):
            assert broken.path == ""
            continue
        holder = at(broken.arguments, where) if where else broken.arguments
        match broken.breakage:
            case "missing":
                assert what not in holder
            case "null":
                assert at(broken.arguments, broken.path) is None
            case "extra key":
                assert what in holder
            case "wrong pattern":
                assert what in ("zip_code", "origin", "destination")
            case "out of bounds":
                assert holder[what] < 0
            case _:
                assert broken.breakage in ("wrong type", "wrong choice", "wrong format", "wrong length")
        # The validator puts its finger on the same place.
        assert f"- {broken.path}: " in broken.refusal


def test_the_newline_that_only_pythons_dollar_lets_through_is_tried() -> None:
    found = drawn(invalid_arguments(SHAPES["pattern, anchored"], breakages=["wrong pattern"]), 40)
    assert any(broken.arguments["plate"].endswith("\n") for broken in found if isinstance(broken.arguments, dict))


def test_bounds_that_only_the_validator_knows_are_overstepped_too() -> None:
    found = drawn(invalid_arguments(SHAPES["bounded dates"], breakages=["out of bounds"]), 20)
    assert {broken.path for broken in found} == {"day", "at"}
    assert {broken.arguments["day"] for broken in found if isinstance(broken.arguments, dict) and broken.path == "day"} <= {
        "2023-12-31",
        "2024-01-09",
    }


def test_a_twice_encoded_object_is_no_object() -> None:
    texts = [broken.arguments for broken in drawn(invalid_arguments(book_flight, breakages=["not an object"]), 60)]
    assert any(isinstance(text, str) and text.startswith('"{') and isinstance(json.loads(json.loads(text)), dict) for text in texts)


def test_a_tool_without_parameters_has_text_left_to_break() -> None:
    @tool
    def now() -> str:
        """The time."""
        return "noon"

    assert {broken.breakage for broken in drawn(invalid_arguments(now), 60)} == {"extra key", "not an object", "broken JSON"}


def test_a_tool_that_takes_anything_in_an_object() -> None:
    @tool(args_schema={"type": "object"})
    def anything(args: dict[str, Any]) -> str:
        return repr(args)

    assert {broken.breakage for broken in drawn(invalid_arguments(anything), 40)} == {"not an object", "broken JSON"}


def test_a_breakage_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"breakages \['rude'\] do not exist; they are missing, null"):
        invalid_arguments(book_flight, breakages=["rude"])  # type: ignore[list-item]


def test_no_breakage_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="name at least one breakage"):
        invalid_arguments(book_flight, breakages=[])


def test_a_breakage_without_occasion_is_an_error_that_says_so() -> None:
    with pytest.raises(NothingToBreakError, match="model Plain refuses none of the arguments with the breakages: wrong pattern"):
        drawn(invalid_arguments(create_model("Plain", text=(str, ...)), breakages=["wrong pattern"]), 100)


def test_broken_arguments_shrink_to_one_plain_fault() -> None:
    found = find(
        invalid_arguments(create_model("Visit", address=(Address, ...), days=(int, 1))),
        lambda broken: broken.breakage == "wrong pattern",
        settings=settings(database=None, derandomize=True, phases=[Phase.generate, Phase.shrink]),
    )
    assert found.path == "address.zip_code"
    assert found.arguments == {"address": {"street": "0", "zip_code": "00000\n"}}
