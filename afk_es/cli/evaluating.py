"""`afk-es eval`: runs a suite of cases, or asks its criteria about recorded runs, and reports what came of it."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any, get_args

import click

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agents import called, load_agent, load_value, what_and_where
from afk_es.cli.failures import INTERRUPTED
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.cli.reporting import Reports, report_options, tell
from afk_es.core import Runner
from afk_es.debugger.naming import named_run
from afk_es.errors import AfkError, ConfigurationError, RunNotFoundError, UsageError
from afk_es.evals.dataset_files import FORMATS
from afk_es.evals.eval_suite import EvalSuite
from afk_es.evals.models import EvalCase, EvalSuiteConfig, ExecutionMode
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult
from afk_es.evals.recorded_cases import recorded_cases
from afk_es.evals.reports import Account, SuiteProgress, account_of
from afk_es.evals.rescoring import arescore
from afk_es.evals.run_selection import RunSelection
from afk_es.evals.suite import EvalProgress, run_suite
from afk_es.redaction import Redaction

_FORM = "name a suite as MODULE:SUITE, such as shop.evals:suite or ./evals.py:suite, or a dataset with --agent MODULE:AGENT"


@click.command("eval", short_help="Run a suite of cases, and report what came of it.")
@click.argument("target", metavar="MODULE:SUITE|DATASET")
@click.option("--agent", metavar="MODULE:AGENT", help="For a dataset: who runs its cases.")
@click.option("-k", "names", multiple=True, metavar="NAME", help="Only cases with this in their name, or that fit a glob; may be repeated.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only cases with this tag; may be repeated.")
@click.option("--repeats", type=click.IntRange(min=1, max=10_000), metavar="N", help="How often each case runs, whatever it says itself.")
@click.option("--mode", "execution_mode", type=click.Choice(get_args(ExecutionMode)), help="How many cases run at once.")
@click.option("--max-concurrency", type=click.IntRange(min=1, max=1024), metavar="N", help="Cases at once, at most.")
@click.option("--timeout", "timeout_per_case_s", type=click.FloatRange(min=0.001), metavar="SECONDS", help="For one attempt at a case.")
@click.option("--fail-fast", is_flag=True, help="Start no further case after the first that does not pass.")
@click.option("--min-pass-rate", type=click.FloatRange(min=0, max=1), metavar="SHARE", help="Of rows, from which on the suite passes.")
@click.option(
    "--rescore",
    "recorded",
    multiple=True,
    metavar="RUN",
    help="Run nothing: ask the criteria about this recorded run, or about `all` runs of the log; may be repeated.",
)
@common_options
@click.pass_obj
@redaction_options
@report_options
def evaluate(
    invocation: Invocation,
    target: str,
    agent: str | None,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    recorded: tuple[str, ...],
    reports: Reports,
    redaction: Redaction | None,
    **settings: Any,
) -> None:
    """Run the cases of a suite, and report what came of it.

    MODULE:SUITE is an EvalSuite, a list of EvalCase, or a function, sync or async, that gives one of these. MODULE is a module or a .py
    file. A DATASET is a .json, .jsonl or .yaml file. A suite that makes no Runners of its own gets them on the log of --db.

    \b
    afk-es eval shop.evals:suite --html evals.html --junit evals.xml
    afk-es eval cases.yaml --agent shop.support:agent -k refund --repeats 5
    afk-es eval shop.evals:suite --rescore all --db production.db

    The table goes to stdout, progress to stderr. Exit code 0 where the suite passes, 1 where it does not, 2 for wrong usage, 3 where nothing
    was measured: no case ran, or nothing was there to be checked. Ctrl-C ends it with the table of what was done, and 130.
    """
    # What was not said leaves the suite's own word; a pass rate of 0 is said.
    said = {name: value for name, value in settings.items() if value is not None and value is not False}
    suite = _suite(target, agent, names, tags, said)
    title = Path(target).name if agent is not None else target
    if recorded:
        result = _rescored(invocation, suite, recorded, redaction)
    else:
        factory = suite.runner_factory or _factory(invocation.location)
        with SuiteProgress(redaction=redaction) as progress:
            result = run_suite(runner_factory=factory, cases=suite.listed, config=suite.config, progress=progress)
    account = account_of(result, title=title)
    tell(invocation, account, reports, redaction)
    _leave(account, result)


globals()["eval"] = evaluate


def _leave(account: Account, result: EvalSuiteResult) -> None:
    if not result.total:
        output.note("there is no case that fits, so nothing was measured", "mark")
    if result.interrupted:
        raise click.exceptions.Exit(INTERRUPTED)
    if account.exit_code:
        raise click.exceptions.Exit(account.exit_code)


def _factory(location: str) -> Any:
    return lambda: Runner(log=location)


def _suite(target: str, agent: str | None, names: tuple[str, ...], tags: tuple[str, ...], settings: dict[str, Any]) -> EvalSuite:
    """The suite that is meant, with what the options say.

    Raises:
        ConfigurationError: there is none.
    """
    repeats = settings.pop("repeats", None)
    suite = _named(target, agent).only(names=names, tags=tags)
    cases = suite.listed
    if repeats is not None:
        settings["repeats"] = repeats
        cases = tuple(case.model_copy(update={"repeats": repeats}) for case in cases)
    config = suite.config.model_copy(update=settings)
    return EvalSuite(cases, suite.runner_factory, config)


def _named(target: str, agent: str | None) -> EvalSuite:
    if target.lower().endswith(tuple(FORMATS)):
        if agent is None:
            raise UsageError(f"{target} is a dataset, and a dataset has no agent: name it with --agent MODULE:AGENT")
        return EvalSuite(target, agent=load_agent(agent))
    if agent is not None:
        raise UsageError("--agent is for a dataset; the cases of a suite have their own agents")
    value = load_value(target, "a suite", _FORM)
    if not isinstance(value, (EvalSuite, EvalCase)) and callable(value):
        value = called(value, target)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value, target))
    return value if isinstance(value, EvalSuite) else _of_cases(value, target)


async def _awaited(value: Any, target: str) -> Any:
    try:
        return await value
    except Exception as error:
        raise ConfigurationError(f"{target} raised {what_and_where(error)}") from error


def _of_cases(value: Any, target: str) -> EvalSuite:
    if isinstance(value, (str, Agent, EvalSuiteConfig)):
        raise ConfigurationError(
            f"{target} is a {type(value).__name__}, not an EvalSuite, a list of EvalCase, or a function that gives one"
        )
    try:
        return EvalSuite(value)
    except AfkError as error:
        raise ConfigurationError(f"{target}: {error}") from error


def _rescored(invocation: Invocation, suite: EvalSuite, recorded: tuple[str, ...], redaction: Redaction | None) -> EvalSuiteResult:
    """What the criteria say of recorded runs. Each is taken for the case with its agent's name that said the same to it, if there is one."""
    names = [parse_name(name, invocation) for name in recorded if name != "all"]
    if names and len(names) < len(recorded):
        raise UsageError("`all` means all runs of the log; leave out the others")
    if len({name.location for name in names}) > 1:
        raise UsageError("the runs are of several logs; name runs of one")
    location = names[0].location if names else invocation.location
    result = asyncio.run(_asked(location, suite, [name.run for name in names], redaction))
    config = suite.config
    ok = bool(result.total) and result.pass_rate >= config.min_pass_rate
    return result.model_copy(update={"min_pass_rate": config.min_pass_rate, "ok": ok})


async def _asked(location: str, suite: EvalSuite, names: list[str], redaction: Redaction | None) -> EvalSuiteResult:
    config = suite.config
    async with reading(location) as log:
        run_ids = [await named_run(log, name) for name in names]
        if not names:
            run_ids = [record.run_id async for record in RunSelection().records(log)]
        found = await recorded_cases(log, run_ids, suite.listed)
    cases = {run_id: case for run_id, case in found.items() if case is not None}
    general = bool(config.assertions or config.scorers)
    if not general:
        # Without a case there is nothing to ask about them.
        run_ids = list(cases)
    strangers = len(found) - len(cases)
    if strangers and (names or general):
        left_out = "are asked about by the suite's own criteria alone" if general else "are left out"
        output.note(f"{strangers} of {len(found)} runs fit no case, by agent and by what was said, and {left_out}", "mark")
    if not run_ids:
        raise NothingMeasured("no recorded run fits a case of the suite, by its agent's name and by what was said to it")
    with SuiteProgress(redaction=redaction) as progress:
        told = _Told(progress, len(run_ids))
        # Of all runs the library knows which are a judge's, and leaves them out.
        runs = None if general and not names else run_ids
        return await arescore(location, runs, assertions=config.assertions, scorers=config.scorers, cases=cases, progress=told)


class _Told:
    """Hands rows to whoever watches a suite."""

    def __init__(self, progress: SuiteProgress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._finished = 0

    def __call__(self, row: EvalCaseResult) -> None:
        self._finished += 1
        self._progress(EvalProgress("finished", row.name, row.attempt, self._finished - 1, self._total, self._finished, 0, row))


class NothingMeasured(RunNotFoundError):
    """There was nothing to judge."""
