"""asyncpg, or what to install where it is not there."""

from afk_es.errors import MissingExtraError

try:
    import asyncpg
except ImportError:
    raise MissingExtraError('a log on PostgreSQL needs asyncpg; install it with `pip install "afk-es[postgres]"`') from None

__all__ = ["asyncpg"]
