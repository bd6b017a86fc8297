"""Every hostile server over each of its transports: `python -m tests.mcp.hostile.all`. The gate takes the first of them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.mcp.hostile.rows import ROWS
from tests.mcp.hostile.trial import broken_promises, tried


def main() -> int:
    """Try them all, and say what is otherwise."""
    broken = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number, row in enumerate(ROWS):
            for over in row.over:
                directory = Path(scratch) / f"{number}-{over}"
                directory.mkdir()
                trial = asyncio.run(tried(row.lie, over, directory, text=row.text, **row.options))
                problems = row.must.problems(trial) + broken_promises(trial)
                problems += [f"it took {trial.took_s:.1f} s"] if trial.took_s > row.within_s else []
                broken += bool(problems)
                sys.stdout.writelines(f"{row.lie}, {over}: {problem}\n" for problem in problems)
    sys.stdout.write(f"{broken} of {len(ROWS)} lies were believed, or told badly\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
