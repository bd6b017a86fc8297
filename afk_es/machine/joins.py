"""When a delegation to several subagents is decided, and how: the join policies, as one table. It knows how children ended, and not why.

A delegation has members, each of which is open, has succeeded or has failed. After every end the table is asked; whoever is open when it
says `joined` or `failed` is cancelled.

    policy                     joined as soon as                    failed as soon as
    all_required               every member succeeded               a member failed
    allow_optional_failures    no member is open                    a member that is required failed
    first_success              one member succeeded                 every member failed
    quorum                     enough members succeeded             too few are left to succeed

Enough is the number that is given, or all of them where there are fewer members; without a number, more than half. A delegation without
members is joined: there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

JoinPolicy = Literal["all_required", "allow_optional_failures", "first_success", "quorum"]
Verdict = Literal["open", "joined", "failed"]


class Member(msgspec.Struct, frozen=True, gc=False):
    """One subagent of a delegation."""

    outcome: Literal["open", "succeeded", "failed"] = "open"
    required: bool = True


class _Tally(msgspec.Struct, frozen=True, gc=False):
    members: int
    open: int
    succeeded: int
    failed: int
    required_failed: int
    enough: int


_Condition = Callable[[_Tally], bool]

_TABLE: dict[JoinPolicy, tuple[_Condition, _Condition]] = {
    "all_required": (lambda of: of.succeeded == of.members, lambda of: of.failed > 0),
    "allow_optional_failures": (lambda of: of.open == 0, lambda of: of.required_failed > 0),
    "first_success": (lambda of: of.succeeded > 0, lambda of: of.failed == of.members),
    "quorum": (lambda of: of.succeeded >= of.enough, lambda of: of.succeeded + of.open < of.enough),
}
"""Per policy, when the delegation is joined and when it has failed. A failure is looked for first."""


def verdict(policy: JoinPolicy, members: Sequence[Member], quorum: int | None = None) -> Verdict:
    """What has become of a delegation.

    Args:
        quorum: how many must succeed under the policy of that name; default: more than half.
    """
    if not members:
        return "joined"
    outcomes = [member.outcome for member in members]
    tally = _Tally(
        members=len(members),
        open=outcomes.count("open"),
        succeeded=outcomes.count("succeeded"),
        failed=outcomes.count("failed"),
        required_failed=sum(member.required and member.outcome == "failed" for member in members),
        enough=min(quorum, len(members)) if quorum is not None else len(members) // 2 + 1,
    )
    joined, failed = _TABLE[policy]
    if failed(tally):
        return "failed"
    return "joined" if joined(tally) else "open"
