"""Whether stored rows are what was appended: the hash chain recomputed from the stored bytes.

What a chain cannot show is that its end was cut off: a prefix of a run is a legal run, which is also what a crash leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from afk_es.log.codec import Codec, Row, chain_link, chain_start, pack
from afk_es.log.port import ChainFault
from afk_es.machine.values import digest


def chain_fault(run_id: str, thread_id: str, rows: Sequence[Row]) -> ChainFault | None:
    """The first row that is not what was appended, or None. The rows are all of the run, as stored, in order of seq."""
    previous = chain_start(run_id, thread_id)
    for expected, row in enumerate(rows, start=1):
        if row[0] != expected:
            return ChainFault(run_id, expected, f"event {expected} is missing: the next one stored is {row[0]}")
        previous = chain_link(previous, pack(row[:-1]))
        if previous != row[-1]:
            return ChainFault(run_id, expected, f"event {expected} ({row[3]}) was changed: its hash does not follow from what is stored")
    return None if rows else ChainFault(run_id, 1, "event 1 is missing: the run has no events")


def part_fault(run_id: str, rows: Sequence[Row], contents: Mapping[str, str]) -> ChainFault | None:
    """The first row that refers to a part which is missing or changed, or None.

    Args:
        run_id: the run.
        rows: rows whose chain is sound.
        contents: stored JSON text by digest.
    """
    codec = Codec()
    for row in rows:
        for key in sorted(codec.references((row,))):
            if key not in contents:
                return ChainFault(run_id, row[0], f"the part {key} of event {row[0]} ({row[3]}) is missing")
            if digest(contents[key].encode()) != key:
                return ChainFault(run_id, row[0], f"the part {key} of event {row[0]} ({row[3]}) was changed")
    return None
