"""The settings under which a golden was recorded, a summariser of the conversation included: what it said is recorded, and it is never asked."""

from __future__ import annotations

from typing import NoReturn

from afk_es.core import RetentionPolicy, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.goldens.golden import Golden, config_of
from afk_es.llms import LLMRequest, Message
from afk_es.machine.spec import ModelSpec, Retention


def recorded_config(golden: Golden) -> RunnerConfig:
    """The config of the first run that is checked, to replay it with.

    Raises:
        GoldenError: the file tells of none.
    """
    spec = golden.spec()
    config = config_of(spec)
    return config if spec.retention is None else config.model_copy(update={"thread_retention": _policy(spec.retention)})


def _policy(retention: Retention) -> RetentionPolicy:
    return RetentionPolicy(
        max_tokens=retention.max_tokens,
        max_messages=retention.max_messages,
        max_turns=retention.max_turns,
        keep_share=retention.keep_share,
        keep_last_turns=retention.keep_last_turns,
        summariser=_summariser(retention),
        instructions=retention.instructions,
    )


def _summariser(retention: Retention) -> _RecordedFunction | _RecordedModel | None:
    if retention.model is not None:
        return _RecordedModel(retention.model)
    return None if retention.summariser == "drop" else _RecordedFunction(retention.name or "")


class _RecordedFunction:
    """Has the name of a function that was recorded."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name

    def __call__(self, messages: list[Message]) -> NoReturn:
        raise UsageError(f"the summariser {self.__qualname__} is known by its name only; give the check today's config")


class _RecordedModel:
    """Has the name of a model that was recorded."""

    def __init__(self, spec: ModelSpec) -> None:
        self.provider_id = spec.provider
        self.model = spec.model

    async def chat(self, request: LLMRequest) -> NoReturn:
        """Refuse."""
        raise UsageError(f"the summarising model {self.model} is known by its name only; give the check today's config")
