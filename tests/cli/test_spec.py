"""`spec` says what the parser does: every option in it is taken, nothing else is, and the defaults are those that verbs get."""

from __future__ import annotations

import json
import re
from typing import Any

import click
import pytest

from afk_es.cli import VERBS, main
from afk_es.cli.golden import GOLDEN_VERBS
from afk_es.cli.spec import EXIT_CODES, SCHEMAS, program_spec, verb_spec
from afk_es.debugger.positions import GRAMMAR
from tests.cli.conftest import ROOT, Afk


def _command(verb: str) -> tuple[click.Command, click.Context]:
    context = click.Context(main, info_name="afk-es")
    command = main.get_command(context, verb)
    assert command is not None
    return command, click.Context(command, parent=context, info_name=verb)


def _sample(kind: dict[str, Any]) -> str:
    match kind["name"]:
        case "choice":
            return str(kind["choices"][0])
        case "integer" | "float":
            return str(int(kind.get("minimum") or 0) + 1)
        case "file":
            return __file__
        case _:
            return "text"


def _parsed(verb: str, words: list[str]) -> dict[str, Any]:
    """What click's own parser makes of these words, without calling anything."""
    command, context = _command(verb)
    options, _rest, _order = command.make_parser(context).parse_args(words)
    return options


def test_it_is_whole(afk: Afk) -> None:
    told = json.loads(afk("spec").stdout)
    assert told == json.loads(json.dumps(program_spec()))
    assert [verb["name"] for verb in told["verbs"]] == list(VERBS)
    assert told["positions"] == GRAMMAR
    assert told["exit_codes"] == {str(code): meaning for code, meaning in EXIT_CODES.items()}
    assert {"--db", "--format"} <= {flag for option in told["options"] for flag in option["flags"]}
    lines = [json.loads(line) for line in afk("spec", "--format", "jsonl").stdout.splitlines()]
    assert lines == [{"schema": "afk_es.verb/1", **verb} for verb in told["verbs"]]
    assert json.loads(afk("spec", "log").stdout) == {"schema": "afk_es.verb/1", **told["verbs"][list(VERBS).index("log")]}


def test_an_unknown_verb_is_wrong_usage(afk: Afk) -> None:
    result = afk("spec", "frobnicate")
    assert result.exit_code == 2
    assert "there are: demo" in result.stderr


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_parser_takes_every_option_of_the_spec_and_no_other(verb: str) -> None:
    spec = verb_spec(verb)
    for option in spec["options"]:
        for flag in (*option["flags"], *option["off_flags"]):
            words = [flag, *[_sample(option["type"])] * option["nargs"]]
            assert option["name"] in _parsed(verb, words), words
        if option["nargs"]:
            with pytest.raises(click.UsageError):
                _parsed(verb, [option["flags"][0]])
    with pytest.raises(click.UsageError):
        _parsed(verb, ["--no-such-option-of-ours"])


@pytest.mark.parametrize("verb", list(VERBS))
def test_values_outside_of_a_type_are_refused_as_the_spec_says(verb: str) -> None:
    command, context = _command(verb)
    by_name = {parameter.name: parameter for parameter in command.params}
    for option in verb_spec(verb)["options"]:
        kind, parameter = option["type"], by_name[option["name"]]
        if option["nargs"]:
            assert parameter.type.convert(_sample(kind), parameter, context) is not None
        wrong = {"choice": "no-such-choice", "integer": "x", "float": "x"}.get(kind["name"])
        if wrong is not None and option["nargs"]:
            with pytest.raises(click.BadParameter):
                parameter.type.convert(wrong, parameter, context)
        if kind.get("minimum") is not None:
            with pytest.raises(click.BadParameter):
                parameter.type.convert(str(kind["minimum"] - 1), parameter, context)


@pytest.mark.parametrize("verb", list(VERBS))
def test_required_arguments_are_required(verb: str, afk: Afk) -> None:
    spec = verb_spec(verb)
    if any(argument["required"] for argument in spec["arguments"]):
        assert afk(verb).exit_code == 2


def test_the_schemas_are_those_that_verbs_write() -> None:
    """Whoever adds a schema to a verb adds it to the table, and none is told that nobody writes."""
    sources = [path for package in ("cli", "debugger", "evals") for path in (ROOT / "afk_es" / package).rglob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in sources if path.name != "spec.py")
    written = {
        *re.findall(r"\bafk_es\.\w+/\d+", text),
        *(f"afk_es.{name}/1" for name in re.findall(r'write_facts\(\s*\w+,\s*"(\w+)"', text)),
    }
    told = {name for names in SCHEMAS.values() for name in names}
    assert told - {"afk_es.spec/1", "afk_es.verb/1"} == written
    assert set(SCHEMAS) <= set(VERBS)


def test_the_verbs_of_a_group_are_told_as_wholly_as_the_others(afk: Afk) -> None:
    told = {each["name"]: each for each in verb_spec("golden")["commands"]}
    assert list(told) == list(GOLDEN_VERBS)
    group, context = _command("golden")
    assert isinstance(group, click.Group)
    for name, (_module, line) in GOLDEN_VERBS.items():
        command = group.get_command(context, name)
        assert command is not None
        assert (told[name]["summary"], command.short_help) == (line, line)
        assert told[name]["usage"].startswith(f"afk-es golden {name} ")
        parser = command.make_parser(click.Context(command, parent=context, info_name=name))
        for option in told[name]["options"]:
            for flag in (*option["flags"], *option["off_flags"]):
                taken, _rest, _order = parser.parse_args([flag, *[_sample(option["type"])] * option["nargs"]])
                assert option["name"] in taken
        assert line in " ".join(afk("golden", "--help").stdout.split())
        assert afk("golden", name, "--help").stdout.startswith(f"Usage: afk-es golden {name}")
