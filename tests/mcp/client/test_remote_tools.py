"""What a server lists becomes tools with legal names and clean descriptions; what it says of their behaviour counts only where it is trusted."""

from __future__ import annotations

import asyncio
import gc
from typing import Any
from weakref import ref

import pytest
from mcp.server import Server
from mcp.server.mcpserver import MCPServer as SDKServer
from mcp_types import CallToolResult, ImageContent, ListToolsResult, TextContent, ToolAnnotations
from mcp_types import Tool as Listed

from afk_es.core import Runner
from afk_es.errors import ConfigurationError, ToolError
from afk_es.mcp import MCPClient, MCPServer
from afk_es.mcp.remote_tools import Catalogue, local_name
from afk_es.tools import ToolContext, ToolResult, tool
from tests.mcp.client.remote import ERAS, agent_of, asks, called, over_http, shop

OBJECT: dict[str, Any] = {"type": "object", "properties": {}}


def listing(*tools: Listed, result: CallToolResult | None = None) -> Server[Any]:
    """A server that lists just these, and answers every call alike."""

    async def on_list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=list(tools))

    async def on_call_tool(context: Any, params: Any) -> CallToolResult:
        return result or CallToolResult(content=[TextContent(text="called")])

    return Server("raw", on_list_tools=on_list_tools, on_call_tool=on_call_tool)


def listed(name: str = "work", **more: Any) -> Listed:
    return Listed(name=name, **{"input_schema": OBJECT, **more})


async def tools_of(client: MCPClient) -> dict[str, Any]:
    async with client:
        return {tool.name: tool for tool in await client.tools()}


# ----------------------------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [("find", "shop_", "shop_find"), ("find.it/now", "", "find_it_now"), ("größe", "a-", "a-gr__e"), ("x" * 64, "", "x" * 64)],
)
def test_a_name_is_legal(name: str, prefix: str, expected: str) -> None:
    assert local_name(name, prefix) == expected


def test_a_name_that_is_too_long_stays_one_of_its_own() -> None:
    one, other = (local_name("x" * 80 + last, "shop_") for last in "ab")
    assert len(one) == len(other) == 64
    assert one != other


async def test_names_that_would_be_one_are_both_left_out() -> None:
    async with MCPClient(listing(listed("a.b"), listed("a/b"), listed("c"))) as client:
        found = await client.listing()
    assert [tool.name for tool in found.tools] == ["raw_c"]
    assert found.left_out == dict.fromkeys(("a.b", "a/b"), "'a.b', 'a/b' would all be called 'raw_a_b'")


async def test_two_servers_of_one_agent_do_not_share_a_name_for_a_tool() -> None:
    servers = [MCPClient(shop(), name=name, prefix="") for name in ("one", "two")]
    with pytest.raises(ConfigurationError, match="server 'two' has a tool 'find', and so has server 'one'; give the server another prefix"):
        await Runner(log=":memory:").run(agent_of(*servers, script=[]))


async def test_only_the_tools_that_are_wanted_are_offered() -> None:
    assert list(await tools_of(MCPClient(shop(), tools=["find", "pay"]))) == ["shop_find", "shop_pay"]


async def test_a_tool_that_is_wanted_and_cannot_be_had_is_an_error() -> None:
    bad = listed("bad", input_schema={"type": "object", "properties": {"a": {"$ref": "http://x/y"}}})
    assert list(await tools_of(MCPClient(listing(bad, listed("good"))))) == ["raw_good"]
    with pytest.raises(
        ToolError, match=r"not all the tools that are wanted of it: 'bad': .*nothing is fetched.*; 'none': the server has no such"
    ):
        await tools_of(MCPClient(listing(bad, listed("good")), tools=["bad", "good", "none"]))


async def test_a_description_is_cleaned_and_bounded() -> None:
    found = await tools_of(MCPClient(listing(listed(description="a\x1b[31m\u202eb\u200b\nc" + "x" * 9_000))))
    description = found["raw_work"].description
    assert description.startswith("a[31mb\ncxxx")
    assert len(description) == 4_000


# ----------------------------------------------------------------------------------------------------------------------------------- trust

HINTS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=True, open_world_hint=False)


async def test_what_a_server_says_of_its_tools_is_not_believed() -> None:
    spec = (await tools_of(MCPClient(listing(listed(annotations=HINTS)))))["raw_work"].spec()
    assert (spec.read_only, spec.idempotent, spec.destructive, spec.open_world, spec.repeatable) == (False, False, None, None, False)


async def test_but_of_one_that_is_trusted() -> None:
    spec = (await tools_of(MCPClient(listing(listed(annotations=HINTS)), trusted=True)))["raw_work"].spec()
    assert (spec.read_only, spec.idempotent, spec.destructive, spec.open_world, spec.repeatable) == (True, True, None, False, True)


@pytest.mark.parametrize("trusted", [True, False])
async def test_one_that_keeps_to_keys_and_is_trusted_may_be_asked_again(trusted: bool) -> None:
    @tool
    def pay(ctx: ToolContext) -> str:
        """Pay."""
        return "paid"

    found = await tools_of(MCPClient(MCPServer([pay], log=":memory:", name="bank"), trusted=trusted))
    assert found["bank_pay"].spec().repeatable is trusted


# --------------------------------------------------------------------------------------------------------------------- arguments, results


async def test_the_whole_of_a_schema_is_checked_before_a_policy_or_the_server_sees_a_call() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}, "to": {"pattern": "^a"}}, "required": ["n"]}
    result = await called(MCPClient(listing(listed(input_schema=schema))), ("raw_work", {"n": 1, "to": "b"}), ("raw_work", {"n": 4}))
    first, second = sorted(result.tool_executions, key=lambda record: record.tool_call_id)
    assert "n: 1 is less than the minimum of 3" in str(first.error)
    assert "to: 'b' does not match '^a'" in str(first.error)
    assert second.output == "called"


RESULTS: list[tuple[CallToolResult, Any]] = [
    (CallToolResult(content=[TextContent(text="a"), TextContent(text="b")]), "a\nb"),
    (CallToolResult(content=[]), ""),
    (CallToolResult(content=[TextContent(text='{"n":1}')], structured_content={"n": 1}), {"n": 1}),
    (
        CallToolResult(content=[TextContent(text="see"), ImageContent(data="aGk=", mime_type="image/png")]),
        [{"type": "text", "text": "see"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}],
    ),
    (
        CallToolResult(content=[ImageContent(data="aGk=", mime_type="image/png")], structured_content={"n": 1}),
        {"structured_content": {"n": 1}, "content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]},
    ),
]


@pytest.mark.parametrize(("result", "expected"), RESULTS)
async def test_a_result_becomes_an_output(result: CallToolResult, expected: Any) -> None:
    run = await called(MCPClient(listing(listed(), result=result)), ("raw_work", {}))
    assert run.tool_executions[0].output == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (CallToolResult(content=[TextContent(text="no\x1b such order")], is_error=True), "no such order"),
        (CallToolResult(content=[], is_error=True), "raw_work failed, and server 'raw' did not say why"),
        (CallToolResult(content=[TextContent(text="x")], structured_content={"n": "x"}), "- n: 'x' is not of type 'integer'"),
        (CallToolResult(content=[TextContent(text="x")]), "- there is no structured content"),
        (CallToolResult(content=[TextContent(text="x" * 2000)]), "max_result_bytes of server 'raw' is 1000"),
    ],
)
async def test_a_result_that_is_none_is_a_failure(result: CallToolResult, expected: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    client = MCPClient(listing(listed(output_schema=schema), result=result), max_result_bytes=1000)
    record = (await called(client, ("raw_work", {}))).tool_executions[0]
    assert not record.success
    assert expected in str(record.error)


# --------------------------------------------------------------------------------------------------------------------------------- changes


def changed(server: SDKServer) -> None:
    """`find` takes other arguments now."""
    server.remove_tool("find")

    @server.tool()
    def find(number: int, limit: str = "") -> str:
        """Find an order."""
        return "another"


@pytest.mark.parametrize("protocol", ERAS)
async def test_a_tool_that_changed_since_the_run_was_told_of_it_is_not_called(protocol: str) -> None:
    server = shop()
    async with MCPClient(server, protocol=protocol, list_max_age_s=0) as client:
        tools = {each.name: each for each in await client.tools()}
        changed(server)
        outcome = await tools["shop_find"].call({"order": "A"})
        server.remove_tool("pay")
        gone = await tools["shop_pay"].call({"order": "A"})
        now = {each.name: each for each in await client.tools()}
    assert isinstance(outcome, ToolResult)
    assert isinstance(gone, ToolResult)
    assert "'find' of server 'shop' has changed since this run was told of it, so it was not called: argument 'order' is gone" in str(
        outcome.error
    )
    assert "argument 'number' is new" in str(outcome.error)
    assert "no longer has the tool 'pay', so it was not called" in str(gone.error)
    assert "shop_pay" not in now
    assert now["shop_refuse"] is tools["shop_refuse"]
    assert now["shop_find"] is not tools["shop_find"]


@pytest.mark.parametrize("protocol", ERAS)
@pytest.mark.parametrize("over", ["memory", "http"])
async def test_a_server_that_tells_of_changes_is_asked_only_then(protocol: str, over: str) -> None:
    """The next run sees the new list; one that goes on keeps its own."""

    @tool
    def early() -> str:
        """Early."""
        return "early"

    @tool
    def late() -> str:
        """Late."""
        return "late"

    server = MCPServer([early], log=":memory:", name="bank")

    async def checked(target: Any) -> None:
        client = MCPClient(target, name="bank", protocol=protocol)
        async with client:
            before = await client.tools()
            assert await client.tools() is before
            server.add_tool(late)
            async with asyncio.timeout(5):
                while len(await client.tools()) == 1:  # noqa: ASYNC110 - another task of the SDK's hears of it
                    await asyncio.sleep(0.005)
            assert [each.name for each in await client.tools()] == ["bank_early", "bank_late"]
            assert (await client.tools())[0] is before[0]

    if over == "memory":
        await checked(server)
    else:
        async with over_http(server) as url:
            await checked(url)


async def test_a_run_keeps_the_tools_that_it_was_told_of() -> None:
    server = shop()
    client = MCPClient(server, list_max_age_s=0)

    def adds(request: Any) -> Any:
        @server.tool()
        def late() -> str:
            return "late"

        return asks(("shop_find", {"order": "A"}), ("shop_late", {}))

    agent = agent_of(client, script=[adds, "done", asks(("shop_late", {})), "done"])
    async with Runner(log=":memory:") as runner:
        first = await runner.run(agent)
        second = await runner.run(agent)
    records = {record.tool_name: record for record in first.tool_executions}
    assert records["shop_find"].success
    assert not records["shop_late"].success
    assert second.tool_executions[0].output == {"result": "late"}


def test_of_a_server_that_lists_other_tools_every_time_only_the_last_list_is_kept() -> None:
    async def call(*_anything: Any) -> None:
        raise AssertionError

    catalogue = Catalogue("raw", "raw_", None, False, 1.0, call)
    first = ref(catalogue.listing([listed("first")]).tools[0])
    assert [tool.name for tool in catalogue.listing([listed("second")]).tools] == ["raw_second"]
    gc.collect()
    assert first() is None
