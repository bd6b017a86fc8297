"""How many cases may run at once, by what came of those before."""

from __future__ import annotations

from afk_es.evals.models import ExecutionMode


class Width:
    """The number of cases at once: fixed, or found by trying.

    "adaptive" widens by one for each case that ends well and halves for each that met a provider at its limit: additive increase and
    multiplicative decrease, by which TCP shares a line (Chiu and Jain, 1989).

    Attributes:
        now: how many may run at this moment, at least 1.
    """

    def __init__(self, mode: ExecutionMode, maximum: int) -> None:
        self._adaptive = mode == "adaptive"
        self._maximum = maximum
        self.now: int = maximum if mode == "parallel" else 1

    def ended(self, *, crowded: bool) -> None:
        """A case has ended.

        Args:
            crowded: a call was refused or stalled by the provider (408, 429, 503, 504, 529, a timeout), or the case's own time ran out.
        """
        if self._adaptive:
            self.now = max(1, self.now // 2) if crowded else min(self._maximum, self.now + 1)
