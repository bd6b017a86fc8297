"""Where our MCP server and client meet those of others: the official inspector and conformance suite, and servers in JavaScript.

`python -m tests.interop` prints a table. What it needs comes from the npm registry, pinned, into a directory of its own.
"""
