"""Goal: the contract finds what is wrong with a store, in the dimension where it is wrong. Method: stores with one defect each."""

from __future__ import annotations

import pytest

from afk_es.testing.log_contract import DIMENSIONS
from tests.testing.log_contract.corpus import DEFECTS, Defect

_KILLING = ("killing", "sharing")


@pytest.mark.parametrize(
    "defect", [pytest.param(defect, id=str(defect), marks=[pytest.mark.kill] if defect.dimension in _KILLING else []) for defect in DEFECTS]
)
def test_a_defect_is_found_in_its_dimension(defect: Defect) -> None:
    report = defect.checked(defect.dimension, stop_at_first=True)
    assert report.broken_dimensions == (defect.dimension,), f"the contract finds nothing wrong with a store that {defect}:\n{report}"
    assert not any("NotImplementedError" in finding.detail for finding in report.broken)


def test_no_dimension_is_without_a_defect() -> None:
    assert {defect.dimension for defect in DEFECTS} == {dimension.name for dimension in DIMENSIONS}
