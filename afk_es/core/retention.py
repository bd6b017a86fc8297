"""How much of a thread the model is shown, as the operator says it: `RetentionPolicy`, and what a compaction came to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from afk_es.llms import ChatModel
from afk_es.machine.spec import ModelSpec, Retention
from afk_es.machine.values import Message, Usage

Summariser = Callable[[list[Message]], str | Awaitable[str]] | ChatModel | str
"""A function of the messages that go, sync (run in a thread) or async; a model object; or a model's name."""


def _summariser(value: object) -> object:
    function = callable(value) and not isinstance(value, type)
    if value is None or (isinstance(value, str) and value) or isinstance(value, ChatModel) or function:
        return value
    raise ValueError(f"it is a function, a model object, a model's name or None; this is {value!r:.80}")


class RetentionPolicy(BaseModel):
    """When a conversation is compacted, and what of it the model still sees afterwards. The log keeps everything.

    Attributes:
        max_tokens: about how many tokens the conversation may have: four bytes of text are a token, a message costs 4 more, a tool call
            8 and an image 1,000. An estimate, which leaves out instructions and tool schemas; keep a margin to the model's real limit.
        max_messages: how many messages it may have, tool calls and results counted.
        max_turns: how often the user may have spoken. At least one maximum is set.
        keep_share: how much of each maximum stays, between 0 and 1, the summary included. Default None: 1 for `compact_thread`, which
            is called when somebody wants it; 0.5 for automatic compaction, so that it does not come at every step.
        keep_last_turns: turns of the user that stay whole whatever the maxima say; default 0. In a run, its own request and what the
            model has not answered yet stay as well.
        summariser: what sums up the turns that go, the earlier summary among them. Default None: they are dropped. A function gets the
            list of their messages and must bear being called again with the same ones, since a call that was cut off by a crash is.
            A model is asked as any model is: its tokens and cost count in the run's, and so against `max_total_cost_usd`, and not as
            one of the agent's `max_llm_calls`. Neither is put before the policy engine. What they answer is shown to the model as
            untrusted data, cut at 8,000 characters or at as many as tokens are to stay.
        instructions: what a summarising model is told to do; default: words of our own.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    max_tokens: int | None = Field(default=None, ge=200)
    max_messages: int | None = Field(default=None, ge=1)
    max_turns: int | None = Field(default=None, ge=1)
    keep_share: float | None = Field(default=None, gt=0, le=1)
    keep_last_turns: int = Field(default=0, ge=0)
    summariser: Annotated[Summariser | None, PlainValidator(_summariser)] = None
    instructions: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _sensible(self) -> RetentionPolicy:
        if self.max_tokens is None and self.max_messages is None and self.max_turns is None:
            raise ValueError("set at least one of max_tokens, max_messages and max_turns")
        if self.instructions is not None and not isinstance(self.summariser, (str, ChatModel)):
            raise ValueError("instructions are for a summarising model; this policy has none")
        return self

    def retention(self, model: ModelSpec | None, *, alone: bool) -> Retention:
        """The policy as data, for the RunSpec.

        Args:
            model: the summarising model, where the summariser is one.
            alone: for a run that does nothing but compact.
        """
        share = self.keep_share if self.keep_share is not None else 1.0 if alone else 0.5
        name = None
        if model is not None:
            name = model.model
        elif self.summariser is not None:
            name = getattr(self.summariser, "__qualname__", type(self.summariser).__qualname__)
        return Retention(
            max_tokens=self.max_tokens,
            max_messages=self.max_messages,
            max_turns=self.max_turns,
            keep_share=share,
            keep_last_turns=self.keep_last_turns,
            summariser="drop" if self.summariser is None else "function" if model is None else "model",
            name=name,
            model=model,
            instructions=self.instructions,
            alone=alone,
        )


class CompactionResult(BaseModel):
    """What `compact_thread` came to.

    Attributes:
        compacted: whether anything was. If not, nothing was written.
        run_id: the run that recorded it; None where nothing was written.
        dropped_messages: how many messages the model does not see any more.
        kept_messages: how many it sees from now on, the summary included.
        summary: as the summariser wrote it; None where turns were dropped without one.
        tokens_before, tokens_after: of the conversation, by the estimate that `RetentionPolicy.max_tokens` is of.
        usage: tokens that a summarising model used; None where there was none, or it did not say.
        cost_usd: what it cost; None where that is unknown.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, arbitrary_types_allowed=True, defer_build=True)

    thread_id: str
    compacted: bool
    run_id: str | None = None
    dropped_messages: int = 0
    kept_messages: int
    summary: str | None = None
    tokens_before: int
    tokens_after: int
    usage: Usage | None = None
    cost_usd: float | None = None
