"""Arguments that are described by a JSON Schema which somebody else wrote: a server's, a file's, a recording's. It knows no function.

What the schema says of types, required and forbidden properties and listed values is checked here. Everything else it may say (patterns,
ranges, formats) goes to the model with it, and is the function's affair: the whole of JSON Schema would be a library of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, RootModel, create_model
from pydantic_core import CoreSchema, core_schema

from afk_es.errors import ConfigurationError
from afk_es.machine.values import plain

_SCALARS: Mapping[str, CoreSchema] = {
    "string": core_schema.str_schema(),
    "integer": core_schema.int_schema(),
    # An integer stays one: 5 does not come back as 5.0.
    "number": core_schema.union_schema([core_schema.int_schema(), core_schema.float_schema(allow_inf_nan=False)]),
    "boolean": core_schema.bool_schema(),
    "null": core_schema.none_schema(),
}


def arguments_of(schema: Mapping[str, Any], name: str) -> tuple[type[BaseModel], dict[str, Any]]:
    """A model whose value is the dict of the arguments, of those that were sent and no others, and the schema as plain JSON.

    Raises:
        ConfigurationError: the schema is not JSON, or not one of an object.
    """
    try:
        parameters = plain(schema)
    except TypeError as error:
        raise ConfigurationError(f"tool {name!r}: args_schema is not JSON: {error}") from error
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise ConfigurationError(f'tool {name!r}: args_schema describes an object, {{"type": "object", "properties": ...}}')
    try:
        checked = _Reading(parameters, name).whole()
    except (TypeError, AttributeError) as error:
        raise ConfigurationError(f"tool {name!r}: args_schema is not a JSON Schema: {error}") from error
    # A type that says by itself how it is validated: of one that is only annotated so, Pydantic loses the definitions.
    arguments = type(name, (), {"__get_pydantic_core_schema__": classmethod(lambda cls, source, handler: checked)})
    root: Any = RootModel[arguments]  # type: ignore[valid-type]
    model: type[BaseModel] = create_model(f"{name}_arguments", __base__=root)
    return model, {"type": "object", "properties": {}, **parameters}


class _Reading:
    """A JSON Schema while it is turned into what Pydantic validates by. A reference is turned once, so one to itself has an end."""

    def __init__(self, root: dict[str, Any], name: str) -> None:
        self._root = root
        self._name = name
        self._referred: dict[str, CoreSchema | None] = {}

    def whole(self) -> CoreSchema:
        checked = self._object(self._root)
        return core_schema.definitions_schema(checked, [each for each in self._referred.values() if each is not None])

    def _checked(self, schema: Any) -> CoreSchema:
        if not isinstance(schema, dict):
            return core_schema.any_schema()
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]))
        if "const" in schema or "enum" in schema:
            return _listed(schema["enum"] if "enum" in schema else [schema["const"]])
        for alternatives in ("anyOf", "oneOf"):
            if alternatives in schema:
                return core_schema.union_schema([self._checked(each) for each in schema[alternatives]])
        kind = schema.get("type")
        if isinstance(kind, list):
            return core_schema.union_schema([self._checked({**schema, "type": each}) for each in kind])
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return core_schema.list_schema(self._checked(schema.get("items")))
        return _SCALARS.get(str(kind), core_schema.any_schema())

    def _object(self, schema: dict[str, Any]) -> CoreSchema:
        required = schema.get("required", ())
        properties = {**dict.fromkeys(required), **schema.get("properties", {})}
        fields = {name: core_schema.typed_dict_field(self._checked(each), required=name in required) for name, each in properties.items()}
        more = schema.get("additionalProperties", True)
        return core_schema.typed_dict_schema(
            fields,
            extra_behavior="forbid" if more is False else "allow",
            extras_schema=self._checked(more) if isinstance(more, dict) else None,
        )

    def _reference(self, reference: str) -> CoreSchema:
        target = _at(self._root, reference)
        if target is None:
            return core_schema.any_schema()
        name = f"{self._name}:{reference}"
        if reference not in self._referred:
            self._referred[reference] = None
            self._referred[reference] = {**self._checked(target), "ref": name}
        return core_schema.definition_reference_schema(name)


def _listed(values: list[Any]) -> CoreSchema:
    scalars = all(isinstance(value, (str, int)) or value is None for value in values)
    return core_schema.literal_schema(values) if scalars and values else core_schema.any_schema()


def _at(root: dict[str, Any], reference: str) -> Any:
    """What a reference within the schema stands for, or None; nothing is fetched from elsewhere."""
    found: Any = root
    for part in reference.split("/")[1:]:
        found = found.get(part) if isinstance(found, dict) else None
    return found if reference.startswith("#") else None
