"""The whole of a dispatcher in memory, slow and plain: what an engine is held against. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass
class Sent:
    """A parcel that was sent; its place in `Model.sent` is its age."""

    task_id: str
    queue: str
    priority: int
    lane: str | None
    due: float
    holder: int | None = None


@dataclass
class Model:
    """An engine. Consumers are numbers, which `ends` has with the end of their lease."""

    now: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    ends: dict[int, float] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)

    def lives(self, consumer: int) -> bool:
        """Whether its lease holds, and nobody has recovered what it held."""
        return self.now < self.ends[consumer] and consumer not in self.lost

    def join(self, consumer: int, lease_s: float) -> None:
        """A new lease."""
        self.ends[consumer] = self.now + lease_s
        self.lost.discard(consumer)

    def take(self, consumer: int, queues: Collection[str], limit: int) -> list[Sent]:
        """What it is given, in order."""
        found: list[Sent] = []
        if self.lives(consumer):
            for item in self._in_order():
                if len(found) < limit and item.queue in queues and item.holder is None and item.due <= self.now and self._is_next(item):
                    item.holder = consumer
                    found.append(item)
        return found

    def _in_order(self) -> list[Sent]:
        return sorted(self.sent, key=lambda item: -item.priority)  # Stable, so of equals the older is first.

    def _is_next(self, item: Sent) -> bool:
        lane = [] if item.lane is None else [other for other in self._in_order() if other.lane == item.lane]
        return not lane or (lane[0] is item and all(other.holder is None for other in lane))

    def done(self, consumer: int, item: Sent) -> None:
        """No more deliveries of it, where it is held."""
        if self.lives(consumer) and item.holder == consumer:
            self.sent = [other for other in self.sent if other is not item]

    def again(self, consumer: int, item: Sent, in_s: float) -> None:
        """Another delivery of it, where it is held."""
        if self.lives(consumer) and item.holder == consumer:
            item.holder, item.due = None, self.now + in_s

    def beat(self, consumer: int, lease_s: float) -> bool:
        """Whether it still had what it holds; if not, that is given back, and a new lease begins."""
        still = self.lives(consumer)
        if not still:
            self.leave(consumer)
        self.join(consumer, lease_s)
        return still

    def recover(self) -> int:
        """How many were taken from the dead."""
        dead = [consumer for consumer in self.ends if not self.lives(consumer)]
        count = sum(self.leave(consumer) for consumer in dead)
        self.lost.update(dead)
        return count

    def leave(self, consumer: int) -> int:
        """Give back all that it holds."""
        held = [item for item in self.sent if item.holder == consumer]
        for item in held:
            item.holder = None
        return len(held)
