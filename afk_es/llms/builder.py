"""Putting a model together: which one, with which settings, and what is wrapped around each call. It knows no run.

model = LLMBuilder().provider("anthropic").model("claude-sonnet-4-5").settings(temperature=0.2).with_timeout(60).build()
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeAlias

from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError
from afk_es.llms.built import BuiltModel, LLMMiddleware
from afk_es.llms.litellm import LiteLLMModel
from afk_es.llms.port import ChatModel
from afk_es.llms.request import LLMRequest
from afk_es.machine.spec import Retry

ProfileName: TypeAlias = Literal["development", "production", "high_throughput", "low_latency"]


@dataclasses.dataclass(frozen=True)
class _Profile:
    timeout_s: float
    stream_idle_s: float
    retry: Retry


_PROFILES: dict[str, _Profile] = {
    # Patient with a slow local model, and quick to show an error.
    "development": _Profile(120.0, 120.0, Retry(attempts=1)),
    "production": _Profile(30.0, 45.0, Retry()),
    # Under a provider's rate limit, waiting longer gets more done than giving up.
    "high_throughput": _Profile(60.0, 60.0, Retry(attempts=5, base_s=1.0, cap_s=30.0)),
    "low_latency": _Profile(10.0, 10.0, Retry(attempts=2, base_s=0.1, cap_s=0.5)),
}

_REQUEST_DEFAULTS = frozenset(
    {"max_tokens", "temperature", "top_p", "stop", "tool_choice", "reasoning_enabled", "reasoning_effort", "reasoning_max_tokens"}
)


@dataclasses.dataclass(frozen=True)
class LLMBuilder:
    """A fluent, immutable builder: each method gives a new builder, so a common one can be branched. The order of calls does not matter.

    Without any call it builds LiteLLM with a timeout of 30 s and 45 s of silence in a stream, and without retries.
    """

    _provider: str | ChatModel = "litellm"
    _model: str | None = None
    _profile: str = "production"
    _settings: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    _timeout_s: float | None = None
    _stream_idle_s: float | None = None
    _retry: dict[str, Any] | None = None
    _clock: Clock = dataclasses.field(default_factory=SystemClock)
    _middlewares: tuple[LLMMiddleware, ...] = ()

    def provider(self, provider: str | ChatModel) -> LLMBuilder:
        """Who answers: "litellm" (the default), a provider LiteLLM knows ("openai", "anthropic", "ollama"), or a model object."""
        return dataclasses.replace(self, _provider=provider)

    def model(self, model: str) -> LLMBuilder:
        """The model's name. It goes before the one a request names."""
        return dataclasses.replace(self, _model=model)

    def profile(self, name: ProfileName) -> LLMBuilder:
        """Timeouts, and the pace of `with_retry`, for a purpose.

        ================  =======  ===========  =========================
        name              timeout  stream idle  `with_retry` without more
        ================  =======  ===========  =========================
        development       120 s    120 s        1 attempt
        production        30 s     45 s         3 attempts from 0.5 s
        high_throughput   60 s     60 s         5 attempts from 1 s
        low_latency       10 s     10 s         2 attempts from 0.1 s
        ================  =======  ===========  =========================

        Raises:
            ConfigurationError: another name.
        """
        if name not in _PROFILES:
            raise ConfigurationError(f"a profile is one of {', '.join(_PROFILES)}; this is {name!r}")
        return dataclasses.replace(self, _profile=name)

    def settings(self, **settings: Any) -> LLMBuilder:
        """Defaults for each request (temperature, max_tokens, ...), which a request's own values go before; the rest is for LiteLLM
        (api_base, api_key, organization, ...)."""
        return dataclasses.replace(self, _settings={**self._settings, **settings})

    def with_timeout(self, timeout_s: float, *, stream_idle_s: float | None = None) -> LLMBuilder:
        """Seconds until a call is given up, and seconds of silence until a stream is; the profile's where not given."""
        _positive(timeout_s=timeout_s, **({} if stream_idle_s is None else {"stream_idle_s": stream_idle_s}))
        return dataclasses.replace(self, _timeout_s=timeout_s, _stream_idle_s=stream_idle_s)

    def with_retry(self, attempts: int | None = None, *, base_s: float | None = None, clock: Clock | None = None) -> LLMBuilder:
        """Ask again after a retryable failure: 3 attempts, 0.5 s doubling with jitter, unless the profile or the arguments say otherwise.

        For a model that is used directly. In a Runner leave it out: a Runner retries itself, by the agent's FailSafeConfig and with each
        attempt in the log, and attempts here would multiply with those. A stream is not asked again once it has brought something.

        Args:
            attempts: most requests for one answer.
            base_s: seconds before the second attempt, of which the upper half is jittered.
            clock: who waits; `SystemClock` unless given.

        Raises:
            ConfigurationError: attempts below 1, or a delay that is not positive.
        """
        if attempts is not None and attempts < 1:
            raise ConfigurationError(f"attempts is at least 1; this is {attempts}")
        _positive(**({} if base_s is None else {"base_s": base_s}))
        given = {name: value for name, value in (("attempts", attempts), ("base_s", base_s)) if value is not None}
        return dataclasses.replace(self, _retry=given, _clock=clock or SystemClock())

    def with_middlewares(self, *middlewares: LLMMiddleware) -> LLMBuilder:
        """Wrap each call: `async (request, call_next) -> LLMResponse`, the first outermost, all of them around the retries."""
        return dataclasses.replace(self, _middlewares=(*self._middlewares, *middlewares))

    def build(self) -> BuiltModel:
        """The model, ready for `Agent(model=...)` or for direct use.

        Raises:
            ConfigurationError: settings for LiteLLM beside a model object, or settings that LiteLLMModel refuses.
        """
        profile = _PROFILES[self._profile]
        defaults = {name: value for name, value in self._settings.items() if name in _REQUEST_DEFAULTS}
        for_litellm = {name: value for name, value in self._settings.items() if name not in _REQUEST_DEFAULTS}
        # An object keeps its own timeout unless it is given one here.
        timeout_s = self._timeout_s or (profile.timeout_s if isinstance(self._provider, str) else None)
        if timeout_s is not None:
            defaults["timeout_s"] = timeout_s
        return BuiltModel(
            inner=self._inner(profile, for_litellm),
            model=self._model_name(),
            defaults=LLMRequest(model="defaults", messages=(), **defaults),
            retry=None if self._retry is None else Retry(**{**_as_dict(profile.retry), **self._retry}),
            clock=self._clock,
            middlewares=self._middlewares,
        )

    def _inner(self, profile: _Profile, settings: dict[str, Any]) -> ChatModel:
        if isinstance(self._provider, str):
            idle_s = self._stream_idle_s or profile.stream_idle_s
            return LiteLLMModel(timeout_s=self._timeout_s or profile.timeout_s, stream_idle_s=idle_s, **settings)
        if settings:
            raise ConfigurationError(f"{', '.join(sorted(settings))}: settings for LiteLLM, but the provider is {self._provider!r}")
        return self._provider

    def _model_name(self) -> str | None:
        if self._model is None or not isinstance(self._provider, str) or self._provider == "litellm":
            return self._model
        prefix = f"{self._provider}/"
        return self._model if self._model.startswith(prefix) else prefix + self._model


def _positive(**seconds: float) -> None:
    for name, value in seconds.items():
        if not (value > 0 and math.isfinite(value)):
            raise ConfigurationError(f"{name} is a positive number of seconds; this is {value!r}")


def _as_dict(retry: Retry) -> dict[str, Any]:
    return {name: getattr(retry, name) for name in retry.__struct_fields__}
