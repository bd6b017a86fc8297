"""A report as data, for programs: one JSON document, or a line for each row and golden. The schema is `afk_es.evals/1`.

| key | what it holds |
|---|---|
| schema | "afk_es.evals/1"; keys may be added to it, none goes or changes its meaning within 1 |
| afk_es | the version that wrote it; "" where it is not installed |
| title | what people call it |
| outcome, exit_code | "passed" 0, "failed" 1, "not_measurable" 3 |
| redacted | whether secrets were kept back |
| suite | `EvalSuiteResult` as JSON data, with its rows in `results`; null where there was no suite |
| checks | `CheckReport`s as JSON data, of goldens that were checked by themselves; those of rows are in the rows, as `golden` |

In lines, the first one has `kind` "summary" and is that document without its rows and checks; then each row is a line of `kind` "row", and
each check one of `kind` "check". Times are ISO 8601 in UTC, durations seconds, money US dollars, what is not known null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from afk_es.evals.reports.account import Account
from afk_es.machine.values import plain
from afk_es.views import visible_json

SCHEMA = "afk_es.evals/1"


def report_data(account: Account) -> dict[str, Any]:
    """The document."""
    checks = [msgspec.to_builtins(report) for report in account.checks]
    # Not by Pydantic's JSON mode, which refuses text that is no Unicode; a provider's error may hold some.
    suite = None if account.suite is None else msgspec.to_builtins(account.suite.model_dump(), str_keys=True)
    document = {**_head(account), "suite": suite, "checks": checks}
    try:
        msgspec.json.encode(document)
    except UnicodeEncodeError:
        document = plain(document)
    return document


def report_json(account: Account) -> str:
    """The document as text, for people to read as well."""
    return msgspec.json.format(visible_json(report_data(account)), indent=2).decode() + "\n"


def json_lines(account: Account) -> Iterator[str]:
    """The lines, each with its end."""
    document = report_data(account)
    suite = document["suite"]
    rows = [] if suite is None else suite.pop("results")
    checks = document.pop("checks")
    facts = [{"kind": "summary", **document}]
    facts += [{"kind": "row", **row} for row in rows]
    facts += [{"kind": "check", **check} for check in checks]
    for fact in facts:
        yield visible_json({"schema": SCHEMA, **fact}).decode() + "\n"


def _head(account: Account) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "afk_es": account.made_by,
        "title": account.title,
        "outcome": account.outcome,
        "exit_code": account.exit_code,
        "redacted": account.redacted,
    }
