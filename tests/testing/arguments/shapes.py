"""The shapes of arguments that the strategies are measured on: Pydantic's types as tools have them, and what its schemas cannot say."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from annotated_types import Len
from pydantic import (
    UUID4,
    UUID7,
    AfterValidator,
    AliasChoices,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    Base64UrlBytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FutureDate,
    FutureDatetime,
    HttpUrl,
    Json,
    JsonValue,
    NaiveDatetime,
    NonNegativeInt,
    PastDate,
    PastDatetime,
    PostgresDsn,
    RedisDsn,
    RootModel,
    SecretStr,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.networks import FileUrl, IPvAnyAddress, IPvAnyNetwork, WebsocketUrl
from typing_extensions import TypedDict

from afk_es.testing.arguments.targets import Target
from afk_es.tools import tool


class Colour(enum.Enum):
    RED = "red"
    DEEP = 3
    NONE = None


class Weekday(enum.IntEnum):
    MONDAY = 1
    FRIDAY = 5


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")
    street: str = Field(min_length=1, max_length=40)
    zip_code: str = Field(pattern=r"^\d{5}(-\d{4})?$")
    country: Literal["DE", "FR", "US"] = "DE"


class Node(BaseModel):
    name: str
    children: list[Node] = []
    twin: Node | None = None


class Left(BaseModel):
    right: Right | None = None
    weight: int


class Right(BaseModel):
    left: Left | None = None
    label: str


class Card(BaseModel):
    kind: Literal["card"]
    number: str = Field(pattern=r"^\d{12,19}$")


class Transfer(BaseModel):
    kind: Literal["transfer"]
    iban: str = Field(pattern=r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$")


class Cash(BaseModel):
    kind: Literal["cash", "coins"]


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Options(TypedDict, total=False):
    depth: int
    label: str


class Period(BaseModel):
    """Valid only as a whole, which no schema says."""

    start: dt.date
    end: dt.date

    @model_validator(mode="after")
    def _in_order(self) -> Period:
        if self.end < self.start:
            raise ValueError("a period ends after it starts")
        return self


class Even(BaseModel):
    count: int = Field(ge=0, le=1000)
    name: str = Field(max_length=10)

    @field_validator("count")
    @classmethod
    def _even(cls, count: int) -> int:
        if count % 2:
            raise ValueError("the count is even")
        return count


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    count: int
    ratio: float
    on: bool
    day: dt.date
    colour: Colour
    pair: tuple[int, str]
    ident: UUID


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    first: int = 1
    second: int = Field(default=2, validation_alias="segundo")
    third: int = Field(default=3, validation_alias=AliasChoices("tercero", "troisieme"))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int] = Field(init=False)
    name: str


class Numbers(RootModel[Annotated[dict[str, int], Len(1, 3)]]):
    pass


class Wide(BaseModel):
    """Ten fields that are each refused now and then."""

    a: Annotated[int, AfterValidator(lambda value: _refuse_if(value % 4 == 0, value))]
    b: Annotated[int, AfterValidator(lambda value: _refuse_if(value % 4 == 1, value))]
    c: Annotated[int, AfterValidator(lambda value: _refuse_if(value % 4 == 2, value))]
    d: Annotated[str, AfterValidator(lambda value: _refuse_if("0" in value, value))]
    e: Annotated[str, AfterValidator(lambda value: _refuse_if("1" in value, value))]
    f: Annotated[float, AfterValidator(lambda value: _refuse_if(value < 0, value))]
    g: Annotated[list[int], AfterValidator(lambda value: _refuse_if(len(value) == 2, value))]


def _refuse_if(wrong: bool, value: Any) -> Any:
    if wrong:
        raise ValueError("not this one")
    return value


@tool
def book_flight(
    origin: Annotated[str, Field(pattern=r"^[A-Z]{3}$")],
    destination: Annotated[str, Field(pattern=r"^[A-Z]{3}$")],
    day: dt.date,
    passengers: Annotated[list[Address], Field(min_length=1, max_length=4)],
    cabin: Literal["economy", "business"] = "economy",
    bags: NonNegativeInt = 0,
    seat: str | None = None,
) -> str:
    """Book a flight."""
    return f"{origin}-{destination} {day} {passengers} {cabin} {bags} {seat}"


@tool
def reserved_names(copy: int, _hidden: str = "x", schema: bool = False) -> str:
    """Arguments whose names Pydantic has taken."""
    return f"{copy} {_hidden} {schema}"


@tool(
    args_schema={
        "type": "object",
        "properties": {
            "user_id": {"type": "string", "pattern": "^[a-z]+_[0-9]{4}$", "examples": ["ada_1815"]},
            "amount": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 500},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "uniqueItems": True, "contains": {"const": "vip"}},
            "legs": {"type": "array", "items": {"$ref": "#/$defs/leg"}, "minItems": 1},
            "code": {"allOf": [{"type": "string", "minLength": 2}, {"maxLength": 4}, {"not": {"const": "XX"}}]},
            "surprise": {},
            "size": {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
        },
        "required": ["user_id", "legs", "surprise"],
        "additionalProperties": False,
        "$defs": {
            "leg": {"type": "object", "properties": {"from": {"type": "string"}, "then": {"$ref": "#/$defs/leg"}}, "required": ["from"]}
        },
    }
)
def foreign(args: dict[str, Any]) -> str:
    """Described by a schema from elsewhere."""
    return repr(args)


def _model(name: str, /, **fields: Any) -> type[BaseModel]:
    definitions: Any = {field: kind if isinstance(kind, tuple) else (kind, ...) for field, kind in fields.items()}
    model: type[BaseModel] = create_model(name, **definitions)
    return model


SHAPES: Final[Mapping[str, Target]] = {
    "plain scalars": _model("Scalars", text=str, count=int, ratio=float, on=bool),
    "bounded int": _model("Bounded", a=Annotated[int, Field(ge=-3, lt=8)], b=Annotated[int, Field(gt=10**12)]),
    "multiple_of int": _model("MultipleInt", value=Annotated[int, Field(multiple_of=7, gt=3, le=700)]),
    "multiple_of float": _model(
        "MultipleFloat", value=Annotated[float, Field(multiple_of=0.1, ge=0)], q=Annotated[float, Field(multiple_of=0.25)]
    ),
    "bounded float": _model("Share", share=Annotated[float, Field(gt=0, lt=1)], above=Annotated[float, Field(ge=0.1)]),
    "Decimal": _model("Money", price=Decimal),
    "Decimal, digits and places": _model("Price", price=Annotated[Decimal, Field(max_digits=5, decimal_places=2, ge=0)]),
    "Decimal, multiple_of": _model("Quarter", value=Annotated[Decimal, Field(multiple_of=0.25, gt=Decimal(-10), lt=Decimal(10))]),
    "string lengths": _model("Lengths", value=Annotated[str, Field(min_length=3, max_length=5)]),
    "pattern, anchored": _model("Plate", plate=Annotated[str, Field(pattern=r"^[A-Z]{1,3}-\d{1,4}$")]),
    "pattern, found anywhere": _model("Anywhere", value=Annotated[str, Field(pattern=r"\d{3}")]),
    "pattern with length": _model("Slug", slug=Annotated[str, Field(pattern=r"^[a-z0-9-]+$", min_length=8, max_length=12)]),
    "pattern, Rust syntax": _model(
        "Rust", word=Annotated[str, Field(pattern=r"^\p{Lu}[\w&&[^\d_]]*$")], posix=Annotated[str, Field(pattern=r"(?i)^[[:alpha:]]+x\z")]
    ),
    "pattern, compiled for Python": _model("Python", value=Annotated[str, StringConstraints(pattern=re.compile(r"^(?!ab)[a-c]+$"))]),
    "stripped and upper-cased": _model(
        "Stripped", value=Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, min_length=2, max_length=8)]
    ),
    "HttpUrl": _model("Link", url=HttpUrl, short=Annotated[HttpUrl, Field(max_length=24)]),
    "URLs of other schemes": _model("Urls", any_url=AnyUrl, file=FileUrl, socket=WebsocketUrl, base=PostgresDsn, cache=RedisDsn),
    "dates and times": _model("Moments", day=dt.date, at=dt.datetime, hour=dt.time, long=dt.timedelta),
    "aware and naive": _model("Zones", aware=AwareDatetime, naive=NaiveDatetime),
    "past and future": _model("PastFuture", past=PastDate, future=FutureDate, was=PastDatetime, will=FutureDatetime),
    "bounded dates": _model(
        "Bookable",
        day=Annotated[dt.date, Field(ge=dt.date(2024, 1, 1), lt=dt.date(2024, 1, 8))],
        at=Annotated[dt.datetime, Field(gt=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))],
        long=Annotated[dt.timedelta, Field(gt=dt.timedelta(0), le=dt.timedelta(hours=1))],
        hour=Annotated[dt.time, Field(ge=dt.time(9), lt=dt.time(17))],
    ),
    "UUIDs": _model("Idents", any_one=UUID, four=UUID4, seven=UUID7),
    "enums": _model("Enums", colour=Colour, day=Weekday),
    "literals": _model("Literals", value=Literal["a", 1, None, True]),
    "optional and defaults": _model("Defaults", a=(int | None, None), b=(str, "b"), c=(list[int], [1])),
    "union": _model("Union", value=int | str | list[bool] | None),
    "discriminated union": _model("Payment", by=Annotated[Card | Transfer | Cash, Field(discriminator="kind")]),
    "union of models": _model("Either", value=Address | Card | Cash),
    "nested model": _model("Customer", name=str, address=Address, other=(list[Address], [])),
    "nested lists": _model("Grid", cells=list[list[list[int]]], rows=Annotated[list[Annotated[list[str], Len(2, 2)]], Len(1, 3)]),
    "sets": _model("Sets", numbers=Annotated[set[int], Len(2, 4)], colours=frozenset[Colour], words=Annotated[set[str], Len(3)]),
    "tuples": _model("Tuples", pair=tuple[int, str], many=tuple[int, ...], point=Point, first=tuple[Address, bool]),
    "dicts": _model(
        "Dicts",
        counts=dict[str, int],
        by_colour=dict[Weekday, str],
        by_number=dict[int, list[float]],
        some=Annotated[dict[str, str], Len(1, 2)],
    ),
    "dicts with constrained keys": _model(
        "Keys", rates=dict[Annotated[str, Field(pattern="^[a-z]{2}$")], Decimal], days=dict[dt.date, int]
    ),
    "TypedDict": _model("Typed", options=Options, list_of=list[Options]),
    "recursion": Node,
    "mutual recursion": Left,
    "JSON in a string": _model("Embedded", numbers=Annotated[list[int], Json], anything=Annotated[Any, Json]),
    "any JSON": _model("Anything", value=Any, json_value=JsonValue),
    "bytes and base64": _model(
        "Bytes", raw=bytes, b64=Base64Bytes, url=Base64UrlBytes, few=Annotated[bytes, Field(min_length=3, max_length=4)]
    ),
    "IP addresses": _model(
        "Network",
        host=ipaddress.IPv4Address,
        six=ipaddress.IPv6Address,
        net=ipaddress.IPv4Network,
        any_one=IPvAnyAddress,
        any_net=IPvAnyNetwork,
    ),
    "paths, patterns, secrets": _model("Odd", path=Path, regex=re.Pattern, secret=SecretStr, number=complex),
    "byte size": _model("Size", size=ByteSize),
    "e-mail by a schema of one's own": _model(
        "Mail",
        to=Annotated[
            str, WithJsonSchema({"type": "string", "format": "email"}), AfterValidator(lambda text: _refuse_if(text.count("@") != 1, text))
        ],
    ),
    "strict model": Strict,
    "aliases, extra forbidden": Closed,
    "typed extra keys": Open,
    "root model": Numbers,
    "strict scalar": _model("StrictScalar", value=StrictInt, ratio=Annotated[float, Field(strict=True)]),
    "model validator": Period,
    "field validator": Even,
    "seven fussy fields": Wide,
    "tool of a function": book_flight,
    "tool with reserved names": reserved_names,
    "tool with a foreign schema": foreign,
}
"""By a name for the table."""
