"""`afk-es compact`: sums up or drops older turns of a thread."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import reading
from afk_es.core import CompactionResult, RetentionPolicy, Runner
from afk_es.errors import UsageError
from afk_es.views import visible


@click.command("compact", short_help="Sum up or drop older turns of a thread; the log keeps them.")
@click.argument("thread", metavar="THREAD")
@click.option("--max-messages", type=click.IntRange(min=1), metavar="N", help="How many messages the model may see of it.")
@click.option("--max-turns", type=click.IntRange(min=1), metavar="N", help="How many turns of the user.")
@click.option("--max-tokens", type=click.IntRange(min=200), metavar="N", help="About how many tokens.")
@click.option("--keep-last-turns", type=click.IntRange(min=0), default=0, metavar="N", help="Turns that stay whole in any case; default 0.")
@click.option("--model", metavar="NAME", help="The model that sums up what goes; without it, it is dropped.")
@click.option("--instructions", metavar="TEXT", help="What that model is told to do; default: words of our own.")
@common_options
@click.pass_obj
def compact(
    invocation: Invocation,
    thread: str,
    max_messages: int | None,
    max_turns: int | None,
    max_tokens: int | None,
    keep_last_turns: int,
    model: str | None,
    instructions: str | None,
) -> None:
    """Make what the model sees of THREAD smaller, from its next run on. THREAD is a thread's id, as `afk-es show` has it.

    It is a run of its own on the thread; nothing is taken out of the log. A thread that is within the maxima is left alone.
    """
    if max_messages is None and max_turns is None and max_tokens is None:
        raise UsageError("say how much may stay: --max-messages, --max-turns or --max-tokens")
    if instructions is not None and model is None:
        raise UsageError("--instructions are for the model that sums up; name it with --model")
    retention = RetentionPolicy(
        max_messages=max_messages,
        max_turns=max_turns,
        max_tokens=max_tokens,
        keep_last_turns=keep_last_turns,
        summariser=model,
        instructions=instructions,
    )
    result = asyncio.run(_compact(invocation, thread, retention))
    if invocation.format == "text":
        _write(result, invocation)
    else:
        data = {"schema": "afk_es.compaction/1", **result.model_dump(mode="json")}
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)


async def _compact(invocation: Invocation, thread: str, retention: RetentionPolicy) -> CompactionResult:
    async with reading(invocation.location):
        # A Runner makes the log that it does not find, and a mistyped name is no reason to.
        pass
    async with Runner(log=invocation.location) as runner:
        return await runner.compact_thread(thread_id=thread, retention=retention)


def _write(result: CompactionResult, invocation: Invocation) -> None:
    size = f"{result.kept_messages} messages, about {result.tokens_after} tokens"
    if not result.compacted:
        output.echo(f"nothing to do: the thread is {size}")
        return
    output.echo(f"{result.dropped_messages} messages dropped; the model now sees {size} (before: about {result.tokens_before})")
    if result.summary is not None:
        output.echo(visible(result.summary, multiline=True))
    cost = f" {output.dollars(result.cost_usd)}" if result.cost_usd is not None else ""
    if result.run_id is not None:
        output.note(f"{result.run_id} completed{cost}; look at it with: {output.command('log', result.run_id, db=invocation.db)}")
