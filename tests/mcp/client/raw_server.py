"""A server over stdin and stdout that is written by hand, so that it starts at once and does what no SDK would let it do.

python raw_server.py BEHAVIOUR [FILE]; FILE gets a line for each message that comes.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

BEHAVIOUR = sys.argv[1]
NOTES = sys.argv[2] if len(sys.argv) > 2 else None
TOOL: dict[str, Any] = {"name": "work", "description": "Work.", "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    if NOTES:
        with open(NOTES, "a") as file:
            file.write(text + "\n")


def text(said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}]}


def listed(params: dict[str, Any]) -> dict[str, Any]:
    if BEHAVIOUR == "pages without end":
        return {"tools": [], "nextCursor": "x"}
    if BEHAVIOUR == "too many tools":
        return {"tools": [{**TOOL, "name": f"t{number}"} for number in range(1001)]}
    if BEHAVIOUR == "two pages" and "cursor" not in params:
        return {"tools": [TOOL], "nextCursor": "second"}
    if BEHAVIOUR == "two pages":
        return {"tools": [{**TOOL, "name": "more"}]}
    if BEHAVIOUR == "listed twice":
        return {"tools": [TOOL, TOOL]}
    if BEHAVIOUR == "no list":
        return {"tools": "all of them"}
    return {"tools": [TOOL]}


def answer(number: int) -> dict[str, Any] | None:
    """The result of a call; None for none."""
    if BEHAVIOUR == "dies":
        os._exit(3)
    if BEHAVIOUR == "dies once" and Path(NOTES or "").read_text().count("tools/call") == 1:
        os._exit(3)
    if BEHAVIOUR == "never":
        return None
    if BEHAVIOUR == "large":
        return text("x" * 3_000_000)
    if BEHAVIOUR == "other id":
        send({"id": 999, "result": text("for another")})
        return None
    if BEHAVIOUR == "wrong types":
        return {"content": "not a list"}
    if BEHAVIOUR == "garbage first":
        sys.stdout.write("this is no JSON\n[1,2\n\n")
        return text("all the same")
    if BEHAVIOUR == "asks":
        for method in ("sampling/createMessage", "roots/list", "elicitation/create"):
            asked: dict[str, Any] = {
                "sampling/createMessage": {"messages": [], "maxTokens": 1},
                "elicitation/create": {"message": "your password?", "requestedSchema": {"type": "object", "properties": {}}},
            }
            send({"id": f"ask {method}", "method": method, "params": asked.get(method, {})})
            note("answered " + json.dumps(json.loads(sys.stdin.readline())))
        return text("asked")
    if BEHAVIOUR == "floods":
        for step in range(2_000):
            send({"method": "notifications/progress", "params": {"progressToken": number, "progress": step, "message": "m" * 1000}})
        return text("flooded")
    return text("worked")


def main() -> None:
    note(f"pid {os.getpid()}")
    if BEHAVIOUR == "ends at once":
        sys.exit(1)
    if BEHAVIOUR == "silent":
        time.sleep(600)
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method")
        note(f"{method} {json.dumps(message.get('params', {}))}")
        if "id" not in message or method is None:
            continue
        if method == "initialize":
            result: dict[str, Any] | None = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
        elif method == "tools/list":
            result = listed(message.get("params") or {})
        elif method == "tools/call":
            result = answer(message["id"])
            if result is None:
                continue
        else:
            send({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})
            continue
        send({"id": message["id"], "result": result})
    note("end of input")


main()
