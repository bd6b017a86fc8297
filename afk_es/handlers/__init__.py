"""The only code that touches the world: one module per kind of effect, each answering with one of its `endings`."""

from afk_es.handlers.binding import Binding
from afk_es.handlers.live import live_handlers

__all__ = ["Binding", "live_handlers"]
