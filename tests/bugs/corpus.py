"""Every planted bug."""

from tests.bugs import approvals, crashes, limits, results
from tests.bugs.planting import Bug

BUGS: tuple[Bug, ...] = (*approvals.BUGS, *limits.BUGS, *crashes.BUGS, *results.BUGS)
