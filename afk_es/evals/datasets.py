"""Cases from JSON, JSON Lines and YAML: rows become `EvalCase`s, in their order. How a file is read is not known here."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.data import assertions_from
from afk_es.evals.assertions.paths import MISSING, path_steps, value_at
from afk_es.evals.dataset_files import Row, rows_of
from afk_es.evals.models import EvalCase

Source = tuple[str | int, ...] | list[str | tuple[str | int, ...]]
"""Where a field stands in a row of another form: a path, or texts and paths that are joined."""

FIELDS = (
    "name",
    "user_message",
    "context",
    "thread_id",
    "tags",
    "budget",
    "assertions",
    "expected_state",
    "expected_output",
    "metadata",
    "golden",
    "golden_mode",
    "repeats",
    "timeout_s",
)
"""What a row may say of its case: the fields of `EvalCase` that are data. "agent" stands beside them where there are several."""


def load_cases(
    path: str | os.PathLike[str],
    *,
    agent: Agent | Mapping[str, Agent],
    fields: Mapping[str, str] | None = None,
) -> Iterator[EvalCase]:
    """The cases of a dataset, in the order of its rows: a file that ends in .json, .jsonl or .yaml.

    A JSON or YAML file is a list of rows, or an object whose only key is `cases`; a JSONL file has a row a line, and is read one by one, as
    the iteration goes on. A row is an object with the `FIELDS`; only unknown keys and doubled names are refused, nothing is required.
    A row without a name is named after the file and its number, from 1: "refunds-3". Assertions are data, `{"contains": "refunded"}`
    (see `assertion_from`); a golden is a path, relative to the dataset.

    Args:
        agent: who runs the cases; or agents by name, of which each row names one as "agent".
        fields: for rows of another form, where each field stands in them, as a path: `{"user_message": "traj[1].content"}`; or a text
            with paths in braces: `{"name": "{task_id}-{trial}"}`. What is not named there is left alone; a field whose path leads
            nowhere is as if it were not there.

    Raises:
        ConfigurationError: the path or the arguments at once; a row that is no case when it is reached. The message names file, line or
            index, and field.
    """
    source = Path(path)
    _check_agents(agent)
    where = _mapping(fields)
    return _cases(source, rows_of(source), agent, where)


def _cases(source: Path, rows: Iterator[Row], agent: Agent | Mapping[str, Agent], where: dict[str, Source] | None) -> Iterator[EvalCase]:
    seen: dict[str, str] = {}
    for number, (place, row) in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigurationError(f"{place}: a case is an object, not {type(row).__name__}")
        data = _checked(place, row, agent) if where is None else _picked(place, row, where)
        # A number is a good name in a file.
        data["name"] = _name(data.get("name"), f"{source.stem}-{number}")
        case = _case(place, data, agent, source.parent)
        if case.name in seen:
            raise ConfigurationError(f"{place}: name: {case.name!r} is the name of the case at {seen[case.name]}; give each its own")
        seen[case.name] = place
        yield case


def _case(place: str, data: dict[str, Any], agent: Agent | Mapping[str, Agent], directory: Path) -> EvalCase:
    data["agent"] = _agent_of(place, data.pop("agent", None), agent)
    if "assertions" in data:
        try:
            data["assertions"] = assertions_from(data["assertions"])
        except ConfigurationError as error:
            raise ConfigurationError(f"{place}: assertions{error}") from error
    if "golden" in data:
        if not isinstance(data["golden"], str):
            raise ConfigurationError(f"{place}: golden: it is the path of a golden file, not {data['golden']!r:.80}")
        data["golden"] = directory / data["golden"]
    if isinstance(data.get("tags"), str):
        data["tags"] = [data["tags"]]
    if isinstance(data.get("expected_state"), list):
        data["expected_state"] = tuple(data["expected_state"])
    if not isinstance(data.get("user_message"), (str, type(None))):
        raise ConfigurationError(f"{place}: user_message: it is a text, not {data['user_message']!r:.80}")
    try:
        return EvalCase(**data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "case"
        raise ConfigurationError(f"{place}: {field}: {first['msg'].removeprefix('Value error, ')}; it is {first['input']!r:.80}") from error


def _checked(place: str, row: dict[Any, Any], agent: Agent | Mapping[str, Agent]) -> dict[str, Any]:
    known = FIELDS if isinstance(agent, Agent) else (*FIELDS, "agent")
    for key in row:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise ConfigurationError(
                f"{place}: {key}: a case has no such field; {hint} Data of your own goes into metadata; "
                "rows of another form are for load_cases(..., fields=...)"
            )
    return dict(row)


def _picked(place: str, row: dict[str, Any], where: dict[str, Source]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for field, source in where.items():
        value = _found(row, source)
        head, _dot, key = field.partition(".")
        if value is MISSING:
            continue
        if key:
            whole = data.get(head, {})
            if not isinstance(whole, dict):
                raise ConfigurationError(f"{place}: {head}: {field!r} is to stand in it, and it is no object: {whole!r:.80}")
            data[head] = {**whole, key: value}
        else:
            data[field] = value
    return data


def _found(row: dict[str, Any], source: Source) -> Any:
    if isinstance(source, tuple):
        return value_at(row, source)
    values = [part if isinstance(part, str) else value_at(row, part) for part in source]
    return MISSING if any(value is MISSING for value in values) else "".join(map(str, values))


def _source(path: str) -> Source:
    if "{" not in path:
        return path_steps(path)
    # Of "{task_id}-{trial}", every second piece stood in braces.
    return [piece if number % 2 == 0 else path_steps(piece) for number, piece in enumerate(re.split(r"\{([^{}]*)\}", path))]


def _mapping(fields: Mapping[str, str] | None) -> dict[str, Source] | None:
    if fields is None:
        return None
    where: dict[str, Source] = {}
    for field, path in fields.items():
        head, dot, key = str(field).partition(".")
        if head not in (*FIELDS, "agent") or (dot and (head not in ("context", "metadata", "budget") or not key)):
            raise ConfigurationError(
                f"fields: {field!r} is no field of a case; there are {', '.join(FIELDS)}, and keys as 'metadata.topic' or 'context.user'"
            )
        where[str(field)] = _source(path)
    # What is put as a whole comes before what is put into it.
    return dict(sorted(where.items(), key=lambda item: "." in item[0]))


def _name(given: Any, otherwise: str) -> Any:
    if given is None:
        return otherwise
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _agent_of(place: str, named: Any, agent: Agent | Mapping[str, Agent]) -> Agent:
    if isinstance(agent, Agent):
        return agent
    found = agent.get(named) if isinstance(named, str) else None
    if found is None:
        raise ConfigurationError(f"{place}: agent: it is one of {', '.join(agent)}, not {named!r}")
    return found


def _check_agents(agent: Any) -> None:
    agents = [agent] if isinstance(agent, Agent) else list(agent.values()) if isinstance(agent, Mapping) else []
    if not agents or not all(isinstance(one, Agent) for one in agents):
        raise ConfigurationError(f"agent is an Agent, or a mapping of names to Agents, not {agent!r:.80}")
