"""A hostile server over stdio: `python -m tests.mcp.hostile NAME JOURNAL`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.mcp.hostile.lies import LIES, STAYING
from tests.mcp.hostile.server import Server
from tests.support.wire import Journal, on_stdio

if __name__ == "__main__":
    name, journal = sys.argv[1:]
    told = Journal(Path(journal))
    told.note({"pid": os.getpid()})
    server = Server(LIES[name], told)
    asyncio.run(on_stdio(server.heard, stays=name in STAYING))
