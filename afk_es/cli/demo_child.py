"""The process of the demo that dies: runs the demo's agent, and stands still where its parent is to kill it.

That is after the refund's row is committed and before the tool returns, the worst moment there is. The tool itself knows nothing of it: a
middleware around it tells the parent, over stdout, and then waits for ever.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

from afk_es.cli.demo_agent import agent, issue_refund
from afk_es.cli.demo_script import USER_MESSAGE
from afk_es.core import Runner
from afk_es.tools import ToolContext, middleware


@middleware
async def wait_to_be_killed(call_next: Any, args: Any, ctx: ToolContext) -> Any:
    """Let the refund happen, say so, and never return."""
    output = await call_next(args, ctx)
    print(ctx.run_id, flush=True)
    await asyncio.Event().wait()
    return output


def main(log: str, shop: str) -> None:
    """Run the agent until the parent ends this process."""
    tools = tuple(replace(tool, middlewares=(wait_to_be_killed,)) if tool is issue_refund else tool for tool in agent.tools)
    doomed = agent.model_copy(update={"tools": tools})
    Runner(log=log).run_sync(doomed, user_message=USER_MESSAGE, context={"shop": shop})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
