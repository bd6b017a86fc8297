"""The join policies, by brute force: every outcome of up to four children in every order, against the meaning of each policy in words."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest

from afk_es.machine.joins import JoinPolicy, Member, Verdict, verdict

End = Literal["succeeded", "failed"]
POLICIES: tuple[JoinPolicy, ...] = ("all_required", "allow_optional_failures", "first_success", "quorum")


def in_words(
    policy: JoinPolicy, ends: tuple[End, ...], required: tuple[bool, ...], order: tuple[int, ...], quorum: int | None
) -> tuple[Verdict, int]:
    """The verdict, and how many had ended when it fell: by going through the ends one by one, as a person would."""
    count = len(ends)
    enough = min(quorum, count) if quorum is not None else next(number for number in range(count + 1) if number > count / 2)
    good = bad = 0
    for ended, member in enumerate(order, start=1):
        good += ends[member] == "succeeded"
        bad += ends[member] == "failed"
        match policy:
            case "all_required":
                if bad == 1:
                    return "failed", ended
            case "allow_optional_failures":
                if ends[member] == "failed" and required[member]:
                    return "failed", ended
            case "first_success":
                if good == 1:
                    return "joined", ended
            case "quorum":
                if good == enough:
                    return "joined", ended
                if count - bad < enough:
                    return "failed", ended
    return ("failed" if policy == "first_success" else "joined"), count


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_outcome_in_every_order_is_joined_as_the_policy_says(policy: JoinPolicy, count: int) -> None:
    quorums = (None, *range(1, count + 2)) if policy == "quorum" else (None,)
    needs = list(itertools.product((True, False), repeat=count)) if policy == "allow_optional_failures" else [(True,) * count]
    ends_of: list[tuple[End, ...]] = list(itertools.product(("succeeded", "failed"), repeat=count))
    for ends, order, required, quorum in itertools.product(ends_of, itertools.permutations(range(count)), needs, quorums):
        members = [Member("open", each) for each in required]
        fallen: tuple[Verdict, int] | None = None
        for ended, index in enumerate(order, start=1):
            assert verdict(policy, members, quorum) == "open", "it is decided by an end, and not before"
            members[index] = Member(ends[index], required[index])
            said = verdict(policy, members, quorum)
            if said != "open":
                fallen = (said, ended)
                break
        assert fallen == in_words(policy, ends, required, order, quorum), (policy, ends, order, required, quorum)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_delegation_without_members_is_joined(policy: JoinPolicy) -> None:
    assert verdict(policy, []) == "joined"
