"""The event log: its port, and the stores behind it. A store is imported when a location asks for it."""

from afk_es.log.location import default_location, open_log
from afk_es.log.port import ChainFault, DatabaseLog, EventLog, Letter, RunHead, RunRecord, Statement, StoredLog, TellingLog

__all__ = [
    "ChainFault",
    "DatabaseLog",
    "EventLog",
    "Letter",
    "RunHead",
    "RunRecord",
    "Statement",
    "StoredLog",
    "TellingLog",
    "default_location",
    "open_log",
]
