"""How a request's thinking settings are said to LiteLLM, which takes an effort for some models, a budget for others, and both for a few.

=====================  ==============================================  =========================================================
asked for              sent                                            to a model that cannot do it
=====================  ==============================================  =========================================================
nothing                nothing: the provider's own default             -
`enabled=False`        `reasoning_effort="none"`                       one that never thinks: nothing is sent; one that always
                                                                       thinks: LLMCapabilityError, or the provider's own refusal
a budget               `thinking` with `budget_tokens`                 the effort, if one was given too; else LLMCapabilityError
an effort              `reasoning_effort`                              LLMCapabilityError
`enabled=True` alone   `reasoning_effort="medium"`                     LLMCapabilityError
=====================  ==============================================  =========================================================

With `drop_params=True` among the model's settings LiteLLM leaves out what it knows the model does not take, instead of the error.
"""

from __future__ import annotations

from typing import Any

from afk_es.llms.request import LLMRequest


def thinking(litellm: Any, request: LLMRequest) -> dict[str, Any]:
    """The parameters of `litellm.acompletion` for the request's thinking settings."""
    effort, budget = request.reasoning_effort, request.reasoning_max_tokens
    if request.reasoning_enabled is False:
        return {"reasoning_effort": "none"} if _thinks(litellm, request.model) else {}
    if budget is not None and (effort is None or "thinking" in _taken(litellm, request.model)):
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if effort is None and request.reasoning_enabled:
        effort = "medium"
    return {} if effort is None else {"reasoning_effort": effort}


def _thinks(litellm: Any, model: str) -> bool:
    """Whether LiteLLM knows that the model thinks. Of one it does not know, nothing is assumed."""
    return bool(litellm.supports_reasoning(model))


def _taken(litellm: Any, model: str) -> frozenset[str]:
    try:
        name, provider, _key, _base = litellm.get_llm_provider(model)
        return frozenset(litellm.get_supported_openai_params(model=name, custom_llm_provider=provider) or ())
    except Exception:  # noqa: BLE001 - for a name without a provider LiteLLM raises; the call itself will say so
        return frozenset()
