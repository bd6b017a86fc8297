"""What an event looks like in a row, and back: stored text, shared parts, and the hash chain. Knows nothing of where rows are kept.

The row of an event is the tuple `Columns`, in that order, and its hash. Three things make it smaller than the event: the state `running`
and the empty message are NULL; keys that hold their declared default are left out; a declared part (an agent's spec, resolved
instructions) is stored once by content, and `{"$part": "<digest>"}` stands in its place. Only the declared part keys of declared types
are ever resolved, and those always hold a reference, so no user data can be mistaken for one.
"""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from afk_es.errors import CorruptLogError, InvalidEventError, NewerLogError
from afk_es.log.upcast import UPCASTERS, Upcasters, upcast
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION, AgentRunEvent, EventType, struct_of, validate
from afk_es.machine.values import DIGEST_BYTES, canonical_json, digest

Columns = tuple[int, int, int, str, str | None, int, str | None, int, str]
"""seq, epoch, at (microseconds since 1970, UTC), type, state (None: running), step, message (None: empty), schema_version, data (JSON)."""

Row = tuple[int, int, int, str, str | None, int, str | None, int, str, bytes]
"""`Columns` and the hash."""

PART = "$part"
PARTS_KEPT = 512
"""Decoded parts that a codec remembers. A process drives a handful of agents; dynamic instructions are what makes it many."""

LONG_READ = 500
"""Rows from which on the pause of the garbage collector is worth it."""

_USUAL_STATE = "running"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_PACKER = msgspec.msgpack.Encoder()
_DECODER = msgspec.json.Decoder()


class Needle(NamedTuple):
    """A text to look for in rows, whatever the case of ASCII letters.

    Attributes:
        in_data: as the JSON of a row has it, in lower case.
        in_message: as a message has it, in lower case.
        unseen: types whose rows may mean the text without holding it, since it stands in a part, is a default, or is their name.
    """

    in_data: str
    in_message: str
    unseen: tuple[str, ...]


def needle(text: str) -> Needle | None:
    """How to look for the text in rows; None where they cannot be searched for it.

    Letters beyond ASCII have more than one way to be small, and rows hold them as they were written.
    """
    if not text or not text.isascii():
        return None
    in_data = canonical_json(text).decode()[1:-1].lower()
    unseen = (
        row.name
        for row in EVENT_TYPES.values()
        if row.parts or in_data in canonical_json(row.defaults).decode().lower() or in_data in row.name
    )
    return Needle(in_data, text.lower(), tuple(unseen))


class EncodedEvent(NamedTuple):
    """An event that has its columns, but not yet its place in the chain. `packed` is what the hash is taken of."""

    columns: Columns
    packed: bytes


def chain_start(run_id: str, thread_id: str) -> bytes:
    """What the first event's hash is chained to: rows cannot be moved to another run or thread unnoticed."""
    return hashlib.blake2b(_PACKER.encode((run_id, thread_id)), digest_size=DIGEST_BYTES).digest()


def chain_fork(base: bytes, run_id: str, thread_id: str) -> bytes:
    """What the first own event of a fork is chained to: the last event that it shares, and what a run of its own would begin with."""
    return hashlib.blake2b(base + chain_start(run_id, thread_id), digest_size=DIGEST_BYTES).digest()


def chain_link(previous: bytes, packed: bytes) -> bytes:
    """The hash of a row: over the previous row's hash, which has a fixed length, and the packed columns, which delimit themselves."""
    return hashlib.blake2b(previous + packed, digest_size=DIGEST_BYTES).digest()


def pack(columns: Columns) -> bytes:
    """Every stored column in one unambiguous encoding (MessagePack tells NULL from empty and where a text ends)."""
    return _PACKER.encode(columns)


def microseconds(at: dt.datetime) -> int:
    """The time as it is stored."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> dt.datetime:
    """The time that is stored as so many microseconds."""
    return _EPOCH + dt.timedelta(0, 0, at)


class Codec:
    """Turns events into rows and rows into events.

    Decoded parts are remembered and shared: all events of one agent, in however many runs, hold the same dict, which nobody may change.

    Args:
        upcasters: the steps from older shapes to today's.
        version: the schema version that is written, and the newest that is understood.
    """

    def __init__(self, upcasters: Upcasters = UPCASTERS, version: int = SCHEMA_VERSION) -> None:
        self._upcasters = upcasters
        self._version = version
        self._parts: OrderedDict[str, Any] = OrderedDict()

    def encode(self, event: AgentRunEvent, *, epoch: int, parts: dict[str, str]) -> EncodedEvent:
        """The event's columns; the parts it refers to are added to `parts` as digest and JSON text.

        Raises:
            InvalidEventError: the data has not the declared shape or cannot be JSON, the type is not stored, or the time is naive.
        """
        try:
            data = self._stored_data(event, parts)
            columns: Columns = (
                event.seq,
                epoch,
                microseconds(event.at),
                event.type,
                None if event.state == _USUAL_STATE else event.state,
                event.step,
                event.message or None,
                event.schema_version,
                canonical_json(data).decode(),
            )
            return EncodedEvent(columns, _PACKER.encode(columns))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidEventError(f"{event.type} of run {event.run_id} at seq {event.seq} cannot be stored: {error}") from error

    def _stored_data(self, event: AgentRunEvent, parts: dict[str, str]) -> dict[str, Any]:
        row = EVENT_TYPES.get(event.type)
        if row is None:
            return event.data
        if not row.stored:
            raise InvalidEventError(f"{event.type} is transient: it is streamed, and never appended")
        if event.schema_version != self._version:
            raise InvalidEventError(
                f"{event.type} has schema version {event.schema_version}, and version {self._version} is written; let a log's read upcast it"
            )
        validate(event.type, event.data)
        return _shortened(row, event.data, parts) if row.parts or row.defaults else event.data

    def references(self, rows: Iterable[Row]) -> set[str]:
        """The digests of all parts that the rows refer to."""
        found: set[str] = set()
        for row in rows:
            event_type = EVENT_TYPES.get(row[3])
            if event_type is not None and event_type.parts:
                data = _decoded(row[8], row[0])
                found.update(_reference(data[key], row[0]) for key in event_type.parts if key in data)
        return found

    def known_parts(self, digests: Iterable[str]) -> dict[str, Any]:
        """Those of the parts that are remembered."""
        return {key: self._parts[key] for key in digests if key in self._parts}

    def load_part(self, key: str, content: str) -> Any:
        """Decode a part and remember it.

        Raises:
            CorruptLogError: the content is not what its digest says.
        """
        raw = content.encode()
        if digest(raw) != key:
            raise CorruptLogError(f"the stored part {key} is not what was appended; restore the log from a backup")
        value = self._parts.setdefault(key, _DECODER.decode(raw))
        self._parts.move_to_end(key)
        while len(self._parts) > PARTS_KEPT:
            self._parts.popitem(last=False)
        return value

    def decode_all(self, rows: Sequence[Row], *, run_id: str, thread_id: str, parts: Mapping[str, Any]) -> list[AgentRunEvent]:
        """The events of many rows of one run; see `decode`.

        The collector pauses meanwhile: it would walk all that was decoded so far again and again, and find nothing, since data that comes
        from JSON has no cycles. That is up to half the time of a long read.
        """
        collecting = gc.isenabled() and len(rows) > LONG_READ
        if collecting:
            gc.disable()
        try:
            return [self.decode(row, run_id=run_id, thread_id=thread_id, parts=parts) for row in rows]
        finally:
            if collecting:
                gc.enable()

    def decode(self, row: Row, *, run_id: str, thread_id: str, parts: Mapping[str, Any]) -> AgentRunEvent:
        """The event of a row, in today's shape.

        Raises:
            NewerLogError: a type we know, in a version we do not.
            CorruptLogError: the row cannot be decoded, has not the declared shape, or refers to a part that is not there.
        """
        seq, _, at, name, state, step, message, version, text, _ = row
        if not (type(seq) is type(at) is type(step) is type(version) is int and type(name) is type(text) is str):
            # No table of ours takes them. A file can be written by other hands than SQLite's.
            raise CorruptLogError(f"run {run_id}: a column of seq {seq!r} holds what it cannot hold")
        try:
            data = _decoded(text, seq)
            event_type = EVENT_TYPES.get(name)
            if event_type is not None:
                if version > self._version:
                    raise NewerLogError(
                        f"run {run_id}, seq {seq}: {name} has schema version {version}, this afk_es understands up to {self._version}; "
                        "upgrade afk_es to read it"
                    )
                if version == self._version:
                    msgspec.convert(data, _stored_shape(name))
                if event_type.parts or event_type.defaults or version < self._version:
                    data = self._restored(event_type, data, version, seq, parts)
                version = self._version
            when = moment(at)
        except (msgspec.ValidationError, OverflowError, RecursionError) as error:
            raise CorruptLogError(f"run {run_id}, seq {seq}: {name}: {error}") from error
        except (CorruptLogError, InvalidEventError) as error:
            raise CorruptLogError(f"run {run_id}: {error}") from error
        return AgentRunEvent(name, run_id, thread_id, seq, when, state or _USUAL_STATE, step, message or "", data, version)

    def _restored(self, row: EventType, data: dict[str, Any], version: int, seq: int, parts: Mapping[str, Any]) -> dict[str, Any]:
        for key in row.parts:
            if key in data:
                reference = _reference(data[key], seq)
                if reference not in parts:
                    raise CorruptLogError(f"seq {seq} refers to the part {reference}, which is not in the log")
                data[key] = parts[reference]
        old = version < self._version
        if old:
            data = upcast(self._upcasters, row.name, data, stored=version, wanted=self._version)
        for key, default in row.defaults.items():
            if key not in data:
                data[key] = default.copy() if isinstance(default, (list, dict)) else default
        if old:
            validate(row.name, data)
        return data


def _shortened(row: EventType, data: dict[str, Any], parts: dict[str, str]) -> dict[str, Any]:
    stored = dict(data)
    for key, default in row.defaults.items():
        if key in stored and stored[key] == default:  # Validated before: no False or 0.0 can stand for a 0 here.
            del stored[key]
    for key in row.parts:
        if key in stored:
            content = canonical_json(stored[key])
            reference = digest(content)
            parts[reference] = content.decode()
            stored[key] = {PART: reference}
    return stored


@cache
def _stored_shape(name: str) -> type[msgspec.Struct]:
    """What the stored data of a type looks like: its shape, with anything in place of a part, and without what is left out.

    What comes of the check is thrown away, because unknown keys are not in it.
    """
    return struct_of(EVENT_TYPES[name], stored=True)


def _decoded(text: str, seq: int) -> dict[str, Any]:
    try:
        data = _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise CorruptLogError(f"the data of seq {seq} is not JSON: {error}") from error
    except (RecursionError, TypeError) as error:
        raise CorruptLogError(f"the data of seq {seq} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise CorruptLogError(f"the data of seq {seq} is not an object")
    return data


def _reference(value: Any, seq: int) -> str:
    if isinstance(value, dict) and isinstance(reference := value.get(PART), str):
        return reference
    raise CorruptLogError(f"seq {seq} has no reference where a part belongs")
