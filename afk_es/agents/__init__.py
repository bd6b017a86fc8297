"""agents: being built."""
