"""`afk-es explore`: what it finds, how it says so, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Afk

DESK = """
from afk_es.agents import PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.cli.demo_agent import agent
from afk_es.testing import requires_approval

rule = PolicyRule(rule_id="ask", action="request_approval", condition=PolicyRuleCondition(tool_name="issue_refund", args={"amount": {"gt": 50}}))
desk = agent.model_copy(update={"policy_engine": PolicyEngine([rule])})
promises = [requires_approval("issue_refund", when=lambda call: call["amount"] >= 50)]
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "explored_shop.py").write_text(DESK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_where_nothing_is_found_it_says_what_was_reached(afk: Afk) -> None:
    done = afk("explore", "explored_shop:desk", "--examples", "10", "--seed", "1", "--require", "tool_completed")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("support-desk: 11 examples")
    assert "seed: 1" in done.stdout


def test_what_is_found_is_told_kept_and_a_negative_answer(afk: Afk, shop: Path) -> None:
    done = afk("explore", "explored_shop:desk", "--invariant", "explored_shop:promises", "--seed", "1", "--dir", "found")
    assert done.exit_code == 1
    assert done.stdout.startswith("issue_refund requires approval: issue_refund runs with")
    assert "afk-es debug found/support-desk.db:run_" in done.stdout
    assert (shop / "found" / "support-desk.db").is_file()
    facts = json.loads(
        afk("explore", "explored_shop:desk", "--invariant", "explored_shop:promises", "--dir", "found", "--format", "json").stdout
    )
    assert facts["schema"] == "afk_es.explore/1"
    assert facts["violation"]["example"] == 1, "what was found the last time is tried first"
    assert facts["violation"]["actions"] == 1


def test_what_is_required_and_never_reached_is_a_negative_answer(afk: Afk) -> None:
    done = afk("explore", "explored_shop:desk", "--examples", "3", "--seed", "1", "--require", "limit:max_tool_calls", "--format", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["not_exercised"] == ["limit:max_tool_calls"]


def test_jobs_look_with_seeds_of_their_own_and_are_told_of_together(afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = afk("explore", "explored_shop:desk", "--examples", "2", "--seed", "1", "--jobs", "2", "--format", "json")
    facts = json.loads(done.stdout)
    assert (facts["jobs"], facts["examples"], facts["ok"]) == (2, 6, True)


def test_jobs_of_a_derandomised_profile_try_the_same_examples_every_time(afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ("explore", "explored_shop:desk", "--examples", "1", "--profile", "ci", "--jobs", "2", "--format", "json")
    assert json.loads(afk(*words).stdout)["seed"] == zlib.crc32(b"desk")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explored_shop:desk", "--invariant", "explored_shop:promise"], "explored_shop has no 'promise'"),
        (["explored_shop:desk", "--context", "{"], "--context is not JSON"),
        (["explored_shop:desk", "--real", "pay"], "how to play 'pay'"),
        (["explored_shop:rule"], "not an Agent"),
    ],
)
def test_what_cannot_work_is_wrong_usage(afk: Afk, words: list[str], message: str) -> None:
    done = afk("explore", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_without_hypothesis_it_says_what_to_install(shop: Path) -> None:
    code = "import sys; sys.modules['hypothesis'] = None\nfrom afk_es.cli import main\nmain(['explore', 'afk_es.cli.demo_agent:agent'])"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=shop, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert 'pip install "afk-es[testing]"' in done.stderr
