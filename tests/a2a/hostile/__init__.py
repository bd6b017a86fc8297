"""A2A servers that lie, on raw HTTP."""
