"""Whether the promises held, by what was left behind alone: every run ended, every effect took place as often as was declared, and nothing was
started by a worker that had lost its run."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.queues import TaskItem
from afk_es.queues.contracts import JOB
from afk_es.testing import log_problems
from tests.queues.kills.errands import NEVER_S, REPEATABLE, Errand
from tests.queues.kills.evidence import Evidence
from tests.queues.kills.scene import Told

Promise = Literal["ends", "rows", "log", "once", "doubt", "stale", "order", "time", "keys", "results", "approval", "process"]

PROMISES: dict[Promise, str] = {
    "ends": "every task ends, as it may",
    "rows": "a task's row says what its run's log says",
    "log": "every log is sound: `verify`, `log_problems`",
    "once": "an effect whose result was appended took place once, or, if it may be repeated, under the same key",
    "doubt": "of an effect in doubt the log says what became of it; one that may not be repeated is not",
    "stale": "nothing is started by a worker whose lease is over or whose run another has",
    "order": "tasks of one lane are done one after the other, as they were pushed",
    "time": "nothing begins before its time",
    "keys": "a key stands for one task, and every task is one run",
    "results": "a run has one result, and a call has one",
    "approval": "what waits for an approval begins after it",
    "process": "no process ends by itself, and each ends when it is told to",
}

CLOCKS_S = 0.002
"""Two readings of the time of day in two processes, one of them carried on by the monotonic clock."""

LAG_S = 5.0
"""How far a process that is stopped just between its readings of two clocks may be behind."""

Line = Mapping[str, Any]
Run = Sequence[AgentRunEvent]


class Violation(NamedTuple):
    """A promise that was broken, in a sentence."""

    promise: Promise
    sentence: str


@dataclass
class Verdict:
    """What there was, and what was wrong."""

    figures: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def wrong(self, promise: Promise, sentence: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(promise, sentence))


def judged(errands: Iterable[Errand], told: Told, evidence: Evidence) -> Verdict:
    """Hold what was left against what was asked for."""
    verdict = Verdict()
    for sentence in told.wrong:
        verdict.wrong("process" if sentence.startswith("a worker") else "keys", sentence)
    for last_words in told.died:
        verdict.wrong("process", last_words)
    by_task = _tasks(errands, told, evidence, verdict)
    lives = {line["life"]: line["owner"] for line in evidence.journal if line["what"] == "life"}
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in evidence.journal:
        if "run" in line:
            lines[line["run"]].append(line)
    for task_id, errand in by_task.items():
        item, run = evidence.items[task_id], evidence.runs.get(task_id, [])
        account = Account(task_id, run, lines.pop(task_id, []), lives)
        for found in (_ending(errand, item, account), account.soundness(evidence.faults), account.effects(), account.ownership()):
            verdict.violations += found
        verdict.violations += _times(errand, item, run)
        verdict.figures += account.figures()
    for run_id in lines:
        verdict.wrong("keys", f"run {run_id} is no task's, and has effects")
    verdict.violations += _orders(by_task, evidence.runs)
    verdict.figures["runs"] = len(by_task)
    return verdict


def _tasks(errands: Iterable[Errand], told: Told, evidence: Evidence, verdict: Verdict) -> dict[str, Errand]:
    """The errands by task; and whether every one that was said to be pushed is one task."""
    by_name = {errand.name: errand for errand in errands}
    found: dict[str, Errand] = {}
    for name, ids in told.tasks.items():
        if len(ids) > 1:
            verdict.wrong("keys", f"{name} was pushed as {sorted(ids)}")
        for task_id in ids:
            if task_id not in evidence.items:
                verdict.wrong("ends", f"{name} was pushed as {task_id}, and there is no such task")
                continue
            found[task_id] = by_name[name]
            verdict.figures["pushed twice"] += by_name[name].key is not None
    keys = Counter(item.key for item in evidence.items.values() if item.key is not None)
    for key, times in keys.items():
        if times > 1:
            verdict.wrong("keys", f"there are {times} tasks of key {key}")
    # What a pusher that was killed had not yet been told of is pushed again, and told then.
    for task_id in evidence.items.keys() - found.keys():
        verdict.wrong("keys", f"nobody pushed task {task_id}")
    for run_id in evidence.runs.keys() - evidence.items.keys():
        verdict.wrong("keys", f"run {run_id} is no task's")
    return found


# ---------------------------------------------------------------------------------------------------------------------------- of one run


class Owned(NamedTuple):
    """A stretch of a run: whose it was, and until when."""

    epoch: int
    owner: str
    began: float
    ended: float


class Account:
    """A run, and what the world saw of it.

    Args:
        lines: of the journal, in order.
        lives: the owner that each process was.
    """

    def __init__(self, run_id: str, run: Run, lines: Sequence[Line], lives: Mapping[str, str]) -> None:
        self.run_id = run_id
        self.run = run
        self._lives = lives
        self.starts = [line for line in lines if line["what"] == "start"]
        self._done = [line for line in lines if line["what"] == "did"]
        self._did = Counter(line["key"] for line in self._done)
        self._begun = Counter(line["key"] for line in self.starts)
        self._asked = [line for line in lines if line["what"] == "ask"]
        self._owned = _stretches(run)
        self._intents: dict[str, list[AgentRunEvent]] = defaultdict(list)
        self._epochs: dict[int, int] = {}
        self._results: dict[str, AgentRunEvent] = {}
        self.twice: list[str] = []
        self._read()

    def _read(self) -> None:
        epoch = 0
        under_way: dict[str, str] = {}
        for event in self.run:
            if event.type == "run_started":
                epoch = event.data["epoch"]
            elif event.type == "tool_started":
                self._intents[event.data["idempotency_key"]].append(event)
                self._epochs[event.seq] = epoch
                under_way[event.data["tool_call_id"]] = event.data["idempotency_key"]
            elif event.type == "tool_completed" and event.data["tool_call_id"] in under_way:
                key = under_way.pop(event.data["tool_call_id"])
                if key in self._results:
                    self.twice.append(key)
                self._results[key] = event

    @property
    def unknown(self) -> bool:
        """Whether nobody knows of one of its effects whether it took place, and the log says so."""
        return any(event.data["outcome"] == "unknown" for event in self._results.values())

    def soundness(self, faults: Mapping[str, str]) -> Iterator[Violation]:
        """What the log alone shows."""
        if self.run_id in faults:
            yield Violation("log", f"{self.run_id}: verify says {faults[self.run_id]}")
        if not self.run:
            return
        for problem in log_problems(list(self.run)):
            yield Violation("doubt" if "doubt" in problem else "log", f"{self.run_id}: {problem}")
        for key in self.twice:
            yield Violation("results", f"{self.run_id}: the call of key {key} has two results")
        endings = [event for event in self.run if event.type in ("run_completed", "run_cancelled")]
        if len(endings) > 1:
            yield Violation("results", f"{self.run_id} ended for good {len(endings)} times")

    def effects(self) -> Iterator[Violation]:
        """How often each took place, and whether the log knows of it."""
        items = Counter(line["item"] for line in self.starts if line["tool"] not in REPEATABLE and self._did[line["key"]])
        for item, times in items.items():
            if times > 1 and sum(self._did[line["key"]] for line in self.starts if line["item"] == item) > 1:
                yield Violation("once", f"{self.run_id}: {item} took place more than once, and may not be repeated")
        tools = {line["key"]: line["tool"] for line in self.starts}
        for key, tool_name in tools.items():
            begun, did, intents = self._begun[key], self._did[key], len(self._intents[key])
            if begun > intents:
                yield Violation("once", f"{self.run_id}: {tool_name} {key} began {begun} times, and the log announces {intents}")
            if tool_name not in REPEATABLE and begun > 1:
                yield Violation("doubt", f"{self.run_id}: {tool_name} {key} may not be repeated, and began {begun} times")
            result = self._results.get(key)
            if result is None:
                yield Violation("doubt", f"{self.run_id}: {tool_name} {key} began, and has no result")
            elif result.data["outcome"] == "returned" and (did < 1 or (did > 1 and tool_name not in REPEATABLE)):
                yield Violation("once", f"{self.run_id}: {tool_name} {key} returned, and took place {did} times")
            elif result.data["outcome"] in ("denied", "limited", "invalid"):
                yield Violation("once", f"{self.run_id}: {tool_name} {key} was {result.data['outcome']}, and began")
            yield from self._after_its_result(key, tool_name, result)
        for line in self.starts:
            if line["tool"] == "wire" and not self._approved_before(line["at"]):
                yield Violation("approval", f"{self.run_id}: {line['item']} began before anybody approved it")
        for key, result in self._results.items():
            if result.data["outcome"] == "returned" and key not in tools:
                yield Violation("once", f"{self.run_id}: {result.data['tool_name']} {key} returned, and the world saw nothing of it")

    def _after_its_result(self, key: str, tool_name: str, result: AgentRunEvent | None) -> Iterator[Violation]:
        for line in self.starts:
            if line["key"] != key or result is None or line["checked"] is None:
                continue
            # Times in the log go by what its owner read when its stretch began, and may lag behind; of its own owner it says who did what.
            own = self._lives.get(line["life"]) == self._owner_at(result)
            if line["checked"] > result.at.timestamp() + (LAG_S if own else CLOCKS_S):
                yield Violation("once", f"{self.run_id}: {tool_name} {key} began in {line['life']} after its result was appended")

    def _owner_at(self, event: AgentRunEvent) -> str:
        return str(next(each.data["owner"] for each in reversed(self.run) if each.type == "run_started" and each.seq < event.seq))

    def _approved_before(self, at: float) -> bool:
        return any(
            event.type == "approval_resolved" and event.data["outcome"] == "granted" and event.at.timestamp() <= at + CLOCKS_S
            for event in self.run
        )

    def ownership(self) -> Iterator[Violation]:
        """Whether whoever began an effect, or asked a model, had the run then, and had asked its lease for this very effect."""
        for line in (*self.starts, *self._asked):
            owner = self._lives.get(line["life"])
            what = f"{self.run_id}: {line.get('item', 'a request to the model')} in {line['life']}"
            if line["checked"] is None:
                yield Violation("stale", f"{what} began without a lease that held")
                continue
            mine = [each for each in self._owned if each.owner == owner]
            if not any(each.began - CLOCKS_S <= line["checked"] <= each.ended + CLOCKS_S for each in mine):
                yield Violation("stale", f"{what} began at {line['checked']:.3f}, and it had the run {_told(mine)}")
            elif "key" in line:
                yield from self._fresh(line, owner, what)

    def _fresh(self, line: Line, owner: str | None, what: str) -> Iterator[Violation]:
        epochs = {each.epoch for each in self._owned if each.owner == owner}
        intents = [event for event in self._intents[line["key"]] if self._epochs[event.seq] in epochs]
        before = [event.at.timestamp() for event in intents if event.at.timestamp() <= line["at"] + CLOCKS_S]
        if not before:
            yield Violation("stale", f"{what} began, and no intent of its own is in the log")
        elif line["checked"] < max(before) - CLOCKS_S:
            yield Violation("stale", f"{what} began, and the lease was asked before its intent was there")

    def figures(self) -> Counter[str]:
        """What there was of what."""
        doubts = Counter(
            event.data["resolution"] for event in self.run if event.type == "effect_in_doubt" and event.data["effect"] == "tool"
        )
        unknown = sum(event.data["outcome"] == "unknown" for event in self._results.values())
        cut = sum(after.owner != before.owner for before, after in itertools.pairwise(self._owned))
        return Counter(
            {
                "events": len(self.run),
                "effects": sum(self._did.values()),
                "takeovers": _takeovers(self.run),
                "changes of worker": cut,
                "reopened": sum(event.type == "run_started" and bool(event.data.get("reopened")) for event in self.run),
                "repeats, same key": sum(times - 1 for key, times in self._begun.items() if times > 1),
                "in doubt, run again": doubts["run_again"],
                "in doubt, reported": unknown,
                "announced, never begun": sum(max(0, len(intents) - self._begun[key]) for key, intents in self._intents.items()),
                "done after a takeover": sum(self._outlived(line) for line in self._done),
            }
        )

    def _outlived(self, line: Line) -> bool:
        """Whether it was under way when its process lost the run, and took place all the same."""
        owner = self._lives.get(line["life"])
        begun_in = [each for each in self._owned if each.owner == owner and each.began <= (line["checked"] or 0.0) <= each.ended]
        return bool(begun_in) and line["at"] > begun_in[-1].ended


def _stretches(run: Run) -> list[Owned]:
    """Who had it, and until the next one did."""
    begins = [(event.data["epoch"], event.data["owner"], event.at.timestamp()) for event in run if event.type == "run_started"]
    ends = [*(at for _, _, at in begins[1:]), float("inf")]
    return [Owned(*begin, end) for begin, end in zip(begins, ends, strict=False)]


def _told(mine: Sequence[Owned]) -> str:
    return "never" if not mine else "from " + ", ".join(f"{each.began:.3f} to {each.ended:.3f}" for each in mine)


def _takeovers(run: Run) -> int:
    """Stretches that begin where the one before had not ended."""
    return sum(after.type == "run_started" and before.type not in TERMINAL for before, after in itertools.pairwise(run))


# --------------------------------------------------------------------------------------------------------------------- of tasks and lanes

_LAST: dict[str, frozenset[str]] = {
    "completed": frozenset({"run_completed"}),
    "dead": frozenset({"run_failed"}),
    "cancelled": frozenset({"run_cancelled", "run_interrupted"}),
}
"""The last event of the run of a task in each state. One that was cancelled before it began has a run that was laid down, or none."""


def _ending(errand: Errand, item: TaskItem, account: Account) -> Iterator[Violation]:
    expects = errand.expects | ({"dead"} if account.unknown else frozenset())
    if item.state not in expects:
        yield Violation(
            "ends", f"{errand.name} ({item.id}) is {item.state}, and not {sorted(expects)}, after {item.failures} failures: {item.error}"
        )
    if item.ended:
        yield from _row(item, account.run)


def _row(item: TaskItem, run: Run) -> Iterator[Violation]:
    if not run:
        if item.state != "cancelled":
            yield Violation("rows", f"{item.id} is {item.state}, and has no run")
        return
    last = run[-1]
    if last.type not in _LAST.get(item.state, frozenset()):
        yield Violation("rows", f"{item.id} is {item.state}, and its run ended with {last.type}")
    if item.state == "completed":
        said = _result(item, run)
        if item.result != said:
            yield Violation("results", f"{item.id} came to {item.result!r}, and its run to {said!r}")
    epochs = sum(event.type == "run_started" for event in run)
    if item.state != "cancelled" and item.attempts < 1:
        yield Violation("rows", f"{item.id} had {item.attempts} attempts, and its run {epochs} owners")


def _result(item: TaskItem, run: Run) -> Any:
    """What the run came to: a job, to what its handler returned."""
    if item.contract == JOB:
        return [event.data["output"] for event in run if event.type == "tool_completed" and event.data["success"]][-1]
    return [event.data["text"] for event in run if event.type == "llm_completed"][-1]


def _begun_at(run: Run) -> float | None:
    """When a worker began with it: whoever pushed it may have laid its run down, ready to be gone on with."""
    return next((event.at.timestamp() for event in run if event.type == "step_started"), None)


def _times(errand: Errand, item: TaskItem, run: Run) -> Iterator[Violation]:
    begun = _begun_at(run)
    if begun is None or not errand.delay_s:
        return
    early = item.created_at.timestamp() + errand.delay_s - begun
    if errand.delay_s == NEVER_S or early > CLOCKS_S:
        yield Violation("time", f"{item.id} began {early:.3f} s before its time")


def _orders(by_task: Mapping[str, Errand], runs: Mapping[str, Run]) -> Iterator[Violation]:
    lanes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for task_id, errand in by_task.items():
        if errand.lane is not None:
            lanes[errand.lane].append((errand.name, task_id))
    for lane, members in lanes.items():
        members.sort()
        for (first, before), (second, after) in itertools.pairwise(members):
            begun = _begun_at(runs.get(after, []))
            ended = runs[before][-1].at.timestamp() if runs.get(before) else None
            if begun is not None and (ended is None or begun < ended - CLOCKS_S):
                yield Violation("order", f"lane {lane}: {second} began before {first} had ended")
