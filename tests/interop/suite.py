"""The official conformance suite against our server over HTTP, and against our client. What a server of tools alone does not have is left out by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop.report import LEGACY, MODERN, Meeting, Result
from tests.interop.workshop import ROOT, Workshop

_NO_RESOURCES = "a server of tools: no resources"
_NO_PROMPTS = "a server of tools: no prompts"
_NO_CONTENT = "a tool's result is text and JSON"
_NO_SAMPLING = "an agent has its own model: the client's is not asked"
_OWN_FORM = "the person is asked by a policy, with a form of ours and not of the tool's"

SERVER: dict[str, str] = {
    "logging-set-level": "no log messages for clients: what happened is in the event log",
    "tools-call-with-logging": "no log messages for clients: what happened is in the event log",
    "completion-complete": "nothing to complete",
    "tools-call-image": _NO_CONTENT,
    "tools-call-audio": _NO_CONTENT,
    "tools-call-embedded-resource": _NO_CONTENT,
    "tools-call-mixed-content": _NO_CONTENT,
    "tools-call-sampling": _NO_SAMPLING,
    "elicitation-sep1034-defaults": _OWN_FORM,
    "elicitation-sep1330-enums": _OWN_FORM,
    "resources-list": _NO_RESOURCES,
    "resources-read-text": _NO_RESOURCES,
    "resources-read-binary": _NO_RESOURCES,
    "resources-templates-read": _NO_RESOURCES,
    "resources-subscribe": _NO_RESOURCES,
    "resources-unsubscribe": _NO_RESOURCES,
    "sep-2164-resource-not-found": _NO_RESOURCES,
    "prompts-list": _NO_PROMPTS,
    "prompts-get-simple": _NO_PROMPTS,
    "prompts-get-with-args": _NO_PROMPTS,
    "prompts-get-embedded-resource": _NO_PROMPTS,
    "prompts-get-with-image": _NO_PROMPTS,
    "input-required-result-basic-elicitation": _OWN_FORM,
    "input-required-result-basic-sampling": _NO_SAMPLING,
    "input-required-result-basic-list-roots": "roots are not asked for",
    "input-required-result-multiple-input-requests": _NO_SAMPLING,
    "input-required-result-multi-round": _OWN_FORM,
    "input-required-result-non-tool-request": _NO_PROMPTS,
    "input-required-result-capability-check": _NO_SAMPLING,
}
"""Scenarios that a server of tools cannot pass, and why."""

CHECKS: dict[str, str] = {
    "sep-2549-prompts-list-caching-hints": _NO_PROMPTS,
    "sep-2549-resources-list-caching-hints": _NO_RESOURCES,
    "sep-2549-resources-templates-list-caching-hints": _NO_RESOURCES,
    "sep-2575-server-rejects-undeclared-capability": "no tool needs a client's capability: one that cannot ask says how else to answer",
    "sep-2575-missing-capability-http-400": "no tool needs a client's capability: one that cannot ask says how else to answer",
    "sep-2575-server-no-log-without-loglevel": "no log messages for clients: what happened is in the event log",
    "sep-2322-ignore-unexpected-params": _OWN_FORM,
    "server-sse-priming-event": "a stream that was cut is not resumed: the call is made again under its key, and goes on",
    "server-sse-retry-field": "a stream that was cut is not resumed: the call is made again under its key, and goes on",
    "sep-2243-client-omit-null": "an argument of null is none of the declared type, and refused before the call",
}
"""Single checks of other scenarios that cannot be passed, and why."""

CLIENT: dict[str, str] = {
    "initialize": "",
    "tools_call": "",
    "sse-retry": "",
    "request-metadata": "",
    "http-standard-headers": "",
    "http-custom-headers": "",
    "http-invalid-tool-headers": "",
    "json-schema-ref-no-deref": "",
    "json-schema-2020-12-preservation": "",
    "elicitation-sep1034-client-defaults": "a server's questions to people are declined",
    "sep-2322-client-request-state": "a server's questions to people are declined",
}
"""Scenarios for a client; those with a reason are left out. Of `auth/*` everything is the SDK's (`MCPClient(auth=...)`), and tried by it."""

_PASSED = frozenset({"SUCCESS", "INFO", "SKIPPED"})
_NOT_HERE = "not applicable at spec version"
_MS = "10000"
_TIME = re.compile(r"-\d{4}-\d{2}-\d{2}T[\d-]+Z$")


@contextmanager
def served(where: Workshop) -> Iterator[str]:
    """The URL of our server, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        words = [sys.executable, "-m", "tests.interop.served", "http", str(Path(directory) / "log.db")]
        process = subprocess.Popen(words, cwd=ROOT, env=where.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()
            process.communicate()


def of_server(where: Workshop, era: str, url: str) -> Iterator[Meeting]:
    """Every scenario of the era for servers."""
    with tempfile.TemporaryDirectory() as directory:
        words = ["server", "--url", url, "--spec-version", era, "--suite", "all", "--timeout", _MS, "-o", directory]
        where.run(where.program("conformance"), *words, timeout_s=150)
        for name, checks in _checks(Path(directory)):
            yield Meeting("MCPServer", "conformance suite", "HTTP", era, name, *_verdict(checks, SERVER.get(name, "")))


def of_client(where: Workshop, era: str, scenario: str) -> Iterator[Meeting]:
    """One scenario for clients; nothing where the era does not have it."""
    if reason := CLIENT[scenario]:
        yield Meeting("MCPClient", "conformance suite", "HTTP", era, scenario, "left out", reason)
        return
    with tempfile.TemporaryDirectory() as directory:
        command = f"{sys.executable} -m tests.interop.driving"
        words = ["client", "--command", command, "--scenario", scenario, "--spec-version", era, "--timeout", _MS, "-o", directory]
        done = where.run(where.program("conformance"), *words)
        if _NOT_HERE in done.stdout + done.stderr:
            return
        found = list(_checks(Path(directory)))
        yield Meeting(
            "MCPClient", "conformance suite", "HTTP", era, scenario, *_verdict([each for _name, checks in found for each in checks], "")
        )


def _checks(directory: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the suite has found, by scenario. It names its directories after them, and the time."""
    for path in sorted(directory.glob("*/checks.json"), key=lambda path: path.stat().st_mtime_ns):
        yield _TIME.sub("", path.parent.name).removeprefix("server-"), json.loads(path.read_text("utf-8"))


def _verdict(checks: list[dict[str, Any]], reason: str) -> tuple[Result, str]:
    if reason:
        return "left out", reason
    wrong = [check for check in checks if check["status"] not in _PASSED and check["id"] not in CHECKS]
    if wrong or not checks:
        return "FAILED", "; ".join(f"{check['id']}: {check.get('errorMessage', '')}" for check in wrong) or "the suite said nothing"
    left = sorted({CHECKS[check["id"]] for check in checks if check["status"] not in _PASSED})
    return "passed", f"{sum(check['status'] == 'SUCCESS' for check in checks)} checks" + (f"; without: {'; '.join(left)}" if left else "")


ERAS = (LEGACY, MODERN)
