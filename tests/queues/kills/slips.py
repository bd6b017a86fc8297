"""Mistakes that could be made in fencing, each as an edit of the product: what the judge of the kill tests has to find."""

from __future__ import annotations

from tests.bugs.planting import Slip

SLIPS: dict[str, tuple[Slip, ...]] = {}
