"""Asks assertions and scorers about a run, each within the time that is left, and makes verdicts of whatever they answer or raise."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec

from afk_es.errors import text_of
from afk_es.evals.assertions.criteria import AssertionLike, ScorerLike, name_of
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.tools.threads import DaemonThreads

MAX_THREADS = 256
"""Synchronous criteria and runner factories of this process at once; more wait. One that never returns occupies its thread for good."""

_THREADS = DaemonThreads(MAX_THREADS)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.forget)

_LETTING_GO_S = 2.0
"""How long something that was cancelled may take to clean up before it is left behind."""


class Raised(msgspec.Struct, frozen=True):
    """What user code raised.

    Attributes:
        text: the exception's type and message.
        where: file, line and source of the last frame.
    """

    text: str
    where: str
    is_assertion: bool = False

    def __str__(self) -> str:
        return f"{self.text} ({self.where})" if self.where else self.text


class TimeIsUp(Exception):
    """What was asked did not answer in the time that was left."""


class Judgement(msgspec.Struct, frozen=True):
    """What all criteria said. `failed` are verdicts too: those that are the reason why the row did not pass."""

    verdicts: tuple[Verdict, ...]
    scores: dict[str, float]
    raised: bool
    """Whether one of them raised, or answered something that is no answer."""

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """Those that did not pass."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)


async def judged(
    evidence: Evidence, assertions: Sequence[AssertionLike], scorers: Sequence[ScorerLike], deadline: float | None = None
) -> Judgement:
    """Ask all of them, one after the other.

    Args:
        deadline: in the event loop's time; None for as long as it takes.
    """
    verdicts: list[Verdict] = []
    scores: dict[str, float] = {}
    names: dict[str, int] = {}
    broken = False
    for assertion in assertions:
        verdict, failed = await _asked(assertion, getattr(assertion, "check", None), evidence, _of_bool, deadline)
        verdicts.append(_named_apart(verdict, names))
        broken = broken or failed
    for scorer in scorers:
        verdict, failed = await _asked(scorer, getattr(scorer, "score", None), evidence, _of_score, deadline)
        verdict = _named_apart(verdict, names)
        verdicts.append(verdict)
        broken = broken or failed
        if verdict.score is not None:
            scores[verdict.name] = verdict.score
    return Judgement(tuple(verdicts), scores, broken)


def _named_apart(verdict: Verdict, names: dict[str, int]) -> Verdict:
    """Two functions may have one name, as lambdas do; their scores must not become one."""
    names[verdict.name] = count = names.get(verdict.name, 0) + 1
    return verdict if count == 1 else msgspec.structs.replace(verdict, name=f"{verdict.name} ({count})")


async def _asked(
    criterion: Any,
    method: Callable[[Evidence], Any] | None,
    evidence: Evidence,
    meaning: Callable[[str, Any], Verdict | None],
    deadline: float | None,
) -> tuple[Verdict, bool]:
    name = name_of(criterion)
    question = partial(method, evidence) if callable(method) else partial(criterion, evidence.result)
    try:
        answer = await called(question, deadline)
    except TimeIsUp:
        return Verdict(name, False, "it did not answer in the time that was left of the case's timeout"), True
    if isinstance(answer, Raised):
        return Verdict(name, False, str(answer)), not answer.is_assertion
    try:
        verdict = meaning(name, _sound(answer))
    except (TypeError, RecursionError, msgspec.ValidationError) as error:
        return Verdict(name, False, f"its verdict is none, or holds what is no JSON data: {text_of(error)}"), True
    if verdict is None:
        return Verdict(name, False, f"it answered {_shown(answer)}, which is {_EXPECTED[meaning]}"), True
    return verdict, verdict.details.get("measurable") is False


class _Spent(msgspec.Struct):
    """What the details of a verdict may say of what it has spent, which is added up."""

    cost_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


def _sound(answer: Any) -> Any:
    """The answer; a verdict with every field of its type, for reports and sums rely on it.

    Raises:
        TypeError, RecursionError, msgspec.ValidationError: it is not.
    """
    if not isinstance(answer, Verdict):
        return answer
    verdict = msgspec.convert(msgspec.to_builtins(answer, str_keys=True), Verdict)
    msgspec.convert(verdict.details, _Spent)
    return verdict


def _shown(answer: Any) -> str:
    try:
        return f"{answer!r:.80}"
    except Exception:  # noqa: BLE001 - a `__repr__` of the user's, or an integer of more digits than Python writes
        return f"a {type(answer).__name__}"


async def called(function: Callable[[], Any], deadline: float | None = None) -> Any:
    """What the function returns, or `Raised`. A synchronous one runs in a thread, and is left behind when time is up.

    Raises:
        TimeIsUp: at the deadline, in the event loop's time.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_answer(function))
    try:
        done, _pending = await asyncio.wait([task], timeout=None if deadline is None else max(0.0, deadline - loop.time()))
    except asyncio.CancelledError:
        await let_go(task)
        raise
    if not done:
        await let_go(task)
        raise TimeIsUp
    if task.cancelled():
        return Raised("it was cancelled from inside", "")
    return task.result()


async def let_go(task: asyncio.Future[Any], within_s: float = _LETTING_GO_S) -> None:
    """Cancel it, and leave it behind if it does not end soon."""
    task.cancel()
    await asyncio.wait([task], timeout=within_s)
    if task.done() and not task.cancelled():
        task.exception()  # It is looked at, so that nobody warns of it.


async def _answer(function: Callable[[], Any]) -> Any:
    asked = function.func if isinstance(function, partial) else function
    try:
        if inspect.iscoroutinefunction(asked) or inspect.iscoroutinefunction(getattr(asked, "__call__", None)):  # noqa: B004
            answer = await function()
        else:
            answer = await _THREADS.run(partial(_in_thread, partial(contextvars.copy_context().run, function)))
        if isinstance(answer, Awaitable):
            answer = await answer
    except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - user code, whose failure is a verdict; pytest's fail() and sys.exit() are no Exceptions
        return raised(error)
    return answer


def _in_thread(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except BaseException as error:  # noqa: BLE001 - as above; nothing may reach the event loop as if it had been raised there
        return raised(error)


def raised(error: BaseException) -> Raised:
    """What an exception of user code says, and where it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = "" if last is None else f"{Path(last.filename).name}:{last.lineno}: {last.line or last.name}"
    text = text_of(error)
    is_assertion = isinstance(error, AssertionError)
    # A bare `assert` says nothing of its own; the line is what there is to say.
    kind = "the assertion does not hold" if is_assertion else type(error).__name__
    return Raised(f"{kind}: {text}" if text else kind, where, is_assertion)


def _of_bool(name: str, answer: Any) -> Verdict | None:
    if isinstance(answer, Verdict):
        return answer
    if isinstance(answer, bool):
        return Verdict(name, answer, "" if answer else "it answered False")
    return None


def _of_score(name: str, answer: Any) -> Verdict | None:
    if isinstance(answer, Verdict):
        if answer.score is None:
            # What could not be measured, or was not there to be, has no score, which would count as one in a mean.
            return answer if not (answer.passed and answer.exercised) else None
        return answer if _is_share(answer.score) else None
    if isinstance(answer, (bool, int, float)) and _is_share(answer):
        return Verdict(name, True, score=float(answer))
    return None


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


_EXPECTED: dict[Callable[[str, Any], Verdict | None], str] = {
    _of_bool: "no bool; an assertion answers True or False (write `bool(...)`, or return a Verdict)",
    _of_score: "no score; a scorer answers a number from 0 to 1, or a Verdict that has one",
}
