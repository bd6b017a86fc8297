"""The event log: its port, and the stores behind it."""

from afk_es.log.port import ChainFault, EventLog, RunHead, RunRecord

__all__ = ["ChainFault", "EventLog", "RunHead", "RunRecord"]
