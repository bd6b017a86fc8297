"""What a model call sends, as a function of state: so no prompt is ever stored, and any past one can be rebuilt and proved by its hash."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.machine.spec import RunSpec, ToolSpec
from afk_es.machine.state import Facets, RunState
from afk_es.machine.values import Messages, digest_json


class ModelRequest(msgspec.Struct, frozen=True):
    """A request to a model, by its facets.

    Attributes:
        messages: the conversation without the system message.
        parameters: model parameters by the names of `LLMRequest`.
        hash: the digest of all facets, as in `llm_called.request_hash`.
    """

    model: str
    instructions: str | None
    messages: Messages
    tools: tuple[ToolSpec, ...]
    parameters: dict[str, Any]
    output_schema: dict[str, Any] | None
    hash: str


def facets_of(spec: RunSpec) -> Facets:
    """The digests of what is the same in every request of a run."""
    visible = [[tool.name, tool.description, tool.parameters] for tool in spec.tools]
    return Facets(digest_json(visible), digest_json([spec.parameters, spec.output_schema]), digest_json(spec.instructions))


def request_hash(state: RunState, model: str) -> str:
    """The hash of the request that this state would send to that model."""
    facets = state.facets
    return digest_json([model, facets.instructions, facets.tools, facets.parameters, state.messages.digest()])


def model_request(state: RunState, model_index: int = 0) -> ModelRequest:
    """The request that this state would send to the agent's model of that index."""
    spec = state.spec
    model = spec.models[model_index].model
    return ModelRequest(
        model, state.instructions, state.messages, spec.tools, spec.parameters, spec.output_schema, request_hash(state, model)
    )
