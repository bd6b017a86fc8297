"""`afk-es explore`: looks for a run of an agent that breaks a promise, whatever its models, tools, people and processes do."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from afk_es.cli import output
from afk_es.cli.agents import load_agent, load_value
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import write_facts
from afk_es.errors import ConfigurationError
from afk_es.views import visible

if TYPE_CHECKING:
    from afk_es.testing import Explored, ViolationFound

_FORM = "name an invariant, or a list of them, as MODULE:NAME, such as shop.promises:never_refunds_twice"


@click.command("explore", short_help="Look for a run that breaks a promise, whatever model, tools and people do.")
@click.argument("target", metavar="MODULE:AGENT")
@click.option(
    "--invariant", "invariants", multiple=True, metavar="MODULE:NAME", help="One's own, beside the shipped ones; may be repeated."
)
@click.option("--examples", type=click.IntRange(min=1), metavar="N", help="How many runs to try; default the profile's.")
@click.option("--seconds", type=click.FloatRange(min=0), metavar="N", help="Go on for so long instead.")
@click.option("--minutes", type=click.FloatRange(min=0), metavar="N", help="The same in minutes.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="What the examples are drawn from; default a new one, which is told.")
@click.option(
    "--profile", type=click.Choice(["dev", "ci", "nightly"]), help="Default as $AFK_ES_PROFILE says, else ci where $CI is set, else dev."
)
@click.option("--jobs", type=click.IntRange(min=1, max=256), default=1, metavar="N", help="Processes, each with a seed of its own.")
@click.option("--user-message", default="Hello", metavar="TEXT", help="What the user says first.")
@click.option("--context", metavar="JSON", help="The run's context.")
@click.option(
    "--real", "real", multiple=True, metavar="TOOL", help="A tool whose own code runs; may be repeated. Default: all are simulated."
)
@click.option("--no-crashes", is_flag=True, help="No process dies or stalls.")
@click.option(
    "--require", multiple=True, metavar="NAME", help="What some example has to reach, such as rule:ID or limit:NAME; may be repeated."
)
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where what is found is written; default .afk_es/counterexamples."
)
@click.option("--name", metavar="NAME", help="Of these files; default the agent's.")
@common_options
@click.pass_obj
def explore(
    invocation: Invocation, /, target: str, seconds: float | None, minutes: float | None, seed: int | None, jobs: int, **options: Any
) -> None:
    """Look for a run of an agent that breaks a promise, whatever its models, tools, people, time and processes do.

    Nothing outside is asked or done: models, tools and people are played. The shipped invariants are checked (limits hold exactly, nothing runs
    without an allow, nothing runs twice, ...), and those of --invariant. What is found is made small, told, and kept as a log.

    \b
    afk-es explore shop.support:agent --minutes 10 --jobs 4
    afk-es explore shop.support:agent --invariant shop.promises:refunds_are_approved --require rule:refunds-above-100

    Exit code 0 where nothing is found, 1 where something is, or where what is required was never reached. Needs the extra `testing`.
    """
    if minutes is not None:
        seconds = (seconds or 0.0) + 60.0 * minutes
    if jobs > 1:
        name = options["name"] or target.rpartition(":")[2]
        facts, told = _in_jobs(_words(target, seconds, **options), jobs, seed, options["profile"], name)
    else:
        facts, told = _explored(target, seconds, seed, **options)
    if invocation.format == "text":
        output.echo(output.toned(visible(told, multiline=True), "good" if facts["ok"] else "bad"))
    else:
        write_facts(invocation, "explore", facts)
    if not facts["ok"]:
        raise click.exceptions.Exit(NEGATIVE)


def _explored(target: str, seconds: float | None, seed: int | None, **options: Any) -> tuple[dict[str, Any], str]:
    """What came of it, as facts and as words."""
    try:
        from afk_es.testing import SHIPPED, NotExercisedError, NotRepeatableError, ViolationFound
        from afk_es.testing import explore as search
        from afk_es.testing.exploring.artefact import DIRECTORY
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    agent = load_agent(target)
    try:
        explored = search(
            agent,
            invariants=[*SHIPPED, *_promises(options["invariants"])],
            user_message=options["user_message"],
            context=_context(options["context"]),
            tools=dict.fromkeys(options["real"], "real"),
            crashes=not options["no_crashes"],
            require=options["require"],
            max_examples=options["examples"],
            seconds=seconds,
            profile=options["profile"],
            seed=seed,
            name=options["name"] or agent.name,
            directory=options["directory"] or DIRECTORY,
        )
    except ViolationFound as found:
        # Here it is known where the agent stands, which the golden's command asks for.
        told = str(found).replace("--agent MODULE:AGENT", f"--agent {shlex.quote(target)}")
        return {"ok": False, "agent": agent.name, "violation": _violation(found), "message": told}, told
    except NotExercisedError as error:
        return {"ok": False, **_facts(error.explored), "not_exercised": list(error.missing), "message": str(error)}, str(error)
    except NotRepeatableError as error:
        return {"ok": False, "agent": agent.name, "message": str(error)}, str(error)
    return {"ok": True, **_facts(explored)}, f"{explored}\n  seed: {explored.seed}"


def _promises(targets: Sequence[str]) -> list[Any]:
    promises: list[Any] = []
    for target in targets:
        value = load_value(target, "an invariant", _FORM)
        promises += value if isinstance(value, (list, tuple)) else [value]
    return promises


def _context(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        context = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--context is not JSON: {error}") from error
    if not isinstance(context, dict):
        raise ConfigurationError('--context is a JSON object, such as \'{"shop": "shop.db"}\'')
    return context


def _facts(explored: Explored) -> dict[str, Any]:
    return {
        "agent": explored.agent,
        "profile": explored.profile,
        "seed": explored.seed,
        "examples": explored.examples,
        "events": explored.events,
        "seconds": round(explored.seconds, 3),
        "counts": dict(sorted(explored.counts.items())),
        "missed": list(explored.missed),
    }


def _violation(found: ViolationFound) -> dict[str, Any]:
    from afk_es.testing import script_json

    return {
        "name": found.name,
        "path": str(found.path) if found.path is not None else None,
        "seed": found.seed,
        "example": found.find.example,
        "actions": len(found.script),
        "events": found.shrunk.after.events,
        "script": json.loads(script_json(found.script)),
    }


# ----------------------------------------------------------------------------------------------------------------------------- many at once


def _words(target: str, seconds: float | None, **options: Any) -> list[str]:
    """The command line that says the same."""
    words = [target, *(["--no-crashes"] if options["no_crashes"] else []), *(["--seconds", str(seconds)] if seconds is not None else [])]
    for flag in ("examples", "profile", "user_message", "context", "directory"):
        if options[flag] is not None:
            words += ["--dir" if flag == "directory" else f"--{flag.replace('_', '-')}", str(options[flag])]
    for flag, name in (("invariants", "--invariant"), ("real", "--real"), ("require", "--require")):
        words += [word for each in options[flag] for word in (name, each)]
    return words


def _in_jobs(words: Sequence[str], jobs: int, seed: int | None, profile: str | None, name: str) -> tuple[dict[str, Any], str]:
    """The same command in so many processes, and what came of all."""
    from afk_es.testing.exploring.profiles import profile_of, seed_of

    first = seed if seed is not None else seed_of(profile_of(profile), name)
    line = [sys.executable, "-m", "afk_es.cli", "explore", *words]
    own = [["--format", "jsonl", "--seed", str(first + each), "--name", f"{name}-{each + 1}"] for each in range(jobs)]
    running = [subprocess.Popen([*line, *each], stdout=subprocess.PIPE, text=True) for each in own]
    answers = [(process.communicate()[0], process.returncode) for process in running]
    if worst := next((code for _text, code in answers if code not in (0, NEGATIVE)), 0):
        raise click.exceptions.Exit(worst)
    facts = [json.loads(text) for text, _code in answers]
    for each in facts:
        each.pop("schema")
    if broken := next((each for each in facts if not each["ok"]), None):
        return broken, broken["message"]
    return _together(facts, jobs)


def _together(facts: Sequence[dict[str, Any]], jobs: int) -> tuple[dict[str, Any], str]:
    from afk_es.testing import Explored

    counts: Counter[str] = Counter()
    for each in facts:
        counts.update(each["counts"])
    missed = [name for name in facts[0]["missed"] if all(name in each["missed"] for each in facts)]
    explored = Explored(
        agent=facts[0]["agent"],
        profile=facts[0]["profile"],
        seed=facts[0]["seed"],
        examples=sum(each["examples"] for each in facts),
        events=sum(each["events"] for each in facts),
        seconds=max(each["seconds"] for each in facts),
        counts=counts,
        missed=tuple(missed),
    )
    return {"ok": True, "jobs": jobs, **_facts(explored)}, f"{explored}\n  seeds: {explored.seed} and {jobs - 1} more"
