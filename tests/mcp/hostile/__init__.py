"""MCP servers that lie: written on raw lines and raw HTTP, as no SDK would let a server do what these do."""
