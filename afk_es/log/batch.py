"""One append before it has a place: encoded, checked in itself, and checked against the head that it must follow.

Every store goes through here, so all refuse the same things in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from afk_es.errors import HeadConflictError, InvalidEventError, LogError
from afk_es.log.codec import Codec, EncodedEvent, Row, chain_fork, chain_link, chain_start, pack
from afk_es.log.port import RunHead
from afk_es.machine.events import AgentRunEvent

CLAIM = "run_started"


class Base(NamedTuple):
    """Where a fork leaves the run that it shares its beginning with: `seq` is the last event that is shared."""

    run_id: str
    seq: int


class Batch(NamedTuple):
    """The events of one append. `parts` are digest and JSON text of what the events refer to; `base` is there where they begin a fork."""

    run_id: str
    thread_id: str
    first_seq: int
    epoch: int
    claims: bool
    events: list[EncodedEvent]
    parts: dict[str, str]
    base: Base | None = None


class Head(NamedTuple):
    """The end of a run's chain, as an append needs it."""

    thread_id: str
    seq: int
    epoch: int
    hash: bytes


def encode_batch(codec: Codec, events: Sequence[AgentRunEvent], epoch: int) -> Batch:
    """Encode the events of one append.

    Raises:
        InvalidEventError: one of them cannot be stored, or they do not belong together.
    """
    first = events[0]
    _check_id(first.run_id)
    _check_id(first.thread_id)
    parts: dict[str, str] = {}
    encoded = []
    for place, event in enumerate(events):
        if event.seq != first.seq + place:
            raise InvalidEventError(
                f"run {first.run_id}: seq {event.seq} in one append with {first.seq}, where {first.seq + place} belongs"
            )
        if event.run_id != first.run_id or event.thread_id != first.thread_id:
            raise InvalidEventError(f"one append has events of one run: {first.run_id} and {event.run_id} are two")
        if event.type == CLAIM:
            _check_claim(event, place, epoch)
        encoded.append(codec.encode(event, epoch=epoch, parts=parts))
    claims = first.type == CLAIM
    base = _base_of(first) if claims and "forked_from" in first.data else None
    return Batch(first.run_id, first.thread_id, first.seq, epoch, claims, encoded, parts, base)


def stored_batches(head: RunHead, rows: Sequence[Row], parts: Mapping[str, str]) -> list[Batch]:
    """The appends that bring a run's stored rows into another log as they are: one for each stretch, since what claims a run is the first of
    its append. Nothing is decoded, and so nothing is checked but the ids.

    Raises:
        InvalidEventError: an id that cannot be stored.
    """
    _check_id(head.run_id)
    _check_id(head.thread_id)
    starts = [place for place, row in enumerate(rows) if row[3] == CLAIM or not place]
    batches = []
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        stretch = rows[start:end]
        first = stretch[0]
        events = [EncodedEvent(row[:-1], pack(row[:-1])) for row in stretch]
        origin = head.forked_from
        base = Base(origin["run_id"], origin["seq"]) if origin is not None and 0 < origin["seq"] == first[0] - 1 else None
        batches.append(
            Batch(head.run_id, head.thread_id, first[0], first[1], first[3] == CLAIM, events, {} if start else dict(parts), base)
        )
    return batches


def _base_of(first: AgentRunEvent) -> Base | None:
    """What the fork that begins with this event shares; None where that is nothing."""
    base = Base(first.data["forked_from"]["run_id"], first.data["forked_from"]["seq"])
    if first.seq != base.seq + 1:
        raise InvalidEventError(
            f"run {first.run_id}: a fork from seq {base.seq} of run {base.run_id} begins at seq {base.seq + 1}, and this event is {first.seq}"
        )
    return base if base.seq else None


def _check_id(identity: str) -> None:
    # NUL ends a text in some of SQLite's functions; a lone surrogate cannot be stored at all.
    if not identity or "\0" in identity or not _encodable(identity):
        raise InvalidEventError(f"{identity!r} is no id of a run or thread: an id is text, not empty, without NUL and lone surrogates")


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _check_claim(event: AgentRunEvent, place: int, epoch: int) -> None:
    if place:
        raise InvalidEventError(f"run {event.run_id}, seq {event.seq}: a {CLAIM} claims the run, so it is the first of its append")
    if event.data.get("epoch") != epoch:
        raise InvalidEventError(f"run {event.run_id}, seq {event.seq}: appended with epoch {epoch}, but says {event.data.get('epoch')!r}")


def base_head(batch: Batch, seq: int, epoch: int, link: bytes) -> Head:
    """The head that the first batch of a fork follows, from the seq, epoch and hash of the last event that is shared."""
    return Head(batch.thread_id, seq, epoch, chain_fork(link, batch.run_id, batch.thread_id))


def refusal(batch: Batch, head: Head | None, base: Head | None = None) -> LogError | None:
    """Why the batch cannot follow the head (None: the run is new), or None if it can.

    Args:
        base: the `base_head` of a batch that begins a fork; None where the log has no such position.
    """
    if batch.base is not None:
        if head is not None:
            return InvalidEventError(f"run {batch.run_id} is there already, and a fork is a new run; give it another id")
        if base is None:
            return InvalidEventError(
                f"run {batch.run_id} is to be forked from seq {batch.base.seq} of run {batch.base.run_id}, and this log has no such event; "
                "fork from a position of a run in the same log"
            )
        head = base
    seq, epoch = (head.seq, head.epoch) if head is not None else (0, 0)
    if head is not None and head.thread_id != batch.thread_id:
        return InvalidEventError(f"run {batch.run_id} belongs to thread {head.thread_id}, not to {batch.thread_id}")
    if batch.first_seq == seq + 1 and batch.epoch == epoch + batch.claims and batch.epoch > 0:
        return None
    return conflict(batch, seq, epoch)


def conflict(batch: Batch, seq: int, epoch: int) -> HeadConflictError:
    """The error for a batch that does not follow a head with that seq and epoch."""
    wanted = f"{'claims epoch' if batch.claims else 'has epoch'} {batch.epoch} and expects head {batch.first_seq - 1}"
    found = f"the run is at seq {seq}, epoch {epoch}" if seq else f"the log has no such run, and a run begins with a {CLAIM} of epoch 1"
    return HeadConflictError(
        f"run {batch.run_id}: the append {wanted}, but {found}. Another owner has gone on with it, or this one was never its owner: "
        "dispatch nothing more, read the run again and resume it if nobody drives it"
    )


def chained(batch: Batch, head: Head | None) -> tuple[list[bytes], Head]:
    """The hash of each event behind that head, which for the first batch of a fork is its `base_head`, and the head after them."""
    previous = head.hash if head is not None else chain_start(batch.run_id, batch.thread_id)
    hashes = []
    for event in batch.events:
        previous = chain_link(previous, event.packed)
        hashes.append(previous)
    return hashes, Head(batch.thread_id, batch.first_seq + len(hashes) - 1, batch.epoch, previous)
