"""What a golden keeps back is kept back of its checks as well: an unchanged agent passes, and no report shows a secret of a changed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args

import msgspec
import pytest
from pydantic import BaseModel, Field

from afk_es.agents import Agent, PolicyEngine, PolicyEvent, PolicyRule
from afk_es.core import Runner
from afk_es.errors import UsageError
from afk_es.evals import CheckReport, Golden, MatchMode, check_golden, compare_with_golden, report_lines
from afk_es.evals.goldens.rewriting import rewritten
from afk_es.log.memory import MemoryEventLog
from afk_es.redaction import Redaction
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.core.scenario import asks, limits, says

SHAPED = "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa1"
NAMED = "hunter2-of-the-desk"
"""Nothing but the name under which it stands once says that it is a secret."""
SECRETS = (SHAPED, NAMED, "corridor seven")

Words = Callable[[str], str]
MODES: tuple[MatchMode, ...] = get_args(MatchMode)


class Said:
    """An agent, and how it is run."""

    def __init__(self, agent: Agent, *, engine: PolicyEngine | None = None, **said: Any) -> None:
        self.agent = agent
        self.engine = engine
        self.said: dict[str, Any] = {"user_message": "Go.", **said}


def _agent(*script: Any, **fields: Any) -> Agent:
    given: dict[str, Any] = {"instructions": "Be kind.", **fields}
    return Agent(name="desk", model=ScriptedModel(script or [says("Done.")]), fail_safe=limits(), **given)


@tool(read_only=True)
def look(q: str) -> dict[str, Any]:
    """Look something up."""
    return {"api_key": SHAPED, "text": f"{q} token={NAMED}"}


def in_instructions(word: str) -> Said:
    return Said(_agent(instructions=f"Use the key {SHAPED} {word}."))


def in_a_function(word: str) -> Said:
    return Said(_agent(instructions=lambda context: f"{context['who']} {word} uses {SHAPED}"), context={"who": "Ada", "token": NAMED})


def in_instructions_and_named_in_the_context(word: str) -> Said:
    return Said(_agent(instructions=f"Say {NAMED} {word}."), context={"token": NAMED})


def in_a_function_and_named_in_the_context(word: str) -> Said:
    return Said(_agent(instructions=lambda context: f"Say {NAMED} {word}."), context={"token": NAMED})


def in_a_description(word: str) -> Said:
    described = tool(read_only=True, name="see", description=f"See with {SHAPED} {word}.")(look.function)
    return Said(_agent(asks(("see", {"q": "lamps"})), says("Seen."), tools=[described]))


def in_a_default(word: str) -> Said:
    @tool(read_only=True, description=f"See {word}.")
    def see(q: str, api_key: str = NAMED) -> str:
        return f"{q} with {api_key}"

    return Said(_agent(asks(("see", {"q": "lamps"})), says("Seen."), tools=[see], instructions=f"Your key is {NAMED}"))


def in_a_reason(word: str) -> Said:
    def always(event: PolicyEvent) -> bool:
        return True

    rule = PolicyRule(rule_id="no", action="deny", condition=always, subjects=("tool",), reason=f"password: {NAMED} is {word}")
    return Said(_agent(asks(("look", {"q": "lamps"})), says("So be it."), tools=[look]), engine=PolicyEngine([rule]))


def in_what_is_said_and_done(word: str) -> Said:
    script = [asks(("look", {"q": f"key {SHAPED}"}), text=f"I use {SHAPED}"), says(f"It was {NAMED}.")]
    return Said(_agent(*script, tools=[look], instructions=f"Be {word}."), user_message=f"I am {SHAPED}", context={"password": NAMED})


def of_a_subagent(word: str) -> Said:
    below = Agent(
        name="helper",
        description=f"Helps with {SHAPED}",
        instructions=f"With {SHAPED} {word}.",
        model=ScriptedModel([says("Helped.")]),
        fail_safe=limits(),
    )
    return Said(_agent(asks(("transfer_to_helper", {"task": f"use {SHAPED}"})), says("Done."), subagents=[below]))


class Login(BaseModel):
    """An answer that is valid only with the secret in it."""

    password: Annotated[str, Field(min_length=15)]
    otp: int


def in_a_validated_output(word: str) -> Said:
    return Said(_agent(says(f'{{"password": "{NAMED}", "otp": 123456}}'), output_type=Login, instructions=f"Be {word}."))


def in_a_rejected_output(word: str) -> Said:
    script = [says('{"password": "hunter2-", "otp": 123456}'), says(f'```json\n{{"password": "{NAMED}", "otp": 123456}}\n```')]
    return Said(_agent(*script, output_type=Login, instructions=f"Be {word}."))


def in_validated_arguments(word: str) -> Said:
    @tool(read_only=True, description=f"Log in {word}.")
    def log_in(password: Annotated[str, Field(min_length=15)], otp: int) -> str:
        return "in"

    script = [asks(("log_in", {"password": "hunter2-", "otp": 1})), asks(("log_in", {"password": NAMED, "otp": 123456})), says("In.")]
    return Said(_agent(*script, tools=[log_in]))


def what_only_looks_like_one(word: str) -> Said:
    return Said(_agent(instructions=f"Send `Authorization: Bearer abc12345`, {word}; the docs say password=YOUR_PASSWORD."))


PLACES = [
    in_instructions, in_a_function, in_instructions_and_named_in_the_context, in_a_function_and_named_in_the_context, in_a_description,
    in_a_default, in_a_reason, in_what_is_said_and_done, of_a_subagent, in_a_validated_output, in_a_rejected_output, in_validated_arguments,
    what_only_looks_like_one,
]  # fmt: skip


async def _ran(said: Said) -> tuple[MemoryEventLog, str]:
    log = MemoryEventLog()
    await log.open()
    result = await Runner(log=log, policy_engine=said.engine).run(said.agent, **said.said)
    assert result.state == "completed", result.error
    return log, result.run_id


async def _golden(said: Said, **options: Any) -> Golden:
    return await Golden.of(*await _ran(said), name="kept", **options)


def _told(report: CheckReport) -> str:
    return msgspec.json.encode(report).decode() + "\n".join(text for text, _tone in report_lines(report, 200))


def _check_shows_no_secret(report: CheckReport) -> None:
    told = _told(report)
    assert not [secret for secret in SECRETS if secret in told]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
async def test_an_unchanged_agent_passes(place: Callable[[str], Said], mode: MatchMode) -> None:
    golden = await _golden(place("always"))
    assert "[redacted]" in golden.text()
    assert not [secret for secret in SECRETS if secret in golden.text()]
    said = place("always")
    report = await check_golden(golden, said.agent, mode=mode, policy_engine=said.engine)
    assert report.outcome == "passed", _told(report)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
async def test_a_run_that_really_happened_again_passes(place: Callable[[str], Said], mode: MatchMode) -> None:
    golden = await _golden(place("always"))
    report = await compare_with_golden(golden, *await _ran(place("always")), mode=mode)
    assert report.outcome == "passed", _told(report)


@pytest.mark.parametrize("place", PLACES)
async def test_one_word_beside_the_secret_diverges_and_the_secret_is_not_shown(place: Callable[[str], Said]) -> None:
    golden = await _golden(place("always"))
    said = place("never")
    report = await check_golden(golden, said.agent, policy_engine=said.engine)
    assert report.outcome == "diverged"
    assert "never" in _told(report)
    _check_shows_no_secret(report)
    really = await compare_with_golden(golden, *await _ran(place("never")))
    assert really.outcome == "diverged"
    assert "never" in _told(really)
    _check_shows_no_secret(really)


async def test_the_report_names_the_run_that_happened_as_its_log_does() -> None:
    golden = await _golden(in_instructions("always"))
    log, run_id = await _ran(in_instructions("never"))
    report = await compare_with_golden(golden, log, run_id)
    assert report.runs[0].today == run_id
    assert report.divergences[0].today is not None
    assert report.divergences[0].today.run_id == run_id


async def test_another_output_type_is_measured_though_its_answer_holds_a_secret() -> None:
    class Strict(BaseModel):
        password: str
        otp: int
        more: str

    golden = await _golden(in_a_validated_output("kind"))
    today = in_a_validated_output("kind").agent.model_copy(update={"output_type": Strict})
    report = await check_golden(golden, today, mode="contract")
    assert report.outcome == "diverged"


async def test_a_policy_decides_today_on_calls_of_which_something_was_kept_back() -> None:
    def always(event: PolicyEvent) -> bool:
        return True

    golden = await _golden(in_what_is_said_and_done("kind"))
    engine = PolicyEngine([PolicyRule(rule_id="no", action="deny", condition=always, subjects=("tool",), reason="no")])
    report = await check_golden(golden, in_what_is_said_and_done("kind").agent, policy_engine=engine, mode="contract")
    assert report.outcome == "diverged"


async def test_an_error_of_the_agents_maker_shows_no_secret() -> None:
    def broken() -> Agent:
        raise RuntimeError(f"the key {SHAPED} is wrong")

    report = await check_golden(await _golden(in_instructions("always")), broken)
    assert report.outcome == "not_measurable"
    _check_shows_no_secret(report)


async def test_an_exact_golden_is_checked_and_shown_as_it_is() -> None:
    golden = await _golden(in_instructions("always"), redaction=None)
    assert (await check_golden(golden, in_instructions("always").agent)).ok
    assert SHAPED in _told(await check_golden(golden, in_instructions("never").agent))


# ------------------------------------------------------------------------------------------------------------- the caller's own redaction


def _own(word: str) -> Said:
    return Said(_agent(instructions=f"Ask in corridor seven {word}."), context={"customer_number": "K-4711-0815"})


async def test_names_of_the_callers_are_in_the_header_and_nobody_has_to_give_them_again() -> None:
    golden = await _golden(_own("always"), redaction=Redaction(keys=["customerNumber"]))
    assert "4711" not in golden.text()
    assert golden.header.secret_names == ("customer number",)
    assert not golden.header.secret_values
    report = await compare_with_golden(golden, *await _ran(_own("always")))
    assert report.ok, _told(report)


async def test_values_of_the_callers_are_in_no_file_and_given_to_the_check() -> None:
    own = Redaction(values=["corridor seven"])
    golden = await _golden(_own("always"), redaction=own)
    assert "corridor" not in golden.text()
    assert golden.header.secret_values
    assert (await check_golden(golden, _own("always").agent, redaction=own)).ok
    assert (await compare_with_golden(golden, *await _ran(_own("always")), redaction=own)).ok
    _check_shows_no_secret(await check_golden(golden, _own("never").agent, redaction=own))


async def test_a_check_without_the_callers_values_says_so_and_shows_none_of_them() -> None:
    golden = await _golden(_own("always"), redaction=Redaction(values=["corridor seven"]))
    report = await check_golden(golden, _own("always").agent)
    assert report.outcome == "diverged"
    assert any("redaction=" in note for note in report.notes)
    _check_shows_no_secret(report)


async def test_a_header_of_the_default_redaction_is_written_as_before(tmp_path: Any) -> None:
    golden = await _golden(in_instructions("always"))
    assert "secret_names" not in golden.text()
    own = await _golden(_own("always"), redaction=Redaction(keys=["customer number"], values=["corridor seven"]))
    read = own.write(tmp_path / "kept.golden.jsonl")
    assert read.header == msgspec.structs.replace(own.header, digest=read.header.digest)
    assert (await read.rewritten()).header.secret_names == ("customer number",)


async def test_what_reads_like_the_name_of_a_tool_is_no_secret() -> None:
    said = Said(
        _agent(asks(("look_up_1", {"q": "x"})), says("Done."), tools=[tool(name="look_up_1")(look.function)]),
        context={"token": "look_up_1"},
    )
    golden = await _golden(said)
    again = Said(_agent(says("-"), tools=[tool(name="look_up_1")(look.function)]))
    report = await check_golden(golden, again.agent)
    assert report.ok, _told(report)


@pytest.mark.parametrize("place", PLACES)
async def test_a_golden_that_is_rewritten_from_a_replay_holds_nothing_that_was_kept_back(place: Callable[[str], Said]) -> None:
    golden = await _golden(place("always"))
    said = place("always")
    made = await rewritten(golden, said.agent, policy_engine=said.engine)
    assert not [secret for secret in SECRETS if secret in made.text()]
    assert made.header.redacted == golden.header.redacted
    assert (await check_golden(made, place("always").agent, policy_engine=said.engine)).ok


async def test_values_of_the_callers_are_needed_to_rewrite_from_a_replay() -> None:
    own = Redaction(values=["corridor seven"])
    golden = await _golden(_own("always"), redaction=own)
    with pytest.raises(UsageError, match="redaction="):
        await rewritten(golden, _own("always").agent)
    assert "corridor" not in (await rewritten(golden, _own("always").agent, redaction=own)).text()
