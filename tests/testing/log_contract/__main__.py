"""`python -m tests.testing.log_contract`: every broken store against the whole contract, as a table."""

from __future__ import annotations

import sys
import time

from afk_es.testing.log_contract import DIMENSIONS
from tests.testing.log_contract.corpus import DEFECTS, SOUND


def main() -> int:
    """Print the table; 1 if the contract missed a defect, or blamed a sound store."""
    missed = 0
    for sound in SOUND:
        report = sound.checked()
        missed += not report.ok
        print(f"{'sound':<12} {sound!s:<44} {'kept' if report.ok else 'BLAMED'}: {len(report.findings)} promises")
    for defect in DEFECTS:
        began = time.perf_counter()
        report = defect.checked()
        found = defect.dimension in report.broken_dimensions
        missed += not found
        beside = [name for name in report.broken_dimensions if name != defect.dimension]
        took = time.perf_counter() - began
        first = next((finding.promise.name for finding in report.broken if finding.promise.dimension == defect.dimension), "MISSED")
        print(f"{defect.dimension:<12} {defect!s:<44} {took:5.1f} s  {first}" + (f"  (and in: {', '.join(beside)})" if beside else ""))
    covered = {defect.dimension for defect in DEFECTS}
    bare = [dimension.name for dimension in DIMENSIONS if dimension.name not in covered]
    print(f"{len(DEFECTS)} defects in {len(covered)} dimensions, {missed} missed; without a defect: {', '.join(bare) or 'none'}")
    return 1 if missed or bare else 0


if __name__ == "__main__":
    sys.exit(main())
