"""Reads the rows of a dataset file, each with the place where it stands. What a row means is not known here."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TextIO

from afk_es.errors import ConfigurationError

FORMATS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".yaml": "yaml", ".yml": "yaml"}
"""By the ending of the file."""

MOST_REPEATED = 1_000_000
"""Values that the aliases of a YAML file may stand for, all in all. A few lines of them can mean more than any machine holds."""

_NOT_IN_JSON = ("binary", "set", "omap", "pairs")

Row = tuple[str, Any]
"""Where a row stands ("cases.jsonl:3", "cases.yaml: cases[2]"), and the row."""


def rows_of(path: Path) -> Iterator[Row]:
    """The rows, in their order. JSON Lines are read one by one, the others as a whole.

    Raises:
        ConfigurationError: the file cannot be read, is of no known format, or not what its ending says; the message names the place.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise ConfigurationError(f"{path}: a dataset ends in {', '.join(FORMATS)}")
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    return _guarded(path, {"json": _json_rows, "jsonl": _lines, "yaml": _yaml_rows}[form](path))


def _guarded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: it is no UTF-8 at byte {error.start}; save it as UTF-8") from error


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place = f"{path}:{number}"
                yield place, _json(line, place, number)


def _json_rows(path: Path) -> Iterator[Row]:
    yield from _listed(path, _json(path.read_text(encoding="utf-8-sig"), str(path), None))


def _json(text: str, place: str, line: int | None) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        where = place if line is not None else f"{place}:{error.lineno}"
        raise ConfigurationError(f"{where}: column {error.colno}: it is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{place}: it is nested too deeply") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from error
    except ValueError as error:
        # An integer of more digits than Python reads; see sys.set_int_max_str_digits.
        raise ConfigurationError(f"{place}: a number is too long to be read; write it as a text") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigurationError(f"the key {key!r} stands twice in one object; leave one out")
        found[key] = value
    return found


def _no_number(name: str) -> Any:
    raise ConfigurationError(f"{name} is no JSON number; write null, or a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ConfigurationError(f"{text} is beyond what a number can be; write it as a text")
    return number


def _yaml_rows(path: Path) -> Iterator[Row]:
    import yaml

    with path.open(encoding="utf-8-sig") as file:
        try:
            data = _yaml_data(file)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{path}:{mark.line + 1}: column {mark.column + 1}" if mark is not None else str(path)
            raise ConfigurationError(f"{where}: it is no YAML: {error.problem or error}") from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{path}: it is no YAML: {error}") from error
        except RecursionError as error:
            raise ConfigurationError(f"{path}: it is nested too deeply") from error
    yield from _listed(path, data)


def _yaml_data(file: TextIO) -> Any:
    loader = _json_like_loader()(file)
    try:
        document = loader.get_single_node()
        if document is None:
            return None
        # Before anything is made of it: what aliases stand for is held once, and everybody who reads it would hold it in full.
        _check_aliases(document)
        return loader.construct_document(document)
    finally:
        loader.dispose()


def _check_aliases(document: Any) -> None:
    """Refuse a document whose aliases lead in a circle, or stand for more than `MOST_REPEATED` values."""
    import yaml

    sizes: dict[Any, int] = {}
    under_way: set[Any] = set()

    def size(node: Any) -> int:
        if node in under_way:
            raise yaml.constructor.ConstructorError(None, None, "an alias stands within what it stands for", node.start_mark)
        if node not in sizes:
            under_way.add(node)
            inner = () if isinstance(node, yaml.ScalarNode) else node.value
            sizes[node] = 1 + sum(sum(map(size, part)) if isinstance(part, tuple) else size(part) for part in inner)
            under_way.discard(node)
        return sizes[node]

    if size(document) - len(sizes) > MOST_REPEATED:
        problem = f"its aliases stand for more than {MOST_REPEATED:,} values; write fewer of them"
        raise yaml.constructor.ConstructorError(None, None, problem, document.start_mark)


def _json_like_loader() -> Any:
    """A SafeLoader for what JSON can say as well; it refuses a key that stands twice: YAML keeps the last, and says nothing."""
    import yaml

    class JsonLikeLoader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                value = super().construct_object(node, deep)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # What a tag such as !!int is put before, its constructor takes as it stands.
                raise yaml.constructor.ConstructorError(None, None, f"it is no value of {node.tag}", node.start_mark) from error
            if isinstance(value, float) and not math.isfinite(value):
                raise yaml.constructor.ConstructorError(None, None, f"{node.value} is no number that JSON has", node.start_mark)
            return value

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        own: set[Any] = set()
        for key_node, _value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in own:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice, or is none", key_node.start_mark)
            own.add(key)
        # What a merge (<<) brings stands first, so that the mapping's own keys hold.
        loader.flatten_mapping(node)
        return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}

    loader: Any = JsonLikeLoader
    # Dates would be no JSON; they stay the text that the file has. Bytes, sets and pairs have no such text, and are refused.
    loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))
    for name in _NOT_IN_JSON:
        loader.add_constructor(f"tag:yaml.org,2002:{name}", yaml.SafeLoader.construct_undefined)
    loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return loader


def _listed(path: Path, data: Any) -> Iterator[Row]:
    if isinstance(data, dict) and set(data) == {"cases"}:
        data = data["cases"]
    if not isinstance(data, list):
        raise ConfigurationError(f"{path}: a dataset is a list of cases, or an object whose only key is 'cases'")
    for position, row in enumerate(data):
        yield f"{path}: cases[{position}]", row
