"""What the processes of the kill tests load when they are first used, loaded before they are forked."""

import a2a.client
import anyio._backends._asyncio
import h11
import httpcore
import uvicorn.protocols.http.auto

import afk_es.a2a.client.client
import afk_es.a2a.server.server
import afk_es.core.wiring

LOADED = (a2a, afk_es.core.wiring, afk_es.a2a.client.client, afk_es.a2a.server.server, anyio, h11, httpcore, uvicorn)
