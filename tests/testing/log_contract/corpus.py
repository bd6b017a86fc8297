"""The broken stores, each with the dimension in which the contract must find it: `python -m tests.testing.log_contract` tries them all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.testing.log_contract import ContractReport, check_event_log
from tests.testing.log_contract import broken_files as files
from tests.testing.log_contract import broken_memory as memory

MEMORY_LACKS = {
    "guards": "a dict has no language of its own to change events in",
    "reopening": "it is gone with the object",
    "sharing": "nobody else can have it",
    "killing": "it is gone with the process",
}


@dataclass(frozen=True)
class Defect:
    """A store with one thing wrong.

    Attributes:
        dimension: where the contract must find it.
        store: the class.
    """

    dimension: str
    store: type[Any]

    def __str__(self) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", self.store.__name__).lower()

    def checked(self, *dimensions: str, stop_at_first: bool = False) -> ContractReport:
        """What the contract finds, in these dimensions or in all."""
        wanted = dimensions or None
        if issubclass(self.store, files.FileLog):
            return check_event_log(self.store, tamper=tamper_file, overwrite=overwrite_file, dimensions=wanted, stop_at_first=stop_at_first)
        maker: Callable[[], MemoryEventLog] = self.store
        return check_event_log(
            lambda directory: maker(), lacks=MEMORY_LACKS, tamper=tamper_memory, dimensions=wanted, stop_at_first=stop_at_first
        )


async def tamper_memory(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Change an event in the dict."""
    assert isinstance(log, MemoryEventLog)
    rows = log._runs[run_id].rows
    rows[seq - 1] = (*rows[seq - 1][:2], rows[seq - 1][2] + 1, *rows[seq - 1][3:])


async def tamper_file(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Change an event in the file, past its triggers."""
    _execute(directory, "DROP TRIGGER IF EXISTS events_stay;" + _CHANGE.format(run_id=run_id, seq=seq))


async def overwrite_file(log: EventLog, directory: Path, run_id: str, seq: int) -> None:
    """Try to change an event in the file."""
    _execute(directory, _CHANGE.format(run_id=run_id, seq=seq))


def _execute(directory: Path, script: str) -> None:
    (path,) = directory.glob("*.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)


_CHANGE = "UPDATE events SET step = step + 1 WHERE seq = {seq} AND run = (SELECT run FROM runs WHERE run_id = '{run_id}')"

SOUND = (Defect("", MemoryEventLog), Defect("", files.FileLog))

DEFECTS: tuple[Defect, ...] = (
    Defect("round trip", memory.LosesTheLastEventOfALargeAppend),
    Defect("round trip", memory.LosesTheMessage),
    Defect("round trip", memory.RoundsTimesToMilliseconds),
    Defect("round trip", memory.ReadsBackwardsBehindAPage),
    Defect("order", memory.Renumbering),
    Defect("order", memory.SortsTheEventsOfAnAppend),
    Defect("order", memory.PagesOverlap),
    Defect("order", memory.IgnoresTheLimit),
    Defect("values", memory.ForgetsTheZoneOfTimes),
    Defect("values", memory.DropsWhatIsNotAscii),
    Defect("values", memory.EndsTextsAtNul),
    Defect("values", memory.KeepsNumbersAsFloats),
    Defect("values", memory.CutsLongTexts),
    Defect("values", memory.DropsKeysItDoesNotKnow),
    Defect("values", memory.WritesStepZeroAsOne),
    Defect("ownership", memory.IgnoresTheEpoch),
    Defect("ownership", memory.LetsAnybodyClaimAgain),
    Defect("ownership", memory.LetsAClaimSkipEpochs),
    Defect("ownership", memory.RefusesWithoutAReason),
    Defect("liveness", memory.IsAliveForEverybody),
    Defect("liveness", memory.LetsGoAtTheFirstRelease),
    Defect("liveness", memory.HoldsBeyondItsClosing),
    Defect("append-only", memory.Overwriting),
    Defect("append-only", memory.Remembering),
    Defect("append-only", memory.CachesWhatWasRead),
    Defect("guards", files.HasNoGuards),
    Defect("chain", memory.FindsFaultAfterATakeover),
    Defect("chain", memory.LinksEventsByTheirContentAlone),
    Defect("chain", memory.LinksChangeAsTheRunGrows),
    Defect("tampering", memory.FindsEverythingSound),
    Defect("tampering", memory.BlamesTheEventAfter),
    Defect("refusals", memory.AnswersWhenItIsClosed),
    Defect("refusals", memory.WritesUpToTheInvalidEvent),
    Defect("refusals", memory.TakesTimesWithoutZone),
    Defect("refusals", memory.TakesEmptyIds),
    Defect("refusals", memory.RaisesKeyErrors),
    Defect("heads", memory.StaleHeads),
    Defect("heads", memory.OrdersAThreadByItsBeginnings),
    Defect("heads", memory.FindsThreadsByTheirBeginning),
    Defect("listing", memory.ListsOldestFirst),
    Defect("listing", memory.RepeatsTheLastRunOfAPage),
    Defect("listing", memory.ListsAnUnknownPriceAsNothing),
    Defect("listing", memory.CountsNoErrors),
    Defect("finding", memory.FindsWhateverTheCase),
    Defect("finding", memory.FindsInTheMiddle),
    Defect("finding", memory.FindsTheOldestTwenty),
    Defect("scanning", memory.ScansUpToAndWithTheEnd),
    Defect("scanning", memory.ScansForOneTypeOnly),
    Defect("scanning", memory.ScansForwardsOnly),
    Defect("scanning", memory.LimitsAScanBeforeItFilters),
    Defect("scanning", memory.MindsTheCaseOfTexts),
    Defect("scanning", memory.LosesTextsInParts),
    Defect("forks", memory.ForksSeeTheirBaseGoOn),
    Defect("forks", memory.ForksKeepTheNameOfTheirBase),
    Defect("forks", memory.ForksShareOneEventTooFew),
    Defect("forks", memory.KnowsForksOfForksAsItsOwn),
    Defect("forks", memory.CountsWhatAForkReuses),
    Defect("letters", memory.KeepsLettersTwice),
    Defect("letters", memory.KeepsOneLetterOfEqualOnes),
    Defect("letters", memory.LettersByRun),
    Defect("letters", memory.LettersAreReadOnce),
    Defect("letters", memory.CountsLettersOfOneRun),
    Defect("letters", memory.TakesLettersForAnybody),
    Defect("letters", memory.LettersTouchTheirRun),
    Defect("concurrency", memory.ChecksTheHeadAndThenWaits),
    Defect("concurrency", memory.DropsCancelledAppends),
    Defect("concurrency", memory.ShowsHalfAnAppend),
    Defect("concurrency", memory.RefusesAllForOne),
    Defect("closing", memory.ForgetsAtItsClosing),
    Defect("closing", memory.ForgetsLettersAtItsClosing),
    Defect("closing", memory.DropsTheQueueAtItsClosing),
    Defect("closing", memory.CannotBeClosedTwice),
    Defect("reopening", files.HasAFileOfItsOwn),
    Defect("reopening", files.ForgetsLettersForTheNextStore),
    Defect("reopening", files.HasANameForAll),
    Defect("sharing", files.ReadsFromACache),
    Defect("sharing", files.SwallowsConflicts),
    Defect("sharing", files.TakesStrangersForDead),
    Defect("killing", files.TakesTheDeadForAlive),
    Defect("killing", files.Acknowledging),
    Defect("killing", files.TearsAppendsInTwo),
    Defect("killing", files.AcknowledgesLettersTooEarly),
)
