"""Putting a model together: which one, with which settings, and what is wrapped around each call. It knows no run.

model = LLMBuilder().provider("anthropic").model("claude-sonnet-4-5").settings(temperature=0.2).with_fallback("gpt-5-mini").build()
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeAlias

from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError
from afk_es.llms.built import BuiltModel
from afk_es.llms.caching import Cache, Coalescing
from afk_es.llms.circuit import Circuit
from afk_es.llms.layers import LayeredModel
from afk_es.llms.litellm import LiteLLMModel
from afk_es.llms.pacing import Pacing, Rate
from afk_es.llms.port import ChatModel, LinkedChatModel, LLMMiddleware
from afk_es.llms.prices import ModelPrices
from afk_es.llms.request import LLMRequest
from afk_es.llms.timing import Timed
from afk_es.machine.spec import BreakerRule, Retry

ProfileName: TypeAlias = Literal["development", "production", "high_throughput", "low_latency"]


@dataclasses.dataclass(frozen=True)
class _Profile:
    timeout_s: float
    stream_idle_s: float
    retry: Retry
    rate: Rate | None
    breaker: BreakerRule | None


_PROFILES: dict[str, _Profile] = {
    # Patient with a slow local model, and quick to show an error.
    "development": _Profile(120.0, 120.0, Retry(attempts=1), None, None),
    "production": _Profile(30.0, 45.0, Retry(), Rate(), BreakerRule()),
    # Under a provider's rate limit, waiting longer gets more done than giving up.
    "high_throughput": _Profile(60.0, 60.0, Retry(attempts=5, base_s=1.0, cap_s=30.0), Rate(100.0, 200), BreakerRule(10, 30.0)),
    "low_latency": _Profile(10.0, 10.0, Retry(attempts=2, base_s=0.1, cap_s=0.5), Rate(), BreakerRule(3, 10.0)),
}

_REQUEST_DEFAULTS = frozenset(
    {"max_tokens", "temperature", "top_p", "stop", "tool_choice", "reasoning_enabled", "reasoning_effort", "reasoning_max_tokens"}
)

_Unset: TypeAlias = Literal["profile"]
_UNSET: _Unset = "profile"


@dataclasses.dataclass(frozen=True)
class LLMBuilder:
    """A fluent, immutable builder: each method gives a new builder, so a common one can be branched. The order of calls does not matter.

    What is built asks, from the outside in: the models of the chain one after the other (`with_fallback`); around each of them the
    middlewares, the cache, coalescing, the retries, the circuit breaker, the rate limit, and the timeout. So a middleware sees one call
    however often it is tried, a hit costs no turn of the rate limit, and each attempt waits for its turn and counts for the breaker.

    Without any call it builds LiteLLM under the profile "production": a timeout of 30 s and 45 s of silence in a stream, 3 attempts,
    20 requests a second with bursts of 40, a breaker after 5 failures in a row for 30 s, and no cache.

    In a Runner the retries and fallbacks are the Runner's, at this pace and in this order, and each attempt is an event of the run.
    Breaker, rate limit and cache are the model's own, and shared by all runs that use it.
    """

    _provider: str | ChatModel = "litellm"
    _model: str | None = None
    _profile: str = "production"
    _settings: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    _timeout_s: float | None = None
    _stream_idle_s: float | None = None
    _retry: dict[str, Any] = dataclasses.field(default_factory=dict)
    _rate: Rate | _Unset | None = _UNSET
    _breaker: BreakerRule | _Unset | None = _UNSET
    _cache: tuple[float, int] | None = None
    _coalesced: bool = False
    _prices: ModelPrices | None = None
    _fallbacks: tuple[str | ChatModel, ...] = ()
    _clock: Clock = dataclasses.field(default_factory=SystemClock)
    _middlewares: tuple[LLMMiddleware, ...] = ()

    def provider(self, provider: str | ChatModel) -> LLMBuilder:
        """Who answers: "litellm" (the default), a provider LiteLLM knows ("openai", "anthropic", "ollama"), or a model object."""
        return dataclasses.replace(self, _provider=provider)

    def model(self, model: str) -> LLMBuilder:
        """The model's name. It goes before the one a request names."""
        return dataclasses.replace(self, _model=model)

    def profile(self, name: ProfileName) -> LLMBuilder:
        """What holds where nothing else is said, for a purpose.

        ================  =======  ===========  =====================  ===================  ==================
        name              timeout  stream idle  attempts               requests a second    breaker
        ================  =======  ===========  =====================  ===================  ==================
        development       120 s    120 s        1                      no limit             none
        production        30 s     45 s         3, from 0.5 s to 8 s   20, bursts of 40     5 failures, 30 s
        high_throughput   60 s     60 s         5, from 1 s to 30 s    100, bursts of 200   10 failures, 30 s
        low_latency       10 s     10 s         2, from 0.1 s          20, bursts of 40     3 failures, 10 s
        ================  =======  ===========  =====================  ===================  ==================

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

    def with_clock(self, clock: Clock) -> LLMBuilder:
        """Whose time retries, rate limit, breaker and cache go by; `SystemClock` unless given. Timeouts go by the event loop's."""
        return dataclasses.replace(self, _clock=clock)

    def with_timeout(self, timeout_s: float, *, stream_idle_s: float | None = None) -> LLMBuilder:
        """Seconds until a call is given up, and seconds of silence until a stream is; the profile's where not given.

        Raises:
            ConfigurationError: not a positive number.
        """
        _positive(timeout_s=timeout_s, **({} if stream_idle_s is None else {"stream_idle_s": stream_idle_s}))
        return dataclasses.replace(self, _timeout_s=timeout_s, _stream_idle_s=stream_idle_s)

    def with_retry(self, attempts: int | None = None, *, base_s: float | None = None) -> LLMBuilder:
        """How often and how soon to ask again after a retryable failure; the profile's where not given.

        The wait doubles with every failure, with jitter, and is never shorter than a provider's Retry-After, up to a minute. A stream is
        not asked again once it has brought something; in a Runner it is, with its text dropped, since the Runner retries the call.

        Args:
            attempts: most requests for one answer; 1 is no retry.
            base_s: seconds before the second attempt, of which the upper half is jittered.

        Raises:
            ConfigurationError: attempts below 1, or a delay that is not positive.
        """
        if attempts is not None and attempts < 1:
            raise ConfigurationError(f"attempts is at least 1; this is {attempts}")
        _positive(**({} if base_s is None else {"base_s": base_s}))
        given = {name: value for name, value in (("attempts", attempts), ("base_s", base_s)) if value is not None}
        return dataclasses.replace(self, _retry=given)

    def with_rate_limit(self, per_s: float | None = 20.0, *, burst: int = 40) -> LLMBuilder:
        """At most so many requests a second, after a pause `burst` at once; None for no limit. Calls wait for their turn, in order.

        While a provider has asked to wait (Retry-After), no call of this model goes out, for up to a minute.

        Raises:
            ConfigurationError: a rate that is not positive, or a burst below 1.
        """
        return dataclasses.replace(self, _rate=None if per_s is None else Rate(per_s, burst))

    def with_circuit_breaker(self, failures: int | None = 5, *, cooldown_s: float = 30.0) -> LLMBuilder:
        """Ask nothing for `cooldown_s` seconds after so many retryable failures in a row, then by one probe; None for no breaker.

        It is this model's, over all runs that use it. `FailSafeConfig.breaker_failure_threshold` is another one, of a single run.

        Raises:
            ConfigurationError: failures below 1, or a cooldown that is negative or not finite.
        """
        if failures is None:
            return dataclasses.replace(self, _breaker=None)
        if failures < 1 or not (cooldown_s >= 0 and math.isfinite(cooldown_s)):
            raise ConfigurationError(f"failures is at least 1 and cooldown_s at least 0; these are {failures} and {cooldown_s}")
        return dataclasses.replace(self, _breaker=BreakerRule(failures, cooldown_s))

    def with_cache(self, ttl_s: float = 30.0, *, max_entries: int = 1024) -> LLMBuilder:
        """Give the answer of an equal request again for `ttl_s` seconds. Off by default: a model may well answer otherwise the next time.

        Equal are requests with the same model, messages, tools and parameters. A hit is marked (`LLMResponse.cached`, and in the event),
        costs nothing and counts no tokens. The answers used last are kept, `max_entries` of them, in this process.

        Raises:
            ConfigurationError: ttl_s is not positive, or max_entries below 1.
        """
        _positive(ttl_s=ttl_s)
        if max_entries < 1:
            raise ConfigurationError(f"max_entries is at least 1; this is {max_entries}")
        return dataclasses.replace(self, _cache=(ttl_s, max_entries))

    def with_coalescing(self) -> LLMBuilder:
        """Let equal requests that come while one of them is under way share its answer; all but one get it as a hit. Streams do not share."""
        return dataclasses.replace(self, _coalesced=True)

    def with_prices(
        self, *, input_per_million_usd: float, output_per_million_usd: float, cached_input_per_million_usd: float | None = None
    ) -> LLMBuilder:
        """What the model costs, in US dollars per million tokens. Goes before LiteLLM's price list, and makes cost limits possible where
        that has no price. For the chain's first model; a fallback has its own.

        Raises:
            ConfigurationError: a price that is negative or not finite.
        """
        prices = ModelPrices(
            input_per_million_usd=input_per_million_usd,
            output_per_million_usd=output_per_million_usd,
            cached_input_per_million_usd=cached_input_per_million_usd,
        )
        return dataclasses.replace(self, _prices=prices)

    def with_fallback(self, *models: str | ChatModel) -> LLMBuilder:
        """Who is asked where this model has failed for good, in order; called again it adds to the chain.

        Args:
            models: a name goes to LiteLLM as it is, with what this builder says of requests, timeouts, retries, rate, breaker, cache and
                middlewares, but without prices, and without settings such as api_base, which are for the first model's server. An object is
                asked as it is; build it with a builder of its own where it needs more.

        Raises:
            ConfigurationError: an empty name, or what is no model.
        """
        given: tuple[object, ...] = models
        for model in given:
            if not (isinstance(model, ChatModel) or (isinstance(model, str) and model.strip())):
                raise ConfigurationError(
                    f"a fallback is a model's name or an object with provider_id and async chat(request), not {model!r}"
                )
        return dataclasses.replace(self, _fallbacks=(*self._fallbacks, *models))

    def with_middlewares(self, *middlewares: LLMMiddleware) -> LLMBuilder:
        """Wrap each call: `async (request, call_next) -> LLMResponse`, the first outermost, all of them around cache and retries."""
        return dataclasses.replace(self, _middlewares=(*self._middlewares, *middlewares))

    def build(self) -> BuiltModel:
        """The model, ready for `Agent(model=...)` or for direct use.

        Raises:
            ConfigurationError: settings for LiteLLM beside a model object, settings that LiteLLMModel refuses, or a provider that a builder
                has made.
        """
        return BuiltModel(self._layered(), tuple(self._fallback(model) for model in self._fallbacks))

    def _fallback(self, model: str | ChatModel) -> ChatModel:
        if not isinstance(model, str):
            return model
        kept = {name: value for name, value in self._settings.items() if name in _REQUEST_DEFAULTS}
        return dataclasses.replace(self, _provider="litellm", _model=model, _settings=kept, _prices=None, _fallbacks=()).build()

    def _layered(self) -> LayeredModel:
        profile = _PROFILES[self._profile]
        defaults = {name: value for name, value in self._settings.items() if name in _REQUEST_DEFAULTS}
        # An object keeps its own timeout unless it is given one here.
        timeout_s = self._timeout_s or (profile.timeout_s if isinstance(self._provider, str) else None)
        if timeout_s is not None:
            defaults["timeout_s"] = timeout_s
        checked = LLMRequest(model="defaults", messages=(), **defaults)
        rate = profile.rate if self._rate == _UNSET else self._rate
        breaker = profile.breaker if self._breaker == _UNSET else self._breaker
        return LayeredModel(
            inner=self._inner(profile),
            model=self._model_name(),
            defaults={name: getattr(checked, name) for name in defaults},
            clock=self._clock,
            middlewares=self._middlewares,
            cache=None if self._cache is None else Cache(*self._cache, self._clock),
            coalescing=Coalescing() if self._coalesced else None,
            retry=Retry(**{**_as_dict(profile.retry), **self._retry}),
            circuit=None if breaker is None else Circuit(breaker, self._clock),
            pacing=None if rate is None else Pacing(rate, self._clock),
            given_prices=self._prices,
        )

    def _inner(self, profile: _Profile) -> ChatModel:
        settings = {name: value for name, value in self._settings.items() if name not in _REQUEST_DEFAULTS}
        idle_s = self._stream_idle_s or profile.stream_idle_s
        if isinstance(self._provider, str):
            return LiteLLMModel(timeout_s=self._timeout_s or profile.timeout_s, stream_idle_s=idle_s, **settings)
        if settings:
            raise ConfigurationError(f"{', '.join(sorted(settings))}: settings for LiteLLM, but the provider is {self._provider!r}")
        if isinstance(self._provider, LinkedChatModel):
            raise ConfigurationError(
                f"the provider {self._provider!r} was built already, and what it retries by itself no log would show; go on from its builder, "
                "which can be branched"
            )
        return self._provider if self._timeout_s is None else Timed(self._provider, idle_s)

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
