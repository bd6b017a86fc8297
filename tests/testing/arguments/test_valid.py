"""Valid arguments: nothing that the real validator refuses gets out, and little has to be thrown away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from pydantic import AfterValidator, BaseModel, Field, FilePath, create_model

from afk_es.cli.demo_agent import agent as demo_agent
from afk_es.errors import ConfigurationError
from afk_es.testing.arguments import ALL_TRAITS, HardlyAnyArgumentsError, Trait, valid_arguments
from afk_es.testing.arguments.targets import Target, refusal_of
from afk_es.tools import Tool, tool
from tests.testing.arguments.shapes import SHAPES, Address, Node, Period, Wide, book_flight
from tests.testing.arguments.table import GATE, drawn, share_valid

TAU = Path("/work/shared/data/tau_airline/tools.json")

SHARES = {
    "byte size": 0.4,
    "model validator": 0.5,
    "field validator": 0.3,
    "seven fussy fields": 0.0,
    "HttpUrl": 0.9,
    "stripped and upper-cased": 0.9,
}
"""What of a schema's values is valid where it says less than the validator checks; 0.99 elsewhere."""

BEYOND_THE_SCHEMA = {"dates and times", "Decimal", "Decimal, digits and places", "Decimal, multiple_of", "multiple_of float", "dicts"}
"""Where the schema that Pydantic writes is narrower than its validator (a negative duration, the keys of a dict by an IntEnum), or where
jsonschema reckons with floats (is 99999.9 a multiple of 0.1?)."""

SHRINKING = settings(database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])

# By Rust's engine or by Python's, and it is asked elsewhere.
_WITHOUT_PATTERNS = extend(Draft202012Validator, {"pattern": None, "patternProperties": None})


def schema_of(target: Target) -> dict[str, Any]:
    """What the model sees."""
    return target.parameters if isinstance(target, Tool) else target.model_json_schema()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_gets_out_is_json_that_the_validator_takes_and_the_schema_allows(shape: str) -> None:
    """The schema by an implementation of JSON Schema that had no part in making the value."""
    target = SHAPES[shape]
    allowed = _WITHOUT_PATTERNS(schema_of(target) if shape not in BEYOND_THE_SCHEMA else {})

    @GATE
    @given(valid_arguments(target))
    def check(value: dict[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        assert json.loads(text.encode()) == value
        assert refusal_of(target, value) is None
        assert refusal_of(target, text) is None
        assert [error.message for error in allowed.iter_errors(value)] == []

    check()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_schema_says_almost_all_that_is_needed(shape: str) -> None:
    assert share_valid(SHAPES[shape], 12) >= SHARES.get(shape, 0.99)


@pytest.mark.parametrize("trait", sorted(ALL_TRAITS))
def test_each_trait_alone_is_taken_too(trait: Trait) -> None:
    for target in (book_flight, Node, SHAPES["typed extra keys"], SHAPES["dicts"]):
        assert [refusal_of(target, value) for value in drawn(valid_arguments(target, traits={trait}), 15)] == [None] * 15


def test_without_traits_arguments_are_required_plain_and_named() -> None:
    for value in drawn(valid_arguments(book_flight, traits=()), 30):
        assert value.keys() == {"origin", "destination", "day", "passengers"}
        assert json.dumps(value, ensure_ascii=False).isascii()
        assert all(passenger.keys() == {"street", "zip_code"} for passenger in value["passengers"])


def test_swarms_have_values_with_and_values_without_each_trait() -> None:
    target = create_model("Both", text=(str, ...), maybe=(int, 1))
    values = drawn(valid_arguments(target, swarm=True), 150)
    assert {"maybe" in value for value in values} == {True, False}
    assert {value.keys() <= {"text", "maybe"} for value in values} == {True, False}
    assert {value["text"].isascii() for value in values} == {True, False}
    assert max(len(value["text"]) for value in values) == 10**5
    assert all(refusal_of(target, value) is None for value in values)


def test_an_unknown_trait_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'tiny' is not a trait of arguments; the traits are huge, optional"):
        valid_arguments(book_flight, traits=["tiny"])  # type: ignore[list-item]


@pytest.mark.parametrize("shape", ["seven fussy fields", "model validator", "field validator", "byte size"])
def test_what_is_wrong_is_made_anew_so_no_health_check_is_hurt(shape: str) -> None:
    seen = 0

    @settings(GATE, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
    @given(valid_arguments(SHAPES[shape]))
    def check(value: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1

    check()
    assert seen >= 60


@pytest.mark.skipif(not TAU.exists(), reason="the recorded conversations are not here")
def test_the_tools_of_a_recorded_agent() -> None:
    for each in json.loads(TAU.read_text()):
        described = each["function"]

        @tool(name=described["name"], description="", args_schema=described["parameters"])
        def recorded(args: dict[str, Any]) -> str:
            return repr(args)

        allowed = Draft202012Validator(described["parameters"])
        assert share_valid(recorded, 10) == 1.0
        for value in drawn(valid_arguments(recorded), 10):
            assert allowed.is_valid(value)


def test_the_tools_of_the_demo() -> None:
    for each in demo_agent.tools:
        assert isinstance(each, Tool)
        assert share_valid(each, 10) == 1.0


class Shipment(BaseModel):
    """Has a field that no schema describes well enough."""

    code: Annotated[str, AfterValidator(lambda code: _registered(code))]
    parcels: list[Address] = Field(min_length=1)


def _registered(code: str) -> str:
    if code not in ("HAM-1", "OSL-2"):
        raise ValueError("no such depot")
    return code


def test_a_validator_that_takes_nothing_is_an_error_with_the_way_out() -> None:
    with pytest.raises(HardlyAnyArgumentsError) as caught:
        drawn(valid_arguments(Shipment), 100)
    message = str(caught.value)
    assert re.match(
        r"the validator of model Shipment took 0 of 200 arguments made from its schema; most often wrong: code. It last said: ", message
    )
    assert "no such depot" in message
    assert 'valid_arguments(..., overrides={"field": strategy})' in message


def test_the_error_comes_before_hypothesis_gives_up_by_a_health_check() -> None:
    @settings(derandomize=True, database=None, deadline=None)
    @given(valid_arguments(create_model("Files", path=(FilePath, ...))))
    def check(value: dict[str, Any]) -> None: ...

    with pytest.raises(HardlyAnyArgumentsError, match="most often wrong: path"):
        check()


@pytest.mark.parametrize("key", ["code", str])
def test_an_override_by_name_or_by_type(key: Any) -> None:
    target = create_model("Coded", __base__=Shipment, parcels=(list[int], []))
    values = drawn(valid_arguments(target, overrides={key: st.sampled_from(["HAM-1", "OSL-2"])}), 20)
    assert {value["code"] for value in values} == {"HAM-1", "OSL-2"}


def test_an_override_by_path_leaves_other_properties_of_that_name_alone() -> None:
    target = create_model("Two", sender=(Address, ...), receivers=(Annotated[list[Address], Field(min_length=1)], ...))
    values = drawn(valid_arguments(target, overrides={"receivers.zip_code": st.just("20095")}), 20)
    assert {address["zip_code"] for value in values for address in value["receivers"]} == {"20095"}
    assert {value["sender"]["zip_code"] for value in values} != {"20095"}


def test_an_override_of_a_model_by_its_class() -> None:
    home = {"street": "Home", "zip_code": "20095", "country": "DE"}
    target = create_model("Visit", address=(Address, ...), days=(int, ...))
    assert {json.dumps(value["address"]) for value in drawn(valid_arguments(target, overrides={Address: st.just(home)}), 10)} == {
        json.dumps(home)
    }


def test_an_override_of_a_recursive_model_by_its_class() -> None:
    target = create_model("Forest", trees=(Annotated[list[Node], Field(min_length=1)], ...))
    leaf = {"name": "leaf"}
    values = drawn(valid_arguments(target, overrides={Node: st.just(leaf)}), 10)
    assert all(tree == leaf for value in values for tree in value["trees"])


def test_what_an_override_makes_is_validated_too() -> None:
    with pytest.raises(HardlyAnyArgumentsError, match="most often wrong: code"):
        drawn(valid_arguments(Shipment, overrides={"code": st.just("nowhere")}), 100)


def test_an_override_that_is_no_strategy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the override of 'code' must be a Hypothesis strategy, not 'HAM-1'; st.just"):
        valid_arguments(Shipment, overrides={"code": "HAM-1"})  # type: ignore[dict-item]


@pytest.mark.parametrize("target", [print, int, []])
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(ConfigurationError, match="decorate a function with @tool"):
        valid_arguments(target)


def test_a_validator_that_crashes_is_not_taken_for_one_that_refuses() -> None:
    """A run would meet the same error, so a property test has to find it."""

    def crash(value: int) -> int:
        raise KeyError(value)

    with pytest.raises(KeyError) as caught:
        drawn(valid_arguments(create_model("Crashing", value=(Annotated[int, AfterValidator(crash)], ...))), 5)
    assert any("raised by the validator of model Crashing, given {'value': " in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("target", "smallest"),
    [
        (SHAPES["plain scalars"], {"text": "", "count": 0, "ratio": 0, "on": False}),
        (SHAPES["bounded int"], {"a": 0, "b": 10**12 + 1}),
        (SHAPES["pattern, anchored"], {"plate": "A-0"}),
        (SHAPES["dates and times"], {"day": "2000-01-01", "at": "2000-01-01T00:00:00Z", "hour": "00:00:00Z", "long": "PT0S"}),
        (SHAPES["optional and defaults"], {}),
        (SHAPES["union"], {"value": None}),
        (SHAPES["HttpUrl"], {"url": "http://example.com", "short": "http://example.com"}),
        (Node, {"name": ""}),
        (Period, {"start": "2000-01-01", "end": "2000-01-01"}),
    ],
)
def test_arguments_shrink_to_plain_ones(target: Target, smallest: dict[str, Any]) -> None:
    assert find(valid_arguments(target), lambda value: True, settings=SHRINKING) == smallest


def test_what_matters_is_all_that_is_left_after_shrinking() -> None:
    found = find(
        valid_arguments(book_flight),
        lambda value: len(value["passengers"]) >= 2 and value.get("bags", 0) > 3,
        settings=settings(SHRINKING, max_examples=2000),
    )
    nobody = {"street": "0", "zip_code": "00000"}
    assert found == {"origin": "AAA", "destination": "AAA", "day": "2000-01-01", "passengers": [nobody, nobody], "bags": 4}


def test_recursion_has_an_end_and_is_used() -> None:
    def depth(node: dict[str, Any]) -> int:
        below = [*node.get("children", ()), *([node["twin"]] if node.get("twin") else ())]
        return 1 + max(map(depth, below), default=0)

    depths = {depth(value) for value in drawn(valid_arguments(Node), 100)}
    assert depths >= {1, 2, 3}
    assert max(depths) <= 6


def test_a_schema_without_values_is_refused_at_once() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    @tool(args_schema=endless)
    def forever(args: dict[str, Any]) -> str:
        return ""

    with pytest.raises(ConfigurationError, match="the schema of tool 'forever' allows no arguments"):
        valid_arguments(forever)


def test_the_wide_shape_would_hardly_ever_be_right_by_luck() -> None:
    assert share_valid(Wide, 60) < 0.5
    assert len(drawn(valid_arguments(Wide), 60)) == 60
