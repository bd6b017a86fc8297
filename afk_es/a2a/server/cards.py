"""The card of an agent: what clients are told of it before they call. It says what the server does, and nothing that it does not."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    APIKeySecurityScheme,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_CURRENT, TransportProtocol

from afk_es.a2a.server.messages import IMAGE_MODES, TEXT_MODES
from afk_es.agents import Agent
from afk_es.errors import ConfigurationError

_SCHEMES = {
    "bearer": SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="bearer")),
    "api_key": SecurityScheme(api_key_security_scheme=APIKeySecurityScheme(location="header", name="X-API-Key")),
}
"""A token is taken either way, as `afk_es.serving.guarded` has it."""


class ServedAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as clients see it.

    Attributes:
        agent: the agent.
        description: what it is for, in a sentence; its instructions are told to nobody. Default: the agent's own, or else its name.
        version: of the agent; default "1".
        skills: what it can be asked for; default: the agent's own skills, or else one skill with the description.
        images: whether it takes images; default False. Say so only where its models do.
    """

    agent: Agent
    description: str = ""
    version: str = "1"
    skills: tuple[AgentSkill, ...] = ()
    images: bool = False

    @property
    def name(self) -> str:
        """The agent's name, which is its path on the server."""
        return self.agent.name

    @property
    def told(self) -> str:
        """What clients are told that it is for."""
        return self.description or self.agent.description or f"The agent {self.name}."

    @property
    def input_modes(self) -> tuple[str, ...]:
        """The media types that it takes."""
        return (*TEXT_MODES, *IMAGE_MODES) if self.images else TEXT_MODES

    @property
    def output_modes(self) -> tuple[str, ...]:
        """The media types that it gives."""
        return TEXT_MODES if self.agent.output_type is not None else TEXT_MODES[:1]


def offers_of(agents: Agent | ServedAgent | Sequence[Agent | ServedAgent]) -> dict[str, ServedAgent]:
    """The agents of a server by their names.

    Raises:
        ConfigurationError: there is none, something else than an agent, or two of one name.
    """
    several = [agents] if isinstance(agents, Agent | ServedAgent) else list(agents)
    offers: dict[str, ServedAgent] = {}
    for each in several:
        offer = ServedAgent(agent=each) if isinstance(each, Agent) else each
        if not isinstance(offer, ServedAgent):
            raise ConfigurationError(f"an agent to be served is an Agent or a ServedAgent, not {type(each).__name__}")
        if offer.name in offers:
            raise ConfigurationError(f"two agents are named {offer.name!r}, and clients could not tell them apart; rename one")
        offers[offer.name] = offer
    if not offers:
        raise ConfigurationError("a server needs at least one agent")
    return offers


def card_of(offer: ServedAgent, url: str, *, authenticated: bool, push: bool, extended: bool = False) -> AgentCard:
    """The agent's card.

    Args:
        url: where this agent is asked, without a slash at the end.
        authenticated: whether callers need a token.
        push: whether it calls back.
        extended: the card for those who were let in, which lists the agent's tools too.
    """
    interfaces = [
        AgentInterface(url=url, protocol_binding=binding.value, protocol_version=PROTOCOL_VERSION_CURRENT)
        for binding in (TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON)
    ]
    card = AgentCard(
        name=offer.name,
        description=offer.told,
        version=offer.version,
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True, push_notifications=push, extended_agent_card=authenticated),
        default_input_modes=offer.input_modes,
        default_output_modes=offer.output_modes,
        skills=_skills(offer, extended=extended),
    )
    if authenticated:
        for name, scheme in _SCHEMES.items():
            card.security_schemes[name].CopyFrom(scheme)
            card.security_requirements.append(SecurityRequirement(schemes={name: StringList()}))
    return card


def _skills(offer: ServedAgent, *, extended: bool) -> list[AgentSkill]:
    skills = list(offer.skills) or [
        AgentSkill(id=name, name=name, description=description, tags=["skill"]) for name, description in offer.agent.skill_headings()
    ]
    skills = skills or [AgentSkill(id=offer.name, name=offer.name, description=offer.told, tags=["agent"])]
    if extended:
        taken = {skill.id for skill in skills}
        skills += [
            AgentSkill(id=each.name, name=each.name, description=each.description or each.name, tags=["tool"])
            for each in offer.agent.tools
            if each.name not in taken
        ]
    return skills
