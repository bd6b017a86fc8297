"""The dimensions of the contract, in the order in which a store is built."""

from __future__ import annotations

from afk_es.testing.log_contract.concurrency import CONCURRENCY
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.edge_values import VALUES
from afk_es.testing.log_contract.forks import FORKS
from afk_es.testing.log_contract.killing import KILLING
from afk_es.testing.log_contract.letters import LETTERS
from afk_es.testing.log_contract.lifetime import CLOSING, REOPENING
from afk_es.testing.log_contract.listing import FINDING, HEADS, LISTING
from afk_es.testing.log_contract.ownership import LIVENESS, OWNERSHIP
from afk_es.testing.log_contract.permanence import APPEND_ONLY, CHAIN, GUARDS, TAMPERING
from afk_es.testing.log_contract.refusals import REFUSALS
from afk_es.testing.log_contract.round_trip import ORDER, ROUND_TRIP
from afk_es.testing.log_contract.scanning import SCANNING
from afk_es.testing.log_contract.sharing import SHARING

DIMENSIONS: tuple[Dimension, ...] = (
    ROUND_TRIP,
    ORDER,
    VALUES,
    OWNERSHIP,
    LIVENESS,
    APPEND_ONLY,
    GUARDS,
    CHAIN,
    TAMPERING,
    REFUSALS,
    HEADS,
    LISTING,
    FINDING,
    SCANNING,
    FORKS,
    LETTERS,
    CONCURRENCY,
    CLOSING,
    REOPENING,
    SHARING,
    KILLING,
)
