"""Goal: our MCP server and client get on with the official inspector and conformance suite, and with servers in JavaScript.

They come from the npm registry, so this is not for the gate: it runs where AFK_ES_INTEROP_DIR names a directory to keep them in. The tables of
what is left out are checked in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.interop import suite
from tests.interop.inspecting import ERAS, inspected
from tests.interop.report import Meeting, lines
from tests.interop.servers_of_others import met
from tests.interop.workshop import KEPT, MissingError, Workshop, workshop


@pytest.fixture(scope="module")
def where() -> Iterator[Workshop]:
    if not os.environ.get(KEPT):
        pytest.skip(f"{KEPT} names no directory for what npm fetches; `python -m tests.interop` does without")
    try:
        with workshop() as found:
            yield found
    except MissingError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def url(where: Workshop) -> Iterator[str]:
    with suite.served(where) as address:
        yield address


def failed(meetings: list[Meeting]) -> list[Meeting]:
    """Those that failed, of some."""
    assert meetings
    return [each for each in meetings if each.result == "FAILED"]


@pytest.mark.interop
@pytest.mark.parametrize("era", suite.ERAS)
def test_our_server_keeps_to_the_protocol_by_the_conformance_suite(era: str, where: Workshop, url: str) -> None:
    assert failed(list(suite.of_server(where, era, url))) == []


@pytest.mark.interop
@pytest.mark.parametrize("era", suite.ERAS)
def test_our_client_keeps_to_the_protocol_by_the_conformance_suite(era: str, where: Workshop) -> None:
    assert failed([each for scenario in suite.CLIENT for each in suite.of_client(where, era, scenario)]) == []


@pytest.mark.interop
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_drives_our_server(era: str, where: Workshop, url: str) -> None:
    assert failed(list(inspected(where, era, url))) == []


@pytest.mark.interop
async def test_our_client_calls_tools_of_servers_in_javascript(where: Workshop) -> None:
    assert failed([each async for each in met(where)]) == []


def test_what_is_left_out_has_a_reason_and_a_failure_says_what_it_is() -> None:
    assert all({**suite.SERVER, **suite.CHECKS}.values())
    good, wrong = {"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "FAILURE", "errorMessage": "no"}
    assert suite._verdict([good, good], "") == ("passed", "2 checks")
    assert suite._verdict([good, wrong], "") == ("FAILED", "b: no")
    assert suite._verdict([good, wrong], "not ours") == ("left out", "not ours")
    assert suite._verdict([], "")[0] == "FAILED"
    known = {"id": "sep-2322-ignore-unexpected-params", "status": "WARNING"}
    assert suite._verdict([good, known], "")[0] == "passed"


def test_the_table_has_a_row_for_each_and_counts_them() -> None:
    rows = [Meeting("MCPServer", "inspector", "stdio", "2026-07-28", "call", result) for result in ("passed", "FAILED", "left out")]
    said = list(lines(rows))
    assert len(said) == 5
    assert said[-1] == "1 passed, 1 failed, 1 left out"
