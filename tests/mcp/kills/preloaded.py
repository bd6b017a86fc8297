"""What the processes of the kill tests load when they are first used, loaded before they are forked."""

import anyio._backends._asyncio
import h11
import httpcore2
import mcp.client.streamable_http
import mcp.server.streamable_http_manager
import uvicorn
import uvicorn.protocols.http.auto

import afk_es.core.wiring
import afk_es.mcp.client
import afk_es.mcp.server
import afk_es.serving.http_server

LOADED = (afk_es.core.wiring, afk_es.mcp.client, afk_es.mcp.server, afk_es.serving.http_server, anyio, h11, httpcore2, mcp, uvicorn)
