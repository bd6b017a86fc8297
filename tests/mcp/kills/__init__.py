"""Servers and clients of MCP that are killed in the middle of a call."""
