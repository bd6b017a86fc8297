"""What the command line keeps back, what it counts, and how it tells others of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from afk_es.redaction import MARK
from tests.cli.conftest import Afk

Ran = Callable[..., str]

SECRET = "sk-proj-abc123DEF456ghi789"
MESSAGE = f"use {SECRET} and password=hunter22"
CONTEXT = json.dumps({"apiKey": "k-1", "customer_number": "777", "token_count": 12})


@pytest.fixture
def secretive(ran: Ran) -> str:
    """A run whose message and context hold secrets."""
    return ran("agent", MESSAGE, "--context", CONTEXT)


READERS = [
    ("runs",),
    ("runs", "--format", "json"),
    ("runs", "--format", "jsonl"),
    ("log",),
    ("log", "--format", "json"),
    ("log", "--format", "jsonl"),
    ("show",),
    ("show", "--format", "json"),
    ("show", "--at", "1"),
    ("show", "--at", "4"),
    ("show", "--at", "4", "--format", "json"),
    ("telemetry",),
    ("telemetry", "--to", "json"),
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_no_reading_verb_shows_a_secret(words: tuple[str, ...], afk: Afk, secretive: str) -> None:
    result = afk(*words)
    assert result.exit_code == 0, result.stderr
    assert SECRET not in result.stdout
    assert "hunter22" not in result.stdout
    assert '"k-1"' not in result.stdout
    if words != ("show", "--at", "4"):
        assert MARK in result.stdout


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_whoever_must_see_says_so(words: tuple[str, ...], afk: Afk, secretive: str) -> None:
    result = afk(*words, "--show-secrets")
    assert (result.exit_code, MARK in result.stdout) == (0, False)
    assert SECRET in result.stdout or words[0] == "runs"


def test_further_names_can_be_kept_back(afk: Afk, secretive: str) -> None:
    plain = json.loads(afk("show", "--format", "json").stdout)["context"]
    assert plain == {"apiKey": MARK, "customer_number": "777", "token_count": 12}
    more = json.loads(afk("show", "--format", "json", "--redact-key", "customerNumber").stdout)["context"]
    assert more == {"apiKey": MARK, "customer_number": MARK, "token_count": 12}


def test_showing_everything_and_keeping_something_back_exclude_each_other(afk: Afk, secretive: str) -> None:
    result = afk("log", "--show-secrets", "--redact-key", "x")
    assert result.exit_code == 2
    assert "leave one of them out" in result.stderr


def test_a_redacted_request_is_still_the_one_that_was_proved(afk: Afk, secretive: str) -> None:
    shown = json.loads(afk("show", "--at", "4", "--format", "json").stdout)
    assert shown["request"]["proved"] is True
    assert MARK in json.dumps(shown["request"]["messages"])


# ------------------------------------------------------------------------------------------------------------------------------ metrics


def test_metrics_for_people_and_for_programs(afk: Afk, ran: Ran) -> None:
    run_id = ran()
    text = afk("show", "--metrics").stdout
    assert run_id in text
    assert "2 requests, 0 retries, 0 to fallbacks" in text
    assert "1 returned" in text
    assert "20 in, 4 out; cost $1.00" in text
    data = json.loads(afk("show", "--metrics", "--format", "json").stdout)
    assert (data["schema"], data["run_id"], data["llm_calls"], data["cost_usd"]) == ("afk_es.metrics/1", run_id, 2, 1.0)
    assert json.loads(afk("show", "--metrics", "--format", "jsonl").stdout) == data


def test_metrics_of_a_run_that_failed_and_called_nothing(afk: Afk, ran: Ran) -> None:
    ran("broken")
    text = afk("show", "--metrics").stdout
    assert "failed 1 terminal" in text
    assert "none called" in text


def test_metrics_are_of_a_run_and_not_of_an_event(afk: Afk, ran: Ran) -> None:
    ran()
    assert afk("show", "--metrics", "--at", "1").exit_code == 2


# ----------------------------------------------------------------------------------------------------------------------- telling others


def test_lines_and_objects_go_to_stdout(afk: Afk, ran: Ran) -> None:
    ran()
    events = len(afk("log", "--format", "jsonl").stdout.splitlines())
    assert len(afk("telemetry").stdout.splitlines()) == events
    assert afk("telemetry", "--to", "json").stdout == afk("log", "--format", "jsonl").stdout


def test_what_a_terminal_would_obey_does_not_get_out(afk: Afk, ran: Ran) -> None:
    ran("hostile_agent")
    for to in ("console", "json"):
        assert "\x1b" not in afk("telemetry", "--to", to).stdout


def test_a_run_is_sent_to_a_collector(afk: Afk, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from tests.telemetry.collector import Collector

    run_id = ran()
    with Collector() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        result = afk("telemetry", run_id, "--to", "otel", env=env)
        assert result.exit_code == 0, result.stderr
        assert f"events of {run_id} were sent as spans" in result.stdout
        sent = {span.span_id for span in collector.spans}
        assert len(sent) == len(collector.spans) == 4
        again = json.loads(afk("telemetry", "--to", "otel", "--format", "json", env=env).stdout)
        assert (again["schema"], again["run_id"]) == ("afk_es.exported/1", run_id)
        assert {span.span_id for span in collector.spans} == sent
        assert collector.metrics == []
    assert len(sent) == 4


def test_a_collector_that_refuses_is_a_clear_failure(afk: Afk, ran: Ran) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from tests.telemetry.collector import Collector

    ran()
    with Collector(status=400) as collector:
        result = afk("telemetry", "--to", "otel", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert result.exit_code not in (0, 2)
    assert "did not take 4 spans; is the collector there?" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_run_is_not_found(afk: Afk, ran: Ran, log: Path) -> None:
    ran()
    assert afk("telemetry", "run_nowhere").exit_code == 3
