"""The event log: its port, and the stores behind it. A store is imported when a location asks for it."""

from afk_es.log.location import default_location, open_log
from afk_es.log.port import ChainFault, EventLog, Letter, RunHead, RunRecord, TellingLog

__all__ = ["ChainFault", "EventLog", "Letter", "RunHead", "RunRecord", "TellingLog", "default_location", "open_log"]
