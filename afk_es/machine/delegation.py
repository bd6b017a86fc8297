"""What is delegated: a subagent's part in a tool call, a router's plan, and how far a delegation has come. Plain data and its own rules.

A router's plan is a batch of calls that the router asks for and not the model: each of its nodes is a call to `transfer_to_<subagent>`
with the node's id, so that the policy gate, approvals, limits and records treat both alike.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from afk_es.machine.effects import Wait
from afk_es.machine.joins import JoinPolicy, Verdict
from afk_es.machine.values import digest

TRANSFER = "transfer_to_"
"""What the name of a tool that hands work to a subagent begins with; the subagent's name follows."""


class Node(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One task of a plan.

    Attributes:
        id: its name within the plan.
        timeout_s: seconds from the start of an attempt; the child is cancelled then.
        retries: how often a failed attempt is made again.
        required: whether its failure is one of the plan, where the join policy allows optional ones.
        inputs: per name, the node upstream whose output is put into the task.
    """

    id: str
    subagent: str
    task: str
    timeout_s: float | None = None
    retries: int = 0
    required: bool = True
    inputs: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a router wants done before the model is asked: tasks, and which comes before which."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...] = ()
    join_policy: JoinPolicy = "all_required"
    quorum: int | None = None

    def before(self, node_id: str) -> tuple[str, ...]:
        """The nodes that must be over before this one starts."""
        return tuple(first for first, second in self.edges if second == node_id)

    def last(self) -> frozenset[str]:
        """The nodes that nothing follows: those that first_success and quorum count."""
        return frozenset(node.id for node in self.nodes) - {first for first, _second in self.edges}


class Child(msgspec.Struct, frozen=True, gc=False):
    """What a tool call that goes to a subagent has beside other calls.

    Attributes:
        name: the subagent's.
        outcome: what it counts as in the join; a call that was refused before it began counts in no answer's join.
        run_id: of the run of the attempt under way, or of the last one.
        budget_usd: what that run may spend, where its parent has a limit.
        output: what it came to, until the call is over.
        deadline: the wait that ends the attempt under way.
        timed_out: it did.
        node: its place in a plan.
    """

    name: str
    outcome: Literal["open", "succeeded", "failed", "refused"] = "open"
    run_id: str = ""
    budget_usd: float | None = None
    output: Any = None
    deadline: Wait | None = None
    timed_out: bool = False
    node: Node | None = None


class Delegation(msgspec.Struct, frozen=True, gc=False):
    """How the subagent calls of a batch belong together."""

    join_policy: JoinPolicy
    quorum: int | None = None
    verdict: Verdict = "open"
    plan: Plan | None = None


class DelegationSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an agent delegates. `max_parallel` is how many of its subagents may run at once."""

    join_policy: JoinPolicy = "all_required"
    quorum: int | None = None
    max_parallel: int = 8
    routed: bool = False
    """A router is asked before the model, once a step."""


def child_run_id(run_id: str, ordinal: int, attempt: int) -> str:
    """The id of the run that this attempt of this call is: derived, so that whoever resumes the parent finds it."""
    return f"run_{digest(f'{run_id}:subagent:{ordinal}:{attempt}'.encode())}"


def flaw(plan: Plan, subagents: frozenset[str], fan_out: int) -> str | None:
    """Why the plan cannot be carried out, in a sentence, or None.

    Args:
        subagents: the names there are.
        fan_out: how many nodes this step has room for.
    """
    ids = [node.id for node in plan.nodes]
    if not ids:
        return "the plan has no nodes; answer None to delegate nothing"
    for node in plan.nodes:
        if ids.count(node.id) > 1:
            return f"two nodes have the id {node.id!r}"
        if node.subagent not in subagents:
            return f"node {node.id!r}: there is no subagent {node.subagent!r}; there are: {', '.join(sorted(subagents))}"
    for edge in plan.edges:
        for end in edge:
            if end not in ids:
                return f"edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}"
    if len(ids) > fan_out:
        return f"the plan has {len(ids)} nodes, and max_subagent_fanout_per_step leaves room for {fan_out}"
    if plan.quorum is not None and not 1 <= plan.quorum <= len(plan.last()):
        return f"a quorum of {plan.quorum} cannot be reached by {len(plan.last())} last nodes"
    upstream = _upstream(plan)
    if upstream is None:
        return "the edges go in a circle"
    for node in plan.nodes:
        for name, source in node.inputs.items():
            if source not in upstream[node.id]:
                return f"node {node.id!r}: its input {name!r} comes from {source!r}, which is not upstream of it; add an edge"
    return None


def _upstream(plan: Plan) -> dict[str, frozenset[str]] | None:
    """Per node, all that must be over before it; None where the edges go in a circle."""
    known: dict[str, frozenset[str]] = {}
    waiting = [node.id for node in plan.nodes]
    while waiting:
        ready = [node_id for node_id in waiting if all(first in known for first in plan.before(node_id))]
        if not ready:
            return None
        for node_id in ready:
            known[node_id] = frozenset(plan.before(node_id)).union(*(known[first] for first in plan.before(node_id)))
            waiting.remove(node_id)
    return known
