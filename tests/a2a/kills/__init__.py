"""Servers and clients of A2A that are killed in the middle of a task."""
