"""The JSON Schema of a Pydantic model with what the validator knows beyond it, so that less of what is made has to be thrown away.

A JSON Schema cannot say that a date lies in the past, how many digits a decimal has, or which schemes a URL may use; the validator's own
schema does. What is added stands under one key, `HINT`, and says how to make values, never what is valid: that is the validator's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

HINT = "x-afk-es-validator"
"""The key; its value is a part of Pydantic's core schema, or for `keys` a JSON Schema."""


def hinted_schema(model: type[BaseModel], seen: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that the model sees, with hints where it is the one of the arguments' model.

    Args:
        model: validates the arguments.
        seen: what the model sees. Of a tool whose schema comes from elsewhere it is not the validator's, and then it stays as it is.
    """
    hinted: dict[str, Any] = model.model_json_schema(schema_generator=_Hinting)
    return hinted if _compared(hinted) == _compared(seen) else seen


def type_schema(kind: Any) -> Mapping[str, Any]:
    """The same for any type that Pydantic knows."""
    from pydantic import TypeAdapter

    schema: Mapping[str, Any] = TypeAdapter(kind).json_schema(schema_generator=_Hinting)
    return schema


class _Hinting(GenerateJsonSchema):
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - Pydantic declares it so

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {**super().decimal_schema(schema), HINT: schema}

    def date_schema(self, schema: core_schema.DateSchema) -> JsonSchemaValue:
        return {**super().date_schema(schema), HINT: schema}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return {**super().datetime_schema(schema), HINT: schema}

    def time_schema(self, schema: core_schema.TimeSchema) -> JsonSchemaValue:
        return {**super().time_schema(schema), HINT: schema}

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return {**super().timedelta_schema(schema), HINT: schema}

    def url_schema(self, schema: core_schema.UrlSchema) -> JsonSchemaValue:
        return {**super().url_schema(schema), HINT: schema}

    def multi_host_url_schema(self, schema: core_schema.MultiHostUrlSchema) -> JsonSchemaValue:
        return {**super().multi_host_url_schema(schema), HINT: schema}

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
        return {**super().complex_schema(schema), HINT: schema}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        # Keys that are numbers or dates to the validator: JSON spells every key as text.
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        return {**super().dict_schema(schema), HINT: {"type": "dict", "keys": keys}}


_SAID = frozenset({"title", "description", HINT})


def _compared(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        # Tools list `properties` even where there is none.
        return {key: _compared(value) for key, value in schema.items() if key not in _SAID and not (key == "properties" and not value)}
    return [_compared(each) for each in schema] if isinstance(schema, list) else schema
