"""`python -m tests.interop`: the table of who met whom, and what came of it. AFK_ES_INTEROP_DIR=DIR keeps what was fetched from npm."""

from __future__ import annotations

import sys

from tests.interop.meetings import all_meetings
from tests.interop.report import lines
from tests.interop.workshop import MissingError, workshop


def main() -> int:
    """Print the table; 1 where something failed, 0 where all passed or nothing could be tried."""
    try:
        with workshop() as where:
            found = list(all_meetings(where))
    except MissingError as reason:
        print(f"skipped: {reason}")
        return 0
    for line in lines(found):
        print(line)
    return any(each.result == "FAILED" for each in found)


if __name__ == "__main__":
    sys.exit(main())
