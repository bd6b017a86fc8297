"""The forms in which datasets have the claims, trajectories, limits and judges of this package: data made into what it means."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from afk_es.errors import ConfigurationError, UsageError
from afk_es.evals.assertions.call_pattern import CallPattern
from afk_es.evals.assertions.calls import Counted
from afk_es.evals.assertions.expectations import matchers_in
from afk_es.evals.assertions.happenings import What
from afk_es.evals.assertions.judge import LLMJudge
from afk_es.evals.assertions.likeness import JsonLike, Similarity, json_like, similarity
from afk_es.evals.assertions.run_checks import RunChecks, Within, checks, within
from afk_es.evals.assertions.temporal import Claim, always, at_most, eventually, never, precedes, responds
from afk_es.evals.assertions.trajectory import Trajectory

T = TypeVar("T")


def _form(build: Callable[[Any], T]) -> Callable[[Any], T]:
    """What data cannot be made of is a mistake in the dataset, which tells it by row."""
    name = build.__name__.removesuffix("_form")

    @wraps(build)
    def built(data: Any) -> T:
        try:
            return build(data)
        except ConfigurationError:
            raise
        except UsageError as error:
            raise ConfigurationError(f"{name}: {error}") from error

    return built


@_form
def never_form(data: Any) -> Claim:
    """`never: 'tool = "drop"'`, `never: {tool: refund, arguments: {order: 13}}`, `never: {what: ..., where: ..., subagents: true}`."""
    return _quantified("never", never, data)


@_form
def always_form(data: Any) -> Claim:
    """As `never`."""
    return _quantified("always", always, data)


@_form
def eventually_form(data: Any) -> Claim:
    """As `never`, without `where`."""
    return _quantified("eventually", eventually, data)


@_form
def at_most_form(data: Any) -> Claim:
    """`at_most: {times: 3, what: {tool: search}, where: ...}`."""
    options = _options("at_most", data, at_most, {"times": "most"}, ("times", "what"))
    times = options.pop("most")
    if isinstance(times, bool) or not isinstance(times, int):
        raise ConfigurationError(f"at_most: times is a whole number, not {times!r}")
    return at_most(times, options.pop("what"), **options)


@_form
def precedes_form(data: Any) -> Claim:
    """`precedes: [{tool: check}, {tool: pay}]`, or `{first: ..., then: ..., subagents: true}`."""
    return _paired("precedes", precedes, data)


@_form
def responds_form(data: Any) -> Claim:
    """As `precedes`."""
    return _paired("responds", responds, data)


@_form
def trajectory_form(data: Any) -> Trajectory:
    """`trajectory: [look, {tool: refund, arguments: {order: 7}}]`, or `{calls: [...], mode: superset, ...}` with the options of `Trajectory`."""
    if isinstance(data, list):
        return Trajectory(data)
    options = _options("trajectory", data, Trajectory, {"calls": "reference"}, ("calls",))
    return Trajectory(options.pop("reference"), **options)


@_form
def checks_form(data: Any) -> RunChecks:
    """`checks: {no_errors: true, max_repeats: 2}`, with the rules of `afk-es check`."""
    return checks(**_object("checks", data))


@_form
def within_form(data: Any) -> Within:
    """`within: {cost_usd: 0.5, steps: 4}`."""
    return within(**_options("within", data, within))


@_form
def similarity_form(data: Any) -> Similarity:
    """`similarity: "a text"`, `similarity: true` for the case's expected_output, or `{expected: ..., threshold: 0.9}`."""
    if data is True:
        return similarity()
    if isinstance(data, str):
        return similarity(data)
    return similarity(**_options("similarity", data, similarity))


@_form
def json_like_form(data: Any) -> JsonLike:
    """`json_like: true` for the case's expected_output, or `{expected: {amount: {$type: number}}, match: superset}`."""
    if data is True:
        return json_like()
    options = _options("json_like", data, json_like)
    if "expected" in options:
        options["expected"] = matchers_in(options["expected"])
    return json_like(**options)


@_form
def judge_form(data: Any) -> LLMJudge:
    """`judge: {model: gpt-5.2-mini, rubric: ..., threshold: 0.7}`, with the options of `LLMJudge` that are data."""
    options = _options("judge", data, LLMJudge, {}, ("model", "rubric"))
    if "log" in options or not isinstance(options["model"], str):
        raise ConfigurationError("judge: a dataset names the model by a text, and has no log; write an LLMJudge in Python for the rest")
    return LLMJudge(**options)


def _quantified(name: str, claim: Callable[..., Claim], data: Any) -> Claim:
    if not isinstance(data, Mapping) or "tool" in data:
        return claim(_what(name, data))
    options = _options(name, data, claim, {}, ("what",))
    return claim(options.pop("what"), **options)


def _paired(name: str, claim: Callable[..., Claim], data: Any) -> Claim:
    if isinstance(data, list) and len(data) == 2:
        return claim(*(_what(name, each) for each in data))
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{name} takes two things, as [{{'tool': 'check'}}, {{'tool': 'pay'}}], not {data!r:.80}")
    options = _options(name, data, claim, {}, ("first", "then"))
    return claim(options.pop("first"), options.pop("then"), **options)


_SPOKEN_OF = frozenset({"what", "where", "first", "then"})


def _options(
    form: str, data: Any, made_by: Callable[..., Any], other_names: Mapping[str, str] | None = None, needed: tuple[str, ...] = ()
) -> Any:
    """The arguments for what makes it, by the names that its signature has."""
    known = {name: name for name in inspect.signature(made_by).parameters}
    for ours, theirs in (other_names or {}).items():
        known[ours] = known.pop(theirs)
    given = _object(form, data)
    for key in given:
        if key not in known:
            raise ConfigurationError(f"{form} has no {key!r}; it takes {', '.join(known)}")
    for key in needed:
        if key not in given:
            raise ConfigurationError(f"{form} needs {key!r}")
    return {known[key]: _what(form, value) if key in _SPOKEN_OF else value for key, value in given.items()}


def _object(form: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise ConfigurationError(f"{form} takes an object, not {data!r:.80}")
    return dict(data)


def _what(form: str, data: Any) -> What:
    """An expression, or a call: `{tool: refund, arguments: {order: 7}, counted: succeeded}`, whose arguments may have others beside them."""
    if isinstance(data, str):
        return data
    written = _object(form, data)
    counted: Counted = written.pop("counted", "permitted")
    pattern = CallPattern.of(written)
    return CallPattern(pattern.tool, pattern.arguments, pattern.match or "superset", pattern.agent, counted)
