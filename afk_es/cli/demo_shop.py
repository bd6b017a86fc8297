"""The shop of the demo: a small SQLite database, and a carrier whose service is not reliable. Knows nothing of agents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

APPLICATION_ID = 0x61666B64
"""`afkd` in ASCII: this database was made by a demo, and the next demo may replace it."""

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE customers (customer_id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE orders (
  order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers, item TEXT NOT NULL,
  quantity INTEGER NOT NULL, unit_price REAL NOT NULL, parcel_id TEXT NOT NULL
) STRICT;
CREATE TABLE refunds (
  refund_id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders, amount REAL NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE notifications (
  idempotency_key TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers, text TEXT NOT NULL
) STRICT;
CREATE TABLE carrier_requests (parcel_id TEXT NOT NULL) STRICT;
INSERT INTO customers VALUES ('C-7', 'Ada Winter', 'ada@example.com'), ('C-8', 'Ben Okafor', 'ben@example.com');
INSERT INTO orders VALUES ('A-1042', 'C-7', 'desk lamp', 2, 79.0, 'P-5518'), ('A-1043', 'C-8', 'kettle', 1, 45.0, 'P-5519');
"""


class Shop:
    """The shop's database.

    Args:
        path: the file; `create` makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the database, with two customers and their orders."""
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

    def customer(self, email: str) -> dict[str, Any] | None:
        """The customer with that address, or None."""
        return self._row("SELECT * FROM customers WHERE email = ?", email)

    def order(self, order_id: str) -> dict[str, Any] | None:
        """The order, or None."""
        return self._row("SELECT *, quantity * unit_price AS total FROM orders WHERE order_id = ?", order_id)

    def refunds(self, order_id: str) -> list[dict[str, Any]]:
        """The refunds of an order, in the order they were issued."""
        return self._rows("SELECT * FROM refunds WHERE order_id = ? ORDER BY refund_id", order_id)

    def issue_refund(self, order_id: str, amount: float, reason: str) -> int:
        """Pay back. Each call is another payment; its row is committed when this returns."""
        return self._write("INSERT INTO refunds (order_id, amount, reason) VALUES (?, ?, ?)", order_id, amount, reason)

    def notify(self, key: str, customer_id: str, text: str) -> None:
        """Send a message. A second one with the same key is not sent."""
        self._write("INSERT OR IGNORE INTO notifications VALUES (?, ?, ?)", key, customer_id, text)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        found = self._row(f"SELECT count(*) AS rows FROM {table}")
        return int(found["rows"]) if found is not None else 0

    def track(self, parcel_id: str) -> str:
        """Ask the carrier where a parcel is.

        The carrier resets the first connection for every parcel. It counts in the database, so it is the same carrier for every process.

        Raises:
            ConnectionResetError: as it does.
        """
        asked = self._write("INSERT INTO carrier_requests VALUES (?)", parcel_id)
        if asked == 1:
            raise ConnectionResetError("connection reset by carrier.example:443")
        return "delivered on 18 November; the recipient reported damage to the parcel"

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path)
        try:
            connection.row_factory = sqlite3.Row
            yield connection
        finally:
            connection.close()

    def _rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        with self._connected() as connection:
            return [dict(row) for row in connection.execute(sql, parameters)]

    def _row(self, sql: str, *parameters: Any) -> dict[str, Any] | None:
        rows = self._rows(sql, *parameters)
        return rows[0] if rows else None

    def _write(self, sql: str, *parameters: Any) -> int:
        with self._connected() as connection, connection:
            return connection.execute(sql, parameters).lastrowid or 0


def is_demo_shop(path: Path) -> bool:
    """Whether a demo made this file."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(found == APPLICATION_ID)
