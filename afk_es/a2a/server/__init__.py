"""The server side of A2A: agents that other programs can ask. A task is a run, and the log is the only store."""
