"""Numbers, moments and addresses at their edges, judged by Pydantic's validators of the same bounds."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis.strategies import SearchStrategy
from pydantic import UUID4, Field, IPvAnyInterface, TypeAdapter, ValidationError

from afk_es.testing.arguments import moments, numeric
from afk_es.testing.arguments.addresses import ip_interfaces, uris
from afk_es.testing.arguments.formats import uuids
from tests.testing.arguments.table import drawn

UTC = dt.UTC


def made(strategy: SearchStrategy[Any] | None, values: int = 40) -> list[Any]:
    assert strategy is not None
    return drawn(strategy, values)


@pytest.mark.parametrize(
    ("core", "least", "most"),
    [
        ({"ge": 1, "lt": Decimal("1.03")}, "1", "1.02"),
        ({"gt": Decimal("0.10"), "le": Decimal("0.12")}, "0.11", "0.12"),
        ({"max_digits": 1, "decimal_places": 0}, "-9", "9"),
        ({"max_digits": 1}, "-0.9", "0.9"),
        ({"multiple_of": Decimal("0.125"), "ge": 0, "le": Decimal("0.5")}, "0", "0.5"),
        ({"multiple_of": Decimal("0.3"), "decimal_places": 0, "ge": 0, "le": 9}, "0", "9"),
        ({"ge": Decimal(10) ** 20, "le": Decimal(10) ** 20 + 1}, "1e20", "100000000000000000001"),
    ],
)
def test_decimals_keep_to_every_constraint_and_reach_both_ends(core: dict[str, Any], least: str, most: str) -> None:
    valid = TypeAdapter(Annotated[Decimal, Field(**core)])
    values = [valid.validate_python(value) for value in made(numeric.decimals(core), 250)]
    assert (min(values), max(values)) == (Decimal(least), Decimal(most))


@pytest.mark.parametrize("core", [{"gt": 1, "lt": 1}, {"ge": Decimal("0.001"), "le": Decimal("0.009")}])
def test_there_may_be_no_decimal(core: dict[str, Any]) -> None:
    assert numeric.decimals(core) is None


@pytest.mark.parametrize(
    ("schema", "ends"),
    [
        ({"multipleOf": 0.1, "exclusiveMinimum": 0, "exclusiveMaximum": 0.3}, {0.1, 0.2}),
        ({"multipleOf": 0.5, "minimum": 1e9, "maximum": 1e9 + 1}, {1e9, 1e9 + 0.5, 1e9 + 1}),
        ({"minimum": 0.1, "maximum": 0.1}, {0.1}),
    ],
)
def test_numbers_reach_the_ends_that_belong_to_them(schema: dict[str, Any], ends: set[float]) -> None:
    assert set(made(numeric.numbers(schema), 60)) == ends


def test_multiples_start_at_the_one_bound_that_there_is() -> None:
    assert min(made(numeric.numbers({"multipleOf": 0.5, "minimum": 2e6}))) >= 2e6
    assert max(made(numeric.numbers({"multipleOf": 0.5, "maximum": -2e6}))) <= -2e6


def test_a_bound_that_no_float_is_equal_to_is_not_overstepped() -> None:
    # 2**53 + 1 is not a float; the float nearest to it lies below.
    assert min(made(numeric.numbers({"minimum": 2**53 + 1, "maximum": 2**54}))) >= 2**53 + 1


def test_huge_integers_end_where_decoders_do() -> None:
    values = made(numeric.integers({}, huge=True), 60)
    assert {numeric.LARGEST_INT, -numeric.LARGEST_INT} <= set(values)
    assert all(abs(value) <= numeric.LARGEST_INT for value in values)


MOMENTS: list[tuple[Any, Any, dict[str, Any]]] = [
    (moments.dates, dt.date, {"gt": dt.date(2024, 2, 28), "lt": dt.date(2024, 3, 2)}),
    (moments.datetimes, dt.datetime, {"ge": dt.datetime(2024, 1, 1), "lt": dt.datetime(2024, 1, 1, 0, 0, 1)}),  # noqa: DTZ001 - a naive bound
    (moments.datetimes, dt.datetime, {"gt": dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))}),
    (moments.times, dt.time, {"gt": dt.time(23, 59, 59, 999998)}),
    (moments.times, dt.time, {"ge": dt.time(9, tzinfo=UTC), "lt": dt.time(10, tzinfo=UTC)}),
    (moments.durations, dt.timedelta, {"ge": dt.timedelta(days=5000)}),
    (moments.durations, dt.timedelta, {"lt": dt.timedelta(days=-5000)}),
    (moments.durations, dt.timedelta, {"gt": dt.timedelta(0), "lt": dt.timedelta(microseconds=3)}),
]


@pytest.mark.parametrize(("strategy", "kind", "core"), MOMENTS)
def test_moments_keep_to_their_bounds(strategy: Any, kind: Any, core: dict[str, Any]) -> None:
    valid = TypeAdapter(Annotated[kind, Field(**core)])
    assert [valid.validate_json(f'"{value}"') for value in made(strategy(core))]


@pytest.mark.parametrize(
    ("strategy", "core"),
    [
        (moments.dates, {"ge": dt.date(2024, 1, 2), "lt": dt.date(2024, 1, 2)}),
        (moments.dates, {"ge": dt.date(2150, 1, 1), "now_op": "past"}),
        (moments.datetimes, {"gt": dt.datetime(2024, 1, 2, tzinfo=UTC), "lt": dt.datetime(2024, 1, 2, tzinfo=UTC)}),
        (moments.times, {"ge": dt.time(9), "lt": dt.time(9)}),
        (moments.durations, {"gt": dt.timedelta(0), "le": dt.timedelta(0)}),
    ],
)
def test_there_may_be_no_such_moment(strategy: Any, core: dict[str, Any]) -> None:
    assert strategy(core) is None


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (dt.timedelta(0), "PT0S"),
        (dt.timedelta(days=1), "P1D"),
        (dt.timedelta(hours=1, seconds=3, microseconds=500_000), "PT1H3.5S"),
        (dt.timedelta(days=-1, microseconds=-1), "-P1DT0.000001S"),
        (dt.timedelta(minutes=2), "PT2M"),
    ],
)
def test_durations_as_iso_8601_has_them(duration: dt.timedelta, text: str) -> None:
    assert moments.duration_text(duration) == text
    assert TypeAdapter(dt.timedelta).validate_json(f'"{text}"') == duration


def test_uris_keep_to_their_length_and_schemes() -> None:
    for value in made(uris(["wss"], 40, 60)) + made(uris(["wss"], 0, 12)):
        assert value.startswith("wss://")
    assert {40 <= len(value) <= 60 for value in made(uris(["wss"], 40, 60))} == {True}
    assert max(map(len, made(uris(["wss"], 0, 12)))) <= 12


def test_interfaces_have_a_prefix_of_their_version() -> None:
    for value in made(ip_interfaces(4)) + made(ip_interfaces(6)):
        assert str(TypeAdapter(IPvAnyInterface).validate_python(value)) == value


def test_uuids_have_the_version_that_is_asked_for() -> None:
    for version in (1, 4, 7):
        assert {value[14] for value in made(uuids(version), 10)} == {str(version)}
    with pytest.raises(ValidationError):
        TypeAdapter(UUID4).validate_python(made(uuids(7), 2)[0])
