"""Agents that live elsewhere: asked by A2A, and used as agents of one's own."""
