"""A golden lies in a repository: what looks like a secret is kept back, and the rest of it still fits together."""

from __future__ import annotations

from pathlib import Path

from afk_es.agents import Agent
from afk_es.evals import Golden
from afk_es.log import open_log
from afk_es.log.memory import MemoryEventLog
from afk_es.redaction import Redaction
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.core.scenario import asks, limits, says
from tests.debugger.exchange.family import SECRET, recorded
from tests.evals.recorded import check_whole, ran
from tests.support.stories import Stories

BY_NAME = "hunter2-of-the-desk"
BY_VALUE = "Ada Lovelace, 7 Main St"
BY_SHAPE = "sk-live-abcdef1234567890"


@tool(read_only=True)
def whoami(password: str) -> dict[str, object]:
    """Say who is asking. The parameter is called `password`, and its schema is nobody's secret."""
    return {"echo": f"you said {password}", "config": '{"api_key": "zz-99-zz-99"}', "who": BY_VALUE}


def _desk() -> Agent:
    script = [asks(("whoami", {"password": BY_NAME}), text=f"I try {BY_NAME}."), says(f"Done with {BY_SHAPE} for {BY_VALUE}.")]
    return Agent(
        name="desk", model=ScriptedModel(script), tools=[whoami], instructions=f"Authorization: Bearer {BY_SHAPE}", fail_safe=limits()
    )


async def _recorded(redaction: Redaction | None) -> Golden:
    log = MemoryEventLog()
    await log.open()
    run_id = await ran(log, _desk(), context={"token": "tok-0123456789"})
    return await Golden.of(log, run_id, name="secrets", redaction=redaction)


async def test_secrets_are_kept_back_by_name_shape_and_value_and_the_golden_still_verifies(tmp_path: Path) -> None:
    golden = (await _recorded(Redaction(values=[BY_VALUE]))).write(tmp_path / "secrets.golden.jsonl")
    content = (tmp_path / "secrets.golden.jsonl").read_text()
    for secret in (BY_NAME, BY_VALUE, BY_SHAPE, "zz-99-zz-99", "tok-0123456789"):
        assert secret not in content
    assert golden.header.redacted is not None
    assert await check_whole(golden) == 2, "each request is proved by the hash that it has without the secrets"


async def test_a_secret_that_stands_under_its_name_once_is_found_in_texts_too() -> None:
    content = (await _recorded(Redaction())).text()
    assert "you said [redacted]" in content
    assert "I try [redacted]" in content
    assert '"title":"Password"' in content or '"password":{"type":"string"}' in content, "what the tool's schema says is nobody's secret"


async def test_an_exact_golden_says_that_it_is_one() -> None:
    golden = await _recorded(None)
    assert golden.header.redacted is None
    for secret in (BY_NAME, BY_VALUE, BY_SHAPE, "zz-99-zz-99", "tok-0123456789"):
        assert secret in golden.text()
    assert await check_whole(golden) == 2


async def test_a_family_with_a_secret_in_context_and_outputs_has_none_in_its_golden() -> None:
    log = MemoryEventLog()
    await log.open()
    golden = await Golden.of(log, await recorded(log), name="family")
    assert SECRET not in golden.text()
    await check_whole(golden)


async def test_no_secret_of_the_recorded_stories_is_in_their_goldens(stories: Stories) -> None:
    log = open_log(str(stories.log), read_only=True)
    await log.open()
    exact = (await Golden.of(log, stories.run_ids["denied"], name="denied", redaction=None)).text()
    kept = (await Golden.of(log, stories.run_ids["denied"], name="denied")).text()
    await log.close()
    assert "[redacted]" in kept
    assert "[redacted]" not in exact
